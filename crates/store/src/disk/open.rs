//! Opening a data folder: make it, or recognise it, bring it to the current format, and begin an epoch.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    mem::ManuallyDrop,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use keybook_core::{Epoch, Lineage};
use redb::{Database, ReadableDatabase, ReadableTable};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{
    CACHE_BYTES, Compacted, Corrupt, FORMAT, Lock, Open, Store, StoreError, begin,
    compact::{compact, is_worth_it},
    file::{DataFile, NoFile},
    lock::NoLock,
    migrations,
    probe::{Fault, Overlay, probe},
    sealed::{ReadTable, Sealed, WriteTable, guarded},
    tables::{META, decode_epochs, decode_u64, encode_epochs},
};

/// The file of a data folder that holds all data.
const FILE: &str = "keybook.redb";
/// A new file until it is complete: a crash while it is made leaves nothing that looks like data.
const NEW_FILE: &str = "keybook.redb.new";

/// Why a data folder could not be opened. In each case its data has not been changed.
///
/// Each message is whole: it has what the system said, and no error has a source that would say it again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The system refuses the folder or a file in it: no room, no right, not the kind of file that is expected.
    #[error("cannot use {}: {error}", path.display())]
    System {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another process has the folder or the file.
    #[error("{} is locked: another keybook is serving it{}", path.display(), named(holder))]
    Locked {
        /// The file.
        path: PathBuf,
        /// Who has it, as it calls itself; empty if it does not say.
        holder: String,
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
    /// The file was recognised, and then could not be read or written.
    #[error("cannot open {}: {error}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// What failed.
        error: StoreError,
    },
}

fn named(holder: &str) -> String {
    if holder.is_empty() { String::new() } else { format!(" ({holder})") }
}

impl OpenError {
    /// Whether the disk has no room. Then what is there can be read, see [`Folder::open_to_read`].
    pub fn is_no_room(&self) -> bool {
        let Self::System { error, .. } = self else { return false };
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// A data folder that this process has: no other may look into it.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    lock: Arc<Lock>,
}

impl Folder {
    /// Takes a data folder, made if it is missing, until it and the stores in it are dropped. Nobody but the user whom the process
    /// runs as may read what is made here.
    ///
    /// # Errors
    /// When it cannot be used, or another process has it.
    pub fn take(path: &Path) -> Result<Self, OpenError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| system(path, error))?;
        Self::take_existing(path)
    }

    /// The same, of a folder that is there.
    ///
    /// # Errors
    /// When it cannot be used, or another process has it.
    pub fn take_existing(path: &Path) -> Result<Self, OpenError> {
        match Lock::take(path) {
            Ok(lock) => Ok(Self { path: path.to_owned(), lock: Arc::new(lock) }),
            Err(NoLock::Held { holder }) => Err(OpenError::Locked { path: path.join(FILE), holder }),
            Err(NoLock::Refused { path, error }) => Err(OpenError::System { path, error }),
        }
    }

    /// The data file.
    pub(super) fn file(&self) -> PathBuf {
        self.path.join(FILE)
    }

    /// Opens the data file, made if it is missing, and begins `epoch`, durably. `new_id` becomes the store's id if it has none yet.
    /// Both are random numbers.
    ///
    /// # Errors
    /// When the file cannot be used; then what is in it is as it was.
    pub fn open(&self, new_id: u64, epoch: Epoch) -> Result<Store, OpenError> {
        let (folder, path) = (&self.path, self.file());
        let in_folder = |error| system(folder, error);
        let new_path = folder.join(NEW_FILE);
        // What a crash left, since whoever makes one has the lock.
        match fs::remove_file(&new_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(system(&new_path, error)),
            _ => {}
        }
        let exists = path.try_exists().map_err(in_folder)?;
        if exists {
            check(&path)?;
        }
        let open_path = if exists { &path } else { &new_path };
        let mut database = open_file(open_path, !exists)?;
        let mut compacted = None;
        if exists {
            (database, compacted) = compact_if_worth_it(database, &path)?;
        }
        let (id, starts) = start(&database, new_id, epoch).map_err(|error| in_store(&path, error))?;
        if !exists {
            // The lock keeps other keybooks away. If anybody else has put a file there meanwhile, it stays.
            renameat_with(CWD, &new_path, CWD, &path, RenameFlags::NOREPLACE)
                .map_err(|error| system(&path, error.into()))?;
            // The name is durable when the folder is.
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(in_folder)?;
        }
        Ok(Store {
            database: Open::Writing(Some(database)),
            path,
            _lock: Some(self.lock.clone()),
            id,
            compacted,
            starts,
        })
    }

    /// Gives back what the data file does not use. It may take as long as reading and writing all of it.
    ///
    /// # Errors
    /// When there is no file, or it cannot be used.
    pub fn compact(&self) -> Result<Compacted, OpenError> {
        let path = self.file();
        check(&path)?;
        let before = length(&path)?;
        let mut database = open_file(&path, false)?;
        let compacted = compact(&mut database);
        close(database);
        compacted.map_err(|error| in_store(&path, error))?;
        Ok(Compacted { before, after: length(&path)? })
    }

    /// Opens the data file to read it: whatever redb writes stays in memory, and the file as it is. No epoch begins, so nobody may be
    /// told of a new one.
    ///
    /// # Errors
    /// When it is not there, or cannot be read.
    pub fn open_to_read(&self) -> Result<Store, OpenError> {
        let path = self.file();
        check(&path)?;
        let store = resume(&path).map_err(|error| in_store(&path, error))?;
        Ok(Store { _lock: Some(self.lock.clone()), ..store })
    }
}

impl Store {
    /// Takes a data folder, and opens the file in it: [`Folder::take`] and [`Folder::open`].
    ///
    /// # Errors
    /// When the folder or its file cannot be used; then what is in it is as it was.
    pub fn open(folder: &Path, new_id: u64, epoch: Epoch) -> Result<Self, OpenError> {
        Folder::take(folder)?.open(new_id, epoch)
    }
}

fn system(path: &Path, error: io::Error) -> OpenError {
    OpenError::System { path: path.to_owned(), error }
}

/// What the system said is said as such, without what it meant for the store.
pub(super) fn in_store(path: &Path, error: StoreError) -> OpenError {
    let path = path.to_owned();
    match error {
        StoreError::Failed(error) if let redb::Error::Io(_) = &*error => match *error {
            redb::Error::Io(error) => OpenError::System { path, error },
            _ => unreachable!("it was looked at"),
        },
        error => OpenError::Store { path, error },
    }
}

/// Opens a data file for writing.
fn open_file(path: &Path, is_new: bool) -> Result<Database, OpenError> {
    let file = OpenOptions::new().read(true).write(true).create(is_new).create_new(is_new).mode(0o600).open(path);
    let file = DataFile::new(file.map_err(|error| system(path, error))?).map_err(|no_file| match no_file {
        NoFile::Locked => OpenError::Locked { path: path.to_owned(), holder: String::new() },
        NoFile::System(error) => system(path, error),
    })?;
    guarded("meta", || Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(file))
        .map_err(|error| in_store(path, error))
}

/// Compacts a file of which most is free. One on which redb breaks is opened anew, and stays as long as it is: what is damaged is found
/// out by whoever reads it.
fn compact_if_worth_it(mut database: Database, path: &Path) -> Result<(Database, Option<Compacted>), OpenError> {
    let before = length(path)?;
    let compacted = is_worth_it(&database, before).and_then(|is_worth_it| {
        if is_worth_it {
            compact(&mut database)?;
        }
        Ok(is_worth_it)
    });
    match compacted {
        Ok(true) => Ok((database, Some(Compacted { before, after: length(path)? }))),
        Ok(false) => Ok((database, None)),
        Err(StoreError::Corrupt(_)) => {
            close(database);
            Ok((open_file(path, false)?, None))
        }
        Err(error) => Err(in_store(path, error)),
    }
}

fn length(path: &Path) -> Result<u64, OpenError> {
    Ok(fs::metadata(path).map_err(|error| system(path, error))?.len())
}

/// Closing writes. What was committed stays, whatever comes of it.
pub(super) fn close(database: Database) {
    let _ = guarded("meta", || {
        drop(database);
        Ok::<_, redb::Error>(())
    });
}

#[cfg(feature = "testing")]
impl Store {
    /// A store over a database that is no file.
    pub(crate) fn over(database: Database, epoch: Epoch) -> Result<Self, StoreError> {
        let (id, starts) = start(&database, 1, epoch)?;
        Ok(Self {
            database: Open::Writing(Some(database)),
            path: std::env::temp_dir(),
            _lock: None,
            id,
            compacted: None,
            starts,
        })
    }
}

/// Opens a data file and begins no epoch. What is written stays in memory.
pub(super) fn resume(path: &Path) -> Result<Store, StoreError> {
    let overlay = Overlay::open(path)?;
    let database = guarded("meta", || Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(overlay))?;
    migrations::migrate(&database, 0)?;
    let (id, starts, _) = read_meta(&ReadTable::to_read(&database.begin_read()?, META)?)?;
    Ok(Store {
        database: Open::Reading(ManuallyDrop::new(database)),
        path: path.to_owned(),
        _lock: None,
        id,
        compacted: None,
        starts,
    })
}

/// Refuses a file that is locked, damaged, somebody else's or of a newer format, without changing it.
pub(super) fn check(path: &Path) -> Result<(), OpenError> {
    let path = path.to_owned();
    match probe(&path) {
        Ok(Some(format)) if format > FORMAT => Err(OpenError::Newer { path, format }),
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(OpenError::Unreadable { path, reason: "it has no format".to_owned() }),
        // By a program that knows nothing of the folder's lock.
        Err(Fault::Locked) => Err(OpenError::Locked { path, holder: String::new() }),
        Err(Fault::System(error)) => Err(OpenError::System { path, error }),
        Err(Fault::Unreadable(reason)) => Err(OpenError::Unreadable { path, reason }),
    }
}

/// Brings the file to the current format, and begins the epoch. Each step is a durable transaction.
fn start(database: &Database, new_id: u64, epoch: Epoch) -> Result<(u64, Vec<Epoch>), StoreError> {
    migrations::migrate(database, new_id)?;
    let transaction = begin(database)?;
    let (id, starts) = {
        let mut meta = WriteTable::to_write(&transaction, META)?;
        let (id, mut starts, written) = read_meta(&meta)?;
        // A file that does not say so comes from before it was noted.
        let has_last_written = written.is_none_or(|written| starts.last() == Some(&written));
        Lineage::push_start(&mut starts, has_last_written, epoch);
        meta.insert(&b"starts"[..], &encode_epochs(&starts)[..])?;
        (id, starts)
    };
    guarded("meta", || transaction.commit())?;
    Ok((id, starts))
}

/// The store's id, its starts, and the epoch that has written last.
fn read_meta(
    meta: &Sealed<impl ReadableTable<&'static [u8], &'static [u8]>>,
) -> Result<(u64, Vec<Epoch>, Option<Epoch>), StoreError> {
    let number = |key: &[u8]| -> Result<Option<u64>, StoreError> {
        Ok(meta.get(key)?.map(|row| decode_u64(row.value())).transpose()?)
    };
    let id = number(b"store")?.ok_or(Corrupt { table: "meta" })?;
    let starts = match meta.get(b"starts")? {
        Some(row) => decode_epochs(row.value())?,
        None => Vec::new(),
    };
    Ok((id, starts, number(b"written")?.map(Epoch)))
}
