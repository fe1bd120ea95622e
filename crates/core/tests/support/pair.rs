//! One server and clients that reach it at once and without faults: for stories, where the simulator is for storms.

use keybook_core::{
    DictionaryId, Epoch,
    client::{Action, Client, Event},
    limits::Limits,
    server::{Broadcast, Command, Context, Hub, Now, Opened, Receipt, Record, Request, Session},
    wire::{ClientFrame, Op, Role},
};

use super::{person, secret, store::Store};

/// Spreads the attempts to connect; as every bound of the wait is a multiple of 500 ms, each wait is near it.
const RANDOM: u64 = 20_000;

/// A client with its connection.
pub struct Member {
    pub client: Client,
    /// The server's end, while connected.
    pub session: Option<Session>,
    /// Added to the time that the client sees.
    pub skew_ms: i64,
    /// What the client sent and received since the last look, in bytes.
    pub sent_bytes: usize,
    pub received_bytes: usize,
    pub sent: Vec<ClientFrame>,
    /// All that was said, with who said it.
    pub trace: Vec<(&'static str, Vec<u8>)>,
    pub events: Vec<Event>,
    pub fetches: usize,
}

/// Enough for each story: catching up takes one page.
const PAGE_BYTES: usize = 1 << 20;

/// The server, and its clients.
pub struct Group {
    pub store: Store,
    hub: Hub,
    pub limits: Limits,
    pub members: Vec<Member>,
    pub now_ms: u64,
    pub role: Role,
    /// What the server says it is.
    pub id: DictionaryId,
    /// While false, what a client sends stays with it.
    pub connected: bool,
    /// So many of the next fetches fail.
    pub failing_fetches: usize,
    /// While false, the server turns names away, as where its disk has no room.
    pub takes_names: bool,
}

impl Group {
    pub fn new(clients: u64, limits: Limits) -> Self {
        let mut store = Store::default();
        store.start(Epoch(1));
        let now_ms = 1_800_000_000_000;
        let member = |n| Member {
            client: Client::new(secret(n), person(n), now_ms),
            session: None,
            skew_ms: 0,
            sent_bytes: 0,
            received_bytes: 0,
            sent: Vec::new(),
            trace: Vec::new(),
            events: Vec::new(),
            fetches: 0,
        };
        let (hub, id) = (store.hub(), store.summary().id);
        let members = (1..=clients).map(member).collect();
        let (role, connected, failing_fetches) = (Role::Writer, true, 0);
        let mut group =
            Self { store, hub, limits, members, now_ms, role, id, connected, failing_fetches, takes_names: true };
        group.settle();
        group
    }

    pub fn client(&mut self, index: usize) -> &mut Client {
        &mut self.members[index].client
    }

    pub fn local_ms(&self, index: usize) -> u64 {
        self.now_ms.saturating_add_signed(self.members[index].skew_ms)
    }

    pub fn put(&mut self, index: usize, name: &str, json: &str) {
        let (key, now_ms) = (super::key(name), self.local_ms(index));
        let client = self.client(index);
        let began = client.begin(&key);
        client.put(&key, super::value(json), began, now_ms).unwrap();
    }

    pub fn shown(&self, index: usize, name: &str) -> Option<&str> {
        self.members[index].client.get(&super::key(name)).map(keybook_core::Value::as_str)
    }

    /// The server is set to `store`, and started.
    pub fn restart(&mut self, store: Store, epoch: u64) {
        self.disconnect();
        self.store = store;
        self.store.start(Epoch(epoch));
        self.hub = self.store.hub();
        self.connected = true;
    }

    pub fn disconnect(&mut self) {
        self.connected = false;
        for index in 0..self.members.len() {
            let now_ms = self.local_ms(index);
            self.members[index].session = None;
            self.members[index].client.handle_disconnected(now_ms, 0);
        }
    }

    /// Passes time, and lets everything that follows happen.
    pub fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        self.settle();
    }

    /// Delivers until nothing is under way.
    pub fn settle(&mut self) {
        while (0..self.members.len()).map(|index| self.step(index)).fold(false, |any, moved| any | moved) {}
    }

    fn step(&mut self, index: usize) -> bool {
        let (now_ms, local_ms) = (self.now_ms, self.local_ms(index));
        let member = &mut self.members[index];
        let mut moved = false;
        if member.client.poll_timeout().is_some_and(|at| at <= local_ms) {
            member.client.handle_timeout(local_ms);
        }
        while let Some(action) = member.client.poll_action() {
            moved = true;
            match action {
                Action::Connect if self.connected => {
                    member.session = Some(Session::new(self.limits, Now::both(now_ms)));
                    member.client.handle_connected(local_ms);
                }
                Action::Connect => member.client.handle_disconnected(local_ms, RANDOM),
                Action::Disconnect => {
                    member.session = None;
                    member.client.handle_disconnected(local_ms, RANDOM);
                }
                Action::FetchSnapshot if self.failing_fetches > 0 => {
                    self.failing_fetches -= 1;
                    member.client.handle_snapshot_failed("the network", local_ms);
                }
                Action::FetchSnapshot => {
                    member.fetches += 1;
                    member.client.handle_snapshot(&self.store.snapshot(), local_ms);
                }
            }
        }
        member.events.extend(std::iter::from_fn(|| member.client.poll_event()));
        if !self.connected {
            return moved;
        }
        let Some(session) = &mut member.session else { return moved };
        if let Some(message) = member.client.poll_transmit() {
            member.sent_bytes += message.len();
            member.sent.push(ClientFrame::decode(&message).unwrap());
            session.handle_message(&message, Now::both(now_ms));
            member.trace.push(("client", message.clone()));
            self.serve(index);
            return true;
        }
        while let Some(message) = session.poll_transmit() {
            member.received_bytes += message.len();
            member.trace.push(("server", message.to_vec()));
            member.client.handle_message(&message, local_ms);
            moved = true;
        }
        moved
    }

    fn serve(&mut self, index: usize) {
        while let Some(request) = self.members[index].session.as_mut().and_then(Session::poll_request) {
            let session = self.members[index].session.as_mut().expect("it just asked");
            match request {
                Request::Open { .. } => {
                    let opened = Opened { id: self.id, role: self.role, ..self.store.opened() };
                    session.handle_opened(opened, Now::both(self.now_ms));
                }
                Request::Apply { command: Command::Name, .. } if !self.takes_names => {}
                Request::Apply { command, actor, batch } => {
                    let context = Context { now_ms: self.now_ms, limits: self.limits, actor };
                    let (at, room_bytes) = (self.hub.counters().head.next(), u64::MAX);
                    let record = Record { at, room_bytes, context, command };
                    let Ok(receipt) = self.store.write(|rows| self.hub.apply(rows, &record));
                    self.finish(index, Some((batch, receipt)));
                }
                Request::CatchUp { after } => session.handle_catch_up(&self.store.catch_up(after, PAGE_BYTES)),
                Request::Check => session.handle_counters(&self.store.contents().counters),
                Request::Presence { .. } => {}
            }
        }
    }

    fn finish(&mut self, index: usize, receipt: Option<(Option<u64>, Receipt)>) {
        let Ok(commit) = self.store.write(|rows| self.hub.finish(rows));
        if let (Some((batch, receipt)), Some(session)) = (receipt, &mut self.members[index].session) {
            session.handle_receipt(batch, &receipt);
        }
        let Some(commit) = commit else { return };
        let broadcast = Broadcast::new(&commit, &self.limits);
        for session in self.members.iter_mut().filter_map(|member| member.session.as_mut()) {
            session.handle_commit(&broadcast);
        }
    }
}

pub fn group(clients: u64) -> Group {
    Group::new(clients, Limits::default())
}

pub fn assert_agreement(group: &Group) {
    let server = group.store.contents().dictionary();
    for member in &group.members {
        assert_eq!(member.client.base().digest(), server.digest());
        assert_eq!(member.client.outbox().active(), 0);
        assert_eq!(member.client.verified().is_some(), member.client.is_settled());
    }
}

pub fn ops(frame: &ClientFrame) -> Option<&[Op]> {
    match frame {
        ClientFrame::Push { ops, .. } => Some(ops),
        _ => None,
    }
}
