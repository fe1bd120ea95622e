//! What the page compares: open conflicts, and what changed while the device was away.

use keybook_core::{
    AuthorId, Conflict, Key, Side, Stamp, Value,
    client::{Absence, Client, Shown},
};

use super::{Comparison, ValueText, Written};

/// The open conflicts: those that this person has lost first, and of them the newest.
pub fn conflicts(client: &Client) -> Vec<Comparison> {
    let mut rows = Vec::new();
    for own in [true, false] {
        for conflict in client.open_conflicts().rev().filter(|conflict| is_own(conflict, client) == own) {
            rows.push(of_conflict(conflict, client));
        }
    }
    rows
}

/// Whether it was this person who lost.
pub fn is_own(conflict: &Conflict, client: &Client) -> bool {
    conflict.loser.author == client.author().id
}

/// What others changed while the device was away, in the order of the keys.
pub fn changes(client: &Client) -> Vec<Comparison> {
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
    let side = |side: &Side| written(side.value.as_ref(), side.stamp, side.author, client);
    Comparison {
        key: conflict.key.clone(),
        now: now(&conflict.key, client).unwrap_or_else(|| side(&conflict.winner)),
        other: side(&conflict.loser),
        conflict: Some(conflict.id),
        is_own: is_own(conflict, client),
    }
}

fn now(key: &Key, client: &Client) -> Option<Written> {
    let Shown { value, stamp, author, .. } = client.shown(key)?;
    Some(written(value, stamp, author, client))
}

fn written(value: Option<&Value>, stamp: Stamp, author: AuthorId, client: &Client) -> Written {
    Written {
        value: value.map(ValueText::new),
        author: client.name(author).as_str().to_owned(),
        millis: stamp.millis(),
    }
}

fn nothing() -> Written {
    Written { value: None, author: String::new(), millis: 0 }
}
