//! Format 2: each row has a checksum, but for the format itself.

use std::ops::Bound;

use redb::{ReadableTable, TableDefinition, WriteTransaction};

use crate::disk::{StoreError, sealed::seal};

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

const TABLES: [&str; 9] =
    ["meta", "dictionaries", "states", "writes", "entries", "by_seq", "versions", "conflicts", "authors"];
/// Rows that are held in memory at a time.
const ROWS: usize = 1000;

pub(super) fn migrate(transaction: &WriteTransaction, _: u64) -> Result<(), StoreError> {
    for name in TABLES {
        let mut table = transaction.open_table(Table::new(name))?;
        let mut last: Option<Vec<u8>> = None;
        loop {
            let after = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let next = table.range::<&[u8]>((after, Bound::Unbounded))?.take(ROWS).map(|row| {
                let (key, row) = row?;
                Ok((key.value().to_vec(), seal(name, key.value(), row.value())))
            });
            let rows: Vec<_> = next.collect::<Result<_, StoreError>>()?;
            let Some((key, _)) = rows.last() else { break };
            last = Some(key.clone());
            for (key, sealed) in rows.iter().filter(|(key, _)| (name, &key[..]) != ("meta", b"format")) {
                table.insert(&key[..], &sealed[..])?;
            }
        }
    }
    Ok(())
}
