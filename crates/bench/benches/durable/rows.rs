//! The rows of Keybook's file, and what each of its transactions changed in them. docs/storage.md has the tables.
//!
//! What a case changed is the difference of the rows before and after it. Each entry is written once in a case, so its place
//! in `by_seq` says in which transaction. Of `states` only the last row remains: that of another transaction is this one with
//! its own head, and a checksum that is as long.

use std::{collections::BTreeMap, path::Path};

use keybook_core::Seq;
use redb::{ReadOnlyDatabase, ReadableDatabase, ReadableTable, TableDefinition};

use crate::connection::Outcome;

/// The tables of Keybook's file.
pub(crate) const TABLES: &[&str] =
    &["entries", "by_seq", "versions", "histories", "states", "meta", "dictionaries", "writes", "conflicts", "authors"];
const ENTRIES: usize = 0;
const BY_SEQ: usize = 1;
const VERSIONS: usize = 2;
const HISTORIES: usize = 3;
const STATES: usize = 4;
const META: usize = 5;
/// The table of a file that holds only values by their keys.
pub(crate) const PLAIN_TABLE: &[&str] = &["plain"];

/// The bytes of a dictionary's number, which begin each key.
const NUMBER: usize = 4;
/// A checksum begins each row.
const CHECKSUM: usize = 4;
/// The seq and the index in the row of an entry: its place, which with the number is a key of `by_seq`.
const PLACE: std::ops::Range<usize> = CHECKSUM + 16..CHECKSUM + 26;
/// What precedes the entry's key in a row of `by_seq`, and no other name.
const ENTRY: u8 = 0;
/// What precedes the value in the row of an entry that was never recovered.
const ENTRY_HEAD: usize = CHECKSUM + 35;
/// A seq precedes the entry's key in the key of a version.
const VERSION_HEAD: usize = NUMBER + 8;
/// A terminator and a stamp end it.
const VERSION_TAIL: usize = 17;

/// A table's rows.
type Table = BTreeMap<Vec<u8>, Vec<u8>>;

/// All rows of a file, by the table's position in [`TABLES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileRows(Vec<Table>);

/// A row that is set or, without a value, removed.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// The table's position in the file's list.
    pub(crate) table: usize,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
}

/// What one transaction changed, in the server's order; and the same writes as keys and values alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) rows: Vec<Change>,
    pub(crate) plain: Vec<Change>,
}

impl FileRows {
    /// Reads a file that nobody has open.
    pub(crate) fn read(path: &Path) -> Outcome<Self> {
        let database = ReadOnlyDatabase::open(path)?;
        let transaction = database.begin_read()?;
        let mut tables = Vec::new();
        for name in TABLES {
            let table = transaction.open_table(TableDefinition::<&[u8], &[u8]>::new(name))?;
            let rows = table.iter()?.map(|row| row.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())));
            tables.push(rows.collect::<Result<Table, _>>()?);
        }
        // Each start writes it, in a transaction of its own that is not measured.
        tables[META].remove(&b"starts"[..]);
        Ok(Self(tables))
    }

    /// All rows, as changes of an empty file.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let tables = self.0.iter().enumerate();
        tables.flat_map(|(table, rows)| rows.iter().map(move |(key, value)| set(table, key, value))).collect()
    }

    /// What was done between `before` and this, by transactions that ended at the seqs in `commits`.
    ///
    /// # Panics
    /// When the rows are not what such transactions leave.
    pub(crate) fn since(&self, before: &Self, commits: &[Seq]) -> Vec<Transaction> {
        let new = |table: usize| self.0[table].iter().filter(move |(key, _)| !before.0[table].contains_key(*key));
        let of = |version: &[u8]| [&version[..NUMBER], &version[VERSION_HEAD..version.len() - VERSION_TAIL]].concat();
        let versions: BTreeMap<Vec<u8>, (&Vec<u8>, &Vec<u8>)> = new(VERSIONS).map(|row| (of(row.0), row)).collect();
        let (number, state) = self.0[STATES].first_key_value().expect("a dictionary was written");

        let mut transactions = Vec::with_capacity(commits.len());
        let (of_entries, of_others): (Vec<_>, Vec<_>) = new(BY_SEQ).partition(|(_, name)| name[CHECKSUM] == ENTRY);
        let mut places = of_entries.into_iter().peekable();
        for head in commits {
            let mut transaction = Transaction::default();
            while let Some((place, name)) = places.next_if(|(place, _)| seq(place) <= *head) {
                let key = [&number[..], &name[CHECKSUM + 1..]].concat();
                let row = &self.0[ENTRIES][&key];
                let version = versions.get(&key).map(|(key, value)| set(VERSIONS, key, value));
                let history = version.as_ref().map(|_| set(HISTORIES, &key, &self.0[HISTORIES][&key]));
                let old = before.0[ENTRIES].get(&key).map(|old| [number, &old[PLACE]].concat());
                transaction.rows.extend(version);
                transaction.rows.extend(history);
                transaction.rows.push(set(ENTRIES, &key, row));
                transaction.rows.extend(old.map(|key| Change { table: BY_SEQ, key, value: None }));
                transaction.rows.push(set(BY_SEQ, place, name));
                transaction.plain.push(set(0, &key[NUMBER..], &row[ENTRY_HEAD..]));
            }
            let state = [&state[..CHECKSUM], &head.0.to_be_bytes(), &state[CHECKSUM + 8..]].concat();
            transaction.rows.push(set(STATES, number, &state));
            transactions.push(transaction);
        }
        let rare = (STATES + 1..TABLES.len()).flat_map(|table| {
            let changed = self.0[table].iter().filter(move |(key, value)| before.0[table].get(*key) != Some(value));
            changed.map(move |(key, value)| set(table, key, value))
        });
        transactions[0].rows.extend(rare);
        transactions[0].rows.extend(of_others.into_iter().map(|(place, name)| set(BY_SEQ, place, name)));
        assert!(before.after(&transactions) == *self, "the transactions lead from the rows before to those after");
        transactions
    }

    fn after(&self, transactions: &[Transaction]) -> Self {
        let mut rows = self.clone();
        for Change { table, key, value } in transactions.iter().flat_map(|transaction| &transaction.rows) {
            match value {
                Some(value) => rows.0[*table].insert(key.clone(), value.clone()),
                None => rows.0[*table].remove(key),
            };
        }
        rows
    }
}

fn set(table: usize, key: &[u8], value: &[u8]) -> Change {
    Change { table, key: key.to_vec(), value: Some(value.to_vec()) }
}

/// The seq in a key of `by_seq`.
fn seq(place: &[u8]) -> Seq {
    Seq(u64::from_be_bytes(place[NUMBER..NUMBER + 8].try_into().expect("eight bytes are eight")))
}
