//! Which other pages of this device there are, and which of them have ended, so that their edits are taken over.
//!
//! Where there are locks, a page holds one of its own for as long as it lives, and whoever gets it after that takes over. Tabs
//! are asked all the same, now and then, because a message between them may have got lost.
//!
//! Where there are none, a page is asked, and one that does not answer within [`ANSWER_MS_MAX`] has ended. Of those that live the
//! one with the least replica takes over. There are no heartbeats: a browser slows down the timers of a hidden tab, but not its
//! answers. A tab that is frozen does not answer; then its edits are sent twice, which is harmless but for those that the server
//! refuses for their clock.
//!
//! A page that its browser keeps to go back to has ended too: it lets its lock go, and is loaded again, as another replica, if it
//! comes back. Chromium keeps such a page for minutes.

use crate::{ReplicaId, mutants::mutant};

/// A tab that lives answers within this: it may be reading its store.
pub const ANSWER_MS_MAX: u64 = 3000;
/// Where locks say who lives, tabs are asked this often.
pub const ASK_EVERY_MS: u64 = 30_000;

/// How a page learns that another has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhoLives {
    /// By the lock that each page holds while it lives.
    Locks,
    /// By asking: there are no locks.
    Asked,
}

/// How a page was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// The store has something of its own.
    Found,
    /// It has told something.
    Spoke,
}

/// The other pages of this device.
#[derive(Clone, Debug)]
pub(super) struct Tabs {
    lives: WhoLives,
    known: Vec<Tab>,
    ask_at_ms: Option<u64>,
}

#[derive(Clone, Debug)]
struct Tab {
    replica: ReplicaId,
    /// It has said nothing since all were asked.
    is_silent: bool,
}

impl Tabs {
    pub(super) fn new(lives: WhoLives) -> Self {
        Self { lives, known: Vec::new(), ask_at_ms: None }
    }

    pub(super) fn lives(&self) -> WhoLives {
        self.lives
    }

    /// Returns whether the page was not known before.
    pub(super) fn meet(&mut self, replica: ReplicaId, met: Met, now_ms: u64) -> bool {
        self.ask_at_ms.get_or_insert(now_ms + self.ask_every_ms());
        if let Some(tab) = self.known.iter_mut().find(|tab| tab.replica == replica) {
            tab.is_silent &= met != Met::Spoke;
            return false;
        }
        self.known.push(Tab { replica, is_silent: met != Met::Spoke });
        true
    }

    /// When all are to be asked, if there are others.
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        self.ask_at_ms
    }

    /// All are to be asked now, if it is time; else none. Returns those that have ended, as far as this page takes them over.
    pub(super) fn handle_timeout(&mut self, own: ReplicaId, now_ms: u64) -> Option<Vec<ReplicaId>> {
        self.ask_at_ms.filter(|at_ms| *at_ms <= now_ms)?;
        self.ask_at_ms = Some(now_ms + self.ask_every_ms());
        let mut ended = Vec::new();
        if self.is_least(own) && self.lives == WhoLives::Asked {
            ended.extend(self.known.iter().filter(|tab| tab.is_silent).map(|tab| tab.replica));
            self.known.retain(|tab| !tab.is_silent);
        }
        self.known.iter_mut().for_each(|tab| tab.is_silent = true);
        if self.known.is_empty() {
            self.ask_at_ms = None;
        }
        Some(ended)
    }

    /// Whether no page lives that has a lesser replica.
    fn is_least(&self, own: ReplicaId) -> bool {
        if mutant!("everybody who asks takes over") {
            return true;
        }
        !self.known.iter().any(|tab| !tab.is_silent && tab.replica < own)
    }

    fn ask_every_ms(&self) -> u64 {
        match self.lives {
            WhoLives::Locks => ASK_EVERY_MS,
            WhoLives::Asked => ANSWER_MS_MAX,
        }
    }
}
