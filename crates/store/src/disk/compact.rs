//! Giving back to the system what the data file does not use.
//!
//! redb uses the pages again that were freed, but the file keeps the length that it had once. Compacting moves the last pages to free
//! ones nearer the beginning, and cuts the end off. It moves by copying into free pages, in transactions like any other, so that a
//! crash takes nothing; after one the file is read as a whole when it is opened again. It needs no room beyond the file.

use redb::Database;

use super::{StoreError, begin, sealed::guarded};

/// Less than this is not worth it: a file grows by as much soon.
const FREE_BYTES_MIN: u64 = 16 * 1024 * 1024;

/// The length of a data file before and after it was compacted, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Before.
    pub before: u64,
    /// After.
    pub after: u64,
}

/// Whether more than half of a file is free, and more than [`FREE_BYTES_MIN`]. Reads what is in use, if the file is long enough.
pub(super) fn is_worth_it(database: &Database, file_bytes: u64) -> Result<bool, StoreError> {
    // Half of a shorter one is less.
    if file_bytes <= 2 * FREE_BYTES_MIN {
        return Ok(false);
    }
    let transaction = begin(database)?;
    let stats = guarded("meta", || {
        let stats = transaction.stats()?;
        transaction.abort()?;
        Ok::<_, redb::StorageError>(stats)
    })?;
    let used = stats.allocated_pages() * stats.page_size() as u64;
    Ok(file_bytes.saturating_sub(used) > used.max(FREE_BYTES_MIN))
}

/// Moves what is in use to the beginning of the file, and cuts the rest off.
pub(super) fn compact(database: &mut Database) -> Result<(), StoreError> {
    guarded("meta", || database.compact().map(drop))
}
