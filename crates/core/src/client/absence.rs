//! What others changed while this device was away, for its person to look at: of each key what was shown before.
//!
//! A device was away if it comes with what it had kept, or has heard nothing for some minutes. What it catches up with then
//! is noted, until the person has seen it; a second absence before that adds to the first.

use super::Client;
use crate::{Entry, Key, Seq, Value};

/// Who has heard nothing for this long was away: longer than a line is down that its person waits for.
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
    is_over: bool,
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

impl Client {
    /// What others changed while this device was away, once it has caught up; none if that is nothing, or was seen.
    pub fn absence(&self) -> Option<&Absence> {
        self.absence.as_ref().filter(|absence| absence.is_over)
    }

    /// The person has seen it.
    pub fn forget_absence(&mut self, _now_ms: u64) {
        if self.absence().is_some() {
            self.absence = None;
            self.status_changed();
        }
    }

    /// Welcome has come. Who has nothing to compare with was not away.
    pub(super) fn come_back(&mut self, now_ms: u64) {
        let was_away = now_ms.saturating_sub(self.heard_ms) >= ABSENCE_MS_MIN;
        if self.settled == Seq(0) {
            self.absence = None;
        } else if was_away || self.absence.as_ref().is_some_and(|absence| !absence.is_over) {
            let absence = self.absence.get_or_insert_default();
            (absence.after, absence.is_over) = (self.settled, false);
        }
    }

    /// An entry comes, and is not in the base yet.
    pub(super) fn note_change(&mut self, key: &Key, entry: &Entry) {
        let Some(mut absence) = self.absence.take_if(|absence| !absence.is_over) else { return };
        // One that has changed since has been noted.
        let is_first = self.base.entry(key.as_str()).is_none_or(|known| known.seq <= absence.after);
        let before = self.shown(key).and_then(|shown| shown.value);
        if is_first && entry.author != self.author.id && before != entry.value.as_ref() {
            absence.note(key, before);
        }
        self.absence = Some(absence);
    }

    /// Ends the absence, once all has come. What is shown as it was before is no change.
    pub(super) fn end_absence(&mut self) {
        if !self.has_caught_up() {
            return;
        }
        let Some(mut absence) = self.absence.take_if(|absence| !absence.is_over) else { return };
        absence.changes.retain(|(key, before)| self.get(key) != before.as_ref());
        absence.is_over = true;
        self.absence = Some(absence).filter(|absence| absence.more > 0 || !absence.changes.is_empty());
        self.status_changed();
    }
}
