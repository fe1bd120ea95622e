//! The steps of a user that can be undone and redone, offline too.
//!
//! To undo is to write again what a write had replaced, as a new operation like any other. It is done only while the entry
//! is still the user's own: what somebody else has written since is not taken away.
//!
//! These are steps, not states: of each write the key, its stamp, and what it replaced. What is replaced and comes back has another
//! stamp, so the other steps of that key follow: see [`Steps::rename`]. Steps are one replica's own. They are kept beside its
//! outbox, and taken over with it.

use std::mem;

use crate::{AuthorId, Key, Stamp, Value, cbor_array, wire::encode};

/// The last steps are kept.
const STEPS_MAX: usize = 100;
/// Of those, as many as take no more than this together, and always one.
const STEPS_BYTES_MAX: usize = 256 * 1024;

/// A write that can be taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) key: Key,
    /// Of the write.
    pub(super) stamp: Stamp,
    /// Of what it replaced.
    pub(super) replaced: Stamp,
    /// What it replaced; none if the key had no value.
    pub(super) value: Option<Value>,
}

cbor_array!(Write { key, stamp, replaced, value });

/// What a user has done at once: at least one write, and of each key one at most.
pub(super) type Step = Vec<Write>;

/// Which way to take a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Undo,
    Redo,
}

impl Way {
    /// Takes back what this way has done.
    pub(super) fn back(self) -> Self {
        match self {
            Self::Undo => Self::Redo,
            Self::Redo => Self::Undo,
        }
    }
}

/// What an undo or a redo has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undone {
    /// There was nothing to do.
    Nothing,
    /// It has written this key, the first of a step that has several.
    Written(Key),
    /// Nothing is written: somebody has changed this key since, the first of a step that has several.
    Overtaken {
        /// The key.
        key: Key,
        /// Who has; none if nobody is known to have.
        author: Option<AuthorId>,
    },
}

impl Undone {
    /// What a step has done, with what its next write has done.
    pub(super) fn and(self, next: Self) -> Self {
        match (self, next) {
            (Self::Nothing, next) | (Self::Overtaken { .. }, next @ Self::Written(_)) => next,
            (first, _) => first,
        }
    }
}

/// What can be undone and redone, the last at the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps {
    undo: Vec<Step>,
    redo: Vec<Step>,
    is_changed: bool,
}

impl Steps {
    /// The user has written something new. What was undone before cannot be redone any more.
    pub(super) fn record(&mut self, step: Step) {
        self.redo.clear();
        self.push(Way::Undo, step);
    }

    /// How many steps can be undone, and how many redone.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.undo.len(), self.redo.len())
    }

    /// Adds the last step that can be taken this way. The oldest leave if there are too many.
    pub(super) fn push(&mut self, way: Way, step: Step) {
        let steps = self.list(way);
        steps.push(step);
        let mut bytes: usize = steps.iter().map(bytes).sum();
        while steps.len() > 1 && (steps.len() > STEPS_MAX || bytes > STEPS_BYTES_MAX) {
            bytes -= self::bytes(&steps.remove(0));
        }
        self.is_changed = true;
    }

    /// Takes out the last step of this way, or the last that writes `key`, with its position.
    pub(super) fn take(&mut self, way: Way, key: Option<&Key>) -> Option<(usize, Step)> {
        let steps = self.list(way);
        let writes = |step: &Step| key.is_none_or(|key| step.iter().any(|write| write.key == *key));
        let position = steps.iter().rposition(writes)?;
        self.is_changed = true;
        Some((position, self.list(way).remove(position)))
    }

    /// Puts back what is left of a step that was taken out.
    pub(super) fn put_back(&mut self, way: Way, position: usize, step: Step) {
        self.list(way).insert(position, step);
    }

    /// A stamp is another one now: the write was refused with the old one, or undone and done again.
    pub(super) fn rename(&mut self, key: &Key, old: Stamp, new: Stamp) {
        let writes = self.undo.iter_mut().chain(&mut self.redo).flatten();
        for write in writes.filter(|write| write.key == *key) {
            for stamp in [&mut write.stamp, &mut write.replaced].into_iter().filter(|stamp| **stamp == old) {
                *stamp = new;
                self.is_changed = true;
            }
        }
    }

    /// Takes over the steps of another replica as a store has kept them.
    pub(super) fn adopt(&mut self, kept: &[u8]) -> Result<(), minicbor::decode::Error> {
        let (undo, redo): (Vec<Step>, Vec<Step>) = minicbor::decode(kept)?;
        for (list, steps) in [(&mut self.undo, undo), (&mut self.redo, redo)] {
            // One by one: the code of a sort would be a hundredth of the page.
            for step in steps.into_iter().filter(|step| !step.is_empty()) {
                let position = list.partition_point(|known| known[0].stamp <= step[0].stamp);
                list.insert(position, step);
            }
        }
        self.is_changed = true;
        Ok(())
    }

    /// What a store has to keep, if it changed since the last call; empty if there is nothing.
    pub(super) fn take_change(&mut self) -> Option<Vec<u8>> {
        if !mem::take(&mut self.is_changed) {
            return None;
        }
        let is_empty = self.undo.is_empty() && self.redo.is_empty();
        Some(if is_empty { Vec::new() } else { encode(&(&self.undo, &self.redo)) })
    }

    fn list(&mut self, way: Way) -> &mut Vec<Step> {
        match way {
            Way::Undo => &mut self.undo,
            Way::Redo => &mut self.redo,
        }
    }
}

fn bytes(step: &Step) -> usize {
    let of_write = |write: &Write| write.key.as_str().len() + write.value.as_ref().map_or(0, |v| v.as_str().len());
    step.iter().map(of_write).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HybridTime, ReplicaId};

    fn stamp(ms: u64) -> Stamp {
        Stamp::new(HybridTime::from_millis(ms), true, ReplicaId(1))
    }

    fn write(name: &str, ms: u64, replaced_ms: u64) -> Write {
        let (stamp, replaced) = (stamp(ms), stamp(replaced_ms));
        Write { key: Key::parse(name).unwrap(), stamp, replaced, value: Some(Value::from_text("x")) }
    }

    #[test]
    fn a_step_is_found_by_any_key_that_it_writes() {
        let mut steps = Steps::default();
        let bulk = vec![write("a", 1, 0), write("b", 2, 0)];
        steps.record(bulk.clone());
        steps.record(vec![write("c", 3, 0)]);
        assert_eq!(steps.take(Way::Undo, Some(&Key::parse("b").unwrap())), Some((0, bulk.clone())));
        steps.put_back(Way::Undo, 0, bulk);
        assert_eq!(steps.take(Way::Undo, None), Some((1, vec![write("c", 3, 0)])));
        assert_eq!((steps.len(), steps.take(Way::Redo, None)), ((1, 0), None));
    }

    #[test]
    fn every_step_knows_a_write_by_its_stamp_of_now() {
        let mut steps = Steps::default();
        steps.record(vec![write("a", 1, 0), write("b", 2, 0)]);
        steps.record(vec![write("a", 3, 1)]);
        steps.rename(&Key::parse("a").unwrap(), stamp(1), stamp(9));
        assert_eq!(steps.undo, [vec![write("a", 9, 0), write("b", 2, 0)], vec![write("a", 3, 9)]]);
    }

    #[test]
    fn old_steps_leave() {
        let mut steps = Steps::default();
        (0..STEPS_MAX as u64 + 5).for_each(|ms| steps.record(vec![write("a", ms, 0)]));
        assert_eq!((steps.len(), steps.undo[0][0].stamp), ((STEPS_MAX, 0), stamp(5)));
        let large = Write { value: Some(Value::from_text(&"x".repeat(STEPS_BYTES_MAX))), ..write("a", 500, 0) };
        steps.record(vec![large]);
        assert_eq!(steps.len(), (1, 0), "one always stays");
    }

    #[test]
    fn what_is_kept_is_taken_over() {
        let mut steps = Steps::default();
        steps.record(vec![write("a", 5, 0), write("b", 6, 0)]);
        let kept = steps.take_change().unwrap();
        assert_eq!(steps.take_change(), None, "nothing has changed");
        let mut other = Steps::default();
        other.record(vec![write("c", 1, 0)]);
        other.record(vec![write("c", 9, 0)]);
        other.adopt(&kept).unwrap();
        let order: Vec<_> = other.undo.iter().map(|step| step[0].stamp).collect();
        assert_eq!(order, [stamp(1), stamp(5), stamp(9)]);
        assert!(other.adopt(b"no CBOR").is_err());
        assert_eq!(other.len(), (3, 0));
    }
}
