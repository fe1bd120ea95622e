//! A hub on a store in memory, to which one connection writes; and the operations that it sends.

use keybook_core::{
    Branch, ConflictId, Epoch, PastEpoch, ReplicaId, Resolution, Seq, Stamp,
    limits::Limits,
    server::{Actor, Command, Commit, Context, Counters, Hub, Outcome, Receipt, Record, Rows},
    wire::{AckCode, Condition, Exception, Op, Role},
};

use super::{author, key, put_stamp, remove_stamp, store::Store};

pub const NOW_MS: u64 = 1_000_000;

pub struct Server {
    pub store: Store,
    pub hub: Hub,
    pub limits: Limits,
    pub role: Role,
    pub author: u64,
    /// What the connection has proven: all that the stories write as.
    pub replicas: Vec<ReplicaId>,
    pub now_ms: u64,
}

impl Server {
    pub fn new() -> Self {
        Self::with(Counters::default(), Limits { entries: 10, ..Limits::default() })
    }

    pub fn with(counters: Counters, limits: Limits) -> Self {
        let mut store = Store::default();
        store.start(Epoch(1));
        if counters != Counters::default() {
            let id = store.summary().id;
            let Ok(()) = store.write(|rows| rows.set_counters(id, &counters));
        }
        let hub = store.hub();
        let replicas = (0..100).map(ReplicaId).collect();
        Self { store, hub, limits, role: Role::Writer, author: 1, replicas, now_ms: NOW_MS }
    }

    /// Starts the server anew, set back to a seq of which nothing came later. The entries stay.
    pub fn set_back(&mut self, seq: u64) {
        let epoch = Epoch(self.store.summary().lineage.past.len() as u64 + 2);
        assert_eq!(self.store.contents().counters.head, Seq(seq), "the story is of a server that has lost all above");
        self.store.start(epoch);
        self.hub = self.store.hub();
    }

    /// Applies a command at the next seq.
    pub fn apply(&mut self, command: Command) -> Receipt {
        let actor = Actor { role: self.role, author: author(self.author), replicas: self.replicas.clone() };
        let context = Context { now_ms: self.now_ms, limits: self.limits, actor };
        let record = Record { at: self.hub.counters().head.next(), room_bytes: u64::MAX, context, command };
        let Ok(receipt) = self.store.write(|rows| self.hub.apply(rows, &record));
        receipt
    }

    /// Pushes in one transaction; returns the exceptions as (index, code, data), and the commit.
    pub fn push(&mut self, ops: &[Op]) -> (Vec<(u32, AckCode, u64)>, Option<Commit>) {
        let receipt = self.apply(Command::Push { ops: ops.to_vec() });
        let commit = self.finish();
        assert_eq!(receipt.seq, self.store.contents().counters.head);
        let exceptions = receipt.exceptions();
        (exceptions.iter().map(|Exception { index, code, data }| (*index, *code, *data)).collect(), commit)
    }

    /// Ends the transaction.
    pub fn finish(&mut self) -> Option<Commit> {
        let Ok(commit) = self.store.write(|rows| self.hub.finish(rows));
        self.store.contents().assert_consistent();
        assert_eq!(self.hub.counters(), &self.store.contents().counters);
        commit
    }

    pub fn resolve(&mut self, id: ConflictId, resolution: Resolution) -> Outcome {
        let receipt = self.apply(Command::Resolve { id, resolution });
        self.finish();
        receipt.outcomes[0]
    }

    pub fn code(&mut self, op: Op) -> Option<AckCode> {
        self.push(&[op]).0.first().map(|(_, code, _)| *code)
    }

    pub fn value(&self, name: &str) -> Option<String> {
        let contents = self.store.contents();
        let row = contents.entries.get(&key(name))?;
        row.entry.value.as_ref().map(|value| value.as_str().to_owned())
    }

    /// The losing values of the conflict rows, in the order of their names.
    pub fn losers(&self) -> Vec<Option<String>> {
        let contents = self.store.contents();
        let losers = contents.conflicts.values().map(|row| row.conflict.loser.value.as_ref());
        losers.map(|value| value.map(|value| value.as_str().to_owned())).collect()
    }
}

pub fn put(name: &str, json: &str, ms: u64, replica: u64, seen: &[Stamp]) -> Op {
    let seen = if seen.is_empty() { vec![Stamp::ZERO] } else { seen.to_vec() };
    let (key, value) = (name.to_owned(), Some(json.to_owned()));
    Op { key, value, stamp: put_stamp(ms, replica), seen, author: None, recovered: None }
}

pub fn remove(name: &str, ms: u64, replica: u64, seen: &[Stamp]) -> Op {
    let op = put(name, "0", ms, replica, seen);
    Op { value: None, stamp: remove_stamp(ms, replica), ..op }
}

/// The conflict in which a put lost.
pub fn lost(name: &str, ms: u64, replica: u64) -> ConflictId {
    ConflictId { key: key(name), loser: put_stamp(ms, replica) }
}

/// An operation that was confirmed at a seq of an epoch and is lost to the server.
pub fn recovered(op: Op, epoch: u64, seq: u64) -> Op {
    Op { recovered: Branch::new(vec![PastEpoch { epoch: Epoch(epoch), end: Seq(seq) }]), ..op }
}

pub fn condition(name: &str, stamp: Option<Stamp>) -> Condition {
    Condition { key: name.to_owned(), stamp }
}

impl Server {
    /// Applies a group in one transaction; returns the exceptions as (index, code), and whether anything changed.
    pub fn group(&mut self, ops: &[Op], conditions: &[Condition]) -> (Vec<(u32, AckCode)>, bool) {
        let receipt = self.apply(Command::Group { ops: ops.to_vec(), conditions: conditions.to_vec() });
        let commit = self.finish();
        assert!(commit.iter().all(|commit| commit.changes.iter().all(|change| change.seq() == commit.to)), "one seq");
        (receipt.exceptions().iter().map(|exception| (exception.index, exception.code)).collect(), commit.is_some())
    }
}
