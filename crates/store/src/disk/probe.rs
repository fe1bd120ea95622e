//! A look at a data file that cannot change it.
//!
//! Opening a file for writing writes: redb marks it as open, and recovers it after a crash. So before a file is opened,
//! it is opened here, on a backend that keeps in memory what redb writes. A file that is of a newer version, truncated,
//! or something else altogether is found out without a byte of it being touched.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use redb::{Database, DatabaseError, ReadOnlyDatabase, StorageBackend};

use super::migrations::format_of;

/// What redb may hold of a file that is looked at. Little is read, and it is never given back.
const PROBE_CACHE_BYTES: usize = 1024 * 1024;

/// What is wrong with a file.
#[derive(Debug)]
pub(super) enum Fault {
    /// Another process has it.
    Locked,
    /// The system does not let it be read, or it is no file.
    System(io::Error),
    /// Not redb's, or damaged.
    Unreadable(String),
}

/// The format of a data file, read without changing the file. `None` if it is a file of redb that is not Keybook's.
pub(super) fn probe(path: &Path) -> Result<Option<u32>, Fault> {
    // redb panics on some damaged files. Nothing is shared with it but the file, which it cannot write.
    let looked = catch_unwind(AssertUnwindSafe(|| look(path)));
    looked.unwrap_or_else(|_| Err(Fault::Unreadable("it contradicts itself".to_owned())))
}

fn look(path: &Path) -> Result<Option<u32>, Fault> {
    let file = File::open(path).map_err(Fault::System)?;
    if file.metadata().map_err(Fault::System)?.is_dir() {
        return Err(Fault::System(io::ErrorKind::IsADirectory.into()));
    }
    // Opening a file only to read it finds the lock of whoever writes to it. What else that may find, the look below finds in
    // more depth.
    let opened = ReadOnlyDatabase::open(path);
    if matches!(opened, Err(DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch)) {
        return Err(Fault::Locked);
    }
    drop(opened);
    let overlay = Overlay::new(file).map_err(Fault::System)?;
    let format = || -> Result<_, Box<dyn std::error::Error>> {
        let database = Database::builder().set_cache_size(PROBE_CACHE_BYTES).create_with_backend(overlay)?;
        let format = format_of(&database);
        // Closing would commit, which a damaged file may turn into a panic within a panic, and that ends the process.
        std::mem::forget(database);
        Ok(format?)
    };
    format().map_err(|error| Fault::Unreadable(error.to_string()))
}

/// A file that is only read, below pages that were written.
#[derive(Debug)]
pub(super) struct Overlay {
    file: File,
    written: Mutex<Written>,
}

/// What was written, and stays in memory.
#[derive(Debug)]
struct Written {
    length: u64,
    /// Written bytes by page number.
    pages: BTreeMap<u64, [u8; PAGE]>,
}

const PAGE: usize = 4096;

impl Overlay {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::new(File::open(path)?)
    }

    fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, written: Mutex::new(Written { length, pages: BTreeMap::new() }) })
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page as it is in the file; zeros behind its end.
    fn read_page(&self, number: u64) -> io::Result<[u8; PAGE]> {
        let mut page = [0; PAGE];
        let mut filled = 0;
        while filled < PAGE {
            match self.file.read_at(&mut page[filled..], number * PAGE as u64 + filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(page)
    }
}

/// The pages that a range of bytes touches: number, offset in the page, and where in the range it begins and ends.
fn pages(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let (number, start) = (at / PAGE as u64, (at % PAGE as u64) as usize);
        let range = done..length.min(done + PAGE - start);
        done = range.end;
        (!range.is_empty()).then_some((number, start, range))
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > written.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, start, range) in pages(offset, out.len()) {
            let page = match written.pages.get(&number) {
                Some(page) => *page,
                None => self.read_page(number)?,
            };
            out[range.clone()].copy_from_slice(&page[start..start + range.len()]);
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.written().length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written();
        for (number, start, range) in pages(offset, data.len()) {
            let mut page = match written.pages.get(&number) {
                Some(page) => *page,
                None => self.read_page(number)?,
            };
            page[start..start + range.len()].copy_from_slice(&data[range]);
            written.pages.insert(number, page);
        }
        Ok(())
    }
}
