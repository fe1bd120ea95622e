//! The rows that are shown: those of the first page until the replica has read the dictionary, under what it holds.

use std::{collections::BTreeSet, ops::Range};

use keybook_core::{
    Key, Stamp, Value,
    client::{Client, RowState},
};

use super::{
    first_page::{FirstPage, FirstRow},
    held::held_reason,
    listing::Listing,
    row::{EntryState, Row, ValueText, author_text},
    search::{Fold, SLICE_BYTES},
};

/// Which rows are shown, in which order.
#[derive(Clone, Debug)]
pub(super) struct ShownRows {
    first: Option<FirstPage>,
    listing: Listing,
    /// Since the last refresh.
    changed: BTreeSet<Key>,
    is_reset: bool,
}

impl ShownRows {
    /// Of a first page, which is shown until the client knows more.
    pub(super) fn new(first: FirstPage, fold: Fold) -> Self {
        let keys = first.rows.iter().map(|row| row.key.clone()).collect();
        Self { first: Some(first), listing: Listing::new(keys, fold), changed: BTreeSet::new(), is_reset: false }
    }

    /// Searches by this folding from now on.
    pub(super) fn set_fold(&mut self, fold: Fold) {
        self.listing.set_fold(fold);
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

    /// Whether the first page is all that is shown, and newer than what the client has.
    pub(super) fn is_ahead_of(&self, client: &Client) -> bool {
        self.first.as_ref().is_some_and(|first| first.seq > client.cursor()) && !client.is_settled()
    }

    /// Brings the order up to date.
    pub(super) fn refresh(&mut self, client: &Client) {
        let Self { first, listing, .. } = self;
        let changed = std::mem::take(&mut self.changed);
        if std::mem::take(&mut self.is_reset) {
            listing.reset(client.keys());
        } else {
            listing.update(&changed, |key| json(client, first.as_ref(), key));
        }
    }

    /// Begins to look for a text, and finds the first of it.
    pub(super) fn search(&mut self, text: &str, client: &Client) {
        self.listing.search(text);
        self.go_on(client);
    }

    /// Goes on with the search, for a slice of it. Returns whether there was one under way.
    pub(super) fn go_on(&mut self, client: &Client) -> bool {
        let Self { first, listing, .. } = self;
        listing.step(|key| json(client, first.as_ref(), key), SLICE_BYTES)
    }

    /// Whether a search is under way.
    pub(super) fn is_searching(&self) -> bool {
        self.listing.is_searching()
    }

    pub(super) fn len(&self) -> usize {
        self.listing.len()
    }

    /// How many entries there are, found or not.
    pub(super) fn live(&self) -> u64 {
        let listed = self.listing.total() as u64;
        self.first.as_ref().map_or(listed, |first| first.live.max(listed))
    }

    /// The keys of some rows; fewer if the range ends behind the last.
    pub(super) fn keys(&self, range: Range<usize>) -> impl Iterator<Item = &Key> {
        self.listing.keys(range)
    }

    /// Where a key is, or would be. O(log n).
    pub(super) fn position(&self, key: &Key) -> usize {
        self.listing.position(key)
    }

    /// A key's row, before there is a client.
    pub(super) fn first_row(&self, key: &Key) -> Option<Row> {
        self.first.as_ref()?.row(key.as_str()).map(FirstRow::to_row)
    }

    /// A key's row. `unsaved` is what is said of an edit that the server does not have.
    pub(super) fn row(&self, key: &Key, client: &Client, unsaved: &EntryState) -> Option<Row> {
        if let Some(first) = first_row(self.first.as_ref(), client, key) {
            return Some(first.to_row());
        }
        let shown = client.shown(key)?;
        let held = client.outbox().rows(key).iter().find_map(|row| held_reason(row.state));
        let state = match (held, shown.pending) {
            (Some(reason), _) => EntryState::Held(reason),
            (None, None | Some(RowState::Acked(_) | RowState::Left(_))) => EntryState::Saved,
            (None, Some(_)) => unsaved.clone(),
        };
        let brought_back_by = client.brought_back_by(key).map(|by| client.name(by));
        Some(Row {
            key: key.clone(),
            value: ValueText::new(shown.value?),
            stamp: shown.stamp,
            author: author_text(&client.name(shown.author), brought_back_by.as_ref()),
            is_in_conflict: client.is_in_conflict(key),
            state,
        })
    }

    /// The whole value of a key; none while only its beginning is known. O(log n).
    pub(super) fn value(&self, key: &Key, client: &Client) -> Option<Value> {
        match first_row(self.first.as_ref(), client, key) {
            Some(first) => first.value(),
            None => client.shown(key)?.value.cloned(),
        }
    }

    /// What an edit of a key that begins now will have seen.
    pub(super) fn begin(&self, key: &Key, client: &Client) -> Stamp {
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
