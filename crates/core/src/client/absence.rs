//! What others changed while this device was away, for its person to look at: of each key what was shown before.
//!
//! A device was away if it comes with what it had kept, or has heard nothing for some minutes. What it catches up with then
//! is noted, until the person has seen it; a second absence before that adds to the first. It is noted while the catch-up comes in,
//! rather than read from the server's versions: so it is what this person was shown, and costs nothing to ask for.
//!
//! It watches, and decides nothing: the client tells it what happens.

use std::mem;

use crate::{Entry, Key, Seq, Value};

/// Who has heard nothing for this long was away: no person sits that long and waits for the connection.
pub const ABSENCE_MS_MIN: u64 = 300_000;
/// Changes that are noted with what was before: more than a person reads.
const CHANGES_MAX: usize = 200;
/// Bytes of those values.
const VALUES_BYTES_MAX: usize = 1024 * 1024;

/// What others changed meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Absence {
    /// The cursor at its beginning.
    after: Seq,
    changes: Vec<(Key, Option<Value>)>,
    values_bytes: usize,
    more: u64,
}

impl Absence {
    /// Changed keys, in order, each with the value that was shown before.
    pub fn changes(&self) -> &[(Key, Option<Value>)] {
        &self.changes
    }

    /// How many keys changed beside those.
    pub fn more(&self) -> u64 {
        self.more
    }

    fn note(&mut self, key: &Key, before: Option<&Value>) {
        let Err(place) = self.changes.binary_search_by(|(known, _)| known.cmp(key)) else { return };
        let bytes = self.values_bytes + before.map_or(0, |value| value.as_str().len());
        if self.changes.len() == CHANGES_MAX || bytes > VALUES_BYTES_MAX {
            self.more += 1;
            return;
        }
        self.values_bytes = bytes;
        self.changes.insert(place, (key.clone(), before.cloned()));
    }
}

/// Watches whether the device was away, and what it missed.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    /// When the last message came; zero if none has.
    heard_ms: u64,
    stay: Stay,
}

/// Where the person's device is.
#[derive(Clone, Debug, Default)]
enum Stay {
    /// It has missed nothing, or its person has seen what.
    #[default]
    Here,
    /// It is back, and catches up.
    CatchingUp(Absence),
    /// It has caught up, and its person has not seen this.
    Back(Absence),
}

impl Watch {
    /// What the device missed, once it has caught up; none if that is nothing, or was seen.
    pub(super) fn missed(&self) -> Option<&Absence> {
        match &self.stay {
            Stay::Back(absence) => Some(absence),
            Stay::Here | Stay::CatchingUp(_) => None,
        }
    }

    /// The person has seen it.
    pub(super) fn handle_seen(&mut self) {
        if matches!(self.stay, Stay::Back(_)) {
            self.stay = Stay::Here;
        }
    }

    /// A message has come.
    pub(super) fn handle_heard(&mut self, now_ms: u64) {
        self.heard_ms = now_ms;
    }

    /// Welcome has come, and the base goes on at `cursor`. A client that has nothing to compare with was not away.
    pub(super) fn handle_welcome(&mut self, cursor: Seq, now_ms: u64) {
        let was_away = now_ms.saturating_sub(self.heard_ms) >= ABSENCE_MS_MIN;
        self.stay = match mem::take(&mut self.stay) {
            _ if cursor == Seq(0) => Stay::Here,
            Stay::CatchingUp(absence) => Stay::CatchingUp(Absence { after: cursor, ..absence }),
            Stay::Back(absence) if was_away => Stay::CatchingUp(Absence { after: cursor, ..absence }),
            Stay::Here if was_away => Stay::CatchingUp(Absence { after: cursor, ..Absence::default() }),
            stay => stay,
        };
    }

    /// Somebody else's entry comes. `known` is what was confirmed before, and `shown` looks up the value that was shown.
    pub(super) fn handle_entry<'a>(
        &mut self,
        key: &Key,
        entry: &Entry,
        known: Option<&Entry>,
        shown: impl FnOnce() -> Option<&'a Value>,
    ) {
        let Stay::CatchingUp(absence) = &mut self.stay else { return };
        // One that has changed since the beginning has been noted.
        if known.is_none_or(|known| known.seq <= absence.after) {
            let before = shown();
            if before != entry.value.as_ref() {
                absence.note(key, before);
            }
        }
    }

    /// The base has caught up. What is shown as it was before is no change.
    pub(super) fn handle_settled<'a>(&mut self, shown: impl Fn(&Key) -> Option<&'a Value>) {
        let Stay::CatchingUp(absence) = &mut self.stay else { return };
        let mut absence = mem::take(absence);
        absence.changes.retain(|(key, before)| shown(key) != before.as_ref());
        let is_nothing = absence.more == 0 && absence.changes.is_empty();
        self.stay = if is_nothing { Stay::Here } else { Stay::Back(absence) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AuthorId, Stamp};

    fn entry(text: &str, seq: u64) -> Entry {
        Entry { value: Some(Value::from_text(text)), stamp: Stamp::ZERO, seq: Seq(seq), author: AuthorId(2) }
    }

    /// What is noted of a change to `k` from `a` to `b` while the device is away until `now_ms`.
    fn missed(cursor: u64, now_ms: u64) -> Option<Vec<(Key, Option<Value>)>> {
        let (mut watch, key) = (Watch::default(), Key::parse("k").unwrap());
        watch.handle_heard(1000);
        watch.handle_welcome(Seq(cursor), now_ms);
        let (old, new) = (entry("a", 3), entry("b", 7));
        watch.handle_entry(&key, &new, Some(&old), || old.value.as_ref());
        assert!(watch.missed().is_none(), "it catches up");
        watch.handle_settled(|_| new.value.as_ref());
        let changes = watch.missed().map(|absence| absence.changes().to_vec());
        watch.handle_seen();
        assert!(watch.missed().is_none());
        changes
    }

    #[test]
    fn who_was_away_is_told_what_was_before() {
        let change = (Key::parse("k").unwrap(), Some(Value::from_text("a")));
        assert_eq!(missed(5, 1000 + ABSENCE_MS_MIN), Some(vec![change]));
        assert_eq!(missed(5, 999 + ABSENCE_MS_MIN), None, "that was no absence");
        assert_eq!(missed(0, 1000 + ABSENCE_MS_MIN), None, "there is nothing to compare with");
        assert_eq!(missed(2, 1000 + ABSENCE_MS_MIN), None, "that change was noted when it came first");
    }

    #[test]
    fn what_is_as_it_was_is_no_change() {
        let (mut watch, key) = (Watch::default(), Key::parse("k").unwrap());
        watch.handle_welcome(Seq(5), ABSENCE_MS_MIN);
        let old = entry("a", 3);
        watch.handle_entry(&key, &entry("b", 7), Some(&old), || old.value.as_ref());
        watch.handle_settled(|_| old.value.as_ref());
        assert!(watch.missed().is_none());
    }
}
