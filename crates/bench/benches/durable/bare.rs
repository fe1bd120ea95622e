//! redb alone: the given rows, in the given transactions.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use keybook_bench::samples::processor_time;
use redb::{Database, Durability, TableDefinition};

use crate::{connection::Outcome, keybook::Cost, rows::Change};

/// As the server's `store` has it.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// A file with these tables.
pub(crate) struct Bare {
    pub(crate) path: PathBuf,
    tables: &'static [&'static str],
}

impl Bare {
    /// A new file with these rows.
    pub(crate) fn new(path: &Path, tables: &'static [&'static str], rows: &[Change]) -> Outcome<Self> {
        let bare = Self { path: path.to_owned(), tables };
        let database = bare.open()?;
        let transaction = database.begin_write()?;
        for name in tables {
            transaction.open_table(TableDefinition::<&[u8], &[u8]>::new(name))?;
        }
        transaction.commit()?;
        bare.write(&database, rows)?;
        Ok(bare)
    }

    /// Makes the transactions, one after the other. The file is opened for each case, as the server is started.
    pub(crate) fn run<'a>(&self, transactions: impl Iterator<Item = &'a [Change]>) -> Outcome<Cost> {
        let database = self.open()?;
        let start = Instant::now();
        let (processor, done) = processor_time(|| {
            let mut transactions = transactions;
            transactions.try_for_each(|changes| self.write(&database, changes))
        });
        done?;
        Ok(Cost { wall: start.elapsed(), processor })
    }

    fn open(&self) -> Outcome<Database> {
        Ok(Database::builder().set_cache_size(CACHE_BYTES).create(&self.path)?)
    }

    /// One transaction, which opens the tables that it needs.
    fn write(&self, database: &Database, changes: &[Change]) -> Outcome<()> {
        let mut transaction = database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        transaction.set_quick_repair(true);
        {
            let mut tables: Vec<_> = self.tables.iter().map(|_| None).collect();
            for Change { table: number, key, value } in changes {
                let table = match &mut tables[*number] {
                    Some(table) => table,
                    unopened => {
                        let definition = TableDefinition::<&[u8], &[u8]>::new(self.tables[*number]);
                        unopened.insert(transaction.open_table(definition)?)
                    }
                };
                match value {
                    Some(value) => table.insert(&key[..], &value[..])?,
                    None => table.remove(&key[..])?,
                };
            }
        }
        Ok(transaction.commit()?)
    }
}
