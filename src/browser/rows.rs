//! The rows that are shown: those of the first page until the replica has read the dictionary, under what it holds.

use std::{collections::BTreeSet, ops::Range};

use keybook_core::{
    author::AuthorName,
    client::{Client, RowState},
    key::Key,
    stamp::Stamp,
    value::Value,
};

use crate::app::model::{Connection, EntryState, FirstPage, Listing, Row, ValueText, held_reason};

/// Which rows are shown, in which order.
pub(super) struct Rows {
    first: Option<FirstPage>,
    listing: Listing,
    /// Since the last refresh.
    changed: BTreeSet<Key>,
    is_reset: bool,
}

impl Rows {
    pub(super) fn new(first: FirstPage) -> Self {
        let keys = first.rows.iter().map(|row| row.key.clone()).collect();
        Self { first: Some(first), listing: Listing::new(keys), changed: BTreeSet::new(), is_reset: false }
    }

    /// These keys' rows have changed.
    pub(super) fn handle_changed(&mut self, keys: BTreeSet<Key>) {
        if self.changed.is_empty() {
            self.changed = keys;
        } else {
            self.changed.extend(keys);
        }
    }

    /// Any row may have changed: the replica has read the dictionary.
    pub(super) fn handle_reset(&mut self) {
        self.first = None;
        self.is_reset = true;
        self.changed.clear();
    }

    /// Whether the first page is all that is known.
    pub(super) fn is_first(&self) -> bool {
        self.first.is_some()
    }

    /// Brings the order up to date.
    pub(super) fn refresh(&mut self, client: &Client) {
        let Self { first, listing, .. } = self;
        let changed = std::mem::take(&mut self.changed);
        if std::mem::take(&mut self.is_reset) {
            listing.reset(client.keys(), |key| json(client, None, key).unwrap_or_default());
        } else {
            listing.update(&changed, |key| json(client, first.as_ref(), key));
        }
    }

    pub(super) fn search(&mut self, text: &str, client: &Client) {
        let Self { first, listing, .. } = self;
        listing.search(text, |key| json(client, first.as_ref(), key).unwrap_or_default());
    }

    pub(super) fn len(&self) -> usize {
        self.listing.len()
    }

    /// How many entries there are, found or not.
    pub(super) fn live(&self) -> u64 {
        let listed = self.listing.total() as u64;
        self.first.as_ref().map_or(listed, |first| first.live.max(listed))
    }

    pub(super) fn keys(&self, range: Range<usize>) -> Vec<Key> {
        self.listing.keys(range).to_vec()
    }

    pub(super) fn position(&self, key: &Key) -> usize {
        self.listing.position(key)
    }

    pub(super) fn row(&self, key: &Key, client: &Client, connection: Connection) -> Option<Row> {
        let Some(shown) = client.shown(key) else {
            return Some(self.first.as_ref()?.row(key.as_str())?.to_row());
        };
        let author = if shown.author == client.author().id {
            client.author().name.clone()
        } else {
            client.names().get(&shown.author).cloned().unwrap_or_else(|| AuthorName::generated(shown.author))
        };
        let held = client.outbox().rows(key).iter().find_map(|row| held_reason(row.state));
        Some(Row {
            key: key.clone(),
            value: ValueText::new(shown.value?),
            stamp: shown.stamp,
            author: author.as_str().to_owned(),
            state: held.map_or_else(|| entry_state(shown.pending, connection), EntryState::Held),
        })
    }

    pub(super) fn value(&self, key: &Key, client: &Client) -> Option<Value> {
        match client.shown(key) {
            Some(shown) => shown.value.cloned(),
            None => self.first.as_ref()?.row(key.as_str())?.value(),
        }
    }

    /// What an edit of a key that begins now will have seen.
    pub(super) fn begin(&self, key: &Key, client: &Client) -> Stamp {
        let first = self.first.as_ref().filter(|_| client.shown(key).is_none());
        let first = first.and_then(|first| first.row(key.as_str()));
        first.map_or_else(|| client.begin(key), |row| row.stamp)
    }
}

/// The JSON of a key's value, or of its beginning; none if it has no value.
fn json<'a>(client: &'a Client, first: Option<&'a FirstPage>, key: &Key) -> Option<&'a str> {
    match client.shown(key) {
        Some(shown) => shown.value.map(Value::as_str),
        None => Some(&first?.row(key.as_str())?.value.text),
    }
}

fn entry_state(pending: Option<RowState>, connection: Connection) -> EntryState {
    match pending {
        None | Some(RowState::Acked(_)) => EntryState::Saved,
        Some(RowState::Queued | RowState::Sent) if connection != Connection::Offline => EntryState::Saving,
        Some(_) => EntryState::Waiting,
    }
}
