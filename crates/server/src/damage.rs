//! Which dictionaries were found damaged.
//!
//! What is damaged cannot be repaired here, and what is read of it may be anything. So from the first finding on nobody reads or writes
//! the dictionary: requests are told so, connections that follow it end, and whoever runs the server reads it in the log. The others
//! go on. What was found lasts as long as the process: who has restored the file starts it anew.

use std::collections::BTreeMap;

use keybook_core::DictionaryName;
use keybook_store::{Corrupt, StoreError};
use tokio::sync::watch;
use tracing::error;

/// The damaged dictionaries, and in which table each was found to be so first.
pub(crate) type Found = BTreeMap<DictionaryName, Corrupt>;

/// What has been found.
#[derive(Debug, Default)]
pub(crate) struct Damage(watch::Sender<Found>);

impl Damage {
    /// Refuses what is known to be damaged.
    pub(crate) fn check(&self, name: &DictionaryName) -> Result<(), StoreError> {
        self.0.borrow().get(name).map_or(Ok(()), |&corrupt| Err(corrupt.into()))
    }

    /// An error came of reading or writing a dictionary. Returns whether the dictionary is damaged.
    pub(crate) fn note(&self, name: &DictionaryName, error: &StoreError) -> bool {
        let &StoreError::Corrupt(corrupt) = error else { return false };
        self.0.send_if_modified(|found| {
            let is_new = found.insert(name.clone(), corrupt).is_none();
            if is_new {
                let Corrupt { table } = corrupt;
                error!("the dictionary {name} is damaged, found in the table {table}: it is served no more");
            }
            is_new
        });
        true
    }

    /// What has been found so far.
    pub(crate) fn found(&self) -> Found {
        self.0.borrow().clone()
    }

    /// Follows what is found.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Found> {
        self.0.subscribe()
    }
}
