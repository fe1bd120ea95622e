//! The writes that wait: a line for each dictionary, and the dictionaries take turns.
//!
//! So it costs a dictionary nothing how much waits for another one: its next write comes after one of each of the others at most.
//! Within a dictionary the order is that in which the writes came.
//!
//! What waits is bounded by the connections: each holds a part of its own room while a write of it waits.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use keybook_core::DictionaryName;

use super::Write;

/// The writes that wait for the writer.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    /// None of them is empty.
    of: HashMap<DictionaryName, VecDeque<Write>>,
    /// The dictionaries that have a line, in the order of their turns.
    turns: VecDeque<DictionaryName>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Open,
    /// The writer ends when nothing waits any more.
    Stopping,
    /// Nobody takes a write any more.
    Ended,
}

impl Queue {
    /// Adds a write. It is dropped, and never answered, if the writer has ended.
    pub(super) fn push(&self, write: Write) {
        let mut lines = self.lines();
        if lines.stage != Stage::Ended {
            lines.line(&write.dictionary).push_back(write);
            self.changed.notify_one();
        }
    }

    /// The rest of a write, which goes on when its dictionary has its turn again.
    pub(super) fn put_back(&self, write: Write) {
        self.lines().line(&write.dictionary).push_front(write);
    }

    /// The next write, if one waits.
    pub(super) fn try_take(&self) -> Option<Write> {
        self.lines().take()
    }

    /// Waits for the next write. `None` if there is none and the writer is to end.
    pub(super) fn take(&self) -> Option<Write> {
        let mut lines = self.lines();
        loop {
            let write = lines.take();
            if write.is_some() || lines.stage != Stage::Open {
                return write;
            }
            lines = self.changed.wait(lines).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The writer is to end after what waits.
    pub(super) fn stop(&self) {
        let mut lines = self.lines();
        if lines.stage == Stage::Open {
            lines.stage = Stage::Stopping;
        }
        self.changed.notify_one();
    }

    /// The writer has ended: what waits is gone.
    pub(super) fn end(&self) {
        *self.lines() = Lines { stage: Stage::Ended, ..Lines::default() };
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    /// The line of a dictionary, which is about to get a write.
    fn line(&mut self, dictionary: &DictionaryName) -> &mut VecDeque<Write> {
        if !self.of.contains_key(dictionary) {
            self.turns.push_back(dictionary.clone());
        }
        self.of.entry(dictionary.clone()).or_default()
    }

    fn take(&mut self) -> Option<Write> {
        let dictionary = self.turns.pop_front()?;
        let line = self.of.get_mut(&dictionary).expect("who has a turn has a line");
        let write = line.pop_front();
        if line.is_empty() {
            self.of.remove(&dictionary);
        } else {
            self.turns.push_back(dictionary);
        }
        write
    }
}
