//! What leaves the client: messages for the server, and what the driver is told.

use std::{
    collections::{BTreeSet, VecDeque},
    mem,
};

use super::Phase;
use crate::{
    Key,
    wire::{ByeCode, ClientFrame},
};

/// What has changed; see [`Client::poll_event`](super::Client::poll_event).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// What is shown of these keys, or how far their writes have come.
    Entries(BTreeSet<Key>),
    /// Everything may have changed.
    Reset,
    /// The conflict rows, or what was decided about them.
    Conflicts,
    /// What authors are called.
    Names,
    /// How far the connection has come, how much waits, or what can be undone.
    Status,
    /// The server ended the connection with a reason.
    Bye {
        /// Why.
        code: ByeCode,
        /// What it says.
        message: String,
        /// How long it asks to stay away.
        retry_after_ms: u64,
    },
    /// What the server sent cannot be read.
    Unreadable(String),
    /// This of what the device has kept cannot be read.
    Damaged(String),
    /// The base differed from the server's at the same seq, and is fetched anew.
    Diverged,
}

/// What [`Event::Status`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) phase: Phase,
    pub(super) is_settled: bool,
    pub(super) is_verified: bool,
    pub(super) divergences: u64,
    pub(super) unconfirmed: usize,
    pub(super) held: usize,
    pub(super) sibling_edits: usize,
    pub(super) undoable: (usize, usize),
    /// Changes of others that wait to be looked at; none if nobody was away.
    pub(super) missed: Option<u64>,
}

/// What waits to be polled.
#[derive(Clone, Debug, Default)]
pub(super) struct Output {
    transmits: VecDeque<Vec<u8>>,
    changed: BTreeSet<Key>,
    events: VecDeque<Event>,
    /// As it was said last.
    status: Option<Summary>,
}

impl Output {
    pub(super) fn transmit(&mut self, frame: &ClientFrame) {
        self.transmits.push_back(frame.encode());
    }

    /// What was to be sent was for a connection that is gone.
    pub(super) fn forget_transmits(&mut self) {
        self.transmits.clear();
    }

    /// What is shown of a key may have changed.
    pub(super) fn changed(&mut self, key: Key) {
        self.changed.insert(key);
    }

    /// What is shown of these keys may have changed. None are left.
    pub(super) fn changed_all(&mut self, keys: &mut BTreeSet<Key>) {
        if self.changed.is_empty() {
            mem::swap(&mut self.changed, keys);
        } else {
            self.changed.extend(mem::take(keys));
        }
    }

    /// What is shown of any key may have changed.
    pub(super) fn reset(&mut self) {
        self.changed.clear();
        self.events.push_back(Event::Reset);
    }

    pub(super) fn say(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Says so if the status is another one than it was.
    pub(super) fn say_status(&mut self, status: Summary) {
        if self.status.replace(status) != Some(status) && self.events.back() != Some(&Event::Status) {
            self.events.push_back(Event::Status);
        }
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmits.pop_front()
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        if self.changed.is_empty() {
            return self.events.pop_front();
        }
        Some(Event::Entries(mem::take(&mut self.changed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_said_when_it_changes() {
        let mut status = Summary {
            phase: Phase::Connecting,
            is_settled: false,
            is_verified: false,
            divergences: 0,
            unconfirmed: 0,
            held: 0,
            sibling_edits: 0,
            undoable: (0, 0),
            missed: None,
        };
        let mut output = Output::default();
        let mut check = |status: Summary, expected: Option<Event>| {
            output.say_status(status);
            assert_eq!(output.poll_event(), expected);
        };
        check(status, Some(Event::Status));
        check(status, None);
        status.unconfirmed = 1;
        check(status, Some(Event::Status));
        check(status, None);
    }

    #[test]
    fn after_a_reset_no_key_is_named() {
        let mut output = Output::default();
        let key = Key::parse("a").unwrap();
        output.changed(key.clone());
        output.reset();
        assert_eq!(output.poll_event(), Some(Event::Reset));
        output.changed_all(&mut BTreeSet::from([key.clone()]));
        assert_eq!(output.poll_event(), Some(Event::Entries(BTreeSet::from([key]))));
        assert_eq!(output.poll_event(), None);
    }
}
