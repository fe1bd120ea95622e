//! Drafts: values that somebody has begun to type, and has neither written nor given up.
//!
//! They live here and not in the rows that show them: a row may leave the screen, a search or the dictionary at any time, and what
//! is typed is neither published by that nor lost. What others write meanwhile changes nothing in a draft.

use std::collections::BTreeMap;

use keybook_core::{Key, Stamp, Value};

/// What is typed under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The value, as it is typed.
    pub text: String,
    /// Why what was typed was not taken.
    pub error: Option<String>,
    /// What the edit will have seen.
    pub(super) began: Stamp,
    /// The stamp that the row showed when the draft was begun.
    pub(super) shown: Stamp,
    /// The value when the draft was begun.
    pub(super) value: Value,
}

impl Draft {
    /// Whether it says what was there.
    pub fn is_untouched(&self) -> bool {
        self.text == self.value.to_input()
    }
}

/// The drafts of a page, of which one at most is open in an editor.
#[derive(Clone, Debug, Default)]
pub(super) struct Drafts {
    of: BTreeMap<Key, Draft>,
    open: Option<Key>,
}

impl Drafts {
    /// The one that is open.
    pub(super) fn open(&self) -> Option<(&Key, &Draft)> {
        let key = self.open.as_ref()?;
        Some((key, &self.of[key]))
    }

    /// The same, to be changed.
    pub(super) fn open_mut(&mut self) -> Option<&mut Draft> {
        self.of.get_mut(self.open.as_ref()?)
    }

    /// Those that are not open, by key.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Key> {
        self.of.keys().filter(|key| self.open.as_ref() != Some(key))
    }

    /// Opens the draft of a key, or a new one.
    pub(super) fn begin(&mut self, key: Key, new: impl FnOnce() -> Option<Draft>) {
        if !self.of.contains_key(&key) {
            let Some(draft) = new() else { return };
            self.of.insert(key.clone(), draft);
        }
        self.open = Some(key);
    }

    /// Closes the editor. A draft that says what was there is none.
    pub(super) fn close(&mut self) {
        if let Some(key) = self.open.take()
            && self.of.get(&key).is_some_and(Draft::is_untouched)
        {
            self.of.remove(&key);
        }
    }

    /// Closes the editor: what was typed in it is written, or given up.
    pub(super) fn finish(&mut self) {
        if let Some(key) = self.open.take() {
            self.of.remove(&key);
        }
    }
}
