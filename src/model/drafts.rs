//! Drafts: values that somebody has begun to type, and has neither written nor given up.
//!
//! They live here and not in the rows that show them: a row may leave the screen, a search or the dictionary at any time, and what
//! is typed is neither published by that nor lost. What others write meanwhile changes nothing in a draft.

use keybook_core::{Key, Stamp, Value};

use super::{Model, act::Write, areas::Areas};

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

/// The drafts of a page. They are few, and a map of their own type would be a hundredth of the page.
#[derive(Clone, Debug, Default)]
pub(super) struct Drafts {
    /// That in the editor.
    open: Option<(Key, Draft)>,
    /// The others, the oldest first.
    waiting: Vec<(Key, Draft)>,
}

impl Drafts {
    /// The one that is open.
    pub(super) fn open(&self) -> Option<(&Key, &Draft)> {
        self.open.as_ref().map(|(key, draft)| (key, draft))
    }

    /// The same, to be changed.
    pub(super) fn open_mut(&mut self) -> Option<&mut Draft> {
        self.open.as_mut().map(|(_, draft)| draft)
    }

    /// Those that are not open, the oldest first.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Key> {
        self.waiting.iter().map(|(key, _)| key)
    }

    /// Whether there is anything that is neither written nor given up.
    pub(super) fn is_any(&self) -> bool {
        !self.waiting.is_empty() || self.open.as_ref().is_some_and(|(_, draft)| !draft.is_untouched())
    }

    /// Opens the draft of a key, or a new one. None is open.
    pub(super) fn begin(&mut self, key: Key, new: impl FnOnce() -> Option<Draft>) {
        self.open = match self.waiting.iter().position(|(waiting, _)| *waiting == key) {
            Some(position) => Some(self.waiting.remove(position)),
            None => new().map(|draft| (key, draft)),
        };
    }

    /// Closes the editor. A draft that says what was there is none.
    pub(super) fn close(&mut self) {
        self.waiting.extend(self.open.take().filter(|(_, draft)| !draft.is_untouched()));
    }

    /// Closes the editor: what was typed in it is written, or given up.
    pub(super) fn finish(&mut self) {
        self.open = None;
    }
}

/// What a person does with them.
impl Model {
    pub(super) fn edit_at_cursor(&mut self, now_ms: u64) {
        self.grid.go(self.cursor_row().unwrap_or(0), &self.rows);
        self.changed |= Areas::ROWS;
        if let Some(key) = self.grid.cursor().cloned() {
            self.edit(key, now_ms);
        }
    }

    pub(super) fn edit(&mut self, key: Key, now_ms: u64) {
        if self.is_edited(&key) {
            return;
        }
        self.leave_edit(now_ms);
        let (begun, row) = (self.begin(&key), self.row(&key));
        let new = || {
            let (value, began) = begun?;
            Some(Draft { text: value.to_input(), error: None, began, shown: row?.stamp, value })
        };
        self.drafts.begin(key, new);
        self.changed |= Areas::EDITOR | Areas::ROWS;
    }

    /// Writes what was typed, if it is another value, and ends the edit. Returns whether that was possible.
    pub(super) fn commit_edit(&mut self, now_ms: u64) -> bool {
        let Some((key, draft)) = self.drafts.open() else { return false };
        let (key, Draft { text, began, value: old, .. }) = (key.clone(), draft.clone());
        self.changed |= Areas::EDITOR | Areas::ROWS;
        let written = Value::from_input(&text).map_err(|error| error.to_string()).and_then(|value| {
            if value == old {
                return Ok(());
            }
            self.write(&key, Write::Put(value, began), now_ms).map_err(|error| error.to_string())
        });
        match written {
            Ok(()) => self.drafts.finish(),
            Err(error) => self.drafts.open_mut().expect("it is open").error = Some(error),
        }
        self.drafts.open().is_none()
    }

    pub(super) fn leave_edit(&mut self, now_ms: u64) {
        if self.overtaken().is_some() || !self.commit_edit(now_ms) {
            self.drafts.close();
            self.changed |= Areas::EDITOR | Areas::ROWS;
        }
    }
}
