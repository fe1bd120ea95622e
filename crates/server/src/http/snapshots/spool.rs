//! A snapshot on the disk, in a file without a name: the system removes it when nobody holds it any more, whatever becomes of this
//! process.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::try_unfold;
use keybook_core::Seq;
use keybook_store::StoreError;
use tokio::task::spawn_blocking;

use crate::{Dictionary, disk, limits::SEND_BYTES};

/// A snapshot as it is sent, before compression.
#[derive(Debug)]
pub(crate) struct Spool {
    /// The head of the dictionary at its moment.
    pub(super) seq: Seq,
    /// How long it is.
    pub(super) bytes: u64,
    file: File,
    behind: Mutex<Behind>,
}

/// How far a snapshot is behind its dictionary.
#[derive(Clone, Copy, Debug)]
pub(super) struct Behind {
    /// Pages of changes between its seq and `to`.
    pub(super) pages: u32,
    /// Changes up to here have been counted.
    pub(super) to: Seq,
}

/// Why a snapshot could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpoolError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("a snapshot cannot be kept on the disk: {0}")]
    File(#[from] io::Error),
    #[error("a snapshot does not fit on the disk: {free} bytes are free, {reserve} are left alone")]
    Room { free: u64, reserve: u64 },
    #[error("a snapshot is too large to be kept in memory")]
    Large,
    #[error("making a snapshot broke: the fault is ours")]
    Broke,
}

impl Spool {
    /// Writes a snapshot into a file of `folder`, of whose disk `reserve` bytes are left alone. Blocks.
    pub(super) fn make(dictionary: &Dictionary, folder: &Path, reserve: u64) -> Result<Self, SpoolError> {
        let (mut file, mut bytes) = (tempfile::tempfile_in(folder)?, 0);
        let seq = dictionary.write_snapshot(|chunk| {
            let free = disk::free_bytes(folder)?;
            if free < reserve.saturating_add(chunk.len() as u64) {
                return Err(SpoolError::Room { free, reserve });
            }
            bytes += chunk.len() as u64;
            file.write_all(chunk).map_err(SpoolError::File)
        })?;
        Ok(Self { seq, bytes, file, behind: Mutex::new(Behind { pages: 0, to: seq }) })
    }

    pub(super) fn behind(&self) -> Behind {
        *self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// More changes have been counted.
    pub(super) fn set_behind(&self, behind: Behind) {
        *self.behind.lock().unwrap_or_else(PoisonError::into_inner) = behind;
    }

    /// Gives its room on the disk back at once. Whoever is being sent it gets an error, and asks again.
    pub(super) fn cut(&self) -> io::Result<()> {
        self.file.set_len(0)
    }

    /// All of it, read piece by piece as it is taken.
    pub(super) fn body(self: Arc<Self>) -> Body {
        Body::from_stream(try_unfold(0, move |at| {
            let spool = self.clone();
            async move {
                if at == spool.bytes {
                    return Ok(None);
                }
                let read = spawn_blocking(move || spool.read(at)).await;
                let piece = read.unwrap_or_else(|error| Err(io::Error::other(error)))?;
                let next = at + piece.len() as u64;
                Ok::<_, io::Error>(Some((piece, next)))
            }
        }))
    }

    /// The piece at a place. Blocks.
    pub(super) fn read(&self, at: u64) -> io::Result<Bytes> {
        let mut piece = vec![0; SEND_BYTES.min((self.bytes - at) as usize)];
        self.file.read_exact_at(&mut piece, at)?;
        Ok(piece.into())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use keybook_core::{DictionaryName, Epoch};
    use keybook_store::Store;

    use super::*;
    use crate::Reader;

    fn make(reserve: u64) -> (tempfile::TempDir, Result<Spool, SpoolError>) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), 1, Epoch(1)).unwrap();
        let dictionary = Reader::new(Arc::new(store)).dictionary(&DictionaryName::parse("main").unwrap());
        let spool = Spool::make(&dictionary, folder.path(), reserve);
        (folder, spool)
    }

    #[tokio::test]
    async fn it_is_what_the_store_says() {
        let (folder, spool) = make(0);
        let before = fs::read_dir(folder.path()).unwrap().count();
        let spool = Arc::new(spool.unwrap());
        let sent = axum::body::to_bytes(spool.clone().body(), usize::MAX).await.unwrap();
        assert_eq!(sent.len() as u64, spool.bytes);
        let header = keybook_core::wire::snapshot::Snapshot::decode(&sent).unwrap().header;
        assert_eq!(header.lineage.current, Epoch(1));
        drop(spool);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before, "the file never had a name");
    }

    #[test]
    fn it_leaves_room_for_writes() {
        assert!(matches!(make(u64::MAX).1, Err(SpoolError::Room { .. })));
    }
}
