//! The clients, each with its user.

use keybook_core::{
    client::{Action, Client, Event},
    key::Key,
    session::Session,
    stamp::{ReplicaId, Stamp},
    value::Value,
    wire::ByeCode,
};

use super::{World, network::Connection, server::Served};
use crate::support::{author, key};

pub(super) struct Peer {
    pub(super) client: Client,
    pub(super) skew_ms: i64,
    pub(super) connection: Option<u64>,
    pub(super) fetching: bool,
    /// An open editor.
    pub(super) editing: Option<Editing>,
}

/// What an editor shows: the key, what the client says it has seen, and what it has seen by the world's own account.
#[derive(Clone)]
pub(super) struct Editing {
    pub(super) key: Key,
    pub(super) began: Stamp,
    pub(super) saw: Stamp,
}

impl World {
    pub(super) fn new_peer(&mut self) -> Peer {
        let skew_ms = self.decisions.around_zero(self.plan.skew_ms);
        let now_ms = self.now_ms.saturating_add_signed(skew_ms);
        let replica = self.decisions.number();
        let client = Client::new(ReplicaId(replica), author(replica % 5), now_ms);
        Peer { client, skew_ms, connection: None, fetching: false, editing: None }
    }

    pub(super) fn local_ms(&self, peer: usize) -> u64 {
        self.now_ms.saturating_add_signed(self.peers[peer].skew_ms)
    }

    pub(super) fn any_key(&mut self) -> Key {
        key(&format!("k{}", self.decisions.index(0..self.plan.keys)))
    }

    pub(super) fn begin(&self, index: usize, key: &Key) -> Editing {
        let client = &self.peers[index].client;
        let saw = match client.shown(key) {
            None => Stamp::ZERO,
            Some(shown) if shown.pending.is_none() => shown.stamp,
            // A recovered row was confirmed, and shown as that.
            Some(own) if client.outbox().row(key, own.stamp).is_some_and(|row| row.recovered.is_some()) => own.stamp,
            Some(own) => self.oracle.saw.get(&own.stamp).copied().unwrap_or_default(),
        };
        Editing { key: key.clone(), began: client.begin(key), saw }
    }

    pub(super) fn edit(&mut self, index: usize) {
        let (key, now_ms, dice) = (self.any_key(), self.local_ms(index), self.decisions.below(10));
        let editing = self.begin(index, &key);
        let peer = &mut self.peers[index];
        match dice {
            0 => {
                peer.editing = Some(editing);
                return;
            }
            1 | 2 => {
                if let Ok(Some(stamp)) = peer.client.remove(&key, editing.began, now_ms) {
                    self.oracle.saw.insert(stamp, editing.saw);
                    self.tally.count("remove");
                }
            }
            _ => {
                let Editing { key, began, saw } = peer.editing.take().unwrap_or(editing);
                // Few values, so that some writes are equal.
                let value = Value::parse(&self.decisions.below(50).to_string()).unwrap();
                match peer.client.put(&key, value, began, now_ms) {
                    Ok(stamp) => {
                        self.oracle.saw.insert(stamp, saw);
                        self.tally.count("put");
                        let shown = self.peers[index].client.shown(&key);
                        assert!(shown.is_some_and(|shown| shown.stamp == stamp), "an edit shows");
                    }
                    Err(_) => self.tally.count("put refused locally"),
                }
            }
        }
        self.drive(index);
    }

    /// Carries out what a client wants.
    pub(super) fn drive(&mut self, index: usize) {
        loop {
            let peer = &mut self.peers[index];
            while let Some(message) = peer.client.poll_transmit() {
                if let Some(connection) = peer.connection.and_then(|id| self.connections.get_mut(&id)) {
                    connection.to_server.push_back(message);
                }
            }
            while let Some(event) = peer.client.poll_event() {
                match event {
                    Event::Unreadable(reason) => assert!(reason.starts_with("snapshot: "), "{reason}"),
                    Event::Diverged => panic!("client {index} diverged"),
                    Event::Bye { code, .. } => assert_ne!(code, ByeCode::Protocol),
                    Event::Entries(_) | Event::Reset | Event::Conflicts | Event::Status => {}
                }
            }
            peer.client.take_outbox_changes();
            match peer.client.poll_action() {
                None => return,
                Some(Action::Connect) => self.connect(index),
                Some(Action::Disconnect) => {
                    self.tally.count("client gave up a connection");
                    self.drop_connection(index);
                }
                Some(Action::FetchSnapshot) => self.peers[index].fetching = true,
            }
        }
    }

    pub(super) fn connect(&mut self, index: usize) {
        let (now_ms, random) = (self.local_ms(index), self.decisions.number());
        let Some(server) = &mut self.server else {
            return self.peers[index].client.handle_disconnected(now_ms, random);
        };
        let id = self.next_id;
        self.next_id += 1;
        let session = Session::new(self.plan.limits, self.now_ms);
        let (broadcasts, requests) = Default::default();
        server.served.insert(id, Served { session, broadcasts, lagged: false, requests });
        let (to_server, to_client) = Default::default();
        self.connections.insert(id, Connection { peer: index, to_server, to_client, half_open: false });
        self.peers[index].connection = Some(id);
        self.peers[index].client.handle_connected(now_ms);
        self.tally.count("connect");
    }

    /// The client's end closes; the server may go on for a while not knowing.
    pub(super) fn drop_connection(&mut self, index: usize) {
        let (now_ms, random) = (self.local_ms(index), self.decisions.number());
        let peer = &mut self.peers[index];
        if let Some(id) = peer.connection.take() {
            self.connections.remove(&id);
        }
        peer.fetching = false;
        peer.client.handle_disconnected(now_ms, random);
    }

    pub(super) fn crash_client(&mut self, index: usize) {
        self.drop_connection(index);
        self.peers[index] = self.new_peer();
        self.forget_what_nobody_has();
        self.drive(index);
        self.tally.count("client crash");
    }

    pub(super) fn cut(&mut self, index: usize) {
        if self.peers[index].connection.is_some() {
            self.tally.count("cut");
            self.drop_connection(index);
            self.drive(index);
        }
    }

    pub(super) fn half_open(&mut self, index: usize) {
        if let Some(connection) = self.peers[index].connection.and_then(|id| self.connections.get_mut(&id)) {
            connection.half_open = true;
            self.tally.count("half open");
        }
    }

    pub(super) fn online(&mut self, index: usize) {
        let now_ms = self.local_ms(index);
        self.peers[index].client.handle_online(now_ms);
        self.drive(index);
    }

    pub(super) fn timeouts(&mut self) {
        for index in 0..self.peers.len() {
            let now_ms = self.local_ms(index);
            if self.peers[index].client.poll_timeout().is_some_and(|at| at <= now_ms) {
                self.peers[index].client.handle_timeout(now_ms);
                self.drive(index);
            }
        }
        let Some(server) = &mut self.server else { return };
        for served in server.served.values_mut() {
            served.session.handle_timeout(self.now_ms);
        }
    }
}
