//! The engine on the disk: one file, which redb keeps. Nothing else of the project knows of redb.
//!
//! `tables.rs` describes the file byte by byte, `migrations/` how it came to be so. A commit is durable: a loss of power
//! takes nothing of it.

mod sealed;

mod tables;

mod migrations;

mod probe;

mod lock;

mod file;

mod open;

mod read;

mod transaction;

mod compact;

mod verify;

#[cfg(test)]
mod tests;

use std::{
    io,
    mem::ManuallyDrop,
    ops::Deref,
    path::{Path, PathBuf},
    sync::Arc,
};

use keybook_core::Epoch;
use redb::{Database, Durability};

pub use self::{
    compact::Compacted,
    migrations::FORMAT,
    open::{Folder, OpenError},
    tables::Corrupt,
    transaction::{Rows, Tables, Transaction},
    verify::{Verified, verify},
};
use self::{lock::Lock, sealed::guarded};

/// What redb may hold in memory. The entries of most dictionaries fit; the rest is in the page cache of the system.
pub(crate) const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// The dictionaries of a data folder.
#[derive(Debug)]
pub struct Store {
    database: Open,
    path: PathBuf,
    /// Freed after the file is closed. None of a store that is no file.
    _lock: Option<Arc<Lock>>,
    /// Random, made with the file.
    id: u64,
    /// What opening it has made of the file's length; none if it was left as it was.
    compacted: Option<Compacted>,
    /// The epochs of the last starts, oldest first; the last is the current one. Never empty.
    starts: Vec<Epoch>,
}

/// Why the store could not read or write. Each message is whole, and has no source that would say it again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file could not be read or written. After a commit that failed, what is on the disk is unknown.
    #[error("the data file fails: {0}")]
    Failed(Box<redb::Error>),
    /// A row cannot be read: its dictionary is damaged, or, in a table of the whole file, the file.
    #[error("the data file is damaged: {0}")]
    Corrupt(Corrupt),
    /// Pages have other checksums than redb gave them.
    #[error("the data file is damaged: pages are not what was written")]
    Pages,
}

impl From<Corrupt> for StoreError {
    fn from(error: Corrupt) -> Self {
        Self::Corrupt(error)
    }
}

/// redb has an error for each kind of operation, and one for all.
macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> Self {
                Self::Failed(Box::new(error.into()))
            }
        }
    )*};
}

from_redb!(TransactionError, TableError, StorageError, CommitError);

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::Failed(Box::new(error.into()))
    }
}

impl Store {
    /// The data file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What opening it has made of the file's length; none if that was left as it was.
    pub fn compacted(&self) -> Option<Compacted> {
        self.compacted
    }
}

/// An open database.
#[derive(Debug)]
enum Open {
    /// On the file. Closing it writes, and so may fail; what was committed stays. Nothing only while it is dropped.
    Writing(Option<Database>),
    /// What is written stays in memory. It is not closed: on a damaged file that may be a panic within a panic, which ends the
    /// process, and there is nothing to be saved.
    Reading(ManuallyDrop<Database>),
}

impl Deref for Open {
    type Target = Database;

    fn deref(&self) -> &Database {
        match self {
            Self::Writing(database) => database.as_ref().expect("it is open until it is dropped"),
            Self::Reading(database) => database,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Self::Writing(database) = self {
            open::close(database.take().expect("it is open until it is dropped"));
        }
    }
}

/// All write transactions are alike: on the disk when they are committed, and quickly recovered after a crash.
fn begin(database: &Database) -> Result<redb::WriteTransaction, StoreError> {
    let mut transaction = guarded("meta", || database.begin_write())?;
    transaction.set_durability(Durability::Immediate).expect("the transaction is new and has no savepoint");
    transaction.set_quick_repair(true);
    Ok(transaction)
}
