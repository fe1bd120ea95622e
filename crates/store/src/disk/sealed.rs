//! Tables whose rows are checked when they are read.
//!
//! redb has a checksum of each page, but reads without looking at it, and panics on pages that contradict themselves. So each row
//! has a checksum of its own, and what redb does not survive is an error of the table like any other. Rows are encoded and
//! decoded elsewhere: whatever they hold, it passes through here.
//!
//! A row that is missing altogether leaves no trace here. Whoever reads a whole dictionary finds that out by its counters.

use std::{
    ops::RangeBounds,
    panic::{AssertUnwindSafe, catch_unwind},
};

use redb::{AccessGuard, ReadTransaction, ReadableTable, StorageError, WriteTransaction};

use super::{StoreError, tables::Corrupt};

type Bytes = &'static [u8];

/// A table by its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableDefinition(&'static str);

impl TableDefinition {
    pub(super) const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// As redb knows it, for the rows that have no checksum.
    pub(super) fn bare(self) -> redb::TableDefinition<'static, Bytes, Bytes> {
        redb::TableDefinition::new(self.0)
    }
}

/// A table open for reading.
pub(super) type ReadTable = Sealed<redb::ReadOnlyTable<Bytes, Bytes>>;
/// A table open for writing.
pub(super) type WriteTable<'t> = Sealed<redb::Table<'t, Bytes, Bytes>>;

/// Before the row: CRC-32 (IEEE 802.3, big-endian) over the table's name, the key's length (4 bytes, big-endian), the key and
/// the row. With the key in it, a row that is found in a wrong place does not count either.
const CHECKSUM_BYTES: usize = 4;

/// Seals a row of a table.
pub(super) fn seal(table: &str, key: &[u8], row: &[u8]) -> Vec<u8> {
    [&checksum(table, key, row)[..], row].concat()
}

fn checksum(table: &str, key: &[u8], row: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = crc32fast::Hasher::new();
    for part in [table.as_bytes(), &(key.len() as u32).to_be_bytes(), key, row] {
        hasher.update(part);
    }
    hasher.finalize().to_be_bytes()
}

/// A table of sealed rows.
pub(super) struct Sealed<T> {
    table: T,
    name: &'static str,
}

/// A row whose checksum is right.
pub(super) struct Row<'a>(AccessGuard<'a, Bytes>);

impl Row<'_> {
    /// The row as it was written.
    pub(super) fn value(&self) -> &[u8] {
        &self.0.value()[CHECKSUM_BYTES..]
    }
}

impl ReadTable {
    pub(super) fn to_read(transaction: &ReadTransaction, table: TableDefinition) -> Result<Self, StoreError> {
        Ok(Self { table: guarded(table.0, || transaction.open_table(table.bare()))?, name: table.0 })
    }
}

impl<'t> WriteTable<'t> {
    pub(super) fn to_write(transaction: &'t WriteTransaction, table: TableDefinition) -> Result<Self, StoreError> {
        Ok(Self { table: guarded(table.0, || transaction.open_table(table.bare()))?, name: table.0 })
    }

    pub(super) fn insert(&mut self, key: &[u8], row: &[u8]) -> Result<(), StoreError> {
        let sealed = seal(self.name, key, row);
        guarded(self.name, || self.table.insert(key, &sealed[..]).map(drop))
    }

    /// Whether there was one.
    pub(super) fn remove(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        guarded(self.name, || self.table.remove(key).map(|row| row.is_some()))
    }
}

impl<T: ReadableTable<Bytes, Bytes>> Sealed<T> {
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Row<'_>>, StoreError> {
        let row = guarded(self.name, || {
            let row = self.table.get(key)?;
            Ok::<_, StorageError>(row.map(|row| (is_whole(self.name, key, row.value()), row)))
        });
        row?.map(|(is_whole, row)| whole(self.name, is_whole, row)).transpose()
    }

    /// Keys and rows in the order of the keys.
    pub(super) fn range<'k>(&self, range: impl RangeBounds<&'k [u8]> + 'k) -> Result<Range<'_>, StoreError> {
        Ok(Range { rows: Some(guarded(self.name, || self.table.range(range))?), table: self.name })
    }
}

/// Keys and rows. After an error there is nothing more.
pub(super) struct Range<'a> {
    rows: Option<redb::Range<'a, Bytes, Bytes>>,
    table: &'static str,
}

impl<'a> Iterator for Range<'a> {
    type Item = Result<(AccessGuard<'a, Bytes>, Row<'a>), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = guarded(self.table, || {
            let next = self.rows.as_mut().and_then(Iterator::next).transpose()?;
            Ok::<_, StorageError>(next.map(|(key, row)| (is_whole(self.table, key.value(), row.value()), key, row)))
        });
        let next = next
            .and_then(|next| next.map(|(is_whole, key, row)| Ok((key, whole(self.table, is_whole, row)?))).transpose());
        if next.is_err() {
            self.rows = None;
        }
        next.transpose()
    }
}

fn whole<'a>(table: &'static str, is_whole: bool, row: AccessGuard<'a, Bytes>) -> Result<Row<'a>, StoreError> {
    if is_whole { Ok(Row(row)) } else { Err(Corrupt { table }.into()) }
}

fn is_whole(table: &str, key: &[u8], sealed: &[u8]) -> bool {
    sealed.split_first_chunk().is_some_and(|(sum, row)| *sum == checksum(table, key, row))
}

/// What redb answers. Where it panics, the pages that it read contradict themselves: it keeps no state that a read could break,
/// and a transaction in which that happens is not committed.
pub(super) fn guarded<T, E: Into<redb::Error>>(
    table: &'static str,
    ask: impl FnOnce() -> Result<T, E>,
) -> Result<T, StoreError> {
    let corrupt = || StoreError::Corrupt(Corrupt { table });
    match catch_unwind(AssertUnwindSafe(ask)) {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(match error.into() {
            redb::Error::Corrupted(_)
            | redb::Error::TableDoesNotExist(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::TableIsMultimap(_) => corrupt(),
            error => StoreError::Failed(Box::new(error)),
        }),
        Err(_) => Err(corrupt()),
    }
}
