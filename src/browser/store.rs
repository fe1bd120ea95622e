//! Where a replica keeps what the server has not confirmed.

use std::collections::BTreeMap;

use keybook_core::{client::OutboxRow, key::Key};

/// A place on this device for the outbox.
pub(super) trait LocalStore {
    /// Keeps the outbox's rows of a key in place of those it had; none means that nothing waits any more.
    fn keep(&mut self, key: &Key, rows: &[OutboxRow]);

    /// Whether what it keeps outlives the page.
    fn is_durable(&self) -> bool;
}

/// Keeps rows as long as the page lives.
#[derive(Default)]
pub(super) struct MemoryStore {
    rows: BTreeMap<Key, Vec<OutboxRow>>,
}

impl LocalStore for MemoryStore {
    fn keep(&mut self, key: &Key, rows: &[OutboxRow]) {
        if rows.is_empty() {
            self.rows.remove(key);
        } else {
            self.rows.insert(key.clone(), rows.to_vec());
        }
    }

    fn is_durable(&self) -> bool {
        false
    }
}
