//! A page's part of its device: what is kept in the local store, what other tabs are told, and whose edits are taken over.
//!
//! A [`Device`] owns the [`Client`]. It does no I/O, and knows neither IndexedDB nor Web Locks nor the channel between tabs. The
//! driver
//!
//! 1. begins with [`Device::new`] and a client that was made by [`Client::opening`], opens the local store and the channel, and
//!    calls [`Device::handle_opened`] or [`Device::handle_refused`] when it knows more;
//! 2. hands the client what happens to it through [`Device::client_mut`], and the device what happens to it by its own `handle_*`,
//!    each with the time;
//! 3. after each of them drains the client's `poll_*`, and then [`Device::poll_effect`];
//! 4. and comes back with [`Device::handle_timeout`] at [`Device::poll_timeout`]. Both include the client's.
//!
//! # Invariants
//! - One change is on its way to the store at a time, and each is one transaction. So the store holds what the client was at some
//!   moment, whatever a crash takes.
//! - A change that the store did not take is tried again, and nothing overtakes it.
//! - What other tabs are told of a write, the store has kept. Where nothing is kept they are told at once.
//! - The rows of a page that has ended leave the store with the change that brings them in as this page's.
//! - A store that was refused is asked for nothing any more.

mod keeper;
#[cfg(test)]
mod stories;
mod tabs;

use std::collections::VecDeque;

pub use keeper::{KEEP_AGAIN_AFTER_MS, Storage};
use keeper::{Keeper, Pending};
pub use tabs::{ANSWER_MS_MAX, ASK_EVERY_MS, WhoLives};
use tabs::{Met, Tabs};

use crate::{
    Key, ReplicaId,
    client::{Client, LocalChange, Stored},
    mutants::mutant,
};

/// A client with what its device keeps of it, among the other tabs of the device.
#[derive(Clone, Debug)]
pub struct Device {
    client: Client,
    keeper: Keeper,
    tabs: Tabs,
    effects: VecDeque<Effect>,
    /// The device was asked to keep what is there when it runs short of room.
    has_asked: bool,
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Keep this in one transaction; then [`Device::handle_kept`] or [`Device::handle_unkept`].
    Keep {
        /// What has changed of this page's part.
        change: LocalChange,
        /// Pages that have ended: all that the store has of theirs is deleted.
        adopted: Vec<ReplicaId>,
    },
    /// Send this to all other tabs of the device. It may get lost.
    Tell(Vec<u8>),
    /// Take the lock of this page when it has ended; then [`Device::handle_ended`].
    Watch(ReplicaId),
    /// Read what this page has left, which has ended; then [`Device::handle_left`].
    ReadLeft(ReplicaId),
    /// Ask the device to keep what is there when it runs short of room. A person may be asked.
    Persist,
}

/// What was found in a local store.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// What it has kept of the base. Its outbox is empty: all that is there was left by other replicas.
    pub stored: Stored,
    /// The replicas that keep something of their own there, each once: pages that have ended, or are still open.
    pub replicas: Vec<ReplicaId>,
}

/// What a page has left that has ended.
#[derive(Clone, Debug, Default)]
pub struct Left {
    /// Its outbox: the rows of each key.
    pub outbox: Vec<(Key, Vec<u8>)>,
    /// What could be undone and redone there; none if that was nothing.
    pub steps: Option<Vec<u8>>,
}

/// How the store has kept a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// All of it is on the disk.
    Whole,
    /// All but the base: the store lacks what came before, see [`crate::client::Verdict::Gap`].
    Gap,
}

impl Device {
    /// A device whose local store is being opened. `lives` is how it learns that another page has ended.
    pub fn new(client: Client, lives: WhoLives) -> Self {
        let (keeper, tabs, effects) = (Keeper::default(), Tabs::new(lives), VecDeque::new());
        Self { client, keeper, tabs, effects, has_asked: false }
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The client, to let something happen to it. Then its `poll_*` are to be drained, and [`Device::poll_effect`].
    pub fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Where what this page has stands with the local store, as of the last [`Device::poll_effect`] that returned none.
    pub fn storage(&self) -> Storage<'_> {
        self.keeper.storage()
    }

    // What happened.

    /// The local store is open, and was read. Without effect if it has been refused by now.
    pub fn handle_opened(&mut self, found: Found, now_ms: u64) {
        if !self.keeper.handle_opened() {
            return;
        }
        self.client.handle_stored(&found.stored, now_ms);
        self.client.ask_siblings();
        found.replicas.into_iter().for_each(|replica| self.meet(replica, Met::Found, now_ms));
    }

    /// There is no local store, or it was closed, cannot be read, or was deleted: the page goes on without, for good. The first
    /// `reason` stays.
    pub fn handle_refused(&mut self, reason: String, now_ms: u64) {
        let was_opening = self.keeper.storage() == Storage::Opening;
        let untold = self.keeper.handle_refused(reason);
        if was_opening {
            self.client.ask_siblings();
        }
        self.tell(untold);
        self.client.handle_online(now_ms);
    }

    /// The change that was to be kept is on the disk.
    pub fn handle_kept(&mut self, kept: Kept) {
        let Some(pending) = self.keeper.handle_kept() else { return };
        let is_offline_edit = self.client.outbox().active() > 0 && self.client.is_offline();
        if mutant!("the browser is asked at each edit") {
            self.has_asked = false;
        }
        if is_offline_edit && !std::mem::replace(&mut self.has_asked, true) {
            self.effects.push_back(Effect::Persist);
        }
        self.tell(pending);
        if kept == Kept::Gap {
            self.client.keep_whole();
        }
    }

    /// Nothing of the change that was to be kept is on the disk, for this reason: there is no room, or the transaction broke off.
    pub fn handle_unkept(&mut self, reason: String, now_ms: u64) {
        let is_without_base = self.keeper.handle_unkept(reason, now_ms);
        if mutant!("room for the base is tried for ever") {
            return;
        }
        if is_without_base {
            self.client.keep_no_base();
        }
    }

    /// Another tab told something. While the store is being opened, that is not heard.
    pub fn handle_told(&mut self, message: &[u8], now_ms: u64) {
        if self.keeper.storage() == Storage::Opening {
            return;
        }
        if let Some(replica) = self.client.handle_told(message, now_ms) {
            self.meet(replica, Met::Spoke, now_ms);
        }
    }

    /// A page that was to be watched has ended, and this one alone has its lock now.
    pub fn handle_ended(&mut self, replica: ReplicaId, now_ms: u64) {
        if mutant!("what was left is deleted unread") {
            self.keeper.adopt(replica);
        }
        if self.keeper.is_open() {
            self.effects.push_back(Effect::ReadLeft(replica));
        } else {
            self.client.forget_sibling(replica, now_ms);
        }
    }

    /// This is what a page has left that has ended: this one takes it over.
    pub fn handle_left(&mut self, replica: ReplicaId, left: &Left, now_ms: u64) {
        self.keeper.adopt(replica);
        self.client.adopt_rows(&left.outbox, now_ms);
        if let Some(steps) = &left.steps {
            self.client.adopt_steps(steps, now_ms);
        }
        self.client.forget_sibling(replica, now_ms);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        let ended = self.tabs.handle_timeout(self.client.replica(), now_ms);
        if ended.is_some() {
            self.client.ask_siblings();
        }
        self.client.handle_timeout(now_ms);
        ended.into_iter().flatten().for_each(|replica| self.handle_ended(replica, now_ms));
    }

    // What follows of it.

    /// What the driver has to do next. To be called until there is nothing.
    pub fn poll_effect(&mut self, now_ms: u64) -> Option<Effect> {
        if let Some(effect) = self.effects.pop_front() {
            return Some(effect);
        }
        if let Some((change, adopted)) = self.keeper.poll_change(&mut self.client, now_ms) {
            if mutant!("a tab is told before it is kept") {
                self.tell(Pending::of(&change, &adopted));
            }
            return Some(Effect::Keep { change, adopted });
        }
        if let Some((outbox, gone)) = self.keeper.poll_untold(&mut self.client) {
            return Some(Effect::Tell(self.client.tell(outbox, gone)));
        }
        if self.keeper.may_answer() { self.client.poll_told().map(Effect::Tell) } else { None }
    }

    /// When to call [`Device::handle_timeout`], if ever: the client's time is among these.
    pub fn poll_timeout(&self) -> Option<u64> {
        let own = self.tabs.poll_timeout().into_iter().chain(self.keeper.poll_timeout());
        self.client.poll_timeout().into_iter().chain(own).min()
    }

    /// There is another page, or there was one that has left its edits. When it has ended they are taken over.
    fn meet(&mut self, replica: ReplicaId, met: Met, now_ms: u64) {
        if self.tabs.meet(replica, met, now_ms) && self.tabs.lives() == WhoLives::Locks {
            self.effects.push_back(Effect::Watch(replica));
        }
    }

    /// Tells the other tabs what is as durable by now as it will be here.
    fn tell(&mut self, pending: Pending) {
        let Pending { outbox, adopted, .. } = pending;
        if !outbox.is_empty() || !adopted.is_empty() {
            let message = self.client.tell(outbox, adopted);
            self.effects.push_back(Effect::Tell(message));
        }
    }
}
