//! What the hub decides: admission, seqs, the three classes of acks, conflicts.
//!
//! More than 500 lines: each story is short, and all stand on one server.

mod support;

use keybook_core::{
    Branch, Conflict, ConflictId, Epoch, HybridTime, PastEpoch, ReplicaId, Resolution, Seq, Stamp,
    limits::{
        CLOCK_AHEAD_MS_MAX, COMMIT_BYTES_MAX, CONFLICT_MS_MAX, CONFLICT_SHARE_BYTES_MAX, Limits,
        RECOVERED_AHEAD_MS_MAX, VERSIONS_BYTES_MAX, VERSIONS_MAX,
    },
    server::{
        Actor, Command, Commit, Context, Counters, Hub, Now, Outcome, Reason, Receipt, Record, Request, Rows, Session,
        VersionId,
    },
    wire::{AckCode, Change, ClientFrame, Condition, Exception, Horizon, Op, Role, snapshot::Snapshot},
};
use support::{author, key, person, put_stamp, remove_stamp, secret, store::Store};

const NOW_MS: u64 = 1_000_000;

struct Server {
    store: Store,
    hub: Hub,
    limits: Limits,
    role: Role,
    author: u64,
    /// What the connection has proven: all that the stories write as.
    replicas: Vec<ReplicaId>,
    now_ms: u64,
}

impl Server {
    fn new() -> Self {
        Self::with(Counters::default(), Limits { entries: 10, ..Limits::default() })
    }

    fn with(counters: Counters, limits: Limits) -> Self {
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
    fn set_back(&mut self, seq: u64) {
        let epoch = Epoch(self.store.summary().lineage.past.len() as u64 + 2);
        assert_eq!(self.store.contents().counters.head, Seq(seq), "the story is of a server that has lost all above");
        self.store.start(epoch);
        self.hub = self.store.hub();
    }

    /// Applies a command at the next seq.
    fn apply(&mut self, command: Command) -> Receipt {
        let actor = Actor { role: self.role, author: author(self.author), replicas: self.replicas.clone() };
        let context = Context { now_ms: self.now_ms, limits: self.limits, actor };
        let record = Record { at: self.hub.counters().head.next(), room_bytes: u64::MAX, context, command };
        let Ok(receipt) = self.store.write(|rows| self.hub.apply(rows, &record));
        receipt
    }

    /// Pushes in one transaction; returns the exceptions as (index, code, data), and the commit.
    fn push(&mut self, ops: &[Op]) -> (Vec<(u32, AckCode, u64)>, Option<Commit>) {
        let receipt = self.apply(Command::Push { ops: ops.to_vec() });
        let commit = self.finish();
        assert_eq!(receipt.seq, self.store.contents().counters.head);
        let exceptions = receipt.exceptions();
        (exceptions.iter().map(|Exception { index, code, data }| (*index, *code, *data)).collect(), commit)
    }

    /// Ends the transaction.
    fn finish(&mut self) -> Option<Commit> {
        let Ok(commit) = self.store.write(|rows| self.hub.finish(rows));
        self.store.contents().assert_consistent();
        assert_eq!(self.hub.counters(), &self.store.contents().counters);
        commit
    }

    fn resolve(&mut self, id: ConflictId, resolution: Resolution) -> Outcome {
        let receipt = self.apply(Command::Resolve { id, resolution });
        self.finish();
        receipt.outcomes[0]
    }

    fn code(&mut self, op: Op) -> Option<AckCode> {
        self.push(&[op]).0.first().map(|(_, code, _)| *code)
    }

    fn value(&self, name: &str) -> Option<String> {
        let contents = self.store.contents();
        let row = contents.entries.get(&key(name))?;
        row.entry.value.as_ref().map(|value| value.as_str().to_owned())
    }

    /// The losing values of the conflict rows, in the order of their names.
    fn losers(&self) -> Vec<Option<String>> {
        let contents = self.store.contents();
        let losers = contents.conflicts.values().map(|row| row.conflict.loser.value.as_ref());
        losers.map(|value| value.map(|value| value.as_str().to_owned())).collect()
    }
}

fn put(name: &str, json: &str, ms: u64, replica: u64, seen: &[Stamp]) -> Op {
    let seen = if seen.is_empty() { vec![Stamp::ZERO] } else { seen.to_vec() };
    let (key, value) = (name.to_owned(), Some(json.to_owned()));
    Op { key, value, stamp: put_stamp(ms, replica), seen, author: None, recovered: None }
}

fn remove(name: &str, ms: u64, replica: u64, seen: &[Stamp]) -> Op {
    let op = put(name, "0", ms, replica, seen);
    Op { value: None, stamp: remove_stamp(ms, replica), ..op }
}

/// The conflict in which a put lost.
fn lost(name: &str, ms: u64, replica: u64) -> ConflictId {
    ConflictId { key: key(name), loser: put_stamp(ms, replica) }
}

/// An operation that was confirmed at a seq of an epoch and is lost to the server.
fn recovered(op: Op, epoch: u64, seq: u64) -> Op {
    Op { recovered: Branch::new(vec![PastEpoch { epoch: Epoch(epoch), end: Seq(seq) }]), ..op }
}

#[test]
fn a_batch_is_one_seq_and_one_commit() {
    let mut server = Server::new();
    let ops = [put("b", "1", 10, 1, &[]), put("a", "2", 11, 1, &[]), put("b", "3", 12, 1, &[put_stamp(10, 1)])];
    let (exceptions, commit) = server.push(&ops);
    assert!(exceptions.is_empty());
    let commit = commit.unwrap();
    assert_eq!((commit.prev, commit.to), (Seq(0), Seq(1)));
    assert_eq!(commit.changes.len(), 3, "the author, and of a key that changed twice the last");
    assert_eq!(server.value("b").unwrap(), "3");
    assert_eq!(server.store.contents().versions.len(), 1);

    let (exceptions, commit) = server.push(&ops);
    let duplicates: Vec<_> = (0..3).map(|index| (index, AckCode::Duplicate, 0)).collect();
    assert_eq!((exceptions, commit), (duplicates, None), "a resend changes nothing, and takes no seq");
}

/// As on a shared log, where all commands of a record have its position.
#[test]
fn records_of_one_transaction_may_share_a_seq() {
    let mut server = Server::new();
    let actor = Actor { role: Role::Writer, author: author(1), replicas: server.replicas.clone() };
    let context = Context { now_ms: NOW_MS, limits: server.limits, actor };
    let mut at = |seq: u64, op: Op| {
        let record = Record {
            at: Seq(seq),
            room_bytes: u64::MAX,
            context: context.clone(),
            command: Command::Push { ops: vec![op] },
        };
        let Ok(receipt) = server.store.write(|rows| server.hub.apply(rows, &record));
        assert_eq!((receipt.seq, receipt.outcomes), (Seq(seq), vec![Outcome::Applied]));
    };
    at(7, put("a", "1", 10, 1, &[]));
    at(7, put("b", "1", 11, 1, &[]));
    at(7, put("a", "2", 20, 2, &[]));
    at(9, put("c", "1", 12, 1, &[]));
    let Ok(commit) = server.store.write(|rows| server.hub.finish(rows));
    server.store.contents().assert_consistent();
    let commit = commit.unwrap();
    assert_eq!((commit.prev, commit.to), (Seq(0), Seq(9)));
    let changed: Vec<_> = commit.changes.iter().map(|change| change.seq().0).collect();
    assert_eq!(changed, [7, 7, 7, 7, 9], "the author, two entries, their conflict, and the third entry");
    assert_eq!(server.store.contents().conflicts.keys().collect::<Vec<_>>(), [&lost("a", 10, 1)]);
}

/// Two nodes may be configured differently: what a record does depends on what is in it.
#[test]
fn the_limits_of_a_record_decide() {
    let mut server = Server::new();
    server.limits.value_bytes = 3;
    assert_eq!(server.code(put("k", "1234", 10, 1, &[])), Some(AckCode::TooLarge));
    server.limits.value_bytes = 4;
    assert_eq!(server.code(put("k", "1234", 10, 1, &[])), None);
}

#[test]
fn admission_names_the_exception() {
    let large = format!("\"{}\"", "x".repeat(64 * 1024));
    let long = "k".repeat(513);
    let late_ms = NOW_MS + 60_001;
    let check = |op: Op, code: AckCode, data: u64| {
        let mut server = Server::new();
        assert_eq!(server.push(&[op]), (vec![(0, code, data)], None));
    };
    check(put("", "1", 1, 1, &[]), AckCode::BadKey, 0);
    check(put(&long, "1", 1, 1, &[]), AckCode::BadKey, 513);
    check(put("a\u{7}", "1", 1, 1, &[]), AckCode::BadKey, 2);
    check(put("k", &large, 1, 1, &[]), AckCode::TooLarge, 65_538);
    check(put("k", "{", 1, 1, &[]), AckCode::BadValue, 0);
    check(put("k", "[ 1]", 1, 1, &[]), AckCode::BadValue, 0);
    check(put("k", &"[".repeat(65), 1, 1, &[]), AckCode::BadValue, 0);
    check(Op { value: None, ..put("k", "1", 1, 1, &[]) }, AckCode::BadValue, 0);
    check(put("k", "1", late_ms, 1, &[]), AckCode::ClockAhead, NOW_MS);
    check(remove("k", 1, 1, &[]), AckCode::Duplicate, 0);
    let mut reader = Server { role: Role::Reader, ..Server::new() };
    assert_eq!(reader.code(put("k", "1", 1, 1, &[])), Some(AckCode::ReadOnly));
}

#[test]
fn a_bad_operation_does_not_stop_the_others() {
    let mut server = Server::new();
    let (exceptions, _) = server.push(&[put("a", "1", 1, 1, &[]), put("", "1", 2, 1, &[]), put("b", "1", 3, 1, &[])]);
    assert_eq!(exceptions, [(1, AckCode::BadKey, 0)]);
    assert!(server.value("a").is_some() && server.value("b").is_some());
}

#[test]
fn a_full_dictionary_takes_updates_and_removes() {
    let mut server = Server::new();
    let ops: Vec<Op> = (0..11).map(|n| put(&n.to_string(), "1", 10 + n, 1, &[])).collect();
    assert_eq!(server.push(&ops).0, [(10, AckCode::Full, 10)]);
    assert_eq!(server.code(put("1", "2", 100, 1, &[put_stamp(11, 1)])), None);
    assert_eq!(server.code(remove("1", 101, 1, &[put_stamp(100, 1)])), None);
    assert_eq!(server.code(put("1", "3", 102, 1, &[remove_stamp(101, 1)])), None);
}

/// A write from a clock a year ahead would otherwise win over everybody for a year.
#[test]
fn no_clock_poisons_a_key() {
    let mut server = Server::new();
    let ahead_ms = NOW_MS + 60_000;
    assert_eq!(server.code(put("k", "1", ahead_ms, 1, &[])), None, "the bound itself is admitted");
    let above = Stamp::new(HybridTime::from_millis(ahead_ms).next(), true, ReplicaId(2));
    let op = Op { stamp: above, ..put("k", "2", 0, 2, &[put_stamp(ahead_ms, 1)]) };
    assert_eq!(server.code(op), None, "one step above the entry is always admitted");
    assert_eq!(server.value("k").unwrap(), "2");
}

#[test]
fn conflicts_are_what_the_writer_had_not_seen() {
    let first = put_stamp(10, 1);
    let check = |second: Op, value: Option<&str>, losers: &[Option<&str>]| {
        let mut server = Server::new();
        server.push(&[put("k", "1", 10, 1, &[])]);
        let wins = second.stamp > first;
        assert_eq!(server.code(second.clone()), (!wins).then_some(AckCode::Superseded));
        assert_eq!(server.value("k").as_deref(), value);
        let found = server.losers();
        assert_eq!(found.iter().map(Option::as_deref).collect::<Vec<_>>(), losers);
        assert_eq!(
            server.code(second),
            Some(AckCode::Duplicate).filter(|_| wins || !losers.is_empty()).or(Some(AckCode::Superseded))
        );
        assert_eq!(server.losers().len(), losers.len(), "a resend is no second conflict");
    };
    // It had seen the entry, as the confirmed one or as its own that it replaces.
    check(put("k", "2", 20, 2, &[first]), Some("2"), &[]);
    check(put("k", "2", 20, 1, &[Stamp::ZERO, first]), Some("2"), &[]);
    // It had not: the lower loses, whichever comes first.
    check(put("k", "2", 20, 2, &[]), Some("2"), &[Some("1")]);
    check(put("k", "2", 5, 2, &[]), Some("1"), &[Some("2")]);
    check(remove("k", 20, 2, &[]), None, &[Some("1")]);
    check(remove("k", 5, 2, &[]), Some("1"), &[None]);
    // Equal values are no conflict.
    check(put("k", "1", 20, 2, &[]), Some("1"), &[]);
    check(put("k", "1", 5, 2, &[]), Some("1"), &[]);
}

#[test]
fn recovered_writes_conflict_only_with_what_came_after_the_fork() {
    let mut server = Server::new();
    server.push(&[put("old", "1", 10, 1, &[]), put("new", "1", 10, 1, &[])]);
    server.set_back(1);
    server.push(&[put("new", "2", 30, 1, &[put_stamp(10, 1)])]);
    assert_eq!(server.code(recovered(put("old", "3", 20, 2, &[]), 1, 2)), None);
    assert_eq!(server.losers(), [], "what the fork shares had been seen");
    assert_eq!(server.code(recovered(put("new", "3", 20, 2, &[]), 1, 3)), Some(AckCode::Superseded));
    assert_eq!(server.losers(), [Some("3".to_owned())]);
    assert_eq!(server.code(recovered(put("old", "4", 40, 3, &[]), 1, 4)), None);
    assert_eq!(server.losers().len(), 1, "both recovered: one history");
}

/// A row came back under the name of its author, and nobody could tell who had brought it.
#[test]
fn who_brings_anothers_write_back_is_told() {
    let mut server = Server::new();
    server.push(&[put("a", "0", 1, 1, &[])]);
    let by = |server: &Server, name: &str| {
        let contents = server.store.contents();
        (contents.entries[&key(name)].entry.author, contents.entries[&key(name)].brought_back_by)
    };
    // All of an epoch that the server, which goes on in the next one, has lost.
    server.set_back(1);
    let lost =
        |name: &str, ms, of: u64| Op { author: Some(author(of)), ..recovered(put(name, "1", ms, of, &[]), 1, 9) };
    let (_, commit) = server.push(&[lost("own", 10, 1), lost("other", 11, 2)]);
    assert_eq!(by(&server, "own"), (author(1).id, None));
    assert_eq!(by(&server, "other"), (author(2).id, Some(author(1).id)));
    let commit = commit.unwrap();
    let (to, caught_up) = (commit.to, server.store.catch_up(Seq(1), usize::MAX).changes);
    for changes in [commit.changes, caught_up] {
        let at = changes.iter().position(|change| matches!(change, Change::BroughtBack(..))).unwrap();
        assert_eq!(changes[at], Change::BroughtBack(key("other"), to, author(1).id));
        assert!(matches!(&changes[at - 1], Change::Entry(entry, _) if *entry == key("other")));
        assert_eq!(changes.len(), 4, "both entries, and the author of one");
    }
    let snapshot = Snapshot::decode(&server.store.snapshot()).unwrap();
    assert_eq!(["own", "other"].map(|name| snapshot.base.brought_back_by(&key(name))), [None, Some(author(1).id)]);

    // It goes with the value into the history, and does not stay with the entry.
    server.push(&[put("other", "2", 20, 1, &[put_stamp(11, 2)])]);
    assert_eq!(by(&server, "other"), (author(1).id, None));
    let loses = Op { author: Some(author(3)), ..recovered(put("other", "0", 5, 3, &[]), 1, 9) };
    server.push(&[loses]);
    let contents = server.store.contents();
    let versions = contents.versions.values().map(|version| (version.reason, version.author, version.brought_back_by));
    let expected = [(Reason::Replaced, 2), (Reason::Lost, 3)];
    assert_eq!(versions.collect::<Vec<_>>(), expected.map(|(reason, of)| (reason, author(of).id, Some(author(1).id))));
}

/// Two rollbacks in a row: of two writes of different branches, whose authors had never seen each other, the lower one
/// vanished.
#[test]
fn recovered_writes_of_different_branches_conflict() {
    let mut server = Server::new();
    server.push(&[put("k", "0", 10, 1, &[])]);
    server.set_back(1);
    server.set_back(1);
    assert_eq!(server.code(recovered(put("k", "1", 20, 2, &[]), 1, 2)), None);
    let branch = vec![PastEpoch { epoch: Epoch(1), end: Seq(1) }, PastEpoch { epoch: Epoch(7), end: Seq(2) }];
    let other = Op { recovered: Branch::new(branch), ..put("k", "2", 30, 3, &[]) };
    assert_eq!(server.code(other), None);
    assert_eq!(server.losers(), [Some("1".to_owned())]);
}

/// Whoever said that a write had been recovered from above seq 2^64 - 1, overwrote everything without a conflict.
#[test]
fn who_claims_to_recover_what_is_not_lost_has_no_privilege() {
    let mut server = Server::new();
    server.push(&[put("k", "1", 10, 1, &[])]);
    server.set_back(1);
    for (n, (epoch, seq)) in [(1, 1), (2, u64::MAX), (9, u64::MAX)].into_iter().enumerate() {
        assert_eq!(
            server.code(recovered(put("k", &(n + 5).to_string(), 20 + n as u64, 2 + n as u64, &[]), epoch, seq)),
            None
        );
        assert_eq!(server.losers().len(), n + 1, "{epoch} {seq}");
    }
    let ahead = NOW_MS + CLOCK_AHEAD_MS_MAX + 1;
    assert_eq!(server.code(recovered(put("new", "1", ahead, 1, &[]), 2, 9)), Some(AckCode::ClockAhead));
}

/// A server whose clock was wrong confirmed a write of tomorrow, lost it, and would not have it back before tomorrow. Until then
/// it hid what its user wrote, and then it replaced that.
#[test]
fn what_comes_back_may_be_ahead_of_the_clock() {
    let mut server = Server::new();
    server.set_back(0);
    let day_ms = 24 * 3_600_000;
    assert_eq!(server.code(recovered(put("k", "1", NOW_MS + day_ms, 1, &[]), 1, 2)), None);
    let seen = put_stamp(NOW_MS + day_ms, 1);
    assert_eq!(server.code(put("k", "2", NOW_MS + day_ms + 1, 1, &[seen])), None, "one step above is admitted");
    let never = NOW_MS + RECOVERED_AHEAD_MS_MAX + 1;
    assert_eq!(server.code(recovered(put("other", "1", never, 1, &[]), 1, 3)), Some(AckCode::ClockAhead));
}

#[test]
fn a_conflict_is_closed_once_and_travels() {
    let mut server = Server::new();
    server.push(&[put("k", "1", 10, 1, &[])]);
    server.push(&[put("k", "2", 20, 2, &[])]);
    let mut resolve = |role, id| {
        server.role = role;
        let outcomes = server.resolve(id, Resolution::Dismissed);
        (outcomes, server.store.contents().counters.head)
    };
    assert_eq!(resolve(Role::Reader, lost("k", 10, 1)), (AckCode::ReadOnly.into(), Seq(2)));
    assert_eq!(resolve(Role::Writer, lost("k", 20, 2)), (AckCode::Duplicate.into(), Seq(2)));
    assert_eq!(resolve(Role::Writer, lost("k", 10, 1)), (Outcome::Applied, Seq(3)));
    assert_eq!(resolve(Role::Writer, lost("k", 10, 1)), (AckCode::Duplicate.into(), Seq(3)));
    let page = server.store.catch_up(Seq(2), usize::MAX);
    assert_eq!(page.changes.len(), 1, "the resolution reaches who was away");
    assert_eq!(server.losers(), [None], "without the value, which is a version");
}

/// The winner dismissed what the other had lost, and nobody ever saw it again.
#[test]
fn a_winner_does_not_silence_the_loser() {
    let mut server = Server::new();
    let id = lost("k", 10, 2);
    server.author = 2;
    server.push(&[put("k", "1", 10, 2, &[])]);
    server.author = 1;
    server.push(&[put("k", "2", 20, 1, &[])]);
    assert_eq!(server.resolve(id.clone(), Resolution::Dismissed), AckCode::NotAuthor.into());
    assert_eq!(server.resolve(id.clone(), Resolution::Archived), AckCode::Duplicate.into());
    assert_eq!(server.resolve(id.clone(), Resolution::Restored), AckCode::Superseded.into(), "it is not restored");
    assert_eq!(server.losers(), [Some("1".to_owned())]);
    server.push(&[put("k", "1", 30, 1, &[put_stamp(20, 1)])]);
    assert_eq!(server.resolve(id, Resolution::Restored), Outcome::Applied, "whoever restores it may say so");
}

/// 1 200 conflicts showed 1 000: one client could flush what everybody had lost.
#[test]
fn no_open_conflict_is_pushed_out() {
    let mut server = Server::with(Counters::default(), Limits { value_bytes: 1 << 20, ..Limits::default() });
    let value = |n: u64| format!("\"{n:03}{}\"", "x".repeat(100_000));
    let fits = CONFLICT_SHARE_BYTES_MAX / (value(0).len() as u64 + 129);
    for n in 0..fits + 6 {
        // Nobody sees anybody.
        server.push(&[put("k", &value(n), 10 + n, 1 + n, &[])]);
    }
    let counters = server.store.contents().counters;
    assert!(counters.conflict_bytes <= CONFLICT_SHARE_BYTES_MAX, "{counters:?}");
    assert_eq!((counters.conflicts, counters.untold), (fits, 5), "what exceeds is counted");
    assert!(server.store.contents().conflicts.contains_key(&lost("k", 10, 1)), "the first is there");
    let (versions, untold) = (server.store.contents().versions.len() as u64, counters.untold);
    assert_eq!(versions, fits + 5, "and all are in the history");

    server.author = 2;
    server.push(&[put("other", "1", 10, 1, &[])]);
    server.push(&[put("other", "2", 20, 2, &[])]);
    assert!(server.store.contents().conflicts.contains_key(&lost("other", 10, 1)), "somebody else has room");
    assert_eq!(server.store.contents().counters.untold, untold);
}

/// A server that starts again counts the room from its rows.
#[test]
fn a_conflict_that_is_closed_makes_room() {
    let mut server = Server::with(Counters::default(), Limits { value_bytes: 1 << 20, ..Limits::default() });
    let value = format!("\"{}\"", "x".repeat(900_000));
    for n in 0..3 {
        server.push(&[put("k", &value, 10 + n, 1 + n, &[])]);
        server.push(&[put("k", "1", 100 * (n + 1), 50 + n, &[])]);
    }
    let open = |server: &Server| server.store.contents().counters.conflicts;
    let before = open(&server);
    server.hub = server.store.hub();
    assert_eq!(server.resolve(lost("k", 10, 1), Resolution::Dismissed), Outcome::Applied);
    server.push(&[put("other", &value, 10, 1, &[])]);
    server.push(&[put("other", "1", 20, 2, &[])]);
    assert_eq!(open(&server), before);
    assert!(server.store.contents().conflicts.contains_key(&lost("other", 10, 1)));
}

#[test]
fn a_conflict_that_nobody_decides_goes_to_the_history() {
    let mut server = Server::new();
    server.push(&[put("k", "1", 10, 1, &[])]);
    server.push(&[put("k", "2", 20, 2, &[])]);
    server.now_ms = NOW_MS + CONFLICT_MS_MAX - 1;
    server.apply(Command::Expire);
    assert_eq!(server.finish(), None, "not yet");
    server.now_ms += 1;
    server.apply(Command::Expire);
    assert_eq!(server.finish().unwrap().changes.len(), 1);
    let contents = server.store.contents();
    assert_eq!(contents.conflicts[&lost("k", 10, 1)].conflict.resolution, Resolution::Archived);
    assert_eq!(contents.versions.len(), 1);
}

/// The row of a conflict went with the rollback, and with it the losing value: its write has no entry that could come back.
#[test]
fn a_client_brings_a_conflict_row_back() {
    let mut before = Server::new();
    before.push(&[put("k", "0", 5, 9, &[])]);
    before.push(&[put("k", "1", 10, 1, &[put_stamp(5, 9)]), put("k", "2", 20, 2, &[put_stamp(5, 9)])]);
    let row = before.store.contents().conflicts[&lost("k", 10, 1)].conflict.clone();

    let mut server = Server::new();
    server.push(&[put("k", "0", 5, 9, &[])]);
    let recover = |row: &Conflict| Command::Recover { conflicts: vec![row.clone()], authors: Vec::new() };
    server.set_back(1);
    let (_, commit) = server.push(&[recovered(put("k", "2", 20, 2, &[]), 1, 2)]);
    assert_eq!(commit.unwrap().changes.len(), 1, "the winner comes back, and finds nothing to conflict with");
    assert_eq!(server.apply(recover(&row)).outcomes, [Outcome::Applied]);
    server.finish().unwrap();
    assert_eq!(server.losers(), [Some("1".to_owned())]);
    assert_eq!(server.store.contents().versions.len(), 2, "the value that both had seen, and what lost");
    assert_eq!(server.apply(recover(&row)).outcomes, [AckCode::Duplicate.into()]);
    assert_eq!(server.resolve(row.id(), Resolution::Dismissed), Outcome::Applied);
    assert_eq!(server.apply(recover(&row)).outcomes, [AckCode::Duplicate.into()], "it was decided here");
    assert_eq!(server.code(put("k", "1", 10, 1, &[put_stamp(5, 9)])), Some(AckCode::Duplicate), "a write loses once");
    server.role = Role::Reader;
    assert_eq!(server.apply(recover(&row)).outcomes, [AckCode::ReadOnly.into()]);
}

/// A device that lost its acks sent its write again after a hundred others, and it became a conflict a second time.
#[test]
fn a_write_that_lost_is_known_after_its_version_has_left() {
    let mut server = Server::new();
    let first = put("k", "first", 10, 1, &[]);
    let first = Op { value: Some("\"first\"".to_owned()), ..first };
    server.push(std::slice::from_ref(&first));
    let mut seen = Stamp::ZERO;
    for n in 0..VERSIONS_MAX as u64 + 2 {
        server.push(&[put("k", &n.to_string(), 20 + n, 2, &[seen])]);
        seen = put_stamp(20 + n, 2);
    }
    assert_eq!(server.store.contents().versions.len(), VERSIONS_MAX);
    assert_eq!(server.code(first), Some(AckCode::Duplicate));
    assert_eq!(server.store.contents().counters.conflicts, 1);
}

#[test]
fn below_the_horizon_puts_are_parked() {
    let horizon = Horizon { seq: Seq(5), time_ms: 500 };
    let server = || Server::with(Counters { head: Seq(9), horizon, ..Counters::default() }, Limits::default());
    assert_eq!(server().code(put("k", "1", 500, 1, &[])), Some(AckCode::Parked));
    assert_eq!(server().code(remove("k", 500, 1, &[put_stamp(1, 1)])), Some(AckCode::Duplicate));
    let mut with_conflict = server();
    assert_eq!(with_conflict.code(put("k", "1", 501, 1, &[put_stamp(1, 1)])), None);
    assert_eq!(with_conflict.losers(), [None], "it had seen an entry, which was deleted since");
    let mut fresh = server();
    assert_eq!(fresh.code(put("k", "1", 501, 1, &[])), None);
    assert_eq!(fresh.losers(), []);
}

/// A client without a clock writes at time 0. Nothing had ever been purged, and the server held the write back as too old.
#[test]
fn without_a_horizon_nothing_is_too_old() {
    assert_eq!(Server::new().code(put("k", "1", 0, 1, &[])), None);
}

/// A server that was set back lost a key. One client removes it, another still has the put: the delete must not come back.
#[test]
fn a_remove_of_what_a_rollback_lost_leaves_its_tombstone() {
    let lost = put_stamp(10, 1);
    for op in [remove("k", 20, 2, &[lost]), recovered(remove("k", 20, 2, &[]), 1, 2)] {
        let mut server = Server::new();
        assert_eq!(server.code(op), None);
        assert_eq!(server.code(recovered(put("k", "1", 10, 1, &[]), 1, 1)), Some(AckCode::Superseded));
        assert_eq!(server.value("k"), None);
    }
}

/// A client that had more writes in flight than `seen` holds, and lost all acks, names its oldest no more. And a connection
/// that it has given up may bring an older write after the newer one.
#[test]
fn a_replica_does_not_conflict_with_itself() {
    let mut server = Server::new();
    server.push(&[put("k", "1", 10, 1, &[])]);
    assert_eq!(server.code(put("k", "9", 90, 1, &[Stamp::ZERO, put_stamp(80, 1)])), None);
    assert_eq!(server.code(put("k", "2", 20, 1, &[])), Some(AckCode::Superseded));
    assert_eq!(server.losers(), []);
}

/// Before the token is checked a connection may do nothing, whatever its driver passes on.
#[test]
fn a_frame_before_welcome_ends_the_connection() {
    let mut session = Session::new(Limits::default(), Now::both(NOW_MS));
    let hello = ClientFrame::hello(secret(1), person(1));
    session.handle_message(&hello.encode(), Now::both(NOW_MS));
    assert_eq!(session.poll_request(), Some(Request::Open { token: None }));
    session.handle_message(&ClientFrame::Resume { epoch: Epoch(0), cursor: Seq(0) }.encode(), Now::both(NOW_MS));
    assert_eq!((session.poll_request(), session.is_closed()), (None, true));
}

/// A broken client gives several values one stamp. The greatest stays, and the count of the versions is right.
#[test]
fn values_with_one_stamp_are_counted_once() {
    let mut server = Server::new();
    for json in ["1", "2", "3"] {
        assert_eq!(server.code(put("k", json, 10, 1, &[])), None);
    }
    assert_eq!(server.code(put("k", "2", 10, 1, &[])), Some(AckCode::Duplicate));
    assert_eq!((server.value("k").as_deref(), server.store.contents().versions.len()), (Some("3"), 1));
}

fn condition(name: &str, stamp: Option<Stamp>) -> Condition {
    Condition { key: name.to_owned(), stamp }
}

impl Server {
    /// Applies a group in one transaction; returns the exceptions as (index, code), and whether anything changed.
    fn group(&mut self, ops: &[Op], conditions: &[Condition]) -> (Vec<(u32, AckCode)>, bool) {
        let receipt = self.apply(Command::Group { ops: ops.to_vec(), conditions: conditions.to_vec() });
        let commit = self.finish();
        assert!(commit.iter().all(|commit| commit.changes.iter().all(|change| change.seq() == commit.to)), "one seq");
        (receipt.exceptions().iter().map(|exception| (exception.index, exception.code)).collect(), commit.is_some())
    }
}

/// A person changes many entries at once. Half of it was applied, and the other half was refused.
#[test]
fn a_group_is_applied_whole_or_not_at_all() {
    let refused = AckCode::GroupRefused;
    let mut server = Server::new();
    server.push(&[put("old", "1", 10, 1, &[])]);
    let mut ops =
        vec![put("a", "1", 20, 1, &[]), put("old", "2", 20, 1, &[put_stamp(10, 1)]), put("b", "1", 5, 1, &[])];
    assert_eq!(server.group(&ops, &[]), (vec![], true));
    assert_eq!(server.group(&ops, &[]), ((0..3).map(|index| (index, AckCode::Duplicate)).collect(), false));

    // Each reason for which a push leaves out an operation refuses the whole of a group.
    let bad = [
        (put("", "1", 30, 1, &[]), AckCode::BadKey),
        (put("c", "{", 30, 1, &[]), AckCode::BadValue),
        (put("c", "1", NOW_MS + CLOCK_AHEAD_MS_MAX + 1, 1, &[]), AckCode::ClockAhead),
        (put("a", "3", 31, 1, &[]), AckCode::BadKey),
    ];
    for (op, code) in bad {
        let ops = [put("a", "2", 30, 1, &[put_stamp(20, 1)]), op, put("d", "1", 30, 1, &[])];
        assert_eq!(server.group(&ops, &[]), (vec![(0, refused), (1, code), (2, refused)], false));
    }
    // Ten are allowed, and three are there.
    ops = (0..8).map(|number| put(&format!("new {number}"), "1", 40, 1, &[])).collect();
    let (exceptions, _) = server.group(&ops, &[]);
    assert_eq!((exceptions[6], exceptions[7], exceptions.len()), ((6, refused), (7, AckCode::Full), 8));
    assert_eq!(server.group(&ops[..7], &[]), (vec![], true));
    assert_eq!(server.store.contents().entries.len(), 10);

    // Who loses against a greater write was admitted.
    let ops = [put("a", "5", 15, 2, &[]), put("b", "5", 60, 2, &[put_stamp(5, 1)])];
    assert_eq!(server.group(&ops, &[]), (vec![(0, AckCode::Superseded)], true));
    assert_eq!(server.losers(), [Some("5".to_owned())]);
    server.role = Role::Reader;
    let ops = [put("a", "6", 70, 1, &[]), put("b", "6", 70, 1, &[])];
    assert_eq!(server.group(&ops, &[]), (vec![(0, AckCode::ReadOnly), (1, AckCode::ReadOnly)], false));
}

#[test]
fn a_group_changes_nothing_unless_its_conditions_hold() {
    let mut server = Server::new();
    server.push(&[put("a", "1", 10, 1, &[]), put("gone", "1", 10, 1, &[])]);
    server.push(&[remove("gone", 20, 1, &[put_stamp(10, 1)])]);
    let there = |ms| condition("a", Some(put_stamp(ms, 1)));
    let absent = |name| condition(name, None);
    let write = |ms: u64| [put("b", &ms.to_string(), ms, 1, &[])];
    let failed = |index| (vec![(0, AckCode::GroupRefused), (index, AckCode::ConditionFailed)], false);
    assert_eq!(server.group(&write(30), &[there(11)]), failed(1));
    assert_eq!(server.group(&write(30), &[absent("a")]), failed(1));
    assert_eq!(server.group(&write(30), &[condition("none", Some(put_stamp(10, 1)))]), failed(1));
    assert_eq!(
        server.group(&write(30), &[condition("", None)]),
        (vec![(0, AckCode::GroupRefused), (1, AckCode::BadKey)], false)
    );
    let (exceptions, _) = server.group(&write(30), &[there(10), absent("a"), absent("none")]);
    let refused = AckCode::GroupRefused;
    assert_eq!(exceptions, [(0, refused), (1, refused), (2, AckCode::ConditionFailed), (3, refused)]);
    assert_eq!(server.value("b"), None);
    let tombstone = condition("gone", Some(remove_stamp(20, 1)));
    assert_eq!(server.group(&write(30), &[there(10), absent("gone"), absent("none"), tombstone]), (vec![], true));
}

/// The answer was lost. The group had changed what its condition names, and was refused when it came again.
#[test]
fn a_group_that_is_sent_again_is_done() {
    let mut server = Server::new();
    server.push(&[put("a", "1", 10, 1, &[])]);
    let ops = [put("a", "2", 20, 1, &[put_stamp(10, 1)]), put("b", "1", 20, 1, &[]), remove("none", 20, 1, &[])];
    let conditions = [condition("a", Some(put_stamp(10, 1))), condition("b", None)];
    assert_eq!(server.group(&ops, &conditions), (vec![(2, AckCode::Duplicate)], true));
    server.push(&[put("a", "3", 30, 2, &[put_stamp(20, 1)]), put("b", "3", 30, 2, &[put_stamp(20, 1)])]);
    let done = (0..3).map(|index| (index, AckCode::Duplicate)).collect();
    assert_eq!(server.group(&ops, &conditions), (done, false));

    // A server that was set back has what another client has brought back of it, and gets the rest.
    let mut server = Server::new();
    server.set_back(0);
    assert_eq!(server.code(recovered(put("b", "1", 20, 1, &[]), 1, 2)), None);
    let ops = [put("a", "2", 20, 1, &[]), put("b", "1", 20, 1, &[])];
    assert_eq!(server.group(&ops, &conditions), (vec![(1, AckCode::Duplicate)], true));
    assert_eq!(server.value("a").as_deref(), Some("2"));
}

/// What a group replaces is kept in one commit.
#[test]
fn a_group_is_bounded_in_what_it_replaces() {
    let mut server = Server::with(Counters::default(), Limits { value_bytes: 1 << 20, ..Limits::default() });
    let value = format!("\"{}\"", "x".repeat((1 << 20) - 2));
    for number in 0..5 {
        server.push(&[put(&number.to_string(), &value, 10, 1, &[])]);
    }
    let ops: Vec<Op> = (0..5).map(|number| put(&number.to_string(), "1", 20, 1, &[put_stamp(10, 1)])).collect();
    let (exceptions, is_written) = server.group(&ops, &[]);
    assert_eq!((exceptions[4], is_written), ((4, AckCode::GroupTooLarge), false));
    assert_eq!(server.group(&ops[..4], &[]), (vec![], true));
}

/// 512 times `1` over values of 64 KiB made one commit of 32 MiB.
#[test]
fn a_push_that_writes_much_is_applied_in_parts() {
    let mut server = Server::with(Counters::default(), Limits::default());
    let value = format!("\"{}\"", "x".repeat(65_000));
    let keys: Vec<String> = (0..64).map(|number| number.to_string()).collect();
    for key in &keys {
        server.push(&[put(key, &value, 10, 1, &[])]);
    }
    let ops = keys.iter().map(|key| put(key, "1", 20, 2, &[put_stamp(10, 1)])).collect();
    let (mut command, mut done, mut parts) = (Command::Push { ops }, Receipt::default(), 0);
    while command.operations() > 0 {
        let context = Context {
            now_ms: NOW_MS,
            limits: server.limits,
            actor: Actor { role: Role::Writer, author: author(1), replicas: server.replicas.clone() },
        };
        let at = server.hub.counters().head.next();
        let record = Record { at, room_bytes: COMMIT_BYTES_MAX, context, command };
        let Ok(receipt) = server.store.write(|rows| server.hub.apply(rows, &record));
        server.finish().unwrap();
        assert!(receipt.bytes <= COMMIT_BYTES_MAX + value.len() as u64 + 1000, "{}", receipt.bytes);
        assert!(receipt.outcomes.len() > 1);
        parts += 1;
        command = record.command;
        command.skip(receipt.outcomes.len());
        done.extend(receipt);
    }
    assert_eq!((done.outcomes.len(), parts), (64, 4));
    assert_eq!(done.seq, server.store.contents().counters.head, "the last one counts");
}

/// 256 MiB from one client were taken, and every visitor had to load them.
#[test]
fn a_dictionary_has_a_limit_of_bytes() {
    let limits = Limits { bytes: 200, ..Limits::default() };
    let mut server = Server::with(Counters::default(), limits);
    let text = |length: usize| "1".repeat(length);
    // An entry takes 32 bytes, its key and its value.
    assert_eq!(server.code(put("a", &text(67), 10, 1, &[])), None);
    assert_eq!(server.push(&[put("b", &text(68), 10, 1, &[])]).0, [(0, AckCode::FullBytes, 200)]);
    assert_eq!(server.code(put("b", &text(60), 9, 1, &[])), None);
    assert_eq!(server.code(put("b", &text(67), 10, 1, &[put_stamp(9, 1)])), None, "it grows to the last byte");
    assert_eq!(server.store.contents().counters.bytes, 200);

    // Nothing more, and nothing longer; but what is as long, or shorter, and every remove.
    let seen = put_stamp(10, 1);
    assert_eq!(server.code(put("c", "1", 10, 1, &[])), Some(AckCode::FullBytes));
    assert_eq!(server.code(put("b", &text(68), 20, 1, &[seen])), Some(AckCode::FullBytes));
    assert_eq!(server.code(put("b", &"2".repeat(67), 20, 1, &[seen])), None);
    // Nobody saw it: who has lost is told all the same, and this counts.
    assert_eq!(server.code(put("b", &text(1), 30, 2, &[])), None);
    assert_eq!(server.losers(), [Some("2".repeat(67))]);
    assert!(server.store.contents().counters.bytes > 200);
    assert_eq!(server.code(put("b", &text(2), 40, 1, &[put_stamp(30, 2)])), Some(AckCode::FullBytes));
    assert_eq!(server.code(remove("a", 40, 1, &[seen])), None);

    // Another limit decides otherwise: it travels in the record.
    server.limits.bytes = 2000;
    assert_eq!(server.code(put("c", "1", 50, 1, &[])), None);
    assert_eq!(server.code(put("a", "1", 50, 1, &[remove_stamp(40, 1)])), None);
}

#[test]
fn a_group_counts_its_own_bytes() {
    let limits = Limits { bytes: 200, ..Limits::default() };
    let mut server = Server::with(Counters::default(), limits);
    server.push(&[put("a", &"1".repeat(100), 10, 1, &[])]);
    let seen = put_stamp(10, 1);
    let new = [put("b", &"2".repeat(60), 20, 1, &[]), put("c", "3", 20, 1, &[])];
    assert_eq!(server.group(&new, &[]).0, [(0, AckCode::FullBytes), (1, AckCode::GroupRefused)]);
    let moved = [remove("a", 20, 1, &[seen]), new[0].clone(), new[1].clone()];
    assert_eq!(server.group(&moved, &[]), (vec![], true));
}

/// A million removed keys left no room, for ever: not even for the keys themselves.
#[test]
fn a_key_that_was_removed_is_written_again_although_the_dictionary_is_used_up() {
    let mut server = Server::new();
    for number in 0..10 {
        server.push(&[put(&number.to_string(), "1", 10, 1, &[])]);
        server.push(&[remove(&number.to_string(), 20, 1, &[put_stamp(10, 1)])]);
    }
    assert_eq!(server.code(put("new", "1", 30, 1, &[])), Some(AckCode::Full));
    let again: Vec<Op> = (0..10).map(|number| put(&number.to_string(), "2", 30, 1, &[remove_stamp(20, 1)])).collect();
    assert_eq!(server.push(&again).0, []);
    assert_eq!(server.store.contents().counters.live, 10);
}

/// Whoever wrote with stamps of tomorrow kept its own versions, and pushed out those of everybody else: the lowest stamps left.
#[test]
fn what_has_been_a_version_for_longest_leaves_first() {
    let mut server = Server::new();
    server.push(&[put("k", "0", 500_000, 1, &[])]);
    server.push(&[put("k", "1", 600_000, 2, &[put_stamp(500_000, 1)])]);
    let history = |server: &Server| server.store.contents().histories[&key("k")].clone();
    let id = |since, stamp| VersionId { since: Seq(since), key: key("k"), stamp };
    let version = |server: &Server, id: &VersionId| server.store.contents().versions.get(id).cloned();
    assert_eq!(history(&server).versions, [(Seq(2), put_stamp(500_000, 1))]);
    let replaced = version(&server, &id(2, put_stamp(500_000, 1))).unwrap();
    assert_eq!((replaced.accepted, replaced.reason), (Seq(1), Reason::Replaced));

    // A hundred that lose, with stamps far below.
    for n in 0..VERSIONS_MAX as u64 {
        server.push(&[put("k", &format!("1{n}"), n, 3, &[])]);
    }
    let lost = version(&server, &id(3, put_stamp(0, 3))).unwrap();
    assert_eq!((lost.accepted, lost.reason), (Seq(3), Reason::Lost));
    let found = history(&server);
    assert_eq!(
        (found.versions.len(), found.versions[0]),
        (VERSIONS_MAX, (Seq(3), put_stamp(0, 3))),
        "the first has left"
    );
    assert_eq!(found.complete_from, Seq(2), "and the key says so");
    assert_eq!(server.store.contents().counters.version_bytes, VERSIONS_MAX as u64 * 129 + 290);
}

/// A few keys that were written for ever took all of the disk.
#[test]
fn the_versions_of_a_dictionary_have_a_limit_of_bytes() {
    let mut server = Server::with(Counters::default(), Limits { value_bytes: 1 << 20, ..Limits::default() });
    let value = |n: u64| format!("{}1{n:03}", "1".repeat(1_000_000));
    let fits = VERSIONS_BYTES_MAX / (1_000_004 + 1 + 128);
    let keys = ["a", "b", "c", "d"];
    let mut seen = Stamp::ZERO;
    for n in 0..fits / 4 + 2 {
        for key in keys {
            server.apply(Command::Push { ops: vec![put(key, &value(n), 10 + n, 1, &[seen])] });
        }
        seen = put_stamp(10 + n, 1);
    }
    // One transaction: looking at each of them would take long.
    server.finish().unwrap();
    let contents = server.store.contents();
    assert!(contents.counters.version_bytes <= VERSIONS_BYTES_MAX);
    assert_eq!(contents.versions.len() as u64, fits);
    // Two rounds of four fit no more, but for a rest.
    let gone = keys.map(|name| contents.histories[&key(name)].complete_from.0);
    assert!(gone.is_sorted() && gone[0] > 0, "the oldest of all leaves: {gone:?}");
}

/// The row of a conflict kept what its key's history had lost; with the row the value went too.
#[test]
fn who_dismisses_a_conflict_leaves_its_value_in_the_history() {
    let mut server = Server::new();
    server.push(&[put("k", "7", 10, 2, &[]), put("k", "0", 20, 1, &[])]);
    let mut seen = put_stamp(20, 1);
    for n in 0..VERSIONS_MAX as u64 {
        server.push(&[put("k", "1", 30 + n, 1, &[seen])]);
        seen = put_stamp(30 + n, 1);
    }
    let history = |server: &Server| server.store.contents().histories[&key("k")].clone();
    assert!(!history(&server).has(put_stamp(10, 2)));
    assert_eq!(server.resolve(lost("k", 10, 2), Resolution::Dismissed), Outcome::Applied);
    let contents = server.store.contents();
    let (id, version) = contents.versions.last_key_value().unwrap();
    assert_eq!((id.stamp, version.reason, version.accepted), (put_stamp(10, 2), Reason::Archived, Seq(1)));
    assert_eq!(version.value.as_ref().unwrap().as_str(), "7");
}
