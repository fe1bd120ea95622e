//! The server: its sessions, its queue, its disk.

use std::collections::{BTreeMap, VecDeque};

use keybook_core::{
    Epoch, ReplicaId, Stamp,
    server::{Actor, Broadcast, Command, Context, Hub, Now, Opened, Outcome, Receipt, Record, Request, Session},
    wire::{AckCode, ByeCode, Op, Role, ServerFrame},
};

use super::{World, groups::accepted_of_group};
use crate::support::{author, store::Store};

const BROADCASTS_MAX: usize = 3;
/// What changed, in a page: about two small batches, so that catching up takes several.
const PAGE_BYTES: usize = 200;
/// A limit of values that some are over.
const SHORT_BYTES: u32 = 8;
/// What a client waits whose command was turned away for want of room.
const BUSY_MS: u64 = 5000;
/// How many epochs pass in which no client is connected.
const EPOCHS: usize = 400;
const STRANGER: u64 = 99;
const DAY_MS: i64 = 24 * 3_600_000;

pub(super) struct Served {
    pub(super) session: Session,
    pub(super) broadcasts: VecDeque<Broadcast>,
    pub(super) lagged: bool,
    pub(super) requests: VecDeque<Request>,
}

pub(super) struct Queued {
    pub(super) command: Command,
    /// What became of its beginning in earlier transactions.
    pub(super) done: Receipt,
    pub(super) actor: Actor,
    /// Whom to answer, and the number of the batch.
    pub(super) reply: (u64, Option<u64>),
}

pub(super) struct Server {
    pub(super) hub: Hub,
    pub(super) served: BTreeMap<u64, Served>,
    pub(super) queue: VecDeque<Queued>,
    /// One that was made before, and that it may send again.
    pub(super) snapshot: Option<Vec<u8>>,
}

impl World {
    pub(super) fn start_server(&mut self) {
        if self.plan.changing_limits {
            self.limits.value_bytes = if self.decisions.one_in(2) { SHORT_BYTES } else { self.plan.limits.value_bytes };
        }
        if self.plan.wrong_clock {
            let skews_ms = [0, DAY_MS, -DAY_MS, 365 * DAY_MS];
            self.skew_ms = skews_ms[self.decisions.index(0..skews_ms.len())];
            self.tally.count_some("server with a wrong clock", usize::from(self.skew_ms != 0));
        }
        if self.plan.many_epochs && !self.calm {
            (0..EPOCHS).for_each(|_| self.pass_epoch());
            self.tally.count("hundreds of starts");
        }
        self.begin_epoch();
        let (served, queue) = Default::default();
        self.server = Some(Server { hub: self.disk.hub(), served, queue, snapshot: None });
        self.tally.count("server start");
    }

    fn begin_epoch(&mut self) {
        let epoch = Epoch(self.decisions.number());
        self.disk.start(epoch);
        self.oracle.start(epoch);
    }

    /// The server starts, and a stranger who has seen what is there writes, before it is gone again.
    fn pass_epoch(&mut self) {
        self.begin_epoch();
        let mut hub = self.disk.hub();
        let key = self.any_key();
        let there = self.disk.contents().entries.get(&key).map_or(Stamp::ZERO, |row| row.entry.stamp);
        let stamp = Stamp::new(there.time().next(), true, ReplicaId(self.decisions.number()));
        let saw = self.oracle.shown_now(&key, there);
        self.oracle.write(&key, stamp, saw);
        let (value, seen) = (Some("0".to_owned()), vec![there]);
        let op = Op { key: key.to_string(), value, stamp, seen, author: None, recovered: None };
        let actor = Actor { role: Role::Writer, author: author(STRANGER), replicas: Vec::new() };
        let context = Context { now_ms: self.server_ms(), limits: self.limits, actor };
        let command = Command::Push { ops: vec![op.clone()] };
        let (at, room_bytes) = (hub.counters().head.next(), self.plan.room_bytes);
        let record = Record { at, room_bytes, context, command };
        let mut transaction = self.disk.begin();
        let Ok(receipt) = transaction.write(|rows| hub.apply(rows, &record));
        let Ok(_) = transaction.write(|rows| hub.finish(rows));
        transaction.commit();
        if receipt.outcomes == [Outcome::Applied] {
            self.oracle.accept(&op, author(STRANGER).id);
            self.durable.insert((key, stamp));
        }
    }

    /// Everything that was not committed is gone; clients find out when they next receive.
    ///
    /// A step of the world is one call of one state machine, or a few that nobody else can come between; so a crash, which
    /// is a step too, comes between any two calls. What a session has said may have left or not: each connection loses an
    /// end of it, so the crash comes between any two frames as well. The two moments within a step, before and after the
    /// disk has it, are in [`World::commit`].
    pub(super) fn crash_server(&mut self) {
        let Some(server) = self.server.take() else { return };
        self.tally.count("server crash");
        let asking = server.served.values().filter(|served| !served.session.wants_frame()).count();
        self.tally.count_some("server crash before a request is answered", asking);
        self.tally.count_some("server crash with a push queued", server.queue.len());
        self.lose_unsent();
    }

    /// As SIGTERM does: what was taken is committed and acknowledged, then Bye.
    pub(super) fn stop_server(&mut self) {
        self.commit();
        while self.server.as_ref().is_some_and(|server| !server.queue.is_empty()) {
            self.commit();
        }
        let Some(server) = &mut self.server else { return };
        for served in server.served.values_mut() {
            served.session.close(ByeCode::Shutdown, "the server stops", 1000);
        }
        self.send();
        self.server = None;
        self.tally.count("server stop");
    }

    /// The time as the server's machine has it.
    pub(super) fn now(&self) -> Now {
        Now { steady_ms: self.now_ms, wall_ms: self.server_ms() }
    }

    /// The time as the server's clock shows it.
    fn server_ms(&self) -> u64 {
        self.now_ms.saturating_add_signed(self.skew_ms)
    }

    /// The machine is set back to an earlier state of its disk.
    pub(super) fn rollback(&mut self) {
        if self.rollbacks < self.plan.rollbacks_max && !self.backups.is_empty() {
            let backup = self.decisions.index(0..self.backups.len());
            let (disk, history) = self.backups[backup].clone();
            self.crash_server();
            self.oracle.roll_back(history);
            self.set_back(disk);
            self.tally.count("rollback");
        }
    }

    /// The server's data file is gone, and an empty one is in its place: of the same dictionary with no common history, or of
    /// another one.
    pub(super) fn replace_server(&mut self) {
        let is_same = self.decisions.one_in(2);
        let store = if is_same { 1 } else { self.decisions.number() };
        self.crash_server();
        self.oracle.begin_anew();
        self.set_back(Store::new(store));
        self.tally.count(if is_same { "no common history" } else { "another dictionary" });
    }

    fn set_back(&mut self, disk: Store) {
        if disk.summary().id != self.disk.summary().id {
            // Clients take the dictionary that they know for deleted.
            self.acknowledged.clear();
            self.first_connection = self.next_id;
        }
        self.disk = disk;
        self.start_server();
        self.forget_what_nobody_has();
        self.rollbacks += 1;
    }

    /// A client's link is exchanged for one with the other right, which closes its sockets.
    pub(super) fn grant(&mut self, index: usize) {
        if self.plan.readers {
            let peer = &mut self.peers[index];
            peer.role = if peer.role == Role::Writer { Role::Reader } else { Role::Writer };
            self.expel(index);
            self.forget_what_nobody_has();
            self.tally.count("role changed");
        }
    }

    /// Answers one waiting request of one session, or gives it its next commit.
    pub(super) fn serve(&mut self) {
        let now = self.now();
        let Some(server) = &mut self.server else { return };
        let ids: Vec<u64> = server.served.keys().copied().collect();
        let Some(id) = self.decisions.choice(&ids) else { return };
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
            Some(Request::Open { .. }) => {
                let role = self.peers[self.connections[&id].peer].role;
                served.session.handle_opened(Opened { role, ..self.disk.opened() }, now);
            }
            Some(Request::Apply { command, actor, batch }) => {
                let done = Receipt::default();
                server.queue.push_back(Queued { command, done, actor, reply: (id, batch) });
            }
            Some(Request::CatchUp { after }) => {
                let page = self.disk.catch_up(after, PAGE_BYTES);
                self.tally.count(if page.more { "page with more" } else { "last page" });
                served.session.handle_catch_up(&page);
            }
            Some(Request::Check) => served.session.handle_counters(&self.disk.contents().counters),
            Some(Request::Presence { .. }) => {}
        }
        self.send();
    }

    /// Moves what sessions transmit onto the network, and drops closed ones.
    pub(super) fn send(&mut self) {
        let Some(server) = &mut self.server else { return };
        server.served.retain(|id, served| {
            let mut deltas = 0;
            while let Some(message) = served.session.poll_transmit() {
                deltas += usize::from(matches!(ServerFrame::decode(&message), Ok(ServerFrame::Delta(_))));
                assert!(deltas <= 1 || self.plan.large_values, "what fits into one frame comes in one");
                // What is there may be over the limit of today.
                let limit = self.plan.limits.frame_bytes();
                assert!(message.len() <= limit, "a frame of {} bytes", message.len());
                self.connections.get_mut(id).expect("a served one is there").send_to_client(message.to_vec());
            }
            !served.session.is_closed()
        });
        self.forget_ended();
    }

    /// There is no room on the server's disk for what is queued.
    fn turn_away(&mut self) {
        let Some(server) = &mut self.server else { return };
        // A name has no answer: one that is turned away is told again over the next connection alone.
        let queue = std::mem::take(&mut server.queue);
        let (names, turned_away): (VecDeque<_>, VecDeque<_>) =
            queue.into_iter().partition(|queued| matches!(queued.command, Command::Name));
        server.queue = names;
        self.tally.count_some("no room on the server's disk", turned_away.len());
        for Queued { command, mut done, reply: (connection, batch), .. } in turned_away {
            done.extend(Receipt::turned_away(&command, AckCode::Busy, BUSY_MS));
            if let Some(served) = server.served.get_mut(&connection) {
                served.session.handle_receipt(batch, &done);
            }
        }
        self.send();
    }

    /// One transaction over what is queued, unless something needs another one for its rest. The server may crash before
    /// the commit, and before it tells anyone.
    pub(super) fn commit(&mut self) {
        if self.plan.full_disk && !self.calm && self.decisions.one_in(8) {
            return self.turn_away();
        }
        let server_ms = self.server_ms();
        let Some(server) = &mut self.server else { return };
        let mut transaction = self.disk.begin();
        let mut accepted = Vec::new();
        let mut receipts: Vec<((u64, Option<u64>), Receipt)> = Vec::new();
        while let Some(Queued { command, mut done, actor, reply }) = server.queue.pop_front() {
            let by = actor.author.id;
            let context = Context { now_ms: server_ms, limits: self.limits, actor };
            let (at, room_bytes) = (server.hub.counters().head.next(), self.plan.room_bytes);
            let mut record = Record { at, room_bytes, context, command };
            let Ok(receipt) = transaction.write(|rows| server.hub.apply(rows, &record));
            match &record.command {
                Command::Push { ops } => {
                    for (op, outcome) in ops.iter().zip(&receipt.outcomes) {
                        if let Outcome::Excepted { code, .. } = outcome {
                            self.tally.count(exception_name(*code));
                        }
                        if matches!(outcome, Outcome::Applied | Outcome::Excepted { code: AckCode::Superseded, .. }) {
                            accepted.push((op.clone(), by));
                        }
                    }
                }
                Command::Recover { conflicts, .. } => {
                    let outcomes = conflicts.iter().zip(&receipt.outcomes);
                    for (conflict, _) in outcomes.filter(|(_, outcome)| **outcome == Outcome::Applied) {
                        self.oracle.bring_back(conflict);
                        self.tally.count("conflict brought back");
                    }
                }
                Command::Resolve { .. } if receipt.outcomes == [AckCode::Superseded.into()] => {
                    self.tally.count("restored value replaced meanwhile");
                }
                Command::Group { ops, .. } => {
                    let ops = accepted_of_group(&mut self.tally, ops, &receipt);
                    accepted.extend(ops.into_iter().map(|op| (op, by)));
                }
                Command::Name if receipt.outcomes == [Outcome::Applied] => self.tally.count("renamed"),
                Command::Resolve { .. } | Command::Name | Command::Expire => {}
            }
            let applied = receipt.outcomes.len();
            let is_whole = applied == record.command.operations();
            done.extend(receipt);
            if !is_whole {
                record.command.skip(applied);
                let Record { command, context: Context { actor, .. }, .. } = record;
                server.queue.push_front(Queued { command, done, actor, reply });
                self.tally.count("command in several commits");
                break;
            }
            receipts.push((reply, done));
        }
        let Ok(commit) = transaction.write(|rows| server.hub.finish(rows));
        if !self.calm && self.decisions.one_in(40) {
            self.tally.count("server crash before commit");
            drop(transaction);
            return self.crash_server();
        }
        if self.decisions.one_in(10) {
            self.backups.push((self.disk.clone(), self.oracle.history().clone()));
        }
        transaction.commit();
        let contents = self.disk.contents();
        contents.assert_consistent();
        accepted.iter().for_each(|(op, by)| self.oracle.accept(op, *by));
        for (key, row) in &contents.entries {
            assert_eq!(row.brought_back_by, self.oracle.brought_back_by(key), "who has brought {key:?} back");
            self.tally.count_some("brought back by another", row.brought_back_by.iter().len());
        }
        self.durable.extend(contents.entries.iter().map(|(key, row)| (key.clone(), row.entry.stamp)));
        if !self.calm && self.decisions.one_in(40) {
            self.tally.count("server crash after commit");
            return self.crash_server();
        }
        let server = self.server.as_mut().expect("it did not crash");
        for ((connection, batch), receipt) in receipts {
            if let Some(served) = server.served.get_mut(&connection) {
                served.session.handle_receipt(batch, &receipt);
            }
        }
        if let Some(commit) = commit {
            let broadcast = Broadcast::new(&commit, &self.limits);
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
        AckCode::FullBytes => "full of bytes",
        AckCode::BadValue => "bad value",
        AckCode::NotAuthor => "not the author",
        AckCode::ConditionFailed | AckCode::GroupRefused | AckCode::GroupTooLarge | AckCode::Unknown(_) => {
            unreachable!("the server has no other")
        }
    }
}

/// What a crash kept from leaving.
pub(super) fn unsent_name(message: &[u8]) -> &'static str {
    match ServerFrame::decode(message) {
        Ok(ServerFrame::Ack { .. }) => "server crash before an ack leaves",
        Ok(ServerFrame::Delta(delta)) if delta.has_more() => "server crash in the middle of a catch-up",
        Ok(ServerFrame::Delta(_)) => "server crash before a delta leaves",
        Ok(ServerFrame::Welcome { .. }) => "server crash before a welcome leaves",
        _ => "server crash before another frame leaves",
    }
}
