//! Reading: off the threads that serve, and no further once a dictionary was found damaged.

use std::sync::Arc;

use keybook_core::{DictionaryName, Seq, server::CatchUp};
use keybook_store::{Engine, FirstEntries, Store, StoreError, Summary};
use tokio::task::spawn_blocking;

use crate::damage::Damage;

/// Reads the dictionaries. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reader {
    store: Arc<Store>,
    damage: Arc<Damage>,
}

impl Reader {
    /// Reads from an open store.
    pub fn new(store: Arc<Store>) -> Self {
        Self::with(store, Arc::default())
    }

    pub(crate) fn with(store: Arc<Store>, damage: Arc<Damage>) -> Self {
        Self { store, damage }
    }

    /// Reads a dictionary on a thread that may block.
    ///
    /// # Errors
    /// When `read` fails.
    pub async fn read<T: Send + 'static, E: Send + 'static>(
        &self,
        name: &DictionaryName,
        read: impl FnOnce(&Dictionary) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let dictionary = self.dictionary(name);
        block(move || read(&dictionary)).await
    }

    /// The dictionaries that have been written.
    pub(crate) async fn names(&self) -> Result<Vec<DictionaryName>, StoreError> {
        let store = self.store.clone();
        block(move || store.names()).await
    }

    pub(crate) fn dictionary(&self, name: &DictionaryName) -> Dictionary {
        Dictionary { store: self.store.clone(), damage: self.damage.clone(), name: name.clone() }
    }
}

/// Does something on a thread that may block.
async fn block<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(act).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// A dictionary as it is read. Each function is the store's of the same name. Where one finds damage, that and all later ones fail,
/// here and for everybody else.
#[derive(Debug)]
pub struct Dictionary {
    store: Arc<Store>,
    damage: Arc<Damage>,
    name: DictionaryName,
}

impl Dictionary {
    /// Its counters and its epochs. One that does not exist is empty.
    ///
    /// # Errors
    /// When the store fails.
    pub fn summary(&self) -> Result<Summary, StoreError> {
        self.ask(Store::summary)
    }

    /// What changed after a cursor.
    ///
    /// # Errors
    /// When the store fails.
    pub fn catch_up(&self, after: Seq, bytes: usize) -> Result<CatchUp, StoreError> {
        self.ask(|store, name| store.catch_up(name, after, bytes))
    }

    /// The first live entries.
    ///
    /// # Errors
    /// When the store fails.
    pub fn first_entries(&self, count: usize) -> Result<FirstEntries, StoreError> {
        self.ask(|store, name| store.first_entries(name, count))
    }

    /// The snapshot in memory.
    ///
    /// # Errors
    /// When the store fails.
    pub fn snapshot(&self) -> Result<(Seq, Vec<u8>), StoreError> {
        self.ask(Store::snapshot)
    }

    /// Writes the snapshot, chunk by chunk.
    ///
    /// # Errors
    /// When the store fails, or `write`.
    pub fn write_snapshot<E: From<StoreError>>(&self, mut write: impl FnMut(&[u8]) -> Result<(), E>) -> Result<Seq, E> {
        // What `write` says is nothing of the dictionary.
        let mut unwritten = None;
        let written = self.ask(|store, name| {
            let written: Result<Seq, Unwritten> = store.write_snapshot(name, |chunk| {
                write(chunk).map_err(|error| {
                    unwritten = Some(error);
                    Unwritten::Elsewhere
                })
            });
            match written {
                Ok(seq) => Ok(Some(seq)),
                Err(Unwritten::Elsewhere) => Ok(None),
                Err(Unwritten::Store(error)) => Err(error),
            }
        });
        match (written?, unwritten) {
            (Some(seq), _) => Ok(seq),
            (None, error) => Err(error.expect("it is why nothing was written")),
        }
    }

    fn ask<T>(&self, ask: impl FnOnce(&Store, &DictionaryName) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.damage.check(&self.name)?;
        let answer = ask(&self.store, &self.name);
        if let Err(error) = &answer {
            self.damage.note(&self.name, error);
        }
        answer
    }
}

/// Why a snapshot was not written.
enum Unwritten {
    Store(StoreError),
    Elsewhere,
}

impl From<StoreError> for Unwritten {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
