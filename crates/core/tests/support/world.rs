//! A simulated world: one server, several clients, a network that is cut, and a clock that only the seed moves.
//!
//! Everything that decides is the production code: [`Hub`], [`Session`], [`Client`]. The world plays disk, sockets and time.
//! Each step is drawn from the seed, so a failure is replayed by its seed.
//!
//! While it runs it checks that nobody is shown what is not durable. At the end it lets the world come to rest, and checks
//! that all hold the same, that no acknowledged write is lost, and that no outbox is stuck.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use keybook_core::{
    client::{Action, Client, Event, OutboxRow, RowState},
    conflict::Conflict,
    entry::Seq,
    hub::{Hub, Origin, Pushed},
    key::Key,
    limits::{CLOCK_AHEAD_MS_MAX, Limits},
    lineage::Epoch,
    session::{Broadcast, Request, Session},
    stamp::{ReplicaId, Stamp},
    value::Value,
    wire::{AckClass, AckCode, ByeCode, Exception, Op, ServerFrame},
};

use super::{author, store::Store};

/// How many commits may wait at a session before it has lagged.
const BROADCASTS_MAX: usize = 3;
/// Batches in a page: few, so that catching up takes several.
const PAGE_BATCHES: usize = 2;

/// What may happen in a run, and how often.
#[derive(Clone, Debug)]
pub struct Plan {
    pub clients: usize,
    pub keys: usize,
    pub steps: usize,
    /// Each client's clock is off by up to this.
    pub skew_ms: u64,
    pub rollbacks: bool,
    pub limits: Limits,
}

impl Plan {
    /// The world of a seed.
    pub fn of(seed: u64) -> Self {
        const HOUR_MS: u64 = 3_600_000;
        Self {
            clients: 2 + seed as usize % 4,
            keys: 1 + seed as usize % 12,
            steps: 1500,
            skew_ms: [0, 2000, 3 * HOUR_MS, 365 * 24 * HOUR_MS][seed as usize % 4],
            rollbacks: seed.is_multiple_of(3),
            limits: Limits { entries: if seed.is_multiple_of(7) { 5 } else { 1000 }, ..Limits::default() },
        }
    }
}

/// How often each kind of event happened, over all runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(pub BTreeMap<&'static str, u64>);

impl Tally {
    pub fn count(&mut self, kind: &'static str) {
        *self.0.entry(kind).or_default() += 1;
    }

    pub fn of(&self, kind: &str) -> u64 {
        self.0.get(kind).copied().unwrap_or_default()
    }

    /// At least 99 of 100 conflict rows are conflicts by the oracle's account too.
    pub fn assert_precision(&self) {
        let (unknown, known) = (self.of("conflict unknown to the oracle"), self.of("conflict by the oracle"));
        assert!(unknown * 100 <= known, "{unknown} conflict rows that are none, beside {known} that are");
    }

    pub fn add(&mut self, other: &Tally) {
        for (kind, count) in &other.0 {
            *self.0.entry(kind).or_default() += count;
        }
    }
}

struct Peer {
    client: Client,
    skew_ms: i64,
    connection: Option<u64>,
    fetching: bool,
    /// An open editor.
    editing: Option<Editing>,
}

/// What an editor shows: the key, what the client says it has seen, and what it has seen by the world's own account.
#[derive(Clone)]
struct Editing {
    key: Key,
    began: Stamp,
    saw: Stamp,
}

/// The world's own account of conflicts, kept beside the hub's and much simpler: every write that was ever accepted, and
/// what its writer had been shown.
#[derive(Clone, Default)]
struct Oracle {
    /// The confirmed entry that the writer of this stamp was shown when editing began.
    saw: BTreeMap<Stamp, Stamp>,
    accepted: BTreeSet<Stamp>,
    truth: BTreeMap<Key, (Stamp, Option<String>)>,
    /// The stamps of both writes, the lower first.
    conflicts: BTreeSet<(Stamp, Stamp)>,
}

impl Oracle {
    fn accept(&mut self, op: &Op) {
        if !self.accepted.insert(op.stamp) {
            return;
        }
        let key = super::key(&op.key);
        let new = (op.stamp, op.value.clone());
        let Some(old) = self.truth.get(&key).cloned() else {
            self.truth.insert(key, new);
            return;
        };
        let saw = self.saw.get(&op.stamp).copied().unwrap_or_default();
        if old.1 != new.1 && old.0 > saw && old.0.replica() != op.stamp.replica() {
            self.conflicts.insert((old.0.min(op.stamp), old.0.max(op.stamp)));
        }
        self.truth.insert(key, old.max(new));
    }
}

/// Both directions of a connection; each end may learn late that the other is gone.
struct Connection {
    peer: usize,
    to_server: VecDeque<Vec<u8>>,
    to_client: VecDeque<Vec<u8>>,
    /// Nothing passes any more, and neither end knows.
    half_open: bool,
}

struct Served {
    session: Session,
    broadcasts: VecDeque<Broadcast>,
    lagged: bool,
    requests: VecDeque<Request>,
}

enum Command {
    Push { connection: u64, batch: u64, ops: Vec<Op>, origin: Origin },
    Resolve { request: Request },
}

struct Server {
    hub: Hub,
    served: BTreeMap<u64, Served>,
    queue: VecDeque<Command>,
}

pub struct World {
    plan: Plan,
    rng: fastrand::Rng,
    now_ms: u64,
    disk: Store,
    backups: Vec<Store>,
    server: Option<Server>,
    peers: Vec<Peer>,
    connections: BTreeMap<u64, Connection>,
    next_id: u64,
    /// Stamps that have been on disk at some time.
    durable: BTreeSet<Stamp>,
    /// The greatest acknowledged write a key, as far as the disk was not rolled back behind it.
    acknowledged: BTreeMap<Key, Stamp>,
    oracle: Oracle,
    pub tally: Tally,
    calm: bool,
}

impl World {
    pub fn new(seed: u64, plan: Plan) -> Self {
        let mut world = Self {
            rng: fastrand::Rng::with_seed(seed),
            now_ms: 1_800_000_000_000,
            disk: Store::default(),
            backups: Vec::new(),
            server: None,
            peers: Vec::new(),
            connections: BTreeMap::new(),
            next_id: 1,
            durable: BTreeSet::new(),
            acknowledged: BTreeMap::new(),
            oracle: Oracle::default(),
            tally: Tally::default(),
            calm: false,
            plan,
        };
        world.start_server();
        for _ in 0..world.plan.clients {
            let peer = world.new_peer();
            world.peers.push(peer);
        }
        world
    }

    /// Runs all steps, comes to rest and checks the promises.
    pub fn run(mut self) -> Tally {
        for _ in 0..self.plan.steps {
            self.step();
        }
        self.rest();
        self.check_promises();
        self.check_conflicts();
        self.tally
    }

    fn step(&mut self) {
        self.now_ms += self.rng.u64(0..40);
        let peer = self.rng.usize(0..self.peers.len());
        match self.rng.u32(0..1000) {
            0..=249 => self.edit(peer),
            250..=649 => self.deliver(),
            650..=849 => self.serve(),
            850..=919 => self.commit(),
            920..=959 => self.timeouts(),
            960..=969 => self.cut(peer),
            970..=974 => self.half_open(peer),
            975..=979 => self.online(peer),
            980..=984 => self.crash_client(peer),
            985..=989 => self.resolve(peer),
            990..=993 => self.crash_server(),
            994..=995 => self.stop_server(),
            996..=997 => self.rollback(),
            _ => self.now_ms += self.rng.u64(0..40_000),
        }
        if self.server.is_none() && self.rng.u32(0..20) == 0 {
            self.start_server();
        }
    }

    // The clients.

    fn new_peer(&mut self) -> Peer {
        let skew_ms = self.rng.i64(-(self.plan.skew_ms as i64)..=self.plan.skew_ms as i64);
        let now_ms = self.now_ms.saturating_add_signed(skew_ms);
        let replica = self.rng.u64(..);
        let client = Client::new(ReplicaId(replica), author(replica % 5), now_ms);
        Peer { client, skew_ms, connection: None, fetching: false, editing: None }
    }

    fn local_ms(&self, peer: usize) -> u64 {
        self.now_ms.saturating_add_signed(self.peers[peer].skew_ms)
    }

    fn any_key(&mut self) -> Key {
        super::key(&format!("k{}", self.rng.usize(0..self.plan.keys)))
    }

    fn begin(&self, index: usize, key: &Key) -> Editing {
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

    fn edit(&mut self, index: usize) {
        let (key, now_ms, dice) = (self.any_key(), self.local_ms(index), self.rng.u32(0..10));
        let number = self.rng.u32(..);
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
                let value = Value::parse(&(number % 50).to_string()).unwrap();
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

    fn resolve(&mut self, _peer: usize) {
        // The page has no dialog for it yet: the server is asked directly.
        let Some(server) = &mut self.server else { return };
        let open: Vec<_> = self.disk.conflict_rows().open().map(|conflict| conflict.id).collect();
        let Some(&id) = (!open.is_empty()).then(|| self.rng.choice(&open)).flatten() else { return };
        let origin = Origin { role: keybook_core::wire::Role::Writer, author: author(1) };
        let resolution = keybook_core::conflict::Resolution::Dismissed;
        server.queue.push_back(Command::Resolve { request: Request::Resolve { id, resolution, origin } });
        self.tally.count("resolve");
    }

    /// Carries out what a client wants.
    fn drive(&mut self, index: usize) {
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

    fn connect(&mut self, index: usize) {
        let (now_ms, random) = (self.local_ms(index), self.rng.u64(..));
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
    fn drop_connection(&mut self, index: usize) {
        let (now_ms, random) = (self.local_ms(index), self.rng.u64(..));
        let peer = &mut self.peers[index];
        if let Some(id) = peer.connection.take() {
            self.connections.remove(&id);
        }
        peer.fetching = false;
        peer.client.handle_disconnected(now_ms, random);
    }

    fn crash_client(&mut self, index: usize) {
        self.drop_connection(index);
        self.peers[index] = self.new_peer();
        self.forget_what_nobody_has();
        self.drive(index);
        self.tally.count("client crash");
    }

    fn cut(&mut self, index: usize) {
        if self.peers[index].connection.is_some() {
            self.tally.count("cut");
            self.drop_connection(index);
            self.drive(index);
        }
    }

    fn half_open(&mut self, index: usize) {
        if let Some(connection) = self.peers[index].connection.and_then(|id| self.connections.get_mut(&id)) {
            connection.half_open = true;
            self.tally.count("half open");
        }
    }

    fn online(&mut self, index: usize) {
        let now_ms = self.local_ms(index);
        self.peers[index].client.handle_online(now_ms);
        self.drive(index);
    }

    fn timeouts(&mut self) {
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

    // The network.

    fn deliver(&mut self) {
        let ids: Vec<u64> = self.connections.keys().copied().collect();
        let Some(&id) = self.rng.choice(&ids) else { return self.fetch() };
        if self.rng.bool() {
            self.deliver_to_server(id);
        } else {
            self.deliver_to_client(id);
        }
        self.fetch();
    }

    fn deliver_to_server(&mut self, id: u64) {
        let Some(served) = self.server.as_mut().and_then(|server| server.served.get_mut(&id)) else { return };
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.half_open || !served.requests.is_empty() || !served.session.wants_frame() {
            return;
        }
        if let Some(message) = connection.to_server.pop_front() {
            served.session.handle_message(&message, self.now_ms);
        }
    }

    fn deliver_to_client(&mut self, id: u64) {
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
    fn fetch(&mut self) {
        let fetching: Vec<usize> = (0..self.peers.len()).filter(|&index| self.peers[index].fetching).collect();
        let Some(&index) = self.rng.choice(&fetching) else { return };
        let now_ms = self.local_ms(index);
        self.peers[index].fetching = false;
        if self.server.is_some() && (self.calm || self.rng.u32(0..10) > 0) {
            self.peers[index].client.handle_snapshot(&self.disk.snapshot(), now_ms);
            self.check_durable(index);
            self.tally.count("snapshot");
        } else {
            self.peers[index].client.handle_snapshot_failed("the network");
            self.tally.count("snapshot failed");
        }
        self.drive(index);
    }

    // The server.

    fn start_server(&mut self) {
        self.disk.start(Epoch(self.rng.u64(..)));
        let (served, queue) = Default::default();
        self.server = Some(Server { hub: self.disk.hub(self.plan.limits), served, queue });
        self.tally.count("server start");
    }

    /// Everything that was not committed is gone; clients find out when they next receive.
    fn crash_server(&mut self) {
        if self.server.take().is_some() {
            self.tally.count("server crash");
            for connection in self.connections.values_mut() {
                let kept = self.rng.usize(0..=connection.to_client.len());
                connection.to_client.truncate(kept);
            }
        }
    }

    /// As SIGTERM does: what was taken is committed and acknowledged, then Bye.
    fn stop_server(&mut self) {
        self.commit();
        let Some(server) = &mut self.server else { return };
        for served in server.served.values_mut() {
            served.session.close(ByeCode::Shutdown, "the server stops", 1000);
        }
        self.send();
        self.server = None;
        self.tally.count("server stop");
    }

    /// The machine is set back to an earlier state of its disk.
    fn rollback(&mut self) {
        if self.plan.rollbacks && !self.backups.is_empty() {
            self.crash_server();
            self.disk = self.backups[self.rng.usize(0..self.backups.len())].clone();
            self.start_server();
            self.forget_what_nobody_has();
            self.tally.count("rollback");
        }
    }

    /// Answers one waiting request of one session, or gives it its next commit.
    fn serve(&mut self) {
        let Some(server) = &mut self.server else { return };
        let ids: Vec<u64> = server.served.keys().copied().collect();
        let Some(&id) = self.rng.choice(&ids) else { return };
        let served = server.served.get_mut(&id).expect("it was just listed");
        while let Some(request) = served.session.poll_request() {
            served.requests.push_back(request);
        }
        match served.requests.pop_front() {
            None => {
                if let Some(broadcast) = served.broadcasts.pop_front() {
                    if std::mem::take(&mut served.lagged) {
                        self.tally.count("lagged");
                        served.session.handle_lagged();
                    }
                    served.session.handle_commit(&broadcast);
                }
            }
            Some(Request::Open { .. }) => served.session.handle_opened(self.disk.opened(), self.now_ms),
            Some(Request::Push { batch, ops, origin }) => {
                server.queue.push_back(Command::Push { connection: id, batch, ops, origin });
            }
            Some(request @ Request::Resolve { .. }) => server.queue.push_back(Command::Resolve { request }),
            Some(Request::Read { after }) => {
                let page = self.disk.page(after, PAGE_BATCHES);
                self.tally.count(if page.more { "page with more" } else { "last page" });
                served.session.handle_page(&page);
            }
            Some(Request::Check) => served.session.handle_counters(&self.disk.state),
            Some(Request::Presence { .. }) => {}
        }
        self.send();
    }

    /// Moves what sessions transmit onto the network, and drops closed ones.
    fn send(&mut self) {
        let Some(server) = &mut self.server else { return };
        server.served.retain(|id, served| {
            while let Some(message) = served.session.poll_transmit() {
                if let Some(connection) = self.connections.get_mut(id) {
                    connection.to_client.push_back(message.to_vec());
                }
            }
            self.connections.contains_key(id) && !served.session.is_closed()
        });
    }

    /// One transaction over what is queued. The server may crash before the commit, and before it tells anyone.
    fn commit(&mut self) {
        let Some(server) = &mut self.server else { return };
        let mut transaction = self.disk.clone();
        let mut oracle = self.oracle.clone();
        let mut pushed: Vec<(u64, u64, Pushed)> = Vec::new();
        for command in server.queue.drain(..) {
            match command {
                Command::Push { connection, batch, ops, origin } => {
                    let Ok(answer) = server.hub.push(&mut transaction, &origin, &ops, self.now_ms);
                    for exception in &answer.exceptions {
                        self.tally.count(exception_name(exception.code));
                    }
                    for (index, op) in (0..).zip(&ops) {
                        let exception = answer.exceptions.iter().find(|exception| exception.index == index);
                        if exception.is_none_or(|exception| exception.code == AckCode::Superseded) {
                            oracle.accept(op);
                        }
                    }
                    pushed.push((connection, batch, answer));
                }
                Command::Resolve { request: Request::Resolve { id, resolution, origin } } => {
                    let Ok(_) = server.hub.resolve(&mut transaction, &origin, id, resolution);
                }
                Command::Resolve { .. } => unreachable!("only resolves are queued so"),
            }
        }
        let Ok(commit) = server.hub.finish(&mut transaction);
        if !self.calm && self.rng.u32(0..40) == 0 {
            self.tally.count("crash before commit");
            return self.crash_server();
        }
        transaction.assert_consistent();
        if self.rng.u32(0..10) == 0 {
            self.backups.push(self.disk.clone());
        }
        self.disk = transaction;
        self.oracle = oracle;
        self.durable.extend(self.disk.entries.values().map(|row| row.entry.stamp));
        if !self.calm && self.rng.u32(0..40) == 0 {
            self.tally.count("crash after commit");
            return self.crash_server();
        }
        let server = self.server.as_mut().expect("it did not crash");
        for (connection, batch, answer) in pushed {
            if let Some(served) = server.served.get_mut(&connection) {
                served.session.handle_pushed(batch, answer);
            }
        }
        if let Some(commit) = commit {
            let broadcast = Broadcast::new(&commit, &self.plan.limits);
            for served in server.served.values_mut() {
                served.broadcasts.push_back(broadcast.clone());
                if served.broadcasts.len() > BROADCASTS_MAX {
                    served.broadcasts.pop_front();
                    served.lagged = true;
                }
            }
        }
        self.send();
    }

    // What must hold.

    /// The writes that an Ack on its way to a client acknowledges.
    fn note_acks(&mut self, index: usize, message: &[u8]) {
        let Ok(ServerFrame::Ack { exceptions, .. }) = ServerFrame::decode(message) else { return };
        let refused = exceptions.iter().any(|e| e.code.class() != AckClass::Done);
        if refused {
            return;
        }
        // The client knows which; it is asked after it took the ack.
        let before: Vec<(Key, Stamp)> = self.peers[index]
            .client
            .outbox()
            .iter()
            .filter(|(_, row)| row.state == RowState::Sent && !removes_nothing(row))
            .map(|(key, row)| (key.clone(), row.stamp))
            .collect();
        let mut after = self.peers[index].client.clone();
        after.handle_message(message, self.local_ms(index));
        for (key, stamp) in before {
            let row = after.outbox().row(&key, stamp);
            let done = row.is_none_or(|row| matches!(row.state, RowState::Acked(_)));
            if done {
                let known = self.acknowledged.entry(key).or_default();
                *known = stamp.max(*known);
            }
        }
    }

    /// After a rollback, what no disk and no client has any more is lost. What somebody has must come back.
    fn forget_what_nobody_has(&mut self) {
        let mut acknowledged = std::mem::take(&mut self.acknowledged);
        acknowledged.retain(|key, stamp| {
            let on_disk = self.disk.entries.get(key).is_some_and(|row| row.entry.stamp >= *stamp);
            let in_base = |peer: &Peer| peer.client.base().entry(key.as_str()).is_some_and(|e| e.stamp >= *stamp);
            // Its own replica's, the write itself or one that took its place. Another's unconfirmed write is another matter.
            let in_outbox = |peer: &Peer| {
                let mut rows = peer.client.outbox().rows(key).iter();
                rows.any(|row| row.stamp >= *stamp && row.stamp.replica() == stamp.replica())
            };
            on_disk || self.peers.iter().any(|peer| in_base(peer) || in_outbox(peer))
        });
        self.acknowledged = acknowledged;
    }

    fn check_durable(&self, index: usize) {
        for (key, entry) in self.peers[index].client.base().entries() {
            assert!(self.durable.contains(&entry.stamp), "client {index} was shown {key:?} before it was on disk");
        }
    }

    /// What is shown of a key never goes back, but for refused writes and forks.
    fn check_shown(&self, index: usize, before: &Client, message: &[u8]) {
        let refuses = |exception: &Exception| exception.code.class() != AckClass::Done;
        match ServerFrame::decode(message) {
            Ok(ServerFrame::Welcome { .. }) => return,
            Ok(ServerFrame::Ack { exceptions, .. }) if exceptions.iter().any(refuses) => return,
            _ => {}
        }
        for key in before.keys() {
            let [before, after] = [before, &self.peers[index].client].map(|client| client.shown(&key).map(|s| s.stamp));
            assert!(after >= before, "client {index} showed {before:?} of {key:?}, then {after:?}");
        }
    }

    /// Lets everything arrive: no more faults, all clients connected.
    fn rest(&mut self) {
        self.calm = true;
        if self.server.is_none() {
            self.start_server();
        }
        for _ in 0..4000 {
            self.now_ms += 500;
            self.timeouts();
            for id in self.connections.keys().copied().collect::<Vec<_>>() {
                for _ in 0..4 {
                    self.deliver_to_server(id);
                    self.deliver_to_client(id);
                }
            }
            for _ in 0..4 * self.peers.len() {
                self.serve();
            }
            self.fetch();
            self.commit();
            if self.is_at_rest() {
                return;
            }
        }
        let stuck: Vec<_> =
            self.peers.iter().map(|peer| (peer.client.phase(), peer.client.cursor(), peer.client.outbox())).collect();
        panic!("it does not come to rest at {:?}: {stuck:#?}", self.disk.state.head);
    }

    fn is_at_rest(&self) -> bool {
        let head = self.disk.state.head;
        let rests = |peer: &Peer| {
            peer.client.outbox().active() == 0 && peer.client.is_settled() && peer.client.verified() == Some(head)
        };
        self.peers.iter().all(rests) && self.server.as_ref().is_some_and(|server| server.queue.is_empty())
    }

    /// Recall must be 1: every conflict of the oracle has a row. Rows that it does not have are counted. It says nothing of
    /// worlds with rollbacks, or with clocks so wrong that stamps are made anew.
    fn check_conflicts(&mut self) {
        let pair = |conflict: &Conflict| (conflict.loser.stamp, conflict.winner.stamp);
        let found: BTreeSet<(Stamp, Stamp)> = self.disk.conflicts.values().map(pair).collect();
        found.iter().for_each(|_| self.tally.count("conflict"));
        if self.plan.rollbacks || self.plan.skew_ms >= CLOCK_AHEAD_MS_MAX {
            return;
        }
        for pair in &self.oracle.conflicts {
            assert!(found.contains(pair), "the conflict of {pair:?} is not shown");
            self.tally.count("conflict by the oracle");
        }
        found.difference(&self.oracle.conflicts).for_each(|_| self.tally.count("conflict unknown to the oracle"));
    }

    fn check_promises(&self) {
        let dictionary = self.disk.dictionary();
        self.disk.assert_consistent();
        for (index, peer) in self.peers.iter().enumerate() {
            for (key, entry) in dictionary.entries() {
                assert_eq!(peer.client.base().entry(key.as_str()), Some(entry), "client {index} holds {key:?}");
            }
            assert_eq!(peer.client.base().digest(), dictionary.digest(), "client {index} holds nothing else");
            let (client, server) = (peer.client.conflicts(), self.disk.conflict_rows());
            for conflict in server.iter() {
                assert_eq!(client.get(conflict.id), Some(conflict), "client {index} has the conflict row");
            }
            assert_eq!(client.iter().count(), server.iter().count(), "client {index} has no other conflict row");
            let shown: Vec<Key> = dictionary.iter().map(|(key, _)| key.clone()).collect();
            assert_eq!(peer.client.keys(), shown);
        }
        for (key, stamp) in &self.acknowledged {
            let there = self.disk.entries.get(key).map(|row| row.entry.stamp);
            // A remove of a key without an entry leaves nothing.
            let held = self.peers.iter().any(|peer| in_outbox(peer, key, *stamp));
            let kept = there >= Some(*stamp) || (there.is_none() && !stamp.is_put()) || held;
            assert!(kept, "the acknowledged write {stamp:?} of {key:?} is lost: {there:?}");
        }
        assert!(self.disk.state.head > Seq(0) || self.durable.is_empty());
    }
}

/// Whether a client has this write or a later one, if only waiting for its user.
fn in_outbox(peer: &Peer, key: &Key, stamp: Stamp) -> bool {
    peer.client.outbox().rows(key).iter().any(|row| row.stamp >= stamp)
}

/// A remove whose writer saw only its own unsent put leaves nothing, and so says nothing about others' writes.
fn removes_nothing(row: &OutboxRow) -> bool {
    row.value.is_none() && row.recovered.is_none() && row.seen.iter().all(|&stamp| stamp == Stamp::ZERO)
}

fn exception_name(code: AckCode) -> &'static str {
    match code {
        AckCode::Superseded => "superseded",
        AckCode::Duplicate => "duplicate",
        AckCode::Busy => "busy",
        AckCode::ClockAhead => "clock ahead",
        AckCode::Parked => "parked",
        AckCode::ReadOnly => "read only",
        AckCode::TooLarge => "too large",
        AckCode::BadKey => "bad key",
        AckCode::Full => "full",
        AckCode::BadValue => "bad value",
    }
}
