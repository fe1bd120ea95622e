//! Reading all that there is, to know that it is what was written.

use std::path::Path;

use keybook_core::DictionaryName;
use redb::Database;

use super::{CACHE_BYTES, Folder, OpenError, StoreError, open, probe::Overlay, sealed::guarded};
use crate::engine::Summary;

/// What [`verify`] has found.
#[derive(Debug)]
pub struct Verified {
    /// Whether each page that is in use has the checksum that redb gave it.
    pub pages: Result<(), StoreError>,
    /// Each dictionary, or what cannot be read of it.
    pub dictionaries: Vec<(DictionaryName, Result<Summary, StoreError>)>,
}

/// Reads the data file of a folder that no server has open: all pages, all rows, and whether the rows of each dictionary are as
/// many as its counters say, and have its digest. Does not change the file. O(file).
///
/// # Errors
/// When nothing of it can be read.
pub fn verify(folder: &Path) -> Result<Verified, OpenError> {
    let folder = Folder::take_existing(folder)?;
    let path = folder.file();
    open::check(&path)?;
    let in_store = |error| open::in_store(&path, error);
    let pages = pages(&path);
    let store = open::resume(&path).map_err(in_store)?;
    let names = store.names().map_err(in_store)?;
    let dictionaries = names.into_iter().map(|name| {
        let checked = store.check(&name);
        (name, checked)
    });
    Ok(Verified { pages, dictionaries: dictionaries.collect() })
}

fn pages(path: &Path) -> Result<(), StoreError> {
    let overlay = Overlay::open(path)?;
    let is_whole = guarded("meta", || {
        let mut database = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(overlay)?;
        let checked = database.check_integrity();
        // As in the probe: closing writes, and of a damaged file nothing can be written.
        std::mem::forget(database);
        checked
    });
    if is_whole? { Ok(()) } else { Err(StoreError::Pages) }
}
