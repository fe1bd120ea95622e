//! What is shown: of each key the greatest of what the server has confirmed, what this replica has written and what its
//! siblings have.

use std::collections::BTreeSet;

use super::{Outbox, OutboxRow, RowState, siblings::Siblings};
use crate::{AuthorId, Dictionary, Entry, Key, Stamp, Value};

/// What is shown of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown<'a> {
    /// The value, or none after a remove.
    pub value: Option<&'a Value>,
    /// When and by which replica.
    pub stamp: Stamp,
    /// Who wrote it.
    pub author: AuthorId,
    /// What the write waits for; none when it is confirmed.
    pub pending: Option<RowState>,
}

/// The three places of which something is shown.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) confirmed: &'a Dictionary,
    pub(super) outbox: &'a Outbox,
    pub(super) siblings: &'a Siblings,
}

impl<'a> View<'a> {
    /// What is shown of a key; none if it never had an entry. O(log n).
    pub(super) fn shown(self, key: &Key) -> Option<Shown<'a>> {
        let confirmed = self.confirmed.entry(key.as_str());
        match (confirmed, self.waiting(key)) {
            (Some(entry), Some(row)) if entry.rank() > row.rank() => Some(Shown::entry(entry)),
            (_, Some(row)) => Some(Shown::row(row)),
            (Some(entry), None) => Some(Shown::entry(entry)),
            (None, None) => None,
        }
    }

    /// The greatest write of a key that is not confirmed and may be shown.
    fn waiting(self, key: &Key) -> Option<&'a OutboxRow> {
        self.siblings.shown(key, self.outbox.shown(key))
    }

    /// What an edit that begins now will have seen of a key.
    pub(super) fn begin(self, key: &Key) -> Stamp {
        let confirmed = self.confirmed.entry(key.as_str());
        match self.waiting(key) {
            Some(row) if confirmed.is_none_or(|entry| entry.rank() <= row.rank()) => match &row.recovered {
                // It was the confirmed entry.
                Some(_) => row.stamp,
                None => row.seen[0],
            },
            _ => confirmed.map_or(Stamp::ZERO, |entry| entry.stamp),
        }
    }

    /// The keys that are shown with a value, in order. O(n).
    pub(super) fn keys(self) -> Vec<Key> {
        let mut keys = Vec::with_capacity(self.confirmed.live() as usize);
        let mut waiting = BTreeSet::new();
        waiting.extend(self.outbox.keys().chain(self.siblings.keys()).cloned());
        let is_confirmed = waiting.is_empty();
        let mut waiting = waiting.into_iter().peekable();
        for (key, _) in self.confirmed.iter() {
            keys.extend(std::iter::from_fn(|| waiting.next_if(|next| next < key)));
            waiting.next_if_eq(key);
            keys.push(key.clone());
        }
        keys.extend(waiting);
        if !is_confirmed {
            keys.retain(|key| self.shown(key).is_some_and(|shown| shown.value.is_some()));
        }
        keys
    }
}

impl<'a> Shown<'a> {
    fn entry(entry: &'a Entry) -> Self {
        Self { value: entry.value.as_ref(), stamp: entry.stamp, author: entry.author, pending: None }
    }

    fn row(row: &'a OutboxRow) -> Self {
        Self { value: row.value.as_ref(), stamp: row.stamp, author: row.author.id, pending: Some(row.state) }
    }
}
