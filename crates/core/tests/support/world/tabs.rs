//! The clients of a device, as tabs of a browser: they share its store and its clock, tell each other what waits in their
//! outboxes over a channel that loses messages, and take over what one that has ended leaves, which a lock says.
//!
//! Where there are no locks, no message gets lost, and each is answered before time is over: a tab that lives and does not answer
//! loses its edits to another, which ARCHITECTURE.md counts among the known gaps.

use std::collections::VecDeque;

use keybook_core::{
    Key, ReplicaId,
    client::{Client, OutboxRow, PendingResolution, RowState},
    device::{ANSWER_MS_MAX, Device, Effect, KEEP_AGAIN_AFTER_MS, Storage, WhoLives},
    wire::Role,
};

use super::{
    World,
    local_store::{Transaction, rows},
    peers::Peer,
    promises::is_open_yet,
};
use crate::support::{key, secret};

/// What a client has to do with its device.
#[derive(Default)]
pub(super) struct Tab {
    pub(super) store: usize,
    /// The clients for whose locks it waits.
    watched: Vec<ReplicaId>,
    /// Those whose locks it has got.
    locks: Vec<ReplicaId>,
    /// Those whose rows it is about to read.
    reading: VecDeque<ReplicaId>,
    /// Those whose rows it has got.
    taken_over: Vec<ReplicaId>,
    /// Told by others.
    messages: VecDeque<Vec<u8>>,
    /// What the store did not take, and is tried again.
    pub(super) not_taken: Option<Transaction>,
    /// The store once had no room for the base.
    pub(super) keeps_no_base: bool,
    /// It was never opened, or is closed.
    pub(super) is_closed: bool,
    has_asked: bool,
}

impl World {
    pub(super) fn new_tab(&mut self, store: usize, skew_ms: i64) -> Peer {
        let replica = self.decisions.number();
        let now_ms = self.now_ms.saturating_add_signed(skew_ms);
        let client = Client::opening(secret(replica), self.person_of(replica), now_ms);
        let lives = if self.plan.asked { WhoLives::Asked } else { WhoLives::Locks };
        let tab = Tab { store, ..Tab::default() };
        Peer { tab: Some(tab), ..Peer::new(Device::new(client, lives), Role::Writer, skew_ms) }
    }

    pub(super) fn step_tab(&mut self, index: usize) {
        match self.decisions.below(8) {
            0 => self.ask(index),
            1 => _ = self.take_lock(index),
            2 => _ = self.read_left(index),
            _ => _ = self.hear(index),
        }
    }

    /// Does what a device asks for.
    pub(super) fn carry_out(&mut self, index: usize, effect: Effect) {
        let peer = &mut self.peers[index];
        let (storage, client) = (peer.device.storage(), peer.device.client());
        let tab = peer.tab.as_mut().expect("a client without a device keeps nothing");
        let store = &mut self.stores[tab.store];
        match effect {
            Effect::Keep { change, adopted } => {
                assert!(!tab.is_closed, "client {index} keeps nothing in a store that is closed");
                let has_read = adopted.iter().all(|replica| tab.taken_over.contains(replica));
                assert!(has_read, "client {index} deletes what it has read alone");
                assert!(change.base.is_none() || !tab.keeps_no_base, "client {index} has no room for the base");
                let transaction = match tab.not_taken.take() {
                    Some(before) => {
                        assert_eq!(adopted, before.adopted, "client {index} tries the same again");
                        before.without_base(change)
                    }
                    None => Transaction::new(client, peer.epoch, change, adopted),
                };
                store.begin(transaction);
            }
            Effect::Tell(message) => {
                if matches!(storage, Storage::NotKept { .. } | Storage::Refused { .. }) {
                    store.tell_unkept(client);
                }
                self.broadcast(index, &message);
            }
            Effect::Watch(replica) => {
                assert!(!self.plan.asked, "there are no locks");
                tab.watched.push(replica);
            }
            Effect::ReadLeft(replica) => {
                tab.reading.push_back(replica);
                assert_eq!(self.index_of(replica), None, "client {index} takes over from one that has ended");
            }
            Effect::Persist => {
                assert!(!std::mem::replace(&mut tab.has_asked, true), "client {index} asks once");
                self.tally.count("device asked to keep what is there");
            }
        }
    }

    /// The tab is closed, or its browser killed with all tabs: what was not durable is lost. Each is opened again, as another
    /// replica.
    pub(super) fn crash_tab(&mut self, index: usize) {
        let is_browser = self.plan.tabs && self.decisions.one_in(4);
        let store = |peer: &Peer| peer.tab.as_ref().map(|tab| tab.store);
        let number = store(&self.peers[index]).expect("it is a tab");
        let is_killed = |(other, peer): (usize, &Peer)| {
            (other == index || is_browser && store(peer) == Some(number)).then_some(other)
        };
        let killed: Vec<usize> = self.peers.iter().enumerate().filter_map(is_killed).collect();
        for index in &killed {
            self.drop_connection(*index);
            let replica = self.peers[*index].client().replica();
            let lost = self.stores[number].lose(replica);
            self.tally.count_some("device lost a transaction", lost);
            self.oracle.page_gone(replica);
        }
        for index in &killed {
            let Peer { role, skew_ms, .. } = self.peers[*index];
            self.peers[*index] = Peer { role, ..self.new_tab(number, skew_ms) };
        }
        self.tally.count_some("browser killed with several tabs", usize::from(killed.len() > 1));
        killed.into_iter().for_each(|index| self.drive(index));
    }

    /// Tells all other tabs of the device that have read the store. Each message gets lost now and then.
    pub(super) fn broadcast(&mut self, from: usize, message: &[u8]) {
        let store = self.peers[from].tab.as_ref().expect("it is a tab").store;
        for index in (0..self.peers.len()).filter(|&index| index != from) {
            let has_opened = self.has_opened(index);
            let listens = |tab: &&mut Tab| tab.store == store && has_opened;
            let Some(tab) = self.peers[index].tab.as_mut().filter(listens) else { continue };
            if !self.calm && !self.plan.asked && self.decisions.one_in(10) {
                self.tally.count("tab message lost");
            } else {
                tab.messages.push_back(message.to_vec());
            }
        }
    }

    /// Whether a client is a tab that has read its store, or has learnt that there is none.
    fn has_opened(&self, index: usize) -> bool {
        self.peers[index].device.storage() != Storage::Opening
    }

    fn ask(&mut self, index: usize) {
        if self.has_opened(index) {
            self.peers[index].client_mut().ask_siblings();
            self.drive(index);
        }
    }

    /// A tab takes a message. What it shows does not go back.
    fn hear(&mut self, index: usize) -> bool {
        let now_ms = self.local_ms(index);
        let peer = &mut self.peers[index];
        let Some(tab) = &mut peer.tab else { return false };
        let Some(message) = tab.messages.pop_front() else { return false };
        let (store, before) = (tab.store, peer.client().clone());
        peer.device.handle_told(&message, now_ms);
        if before.clone().handle_told(&message, now_ms).is_none() {
            self.tally.count("tab message after its end");
        }
        before.keys().iter().for_each(|key| self.check_shown_of(index, &before, key));
        let client = self.peers[index].client();
        for key in (0..self.plan.keys).map(|number| key(&format!("k{number}"))) {
            for row in client.sibling_rows(&key) {
                let may_be_told = self.stores[store].may_be_told(&key, row.stamp);
                assert!(may_be_told, "client {index} hears of {:?} before it is kept", row.stamp);
            }
        }
        self.tally.count_some("sibling's edit shown", client.sibling_edits());
        self.drive(index);
        true
    }

    /// A tab gets the lock of one that has ended.
    pub(super) fn take_lock(&mut self, index: usize) -> bool {
        let now_ms = self.local_ms(index);
        let Some(tab) = &self.peers[index].tab else { return false };
        let is_held = |replica: &ReplicaId| {
            let holds = |tab: &Tab| tab.locks.contains(replica);
            self.peers.iter().any(|p| p.client().replica() == *replica || p.tab.as_ref().is_some_and(holds))
        };
        let Some(replica) = tab.watched.iter().copied().find(|replica| !is_held(replica)) else { return false };
        let peer = &mut self.peers[index];
        let tab = peer.tab.as_mut().expect("it was just looked at");
        tab.watched.retain(|other| *other != replica);
        tab.locks.push(replica);
        peer.device.handle_ended(replica, now_ms);
        self.drive(index);
        true
    }

    /// A tab reads what one has left that has ended, and takes it over: exactly what that held when it was kept.
    pub(super) fn read_left(&mut self, index: usize) -> bool {
        let now_ms = self.local_ms(index);
        let fails = self.plan.store_faults && !self.calm && self.decisions.one_in(40);
        let Peer { device, tab: Some(tab), .. } = &mut self.peers[index] else { return false };
        let Some(replica) = tab.reading.pop_front() else { return false };
        if fails || tab.is_closed {
            tab.is_closed = true;
            device.handle_refused("it cannot be read".to_owned(), now_ms);
            self.tally.count("store refused in the middle");
            self.drive(index);
            return true;
        }
        tab.taken_over.push(replica);
        let store = &mut self.stores[tab.store];
        let (left, held) = store.left_by(replica);
        let taker = device.client().replica();
        let before = if left.outbox.is_empty() { None } else { store.take_over(replica, taker) };
        let (own, _) = rows(device.client());
        device.handle_left(replica, &left, now_ms);
        let client = device.client();
        let (found, decided) = rows(client);
        let (held, decisions) = held;
        for row in &held {
            // One of the same replica that is newer may have taken its place.
            let newer = client.outbox().row_of(&row.0, row.1).is_some_and(|own| own.stamp > row.1);
            assert!(newer || found.contains(row), "client {index} has the edit {row:?} that was kept");
        }
        // A value that had lost in a history that the server has no part of waits for its user too.
        let is_stranger = |(_, row): &(&Key, &OutboxRow)| row.state == RowState::Orphaned && row.recovered.is_some();
        let strangers = client.outbox().iter().filter(is_stranger).count();
        assert!(found.len() <= held.len() + own.len() + strangers, "client {index} has no other edits");
        for decision in &decisions {
            let is_open = is_open_yet(client, decision);
            let is_it = |found: &PendingResolution| found.id == decision.id;
            assert!(!is_open || decided.iter().any(is_it), "client {index} has what was decided: {decision:?}");
        }
        let other = before.and_then(|before| self.index_of(before));
        assert_eq!(other, None, "client {index} takes over what nobody else has");
        self.tally.count_some("tab adopted decisions", decisions.len());
        self.tally.count(if held.is_empty() { "tab adopted nothing" } else { "tab adopted edits" });
        self.tally.count_some("tab adopted where asked", usize::from(self.plan.asked));
        self.drive(index);
        true
    }

    /// Where there are no locks: all tabs have answered before time is over.
    pub(super) fn answer_in_time(&mut self) {
        if self.plan.asked {
            let peers = 0..self.peers.len();
            while peers.clone().any(|index| self.read_left(index)) {}
            while peers.clone().any(|index| self.hear(index) || self.sync_store(index)) {}
        }
    }

    /// All is kept, told and taken over, with messages that arrive. In the end nobody knows less than there is.
    pub(super) fn come_to_agreement(&mut self) {
        let is_calm = std::mem::replace(&mut self.calm, true);
        let peers = 0..self.peers.len();
        peers.clone().for_each(|index| self.open_store(index));
        peers.clone().for_each(|index| self.ask(index));
        self.finish_with_stores();
        for _ in 0..3 {
            if self.peers.iter().any(|peer| matches!(peer.device.storage(), Storage::NotKept { .. })) {
                self.now_ms += KEEP_AGAIN_AFTER_MS;
                self.timeouts();
                self.finish_with_stores();
            }
        }
        for _ in 0..if self.plan.asked { 3 } else { 0 } {
            self.now_ms += ANSWER_MS_MAX;
            self.timeouts();
            self.finish_with_stores();
        }
        for (index, peer) in self.peers.iter().enumerate() {
            let Some(tab) = &peer.tab else { continue };
            match peer.device.storage() {
                Storage::Refused { .. } => assert!(tab.is_closed, "client {index} keeps what it can"),
                Storage::Kept => self.stores[tab.store].assert_holds(peer.client()),
                storage => panic!("client {index} is {storage:?}, with room and time"),
            }
        }
        self.calm = is_calm;
    }

    fn finish_with_stores(&mut self) {
        let peers = 0..self.peers.len();
        // One after the other, since each may bring about another.
        while peers
            .clone()
            .any(|index| self.hear(index) || self.take_lock(index) || self.read_left(index) || self.sync_store(index))
        {
        }
    }

    /// Those load their page again whose store was closed: until then they hold the locks of tabs whose edits they leave alone.
    pub(super) fn load_refused_again(&mut self) {
        for index in 0..self.peers.len() {
            if matches!(self.peers[index].device.storage(), Storage::Refused { .. }) {
                self.drop_connection(index);
                self.crash_tab(index);
                self.forget_what_nobody_has();
            }
        }
    }

    /// Without a server, the tabs of a device show the same where their bases do: what waits in any of them.
    pub(super) fn agree_offline(&mut self) {
        if !self.plan.tabs || self.decisions.one_in(2) {
            return;
        }
        (0..self.peers.len()).for_each(|index| self.drop_connection(index));
        self.come_to_agreement();
        let tabs: Vec<(usize, usize)> = (self.peers.iter().enumerate())
            .filter_map(|(index, peer)| Some((peer.tab.as_ref()?.store, index)))
            .collect();
        for (store, index) in &tabs {
            for (_, other) in tabs.iter().filter(|(other, _)| other == store) {
                let [client, other] = [index, other].map(|index| self.peers[*index].client());
                if client.dictionary() != other.dictionary() {
                    continue;
                }
                for (key, row) in other.outbox().iter() {
                    let shown = client.shown(key).map(|shown| shown.stamp);
                    let rows = client.outbox().rows(key).iter().chain(other.outbox().rows(key));
                    let is_replaced = rows
                        .chain(client.sibling_rows(key))
                        .any(|newer| newer.state.is_active() && newer.seen[1..].contains(&row.stamp));
                    let is_told = row.state.is_active() && row.recovered.is_none() && !is_replaced;
                    assert!(
                        !is_told || shown >= Some(row.stamp),
                        "client {index} shows {shown:?} of {key:?}, not {row:?}"
                    );
                }
                // Not by the digest: a tombstone that only one has hides a write in that one.
                let is_same = client.base() == other.base();
                let recovers = |client: &Client| client.outbox().iter().any(|(_, row)| row.recovered.is_some());
                // One whose store is closed may have the lock of a tab, whose edits it does not take over.
                let is_refused = |index: &usize| matches!(self.peers[*index].device.storage(), Storage::Refused { .. });
                let takes_over = !tabs.iter().any(|(other, index)| other == store && is_refused(index));
                if takes_over && is_same && !recovers(client) && !recovers(other) {
                    // What has left a third tab is shown until the base has it. One that came later was not told of it.
                    let has_left = |key: &Key| {
                        let mut rows = client.sibling_rows(key).chain(other.sibling_rows(key));
                        rows.any(|row| matches!(row.state, RowState::Left(_)))
                    };
                    let [shown, others] = [client, other]
                        .map(|client| client.keys().into_iter().filter(|key| !has_left(key)).collect::<Vec<Key>>());
                    assert_eq!(shown, others, "tabs of a device show the same");
                    self.tally.count("tabs agree offline");
                }
            }
        }
    }
}
