//! The data file as redb reads and writes it.

use std::{
    fs::{File, TryLockError},
    io,
};

use redb::{StorageBackend, backends::FileBackend};

/// A locked file. Where redb reads behind its end, it finds zeros.
///
/// A damaged page leads redb to pages that do not exist. An error would make it give up the whole file; zeros are a page
/// that it does not understand, so that only what led there cannot be read.
#[derive(Debug)]
pub(super) struct DataFile(FileBackend);

/// Why there is none.
#[derive(Debug)]
pub(super) enum NoFile {
    /// Another process has it.
    Locked,
    /// The system refuses.
    System(io::Error),
}

impl DataFile {
    /// Takes the file's lock: who copies or repairs it with a tool of redb's is no keybook and does not know the folder's.
    pub(super) fn new(file: File) -> Result<Self, NoFile> {
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(NoFile::Locked),
            Err(TryLockError::Error(error)) => return Err(NoFile::System(error)),
        }
        let file = FileBackend::new(file).map_err(|error| NoFile::System(io::Error::other(error)))?;
        Ok(Self(file))
    }
}

impl StorageBackend for DataFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self.0.read(offset, out) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                out.fill(0);
                Ok(())
            }
            read => read,
        }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}
