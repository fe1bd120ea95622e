//! The clients, each with its user.

use std::collections::{BTreeMap, BTreeSet};

use keybook_core::{
    AuthorName, Conflict, ConflictId, Epoch, Key, Person, Resolution, Stamp, Value,
    client::{Action, Client, EditError, Event, Phase, RowState},
    device::{Device, WhoLives},
    server::Session,
    wire::{ByeCode, Role},
};

use super::{World, local_store::LocalStore, network::Connection, oracle::Seen, server::Served, tabs::Tab};
use crate::support::{key, secret, value};

/// One such value fits into the room for the conflict rows of one maker.
const LARGE_BYTES: usize = 900_000;

pub(super) struct Peer {
    pub(super) device: Device,
    pub(super) skew_ms: i64,
    /// Its part of a browser; without one it loses all when it crashes.
    pub(super) tab: Option<Tab>,
    pub(super) connection: Option<u64>,
    pub(super) fetching: bool,
    /// The epoch that its base is of.
    pub(super) epoch: Option<Epoch>,
    /// What the server lets it do.
    pub(super) role: Role,
    /// An open editor.
    pub(super) editing: Option<Editing>,
    /// The writes whose acks it got: they are done.
    pub(super) answered: BTreeSet<(Key, Stamp)>,
    /// The conflicts about which it told the server, and was answered.
    pub(super) decided: BTreeSet<ConflictId>,
    /// The newest connection on which the server got a push, and on which it last got each write.
    pub(super) newest_push: u64,
    pub(super) arrived: BTreeMap<(String, Stamp), u64>,
}

/// What an editor shows: the key, what the client says it has seen, and what it has seen by the world's own account.
#[derive(Clone)]
pub(super) struct Editing {
    pub(super) key: Key,
    pub(super) began: Stamp,
    pub(super) saw: Seen,
}

impl Peer {
    pub(super) fn new(device: Device, role: Role, skew_ms: i64) -> Self {
        let (answered, decided, arrived) = Default::default();
        let (tab, connection, fetching, epoch, editing) = (None, None, false, None, None);
        let newest_push = 0;
        Self {
            device,
            skew_ms,
            tab,
            connection,
            fetching,
            epoch,
            role,
            editing,
            answered,
            decided,
            newest_push,
            arrived,
        }
    }

    pub(super) fn client(&self) -> &Client {
        self.device.client()
    }

    pub(super) fn client_mut(&mut self) -> &mut Client {
        self.device.client_mut()
    }
}

impl World {
    /// The clients of a device share its clock.
    pub(super) fn new_peer(&mut self, number: usize) -> Peer {
        let skew_ms = self.decisions.around_zero(self.plan.skew_ms);
        let store = if self.plan.tabs { number % 2 } else { number };
        if self.plan.devices && store < self.stores.len() {
            return self.new_tab(store, self.stores[store].skew_ms);
        }
        if self.plan.devices {
            self.stores.push(LocalStore::new(skew_ms));
            return self.new_tab(store, skew_ms);
        }
        let now_ms = self.now_ms.saturating_add_signed(skew_ms);
        let replica = self.decisions.number();
        let person = self.person_of(replica);
        // It never learns of a store.
        let device = Device::new(Client::new(secret(replica), person, now_ms), WhoLives::Locks);
        Peer::new(device, Role::Writer, skew_ms)
    }

    /// One of few, as the person is called by now.
    pub(super) fn person_of(&self, replica: u64) -> Person {
        let secret = secret(replica % 5);
        let times = self.renamed.get(&secret.author()).copied().unwrap_or(0);
        Person { secret, name: AuthorName::new(&format!("Author {} for the {times}. time", replica % 5)) }
    }

    /// A person takes another name, of which all pages of that person hear at once.
    pub(super) fn rename(&mut self, index: usize) {
        let id = self.peers[index].client().author().id;
        *self.renamed.entry(id).or_default() += 1;
        let number = (0..5).find(|&number| secret(number).author() == id).expect("it is one of them");
        let name = self.person_of(number).name;
        for index in 0..self.peers.len() {
            if self.peers[index].client().author().id == id {
                let now_ms = self.local_ms(index);
                self.peers[index].client_mut().set_name(name.clone(), now_ms);
                self.drive(index);
            }
        }
    }

    pub(super) fn local_ms(&self, peer: usize) -> u64 {
        self.now_ms.saturating_add_signed(self.peers[peer].skew_ms)
    }

    pub(super) fn any_key(&mut self) -> Key {
        key(&format!("k{}", self.decisions.index(0..self.plan.keys)))
    }

    pub(super) fn begin(&self, index: usize, key: &Key) -> Editing {
        let Peer { epoch, device, .. } = &self.peers[index];
        let client = device.client();
        let saw = match client.shown(key) {
            None => Seen::default(),
            Some(shown) if shown.pending.is_none() => self.oracle.shown(key, shown.stamp, *epoch),
            Some(own) => match client.outbox().row(key, own.stamp).and_then(|row| row.recovered.as_ref()) {
                // A recovered row was confirmed, and is shown as that.
                Some(branch) => self.oracle.shown(key, own.stamp, branch.epochs().last().map(|past| past.epoch)),
                None => self.oracle.saw(key, own.stamp),
            },
        };
        Editing { key: key.clone(), began: client.begin(key), saw }
    }

    pub(super) fn edit(&mut self, index: usize) {
        let (key, dice) = (self.any_key(), self.decisions.below(10));
        let editing = self.begin(index, &key);
        match dice {
            0 => self.peers[index].editing = Some(editing),
            1 | 2 => {
                let _nothing_to_remove = self.write(index, &editing, None);
            }
            _ => {
                let editing = self.peers[index].editing.take().unwrap_or(editing);
                let value = self.any_value();
                if self.write(index, &editing, Some(value)).is_err() {
                    self.tally.count("put refused locally");
                }
            }
        }
    }

    /// One of few, so that some writes are equal. Some are over the shorter limit of a server.
    pub(super) fn any_value(&mut self) -> Value {
        let number = self.decisions.below(50);
        value(&match number {
            42.. if self.plan.large_values => format!("\"{number}{}\"", "x".repeat(LARGE_BYTES)),
            40.. => format!("\"a longer text {number}\""),
            _ => number.to_string(),
        })
    }

    /// Writes as the user of an editor does.
    fn write(&mut self, index: usize, editing: &Editing, value: Option<Value>) -> Result<Option<Stamp>, EditError> {
        let (key, began, kind) = (&editing.key, editing.began, if value.is_some() { "put" } else { "remove" });
        let written = self.write_by(index, editing, |client, now_ms| match value {
            Some(value) => client.put(key, value, began, now_ms).map(Some),
            None => client.remove(key, began, now_ms),
        })?;
        if written.is_some() {
            self.tally.count(kind);
        }
        Ok(written)
    }

    /// Lets a client write, and keeps account of what its user had seen.
    fn write_by(
        &mut self,
        index: usize,
        Editing { key, saw, .. }: &Editing,
        write: impl FnOnce(&mut Client, u64) -> Result<Option<Stamp>, EditError>,
    ) -> Result<Option<Stamp>, EditError> {
        let now_ms = self.local_ms(index);
        let client = self.peers[index].client_mut();
        let waiting = client.outbox().rows(key).iter().chain(client.sibling_rows(key));
        let replaced: Vec<Stamp> = waiting.map(|row| row.stamp).collect();
        let written = write(client, now_ms)?;
        if let Some(stamp) = written {
            self.oracle.write(key, stamp, saw.clone());
            self.oracle.replace(key, stamp, &replaced);
            let shown = self.peers[index].client().shown(key);
            assert!(shown.is_some_and(|shown| shown.stamp == stamp), "an edit shows");
        }
        self.drive(index);
        Ok(written)
    }

    /// A user decides about a conflict.
    pub(super) fn resolve(&mut self, index: usize) {
        let client = self.peers[index].client();
        let open: Vec<_> = client.open_conflicts().into_iter().map(Conflict::id).collect();
        if open.is_empty() {
            return;
        }
        let id = open[self.decisions.index(0..open.len())].clone();
        let editing = self.begin(index, &id.key);
        let (resolution, kind) = match self.decisions.one_in(2) {
            true => (Resolution::Dismissed, "conflict dismissed"),
            false => (Resolution::Restored, "conflict restored"),
        };
        match self.write_by(index, &editing, |client, now_ms| client.resolve(&id, resolution, now_ms)) {
            Ok(_) => {
                self.tally.count(kind);
                let open = self.peers[index].client().open_conflicts();
                let is_open = open.iter().any(|conflict| conflict.id() == id);
                assert!(!is_open, "a decision shows");
            }
            Err(_) => self.tally.count("decision refused locally"),
        }
    }

    /// A user decides about a write that the server has refused: to let it go, or to make it again.
    pub(super) fn review(&mut self, index: usize, may_insist: bool) {
        let (now_ms, outbox) = (self.local_ms(index), self.peers[index].client().outbox());
        let held: Vec<_> = outbox.iter().filter(|(_, row)| !row.state.is_active()).collect();
        if held.is_empty() {
            return;
        }
        let (key, row) = held[self.decisions.index(0..held.len())];
        let (key, stamp, value) = (key.clone(), row.stamp, row.value.clone());
        if self.decisions.one_in(2) || !may_insist {
            self.tally.count("held write discarded");
        } else {
            let editing = self.begin(index, &key);
            match self.write(index, &editing, value) {
                Ok(_) => self.tally.count("held write written again"),
                Err(_) => return self.tally.count("held write refused again"),
            }
        }
        assert!(self.peers[index].client_mut().discard(&key, stamp, now_ms), "a held write can be let go");
        self.forget_what_nobody_has();
    }

    /// Carries out what a client wants.
    pub(super) fn drive(&mut self, index: usize) {
        let now_ms = self.local_ms(index);
        loop {
            let peer = &mut self.peers[index];
            while let Some(message) = peer.client_mut().poll_transmit() {
                if let Some(connection) = peer.connection.and_then(|id| self.connections.get_mut(&id)) {
                    connection.send_to_server(message);
                }
            }
            while let Some(event) = peer.client_mut().poll_event() {
                match event {
                    Event::Unreadable(reason) => assert!(reason.starts_with("snapshot: "), "{reason}"),
                    Event::Damaged(what) => panic!("client {index} cannot read {what}"),
                    Event::Diverged => panic!("client {index} diverged"),
                    Event::Bye { code, .. } => assert_ne!(code, ByeCode::Protocol),
                    Event::Entries(_) | Event::Reset | Event::Conflicts | Event::Names | Event::Status => {}
                }
            }
            if let Some(effect) = peer.device.poll_effect(now_ms) {
                self.carry_out(index, effect);
                continue;
            }
            match peer.client_mut().poll_action() {
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
        let (now_ms, now, random) = (self.local_ms(index), self.now(), self.decisions.number());
        let Some(server) = &mut self.server else {
            return self.peers[index].client_mut().handle_disconnected(now_ms, random);
        };
        let id = self.next_id;
        self.next_id += 1;
        let session = Session::new(self.limits, now);
        let (broadcasts, requests) = Default::default();
        server.served.insert(id, Served { session, broadcasts, lagged: false, requests });
        self.connections.insert(id, Connection::of(index));
        self.peers[index].connection = Some(id);
        self.peers[index].client_mut().handle_connected(now_ms);
        self.tally.count("connect");
    }

    /// The client's end closes; the server may go on for a while not knowing.
    pub(super) fn drop_connection(&mut self, index: usize) {
        let (now_ms, random) = (self.local_ms(index), self.decisions.number());
        if let Some(id) = self.peers[index].connection.take() {
            self.give_up(id);
        }
        let peer = &mut self.peers[index];
        peer.fetching = false;
        peer.client_mut().handle_disconnected(now_ms, random);
    }

    /// The replica is gone with all that it did not send. As with [`World::crash_server`], this comes between any two calls,
    /// and between any two frames: of what was under way an end is lost.
    pub(super) fn crash_client(&mut self, index: usize) {
        self.tally.count("client crash");
        self.tally.count(moment_of_crash(self.peers[index].client()));
        self.drop_connection(index);
        if self.peers[index].tab.is_some() {
            self.crash_tab(index);
        } else {
            let role = self.peers[index].role;
            self.peers[index] = Peer { role, ..self.new_peer(index) };
            self.drive(index);
        }
        self.forget_what_nobody_has();
    }

    pub(super) fn online(&mut self, index: usize) {
        let now_ms = self.local_ms(index);
        self.peers[index].client_mut().handle_online(now_ms);
        self.drive(index);
    }

    pub(super) fn timeouts(&mut self) {
        self.answer_in_time();
        for index in 0..self.peers.len() {
            let now_ms = self.local_ms(index);
            if self.peers[index].device.poll_timeout().is_some_and(|at| at <= now_ms) {
                self.peers[index].device.handle_timeout(now_ms);
                self.drive(index);
            }
        }
        let now = self.now();
        let Some(server) = &mut self.server else { return };
        for served in server.served.values_mut() {
            served.session.handle_timeout(now);
        }
    }
}

fn moment_of_crash(client: &Client) -> &'static str {
    let waits_for = |state: fn(&RowState) -> bool| client.outbox().iter().any(|(_, row)| state(&row.state));
    match client.phase() {
        Phase::Waiting | Phase::Connecting => "client crash while offline",
        Phase::Greeting { .. } => "client crash before a welcome",
        Phase::Fetching => "client crash before a snapshot",
        Phase::Following if !client.is_settled() => "client crash in the middle of a catch-up",
        Phase::Following if waits_for(|state| matches!(state, RowState::Acked(_))) => "client crash before a delta",
        Phase::Following if waits_for(|state| *state == RowState::Sent) => "client crash before an ack",
        Phase::Following => "client crash at rest",
    }
}
