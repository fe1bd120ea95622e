//! Undo and redo: each user's own, offline too.
//!
//! To undo is to write again what a write had replaced, as a new operation like any other. It is done only while the entry
//! is still the user's own: what somebody else has written since is not taken away.

use std::mem;

use super::{Client, EditError, Event};
use crate::{AuthorId, Key, Stamp, Value, cbor_array, wire::encode};

/// The last steps are kept.
const STEPS_MAX: usize = 100;
/// Of those, no more than together take this, but one always.
const STEPS_BYTES_MAX: usize = 256 * 1024;

/// A write that can be taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    key: Key,
    /// Of the write.
    stamp: Stamp,
    /// Of what it replaced.
    replaced: Stamp,
    /// What it replaced; none if the key had no value.
    value: Option<Value>,
}

cbor_array!(Step { key, stamp, replaced, value });

/// What can be undone and redone, the last at the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps {
    undo: Vec<Step>,
    redo: Vec<Step>,
    changed: bool,
}

/// What an undo or a redo has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undone {
    /// There was nothing to do.
    Nothing,
    /// It has written this key.
    Written(Key),
    /// Nothing is written: somebody has changed this key since.
    Overtaken {
        /// The key.
        key: Key,
        /// Who has; none if nobody is known to have.
        author: Option<AuthorId>,
    },
}

impl Step {
    fn bytes(&self) -> usize {
        self.key.as_str().len() + self.value.as_ref().map_or(0, |value| value.as_str().len())
    }
}

impl Steps {
    /// A stamp is another one now: the write was refused with the old one, or undone and done again.
    pub(super) fn rename(&mut self, key: &Key, old: Stamp, new: Stamp) {
        for step in self.undo.iter_mut().chain(&mut self.redo).filter(|step| step.key == *key) {
            for stamp in [&mut step.stamp, &mut step.replaced].into_iter().filter(|stamp| **stamp == old) {
                *stamp = new;
                self.changed = true;
            }
        }
    }

    fn push(&mut self, step: Step, is_undo: bool) {
        let steps = self.list(is_undo);
        steps.push(step);
        let mut bytes: usize = steps.iter().map(Step::bytes).sum();
        while steps.len() > 1 && (steps.len() > STEPS_MAX || bytes > STEPS_BYTES_MAX) {
            bytes -= steps.remove(0).bytes();
        }
        self.changed = true;
    }

    fn list(&mut self, is_undo: bool) -> &mut Vec<Step> {
        if is_undo { &mut self.undo } else { &mut self.redo }
    }

    /// What a store has to keep, if it changed since the last call; empty if there is nothing.
    pub(super) fn take_change(&mut self) -> Option<Vec<u8>> {
        if !mem::take(&mut self.changed) {
            return None;
        }
        let is_empty = self.undo.is_empty() && self.redo.is_empty();
        Some(if is_empty { Vec::new() } else { encode(&(&self.undo, &self.redo)) })
    }
}

impl Client {
    /// A write of `key` with `stamp` can be undone from now on: it replaced what had the stamp `replaced`, and `value`.
    pub fn record(&mut self, key: &Key, stamp: Stamp, replaced: Stamp, value: Option<Value>) {
        self.steps.redo.clear();
        self.steps.push(Step { key: key.clone(), stamp, replaced, value }, true);
    }

    /// How many writes can be undone, and how many redone.
    pub fn undoable(&self) -> (usize, usize) {
        (self.steps.undo.len(), self.steps.redo.len())
    }

    /// Takes back the last write, or the last of a key.
    ///
    /// # Errors
    /// As [`Client::put`]; then it can be tried again.
    pub fn undo(&mut self, key: Option<&Key>, now_ms: u64) -> Result<Undone, EditError> {
        self.take_back(key, true, now_ms)
    }

    /// Takes back the last undo.
    ///
    /// # Errors
    /// As [`Client::put`]; then it can be tried again.
    pub fn redo(&mut self, now_ms: u64) -> Result<Undone, EditError> {
        self.take_back(None, false, now_ms)
    }

    fn take_back(&mut self, key: Option<&Key>, is_undo: bool, now_ms: u64) -> Result<Undone, EditError> {
        let steps = self.steps.list(is_undo);
        let Some(at) = steps.iter().rposition(|step| key.is_none_or(|key| step.key == *key)) else {
            return Ok(Undone::Nothing);
        };
        let Step { key, stamp, replaced, value } = steps[at].clone();
        let shown = self.shown(&key).map(|shown| (shown.stamp, shown.author, shown.value.cloned()));
        let mut undone = Undone::Overtaken { key: key.clone(), author: shown.as_ref().map(|&(_, author, _)| author) };
        if let Some((_, _, taken)) = shown.filter(|(shown, ..)| *shown == stamp) {
            let began = self.begin(&key);
            let written = match value {
                Some(value) => Some(self.put(&key, value, began, now_ms)?),
                None => self.remove(&key, began, now_ms)?,
            };
            if let Some(written) = written {
                // What was replaced is there again, under another stamp.
                self.steps.rename(&key, replaced, written);
                self.steps.push(Step { key: key.clone(), stamp: written, replaced: stamp, value: taken }, !is_undo);
            }
            undone = Undone::Written(key);
        }
        self.steps.list(is_undo).remove(at);
        self.steps.changed = true;
        Ok(undone)
    }

    /// Takes over the steps of a page that is gone, as a store has kept them.
    pub fn adopt_steps(&mut self, steps: &[u8], _now_ms: u64) {
        if steps.is_empty() {
            return;
        }
        match minicbor::decode::<(Vec<Step>, Vec<Step>)>(steps) {
            Ok((undo, redo)) => {
                for (list, steps) in [(&mut self.steps.undo, undo), (&mut self.steps.redo, redo)] {
                    list.extend(steps);
                    list.sort_by_key(|step| step.stamp);
                }
                self.steps.changed = true;
            }
            Err(_) => self.events.push_back(Event::Damaged("what can be undone".to_owned())),
        }
        self.status_changed();
    }
}
