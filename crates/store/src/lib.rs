//! The dictionaries of a data folder.
//!
//! [`engine`] says what a store offers. Two engines keep the rows: [`disk`], which the server uses, in one file of redb, and
//! [`memory`], which the simulator uses. One suite, `tests/engines.rs`, runs on both, and they answer alike byte by byte.
//!
//! What an operation does to the rows is decided in [`keybook_core::server`], not here. A store knows of no connection, no
//! thread and no clock.

#[cfg(feature = "redb")]
pub mod disk;
pub mod engine;
pub mod memory;
#[cfg(feature = "testing")]
pub mod testing;

use keybook_core::{DictionaryId, DictionaryName};

#[cfg(feature = "redb")]
pub use self::disk::{Compacted, Corrupt, FORMAT, Folder, OpenError, Store, StoreError, Verified, verify};
pub use self::engine::{Engine, FirstEntries, FirstEntry, Summary, Tables, Transaction};

/// The identity of a dictionary: the first 8 bytes, big-endian, of BLAKE3 over the store's id (8 bytes), `incarnation`
/// (8 bytes: how often the name was deleted) and the name.
///
/// So it is known before the first write, and Hello writes nothing; and a dictionary that was deleted and is written again
/// has another one.
fn dictionary_id(store: u64, name: &DictionaryName, incarnation: u64) -> DictionaryId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&store.to_be_bytes()).update(&incarnation.to_be_bytes()).update(name.as_str().as_bytes());
    let hash = hasher.finalize();
    DictionaryId(u64::from_be_bytes(*hash.as_bytes().first_chunk().expect("BLAKE3 has 32 bytes")))
}
