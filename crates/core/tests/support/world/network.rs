//! The network between the clients and the server.

use std::collections::VecDeque;

use super::World;

/// Both directions of a connection; each end may learn late that the other is gone.
pub(super) struct Connection {
    pub(super) peer: usize,
    pub(super) to_server: VecDeque<Vec<u8>>,
    pub(super) to_client: VecDeque<Vec<u8>>,
    /// Nothing passes any more, and neither end knows.
    pub(super) half_open: bool,
}

impl World {
    pub(super) fn deliver(&mut self) {
        let ids: Vec<u64> = self.connections.keys().copied().collect();
        let Some(id) = self.decisions.choice(&ids) else { return self.fetch() };
        if self.decisions.one_in(2) {
            self.deliver_to_server(id);
        } else {
            self.deliver_to_client(id);
        }
        self.fetch();
    }

    pub(super) fn deliver_to_server(&mut self, id: u64) {
        let Some(served) = self.server.as_mut().and_then(|server| server.served.get_mut(&id)) else { return };
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.half_open || !served.requests.is_empty() || !served.session.wants_frame() {
            return;
        }
        if let Some(message) = connection.to_server.pop_front() {
            served.session.handle_message(&message, self.now_ms);
        }
    }

    pub(super) fn deliver_to_client(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.half_open {
            return;
        }
        let index = connection.peer;
        let Some(message) = connection.to_client.pop_front() else {
            let gone = self.server.as_ref().is_none_or(|server| !server.served.contains_key(&id));
            if gone {
                self.drop_connection(index);
                self.drive(index);
            }
            return;
        };
        self.note_acks(index, &message);
        let now_ms = self.local_ms(index);
        let before = self.peers[index].client.clone();
        self.peers[index].client.handle_message(&message, now_ms);
        self.check_durable(index);
        self.check_shown(index, &before, &message);
        self.drive(index);
    }

    /// Finishes a snapshot's fetch, or fails it.
    pub(super) fn fetch(&mut self) {
        let fetching: Vec<usize> = (0..self.peers.len()).filter(|&index| self.peers[index].fetching).collect();
        let Some(index) = self.decisions.choice(&fetching) else { return };
        let now_ms = self.local_ms(index);
        self.peers[index].fetching = false;
        if self.server.is_some() && (self.calm || !self.decisions.one_in(10)) {
            self.peers[index].client.handle_snapshot(&self.disk.snapshot(), now_ms);
            self.check_durable(index);
            self.tally.count("snapshot");
        } else {
            self.peers[index].client.handle_snapshot_failed("the network");
            self.tally.count("snapshot failed");
        }
        self.drive(index);
    }
}
