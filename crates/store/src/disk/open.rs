//! Opening a data folder: make it, or recognise it, bring it to the current format, and begin an epoch.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use keybook_core::{Epoch, Lineage};
use redb::{Database, ReadableTable};

use super::{
    CACHE_BYTES, Corrupt, FORMAT, Store, StoreError, begin, migrations,
    probe::{Fault, probe},
    tables::{META, decode_epochs, decode_u64, encode_epochs},
};

/// The one file of a data folder.
const FILE: &str = "keybook.redb";
/// A new file until it is complete: a crash while it is made leaves nothing that looks like data.
const NEW_FILE: &str = "keybook.redb.new";

/// Why a data folder could not be opened. In each case what was in it has not been changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder cannot be made, or its files cannot be read.
    #[error("cannot use the data folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// Another process has the file.
    #[error("{} is locked: another keybook is serving it", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// Truncated, overwritten or never a data file.
    #[error("{} is damaged or no data file of keybook, and has not been touched: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Written by a later version of the program.
    #[error("{} has format {format}, this keybook reads up to {FORMAT}: use a newer one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// The file was recognised, and then could not be written.
    #[error("cannot open {}: {source}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: StoreError,
    },
}

impl Store {
    /// Opens the data folder, made if it is missing, and begins `epoch`, durably. `new_id` becomes the store's id if it has
    /// none yet. Both are random numbers.
    ///
    /// # Errors
    /// When the folder or its file cannot be used; then the file is as it was.
    pub fn open(folder: &Path, new_id: u64, epoch: Epoch) -> Result<Self, OpenError> {
        let in_folder = |source| OpenError::Folder { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(in_folder)?;
        let path = folder.join(FILE);
        let in_file = |source| OpenError::Store { path: path.clone(), source };

        let exists = path.try_exists().map_err(in_folder)?;
        let new_path = folder.join(NEW_FILE);
        if exists {
            check(&path)?;
        } else if let Err(source) = fs::remove_file(&new_path)
            && source.kind() != io::ErrorKind::NotFound
        {
            return Err(in_folder(source));
        }
        let open_path = if exists { &path } else { &new_path };
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(open_path);
        let database = database.map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => OpenError::Locked { path: path.clone() },
            error => OpenError::Unreadable { path: path.clone(), reason: error.to_string() },
        })?;
        let (id, starts) = start(&database, new_id, epoch).map_err(in_file)?;
        if !exists {
            fs::rename(&new_path, &path).map_err(in_folder)?;
            // The name is durable when the folder is.
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(in_folder)?;
        }
        Ok(Self { database, path, id, starts })
    }
}

#[cfg(feature = "testing")]
impl Store {
    /// A store over a database that is no file.
    pub(crate) fn over(database: Database, epoch: Epoch) -> Result<Self, StoreError> {
        let (id, starts) = start(&database, 1, epoch)?;
        Ok(Self { database, path: std::env::temp_dir(), id, starts })
    }
}

/// Refuses a file that is locked, damaged, somebody else's or of a newer format, without changing it.
fn check(path: &Path) -> Result<(), OpenError> {
    let path = path.to_owned();
    match probe(&path) {
        Ok(Some(format)) if format > FORMAT => Err(OpenError::Newer { path, format }),
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(OpenError::Unreadable { path, reason: "it has no format".to_owned() }),
        Err(Fault::Locked) => Err(OpenError::Locked { path }),
        Err(Fault::Unreadable(reason)) => Err(OpenError::Unreadable { path, reason }),
    }
}

/// Brings the file to the current format, and begins the epoch. Each step is a durable transaction.
fn start(database: &Database, new_id: u64, epoch: Epoch) -> Result<(u64, Vec<Epoch>), StoreError> {
    migrations::migrate(database, new_id)?;
    let transaction = begin(database)?;
    let (id, starts) = {
        let mut meta = transaction.open_table(META)?;
        let id = meta.get(&b"store"[..])?.map(|row| decode_u64(row.value())).transpose()?;
        let id = id.ok_or(Corrupt { table: "meta" })?;
        let mut starts = match meta.get(&b"starts"[..])? {
            Some(row) => decode_epochs(row.value())?,
            None => Vec::new(),
        };
        // A file that does not say so comes from before it was noted.
        let written = meta.get(&b"written"[..])?.map(|row| decode_u64(row.value())).transpose()?;
        let has_last_written = written.is_none_or(|written| starts.last() == Some(&Epoch(written)));
        Lineage::push_start(&mut starts, has_last_written, epoch);
        meta.insert(&b"starts"[..], &encode_epochs(&starts)[..])?;
        (id, starts)
    };
    transaction.commit()?;
    Ok((id, starts))
}
