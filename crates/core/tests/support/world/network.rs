//! The network between the clients and the server.
//!
//! A connection keeps the order of its frames and loses only its end, as a socket does. But a client has several: it gives
//! one up and opens another, while the server still serves the old one and takes what comes late. So the server sees a
//! client's frames repeated, and out of their order.

use std::collections::{BTreeMap, VecDeque};

use keybook_core::{
    ConflictId,
    wire::{ClientFrame, Op},
};

use super::World;

/// Both directions of a connection; each end may learn late that the other is gone.
#[derive(Default)]
pub(super) struct Connection {
    pub(super) peer: usize,
    to_server: VecDeque<Vec<u8>>,
    to_client: VecDeque<Vec<u8>>,
    /// The client's end is closed. The server takes what is still under way, and then learns it.
    pub(super) is_given_up: bool,
    /// Nothing more gets in; each end takes what is still under way, and then learns it.
    is_cut: bool,
    /// Nothing passes, and neither end knows.
    is_stalled: bool,
    /// The client's pushes that are not answered yet.
    pub(super) pushes: BTreeMap<u64, Vec<Op>>,
    /// What it has told about conflicts, and is not answered yet.
    pub(super) decisions: BTreeMap<u64, ConflictId>,
}

impl Connection {
    pub(super) fn of(peer: usize) -> Self {
        Self { peer, ..Self::default() }
    }

    pub(super) fn send_to_server(&mut self, message: Vec<u8>) {
        match ClientFrame::decode(&message) {
            Ok(ClientFrame::Push { batch, ops }) => drop(self.pushes.insert(batch, ops)),
            Ok(ClientFrame::Resolve { batch, id, .. }) => drop(self.decisions.insert(batch, id)),
            _ => {}
        }
        if !self.is_cut {
            self.to_server.push_back(message);
        }
    }

    pub(super) fn send_to_client(&mut self, message: Vec<u8>) {
        if !self.is_cut && !self.is_given_up {
            self.to_client.push_back(message);
        }
    }
}

impl World {
    pub(super) fn deliver(&mut self) {
        let ids: Vec<u64> = self.connections.keys().copied().collect();
        if let Some(id) = self.decisions.choice(&ids) {
            let connection = &self.connections[&id];
            let (is_stalled, is_given_up) = (connection.is_stalled, connection.is_given_up);
            if is_stalled && self.decisions.one_in(if is_given_up { 8 } else { 200 }) {
                self.revive(id);
            }
            if is_given_up || self.decisions.one_in(2) {
                self.deliver_to_server(id);
            } else {
                self.deliver_to_client(id);
            }
        }
        if self.decisions.one_in(4) {
            self.fetch();
        }
    }

    /// Of every connection some frames, those of given up ones too.
    pub(super) fn deliver_all(&mut self) {
        for id in self.connections.keys().copied().collect::<Vec<_>>() {
            if self.connections.get(&id).is_some_and(|connection| connection.is_given_up) {
                self.revive(id);
            }
            for _ in 0..4 {
                self.deliver_to_server(id);
                self.deliver_to_client(id);
            }
        }
    }

    fn deliver_to_server(&mut self, id: u64) {
        let now = self.now();
        let Some(served) = self.server.as_mut().and_then(|server| server.served.get_mut(&id)) else { return };
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.is_stalled || !served.requests.is_empty() || !served.session.wants_frame() {
            return;
        }
        if let Some(message) = connection.to_server.pop_front() {
            served.session.handle_message(&message, now);
            self.note_arrival(id, &message);
        } else if connection.is_cut || connection.is_given_up {
            self.hang_up(id);
        }
    }

    fn deliver_to_client(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id).filter(|c| !c.is_stalled && !c.is_given_up) else {
            return;
        };
        let index = connection.peer;
        let Some(message) = connection.to_client.pop_front() else {
            let is_served = self.server.as_ref().is_some_and(|server| server.served.contains_key(&id));
            if connection.is_cut || !is_served {
                self.drop_connection(index);
                self.drive(index);
            }
            return;
        };
        self.receive(index, id, &message);
        self.drive(index);
    }

    /// Finishes a snapshot's fetch, or fails it.
    pub(super) fn fetch(&mut self) {
        let fetching: Vec<usize> = (0..self.peers.len()).filter(|&index| self.peers[index].fetching).collect();
        let Some(index) = self.decisions.choice(&fetching) else { return };
        let now_ms = self.local_ms(index);
        self.peers[index].fetching = false;
        let fails = !self.calm && self.decisions.one_in(10);
        if let Some(server) = self.server.as_mut().filter(|_| !fails) {
            let kept = server.snapshot.take().filter(|_| self.decisions.one_in(2));
            self.tally.count(if kept.is_some() { "snapshot kept from before" } else { "snapshot" });
            let snapshot = server.snapshot.insert(kept.unwrap_or_else(|| self.disk.snapshot()));
            let before = self.peers[index].client().clone();
            self.peers[index].client_mut().handle_snapshot(snapshot, now_ms);
            self.check_outbox(index, &before);
            self.check_durable(index);
        } else {
            self.peers[index].client_mut().handle_snapshot_failed("the network", now_ms);
            self.tally.count("snapshot failed");
        }
        self.drive(index);
    }

    /// The line breaks: of what was under way, each way loses its end.
    pub(super) fn cut(&mut self, index: usize) {
        let Some(connection) = self.peers[index].connection.and_then(|id| self.connections.get_mut(&id)) else {
            return;
        };
        if connection.is_cut {
            return;
        }
        connection.is_cut = true;
        for queue in [&mut connection.to_server, &mut connection.to_client] {
            let kept = self.decisions.index(0..queue.len() + 1);
            self.tally.count_some("frame lost", queue.drain(kept..).count());
        }
        self.tally.count("cut");
    }

    pub(super) fn stall(&mut self, index: usize) {
        if let Some(connection) = self.peers[index].connection.and_then(|id| self.connections.get_mut(&id)) {
            connection.is_stalled = true;
            self.tally.count("half open");
        }
    }

    /// What a half open connection held back passes after all.
    fn revive(&mut self, id: u64) {
        let connection = self.connections.get_mut(&id).expect("it is being delivered");
        if std::mem::take(&mut connection.is_stalled) {
            self.tally.count(if connection.is_given_up { "revived too late" } else { "revived" });
        }
    }

    /// The client closes its end. What it sent may come late, or in part, or never.
    pub(super) fn give_up(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.is_given_up = true;
        connection.to_client.clear();
        if !self.calm {
            let kept = self.decisions.index(0..connection.to_server.len() + 1);
            self.tally.count_some("frame lost", connection.to_server.drain(kept..).count());
        }
        self.forget_ended();
    }

    /// The server closes its end, and the client learns it.
    pub(super) fn hang_up(&mut self, id: u64) {
        if let Some(server) = &mut self.server {
            server.served.remove(&id);
        }
        self.forget_ended();
    }

    /// Each client gets what was sent before some moment, as the server crashes between any two frames.
    pub(super) fn lose_unsent(&mut self) {
        for connection in self.connections.values_mut() {
            let kept = self.decisions.index(0..connection.to_client.len() + 1);
            for message in connection.to_client.drain(kept..) {
                self.tally.count(super::server::unsent_name(&message));
            }
        }
        self.forget_ended();
    }

    /// The connections of a client break, and nothing more comes from them.
    pub(super) fn expel(&mut self, index: usize) {
        let ids = self.connections.iter().filter(|(_, connection)| connection.peer == index).map(|(&id, _)| id);
        for id in ids.collect::<Vec<_>>() {
            let connection = self.connections.get_mut(&id).expect("it was just listed");
            connection.is_cut = true;
            connection.is_stalled = false;
            connection.to_client.clear();
            self.hang_up(id);
        }
    }

    /// Whether a client's given up connections still bring something.
    pub(super) fn is_quiet(&self) -> bool {
        self.connections.values().all(|connection| !connection.is_given_up)
    }

    pub(super) fn forget_ended(&mut self) {
        let server = self.server.as_ref();
        let is_served = |id: &u64| server.is_some_and(|server| server.served.contains_key(id));
        self.connections.retain(|id, connection| !connection.is_given_up || is_served(id));
    }

    /// Counts what came late, and what came again.
    fn note_arrival(&mut self, id: u64, message: &[u8]) {
        let connection = &self.connections[&id];
        let (index, is_given_up) = (connection.peer, connection.is_given_up);
        if is_given_up {
            self.tally.count("frame of a given up connection");
        }
        let Ok(ClientFrame::Push { ops, .. }) = ClientFrame::decode(message) else { return };
        let peer = &mut self.peers[index];
        if id < peer.newest_push {
            self.tally.count("push after a newer connection's");
        }
        peer.newest_push = peer.newest_push.max(id);
        let repeated = ops
            .iter()
            .filter(|op| peer.arrived.insert((op.key.clone(), op.stamp), id).is_some_and(|before| before != id));
        self.tally.count_some("write on two connections", repeated.count());
    }
}
