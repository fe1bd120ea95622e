//! The formats of the data file: which one a file has, and how an older one becomes the current one.
//!
//! Each migration is a file of its own here, and one transaction, which also sets the format. So a crash leaves a file of
//! one format or the next. A migration that was published never changes.

mod format_1;

mod format_2;

use redb::{Database, ReadableDatabase, TableError, WriteTransaction};

use super::{
    StoreError, begin,
    sealed::guarded,
    tables::{META, decode_u32},
};

/// The format of the data file that this program writes. It reads all before it, and none after.
pub const FORMAT: u32 = MIGRATIONS.len() as u32;

/// The migration at position n makes format n + 1 of format n. Format 0 is a file without a table.
const MIGRATIONS: [Migration; 2] = [format_1::migrate, format_2::migrate];

/// Gets a random number, for the store's id if the migration needs one.
type Migration = fn(&WriteTransaction, new_id: u64) -> Result<(), StoreError>;

/// The format of an open file; `None` if it has none.
pub(super) fn format_of(database: &Database) -> Result<Option<u32>, StoreError> {
    let meta = match database.begin_read()?.open_table(META.bare()) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        meta => meta?,
    };
    Ok(meta.get(&b"format"[..])?.map(|row| decode_u32(row.value())).transpose()?)
}

/// Brings the file to the current format, durably.
pub(super) fn migrate(database: &Database, new_id: u64) -> Result<(), StoreError> {
    let format = format_of(database)?.unwrap_or(0);
    for (format, migrate) in (1_u32..).zip(MIGRATIONS).skip(format as usize) {
        let transaction = begin(database)?;
        migrate(&transaction, new_id)?;
        transaction.open_table(META.bare())?.insert(&b"format"[..], &format.to_be_bytes()[..])?;
        guarded("meta", || transaction.commit())?;
    }
    Ok(())
}
