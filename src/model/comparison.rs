//! Two values of a key beside each other: what a conflict has left out, or what was there before an absence, and what is there.

use keybook_core::{
    AuthorId, Conflict, ConflictId, Key, Side, Stamp, Value,
    client::{Absence, Client, Shown},
};

use super::row::ValueText;

/// A key with two of its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The key.
    pub key: Key,
    /// What is there.
    pub now: Written,
    /// What lost, or was there before.
    pub other: Written,
    /// The conflict in which it lost, if it did.
    pub conflict: Option<ConflictId>,
    /// Whether it is this page's person who wrote what lost.
    pub is_own: bool,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The value's beginning; none for a remove, or nothing.
    pub value: Option<ValueText>,
    /// Who wrote it, and when; none if that is not known.
    pub by: Option<Writer>,
}

/// Who wrote something, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// The name.
    pub name: String,
    /// When, in milliseconds since 1970.
    pub millis: u64,
}

impl Comparison {
    /// What tells it from others, and from itself with another value now.
    pub fn name(&self) -> String {
        let loser = self.conflict.as_ref().map_or(Stamp::ZERO, |id| id.loser);
        let by = self.now.by.as_ref().map_or((0, ""), |by| (by.millis, &by.name));
        format!("{} {:x} {} {}", self.key, u128::from_be_bytes(loser.to_bytes()), by.0, by.1)
    }
}

/// The open conflicts: those that this person has lost first, and of them the newest.
pub(super) fn conflicts(client: &Client) -> Vec<Comparison> {
    let mut rows = Vec::new();
    for own in [true, false] {
        for conflict in client.open_conflicts().into_iter().rev().filter(|row| is_own(row, client) == own) {
            rows.push(of_conflict(conflict, client));
        }
    }
    rows
}

/// Whether it was this person who lost.
pub(super) fn is_own(conflict: &Conflict, client: &Client) -> bool {
    conflict.loser.author == client.author().id
}

/// What others changed while the device was away, in the order of the keys.
pub(super) fn changes(client: &Client) -> Vec<Comparison> {
    let mut rows = Vec::new();
    for (key, before) in client.absence().map_or(&[][..], Absence::changes) {
        rows.push(Comparison {
            key: key.clone(),
            now: now(key, client).unwrap_or_else(nothing),
            other: Written { value: before.as_ref().map(ValueText::new), ..nothing() },
            conflict: None,
            is_own: false,
        });
    }
    rows
}

fn of_conflict(conflict: &Conflict, client: &Client) -> Comparison {
    let Side { value, stamp, author } = &conflict.loser;
    Comparison {
        key: conflict.key.clone(),
        now: now(&conflict.key, client).unwrap_or_else(nothing),
        other: written(value.as_ref(), *stamp, *author, client),
        conflict: Some(conflict.id()),
        is_own: is_own(conflict, client),
    }
}

fn now(key: &Key, client: &Client) -> Option<Written> {
    let Shown { value, stamp, author, .. } = client.shown(key)?;
    Some(written(value, stamp, author, client))
}

fn written(value: Option<&Value>, stamp: Stamp, author: AuthorId, client: &Client) -> Written {
    let by = Writer { name: client.name(author).as_str().to_owned(), millis: stamp.millis() };
    Written { value: value.map(ValueText::new), by: Some(by) }
}

fn nothing() -> Written {
    Written { value: None, by: None }
}
