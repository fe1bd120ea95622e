//! A page without a browser: its model, a device that may be full, and a server that takes what it is sent.

use keybook_core::{
    Author, AuthorId, AuthorName, AuthorNumbers, Conflict, Contributor, Dictionary, DictionaryId, Entry, Epoch,
    HybridTime, Key, Person, ReplicaId, Resolution, Secret, Seq, Side, Stamp, Value, Winner,
    device::{self, Found, Kept, Left, WhoLives},
    limits::Limits,
    wire::{AckCode, Change, Check, ClientFrame, Delta, Exception, Horizon, Mode, Role, ServerFrame, VERSION},
};

use super::super::*;

/// When the story begins.
pub(super) const START_MS: u64 = 1_800_000_000_000;
const EPOCH: Epoch = Epoch(1);

/// What becomes of what the device is to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disk {
    /// It is kept at once.
    Roomy,
    /// Nothing is kept.
    Full,
    /// It never answers.
    Slow,
}

pub(super) struct World {
    pub(super) model: Model,
    pub(super) now_ms: u64,
    pub(super) disk: Disk,
    pub(super) is_online: bool,
    /// What the server answers to the next operations; none applies them.
    pub(super) refusal: Option<(AckCode, u64)>,
    /// What the browser was asked for beside all that.
    pub(super) asked: Vec<Effect>,
    is_connected: bool,
    entries: Dictionary,
    conflicts: Vec<Conflict>,
    /// Losing values that have no row.
    pub(super) untold: u64,
    head: Seq,
}

/// Whose page it is.
const OWN: Secret = Secret([7; 16]);

pub(super) fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

/// A first page of these entries, as of a seq.
pub(super) fn first_page(seq: u64, entries: &[(&str, &str)]) -> FirstPage {
    let rows = entries.iter().map(|(name, value)| FirstRow {
        key: key(name),
        value: ValueText::new(&Value::from_text(value)),
        stamp: stamp(1),
        author: AuthorName::new("Bo"),
        brought_back_by: None,
    });
    FirstPage {
        name: Some("main".to_owned()),
        epoch: EPOCH,
        seq: Seq(seq),
        live: entries.len() as u64,
        rows: rows.collect(),
    }
}

/// A stamp of somebody else's.
pub(super) fn stamp(ms: u64) -> Stamp {
    Stamp::new(HybridTime::from_millis(START_MS - 1_000_000 + ms), true, ReplicaId(2))
}

/// The authors of the server's dictionary.
fn authors() -> [Contributor; 2] {
    [(1, OWN.author(), "Ada"), (2, AuthorId(2), "Bo")].map(|(number, id, name)| {
        let author = Author { id, name: AuthorName::new(name) };
        Contributor { number, author, made: Seq(1), seq: Seq(1) }
    })
}

impl World {
    /// A page that has just come to life, and whose device has kept nothing.
    pub(super) fn new(first: FirstPage) -> Self {
        let mut world = Self {
            model: Model::new(first),
            now_ms: START_MS,
            disk: Disk::Roomy,
            is_online: true,
            refusal: None,
            asked: Vec::new(),
            is_connected: false,
            entries: Dictionary::new(),
            conflicts: Vec::new(),
            untold: 0,
            head: Seq(0),
        };
        let opened = Opened {
            name: "main".to_owned(),
            replica: Secret([1; 16]),
            author: Person { secret: OWN, name: AuthorName::new("Ada") },
            lives: WhoLives::Locks,
            is_plain_http: false,
            normalize: |text| text.replace("e\u{301}", "é"),
            fold: fold_ascii,
        };
        world.model.open(opened, world.now_ms);
        world
    }

    /// A page of an empty dictionary that has read its store, and is connected.
    pub(super) fn live() -> Self {
        let mut world = Self::new(first_page(0, &[]));
        world.open_store();
        world.frame();
        world
    }

    pub(super) fn open_store(&mut self) {
        self.model.handle_opened(Found::default(), self.now_ms);
        self.follow();
    }

    pub(super) fn act(&mut self, act: Act) -> Option<Focus> {
        let focus = self.model.act(act, self.now_ms);
        self.follow();
        self.frame();
        focus
    }

    pub(super) fn frame(&mut self) -> Areas {
        let areas = self.model.frame(self.now_ms);
        self.follow();
        areas
    }

    /// Types an entry into the form, and sets it.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Option<Focus> {
        self.act(Act::TypeKey(name.to_owned()));
        self.act(Act::TypeValue(value.to_owned()));
        self.act(Act::Set)
    }

    /// Passes time, with all that is due in it.
    pub(super) fn pass(&mut self, ms: u64) {
        let end_ms = self.now_ms + ms;
        while let Some(at_ms) = self.model.poll_timeout().filter(|at_ms| *at_ms <= end_ms) {
            self.now_ms = at_ms.max(self.now_ms + 1);
            self.model.handle_timeout(self.now_ms);
            self.follow();
        }
        self.now_ms = end_ms;
        self.frame();
    }

    pub(super) fn go_offline(&mut self) {
        self.is_online = false;
        self.disconnect();
        self.follow();
        self.frame();
    }

    pub(super) fn go_online(&mut self) {
        self.is_online = true;
        self.model.handle_online(self.now_ms);
        self.follow();
        self.frame();
    }

    /// Somebody else writes.
    pub(super) fn others_write(&mut self, name: &str, value: Option<&str>, ms: u64) {
        let value = value.map(Value::from_text);
        let stamp = Stamp::new(HybridTime::from_millis(self.now_ms + ms), value.is_some(), ReplicaId(2));
        self.commit(vec![(key(name), value, stamp, AuthorId(2))]);
        self.follow();
    }

    /// Somebody else has brought a write of this person's back.
    pub(super) fn bring_back(&mut self, name: &str) {
        let prev = self.head;
        self.head = Seq(prev.0 + 1);
        let value = Some(Value::from_text("lost"));
        self.entries.replace(key(name), Entry { value, stamp: stamp(1), seq: self.head, author: OWN.author() });
        self.entries.bring_back(&key(name), AuthorId(2));
        self.tell(prev);
        self.follow();
        self.frame();
    }

    /// A write of this person's has lost against one of somebody else.
    pub(super) fn lose(&mut self, name: &str) {
        let seq = Seq(self.head.0 + 1);
        let loser = Side { value: Some(Value::from_text("mine")), stamp: stamp(1), author: OWN.author() };
        let winner = Winner { stamp: stamp(2), author: AuthorId(2) };
        self.conflicts.push(Conflict { key: key(name), loser, winner, seq, resolution: Resolution::Open });
        self.others_write(name, Some("theirs"), 1);
        self.frame();
    }

    /// What a row shows: its value, and how far it has come.
    pub(super) fn row(&self, name: &str) -> Option<(String, EntryState)> {
        self.model.row(&key(name)).map(|row| (row.value.text, row.state))
    }

    /// The rows that are rendered.
    pub(super) fn rows(&self) -> Vec<String> {
        self.model.keys().iter().map(Key::to_string).collect()
    }

    pub(super) fn server_has(&self, name: &str) -> Option<&str> {
        self.entries.get(name).map(Value::as_str)
    }

    fn disconnect(&mut self) {
        self.is_connected = false;
        self.model.handle_disconnected(self.now_ms, 0);
    }

    /// Does what the model asks for.
    pub(super) fn follow(&mut self) {
        while let Some(effect) = self.model.poll_effect(self.now_ms) {
            match effect {
                Effect::Connect if self.is_online => {
                    self.is_connected = true;
                    self.model.handle_connected(self.now_ms);
                }
                Effect::Connect | Effect::Disconnect => self.disconnect(),
                Effect::Send(message) if self.is_connected => self.serve(&message),
                Effect::Send(_) => self.disconnect(),
                Effect::Device(device::Effect::Keep { .. }) => match self.disk {
                    Disk::Roomy => self.model.handle_kept(Kept::Whole),
                    Disk::Full => self.model.handle_unkept("the disk is full".to_owned(), self.now_ms),
                    Disk::Slow => {}
                },
                Effect::Device(device::Effect::ReadLeft(replica)) => {
                    self.model.handle_left(replica, &Left::default(), self.now_ms);
                }
                other => self.asked.push(other),
            }
        }
    }

    fn serve(&mut self, message: &[u8]) {
        match ClientFrame::decode(message).unwrap() {
            ClientFrame::Hello { cursor, .. } => {
                self.send(&ServerFrame::Welcome {
                    version: VERSION,
                    role: Role::Writer,
                    dictionary: DictionaryId(7),
                    epoch: EPOCH,
                    lineage: Vec::new(),
                    head: self.head,
                    horizon: Horizon::default(),
                    server_ms: self.now_ms,
                    mode: Mode::Tail,
                    limits: Limits::default(),
                });
                self.tell(cursor);
            }
            ClientFrame::Push { batch, ops } => {
                let prev = self.head;
                let mut exceptions = Vec::new();
                let mut writes = Vec::new();
                for (index, op) in (0..).zip(ops) {
                    match self.refusal {
                        Some((code, data)) => exceptions.push(Exception { index, code, data }),
                        None => {
                            let value = op.value.map(|json| Value::parse(&json).unwrap());
                            writes.push((key(&op.key), value, op.stamp, OWN.author()));
                        }
                    }
                }
                self.head = if writes.is_empty() { prev } else { Seq(prev.0 + 1) };
                self.send(&ServerFrame::Ack { batch, seq: self.head, exceptions });
                self.head = prev;
                self.commit(writes);
            }
            ClientFrame::Check => {
                let (live, tombstones) = (self.entries.live(), self.entries.tombstones());
                let mut digest = self.entries.digest();
                // They were new with the first write.
                authors().iter().filter(|_| self.head > Seq(0)).for_each(|author| digest.add_author(author));
                self.conflicts.iter().for_each(|conflict| digest.add_conflict(conflict));
                self.send(&ServerFrame::Check(Check { seq: self.head, digest, live, tombstones, untold: self.untold }));
            }
            ClientFrame::Ping { client_ms } => {
                self.send(&ServerFrame::Pong { client_ms, server_ms: self.now_ms });
            }
            ClientFrame::Resolve { batch, id, resolution } => {
                let seq = Seq(self.head.0 + 1);
                self.conflicts.iter_mut().find(|conflict| conflict.id() == id).unwrap().close(resolution, seq);
                self.head = seq;
                self.send(&ServerFrame::Ack { batch, seq, exceptions: Vec::new() });
                self.tell(Seq(seq.0 - 1));
            }
            ClientFrame::Resume { cursor, .. } => self.tell(cursor),
            ClientFrame::Presence { .. }
            | ClientFrame::Recover { .. }
            | ClientFrame::Group { .. }
            | ClientFrame::Name { .. }
            | ClientFrame::Prove { .. } => {}
        }
    }

    fn commit(&mut self, writes: Vec<(Key, Option<Value>, Stamp, AuthorId)>) {
        if writes.is_empty() {
            return;
        }
        let prev = self.head;
        self.head = Seq(prev.0 + 1);
        for (key, value, stamp, author) in writes {
            self.entries.replace(key, Entry { value, stamp, seq: self.head, author });
        }
        if self.is_connected {
            self.tell(prev);
        }
    }

    /// Sends all that changed after a cursor.
    fn tell(&mut self, after: Seq) {
        let entries = self.entries.entries().flat_map(|(key, entry)| {
            let by = self.entries.brought_back_by(key);
            let brought_back = by.map(|by| Change::BroughtBack(key.clone(), entry.seq, by));
            [Some(Change::Entry(key.clone(), entry.clone())), brought_back]
        });
        let entries = entries.flatten();
        let conflicts = self.conflicts.iter().cloned().map(Change::Conflict);
        let mut changes: Vec<Change> = entries.chain(conflicts).filter(|change| change.seq() > after).collect();
        changes.sort_by_key(Change::seq);
        // They were new at the first.
        let new = authors().into_iter().map(|author| Change::Author(Seq(after.0 + 1), author));
        changes.splice(0..0, new);
        let mut numbers = AuthorNumbers::default();
        authors().iter().for_each(|author| numbers.insert(author.author.id, author.number));
        if self.head > after {
            for delta in Delta::pack(&changes, after, self.head, false, &numbers, usize::MAX) {
                self.send(&ServerFrame::Delta(delta));
            }
        }
    }

    pub(super) fn send(&mut self, frame: &ServerFrame) {
        self.model.handle_message(&frame.encode(), self.now_ms);
    }
}
