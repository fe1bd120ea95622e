//! The clients of a device, as tabs of a browser: they share its store and its clock, tell each other what waits in their
//! outboxes over a channel that loses messages, and take over what one that has ended leaves, which a lock says.

use std::collections::VecDeque;

use keybook_core::{
    ReplicaId,
    client::{Client, PendingResolution},
    wire::Role,
};

use super::{World, device::rows, peers::Peer};
use crate::support::author;

/// What a client has to do with its device.
pub(super) struct Tab {
    pub(super) device: usize,
    /// The store has not been read.
    pub(super) is_opening: bool,
    /// The clients for whose locks it waits.
    pub(super) ended_or_not: Vec<ReplicaId>,
    /// Those whose locks it has got.
    ended: Vec<ReplicaId>,
    /// Those of which it has taken over the rows, and the store does not know it.
    pub(super) adopted: Vec<ReplicaId>,
    /// Told by others.
    messages: VecDeque<Vec<u8>>,
}

impl World {
    pub(super) fn new_tab(&mut self, device: usize, skew_ms: i64) -> Peer {
        let replica = self.decisions.number();
        let now_ms = self.now_ms.saturating_add_signed(skew_ms);
        let client = Client::opening(ReplicaId(replica), author(replica % 5), now_ms);
        let (ended_or_not, ended, adopted, messages) = Default::default();
        let tab = Tab { device, is_opening: true, ended_or_not, ended, adopted, messages };
        Peer { tab: Some(tab), ..Peer::new(client, Role::Writer, skew_ms) }
    }

    pub(super) fn step_tab(&mut self, index: usize) {
        match self.decisions.below(8) {
            0 => self.ask(index),
            1 => _ = self.adopt(index),
            _ => _ = self.hear(index),
        }
    }

    /// The tab is closed, or its browser killed with all tabs: what was not durable is lost. Each is opened again, as another
    /// replica.
    pub(super) fn crash_tab(&mut self, index: usize) {
        let is_browser = self.plan.tabs && self.decisions.one_in(4);
        let device = |peer: &Peer| peer.tab.as_ref().map(|tab| tab.device);
        let number = device(&self.peers[index]).expect("it is a tab");
        let is_killed = |(other, peer): (usize, &Peer)| {
            (other == index || is_browser && device(peer) == Some(number)).then_some(other)
        };
        let killed: Vec<usize> = self.peers.iter().enumerate().filter_map(is_killed).collect();
        for index in &killed {
            self.drop_connection(*index);
            let replica = self.peers[*index].client.replica();
            let lost = self.devices[number].lose(replica);
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
        let device = self.peers[from].tab.as_ref().expect("it is a tab").device;
        for index in (0..self.peers.len()).filter(|&index| index != from) {
            let listens = |tab: &&mut Tab| tab.device == device && !tab.is_opening;
            let Some(tab) = self.peers[index].tab.as_mut().filter(listens) else { continue };
            if !self.calm && self.decisions.one_in(10) {
                self.tally.count("tab message lost");
            } else {
                tab.messages.push_back(message.to_vec());
            }
        }
    }

    fn ask(&mut self, index: usize) {
        if self.peers[index].tab.as_ref().is_some_and(|tab| !tab.is_opening) {
            self.peers[index].client.ask_siblings();
            self.drive(index);
        }
    }

    /// A tab takes a message. What it shows does not go back.
    fn hear(&mut self, index: usize) -> bool {
        let now_ms = self.local_ms(index);
        let peer = &mut self.peers[index];
        let Some(message) = peer.tab.as_mut().and_then(|tab| tab.messages.pop_front()) else { return false };
        let before = peer.client.clone();
        let Some(from) = peer.client.handle_told(&message, now_ms) else {
            self.tally.count("tab message after its end");
            return true;
        };
        let tab = peer.tab.as_mut().expect("it has got a message");
        if !tab.ended_or_not.contains(&from) && !tab.ended.contains(&from) {
            tab.ended_or_not.push(from);
        }
        before.keys().iter().for_each(|key| self.check_shown_of(index, &before, key));
        self.tally.count_some("sibling's edit shown", self.peers[index].client.sibling_edits());
        self.drive(index);
        true
    }

    /// A tab gets the lock of one that has ended, and takes over what that has left: exactly what it held when that was kept.
    pub(super) fn adopt(&mut self, index: usize) -> bool {
        let now_ms = self.local_ms(index);
        let Some(tab) = self.peers[index].tab.as_ref().filter(|tab| !tab.is_opening) else { return false };
        let is_held = |replica: &ReplicaId| {
            let holds = |tab: &Tab| tab.ended.contains(replica);
            self.peers.iter().any(|p| p.client.replica() == *replica || p.tab.as_ref().is_some_and(holds))
        };
        let Some(replica) = tab.ended_or_not.iter().copied().find(|replica| !is_held(replica)) else { return false };
        let (left, held) = self.devices[tab.device].left_by(replica);
        let Peer { client, tab, .. } = &mut self.peers[index];
        let tab = tab.as_mut().expect("it was just looked at");
        tab.ended_or_not.retain(|other| *other != replica);
        tab.ended.push(replica);
        tab.adopted.push(replica);
        let (own, _) = rows(client);
        client.adopt_rows(&left, now_ms);
        client.forget_sibling(replica, now_ms);
        let (found, decided) = rows(client);
        let (held, decisions) = held;
        for row in &held {
            // One of the same replica that is newer may have taken its place.
            let newer = client.outbox().row_of(&row.0, row.1).is_some_and(|own| own.stamp > row.1);
            assert!(newer || found.contains(row), "client {index} has the edit {row:?} that was kept");
        }
        assert!(found.len() <= held.len() + own.len(), "client {index} has no other edits");
        for decision in &decisions {
            let is_open = client.conflicts().open().any(|conflict| decision.is_of(conflict));
            let is_it = |found: &PendingResolution| found.is_same(decision);
            assert!(!is_open || decided.iter().any(is_it), "client {index} has what was decided: {decision:?}");
        }
        self.tally.count_some("tab adopted decisions", decisions.len());
        self.tally.count(if held.is_empty() { "tab adopted nothing" } else { "tab adopted edits" });
        self.drive(index);
        true
    }

    /// All is kept, told and taken over, with messages that arrive. In the end nobody knows less than there is.
    pub(super) fn come_to_agreement(&mut self) {
        let is_calm = std::mem::replace(&mut self.calm, true);
        let peers = 0..self.peers.len();
        peers.clone().for_each(|index| self.open_device(index));
        peers.clone().for_each(|index| self.ask(index));
        // One after the other, since each may bring about another.
        while peers.clone().any(|index| self.hear(index) || self.adopt(index) || self.sync_device(index)) {}
        self.calm = is_calm;
    }

    /// Without a server, the tabs of a device show the same where their bases do: what waits in any of them.
    pub(super) fn agree_offline(&mut self) {
        if !self.plan.tabs || self.decisions.one_in(2) {
            return;
        }
        (0..self.peers.len()).for_each(|index| self.drop_connection(index));
        self.come_to_agreement();
        let tabs: Vec<(usize, usize)> = (self.peers.iter().enumerate())
            .filter_map(|(index, peer)| Some((peer.tab.as_ref()?.device, index)))
            .collect();
        for (device, index) in &tabs {
            for (_, other) in tabs.iter().filter(|(other, _)| other == device) {
                let [client, other] = [index, other].map(|index| &self.peers[*index].client);
                for (key, row) in other.outbox().iter() {
                    let shown = client.shown(key).map(|shown| shown.stamp);
                    let is_told = row.state.is_active() && row.recovered.is_none();
                    assert!(
                        !is_told || shown >= Some(row.stamp),
                        "client {index} shows {shown:?} of {key:?}, not {row:?}"
                    );
                }
                let is_same = [client, other].map(|client| {
                    (client.base().digest(), client.outbox().iter().any(|(_, row)| row.recovered.is_some()))
                });
                if is_same[0] == is_same[1] && !is_same[0].1 {
                    assert_eq!(client.keys(), other.keys(), "tabs of a device show the same");
                    self.tally.count("tabs agree offline");
                }
            }
        }
    }
}
