//! The rows that are shown: those of the first page until the replica has read the dictionary, under what it holds.

use std::{collections::BTreeSet, ops::Range};

use keybook_core::{
    Key, Stamp, Value,
    client::{Client, RowState},
};

use super::{EntryState, FirstPage, FirstRow, Listing, Row, ValueText, held_reason};

/// Which rows are shown, in which order.
pub struct Rows {
    first: Option<FirstPage>,
    listing: Listing,
    /// Since the last refresh.
    changed: BTreeSet<Key>,
    is_reset: bool,
}

impl Rows {
    /// Of a first page, which is shown until the client knows more.
    pub fn new(first: FirstPage) -> Self {
        let keys = first.rows.iter().map(|row| row.key.clone()).collect();
        Self { first: Some(first), listing: Listing::new(keys), changed: BTreeSet::new(), is_reset: false }
    }

    /// These keys' rows have changed.
    pub fn handle_changed(&mut self, keys: BTreeSet<Key>) {
        if self.changed.is_empty() {
            self.changed = keys;
        } else {
            self.changed.extend(keys);
        }
    }

    /// Any row may have changed: the replica has read the dictionary.
    pub fn handle_reset(&mut self) {
        self.first = None;
        self.is_reset = true;
        self.changed.clear();
    }

    /// Whether the first page is all that is known.
    pub fn is_first(&self) -> bool {
        self.first.is_some()
    }

    /// Whether the first page is all that is shown, and newer than what the client has.
    pub fn is_ahead_of(&self, client: &Client) -> bool {
        self.first.as_ref().is_some_and(|first| first.seq > client.cursor()) && !client.is_settled()
    }

    /// Brings the order up to date.
    pub fn refresh(&mut self, client: &Client) {
        let Self { first, listing, .. } = self;
        let changed = std::mem::take(&mut self.changed);
        if std::mem::take(&mut self.is_reset) {
            listing.reset(client.keys(), |key| json(client, None, key).unwrap_or_default());
        } else {
            listing.update(&changed, |key| json(client, first.as_ref(), key));
        }
    }

    /// Shows the rows that contain a text; all if it is empty. O(size of the dictionary).
    pub fn search(&mut self, text: &str, client: &Client) {
        let Self { first, listing, .. } = self;
        listing.search(text, |key| json(client, first.as_ref(), key).unwrap_or_default());
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.listing.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many entries there are, found or not.
    pub fn live(&self) -> u64 {
        let listed = self.listing.total() as u64;
        self.first.as_ref().map_or(listed, |first| first.live.max(listed))
    }

    /// The keys of some rows; fewer if the range ends behind the last.
    pub fn keys(&self, range: Range<usize>) -> Vec<Key> {
        self.listing.keys(range).to_vec()
    }

    /// Where a key is, or would be. O(log n).
    pub fn position(&self, key: &Key) -> usize {
        self.listing.position(key)
    }

    /// A key's row. `unsaved` is what is said of an edit that the server does not have.
    pub fn row(&self, key: &Key, client: &Client, unsaved: EntryState) -> Option<Row> {
        if let Some(first) = first_row(self.first.as_ref(), client, key) {
            return Some(first.to_row());
        }
        let shown = client.shown(key)?;
        let held = client.outbox().rows(key).iter().find_map(|row| held_reason(row.state));
        let state = match (held, shown.pending) {
            (Some(reason), _) => EntryState::Held(reason),
            (None, None | Some(RowState::Acked(_) | RowState::Left(_))) => EntryState::Saved,
            (None, Some(_)) => unsaved,
        };
        Some(Row {
            key: key.clone(),
            value: ValueText::new(shown.value?),
            stamp: shown.stamp,
            author: client.name(shown.author).as_str().to_owned(),
            is_in_conflict: client.open_conflicts().any(|conflict| conflict.key == *key),
            state,
        })
    }

    /// The whole value of a key; none while only its beginning is known. O(log n).
    pub fn value(&self, key: &Key, client: &Client) -> Option<Value> {
        match first_row(self.first.as_ref(), client, key) {
            Some(first) => first.value(),
            None => client.shown(key)?.value.cloned(),
        }
    }

    /// What an edit of a key that begins now will have seen.
    pub fn begin(&self, key: &Key, client: &Client) -> Stamp {
        first_row(self.first.as_ref(), client, key).map_or_else(|| client.begin(key), |first| first.stamp)
    }
}

/// The JSON of a key's value, or of its beginning; none if it has no value.
fn json<'a>(client: &'a Client, first: Option<&'a FirstPage>, key: &Key) -> Option<&'a str> {
    match first_row(first, client, key) {
        Some(first) => Some(&first.value.text),
        None => client.shown(key)?.value.map(Value::as_str),
    }
}

/// The first page's row of a key, if the client has nothing newer.
fn first_row<'a>(first: Option<&'a FirstPage>, client: &Client, key: &Key) -> Option<&'a FirstRow> {
    let row = first?.row(key.as_str())?;
    client.shown(key).is_none_or(|shown| shown.stamp < row.stamp).then_some(row)
}
