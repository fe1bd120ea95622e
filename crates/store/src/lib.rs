//! What is on the disk: the only place that knows of redb.
//!
//! One file holds everything. One write transaction is open at a time, in the writer's thread; readers see what is
//! committed, and nothing else. What an operation does is decided by [`keybook_core::server`], which works on the rows here.
//!
//! [`tables`] describes the file byte by byte.

mod open;
mod probe;
mod read;
mod rows;
mod tables;

#[cfg(feature = "testing")]
pub mod testing;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use keybook_core::{DictionaryId, DictionaryName, Epoch, Lineage, server::Counters};
use redb::{Database, Durability};

pub use self::{
    open::{FORMAT, OpenError},
    read::{Dictionary, FirstEntries},
    rows::{Rows, Tables, Transaction},
    tables::Corrupt,
};

/// What redb may hold in memory. The entries of most dictionaries fit; the rest is in the page cache of the system.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// The dictionaries of a data folder.
#[derive(Debug)]
pub struct Store {
    database: Database,
    path: PathBuf,
    /// Random, made with the file.
    id: u64,
    /// The epochs of the last starts, oldest first; the last is the current one. Never empty.
    starts: Vec<Epoch>,
}

/// Why the store could not read or write.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A transaction did not begin.
    #[error("the data file fails: {0}")]
    Transaction(#[from] Box<redb::TransactionError>),
    /// A table could not be opened.
    #[error("the data file fails: {0}")]
    Table(#[from] redb::TableError),
    /// A row could not be read or written.
    #[error("the data file fails: {0}")]
    Storage(#[from] redb::StorageError),
    /// A transaction did not end: what is on the disk is unknown.
    #[error("the data file fails: {0}")]
    Commit(#[from] redb::CommitError),
    /// A row cannot be understood.
    #[error("the data file is damaged: {0}")]
    Corrupt(#[from] Corrupt),
}

impl From<redb::TransactionError> for StoreError {
    fn from(error: redb::TransactionError) -> Self {
        Self::Transaction(Box::new(error))
    }
}

impl Store {
    /// The data file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn starts(&self) -> &[Epoch] {
        &self.starts
    }

    /// Begins a write transaction; waits for the one before to end.
    ///
    /// # Errors
    /// When the store fails.
    pub fn begin(&self) -> Result<Transaction, StoreError> {
        begin(&self.database).map(Transaction::new)
    }

    /// A dictionary that nobody has written yet.
    fn new_dictionary(&self, name: &DictionaryName) -> Dictionary {
        let lineage = Lineage::of_store(&self.starts, &[]);
        Dictionary { id: dictionary_id(self.id, name, 0), lineage, writes: Vec::new(), counters: Counters::default() }
    }
}

/// All write transactions are alike: on the disk when they are committed, and quickly recovered after a crash.
fn begin(database: &Database) -> Result<redb::WriteTransaction, StoreError> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate).expect("the transaction is new and has no savepoint");
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// The identity of a dictionary: known before its first write, so that saying Hello writes nothing, and another one after
/// it was deleted. The first 8 bytes, big-endian, of BLAKE3 over the store's id (8 bytes), `incarnation` (8 bytes, how
/// often the name was deleted) and the name.
fn dictionary_id(store: u64, name: &DictionaryName, incarnation: u64) -> DictionaryId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&store.to_be_bytes()).update(&incarnation.to_be_bytes()).update(name.as_str().as_bytes());
    let hash = hasher.finalize();
    DictionaryId(u64::from_be_bytes(*hash.as_bytes().first_chunk().expect("BLAKE3 has 32 bytes")))
}
