//! What the hub decides: admission, seqs, the three classes of acks, conflicts.

mod support;

use keybook_core::{
    ConflictId, Epoch, HybridTime, ReplicaId, Resolution, Seq, Stamp,
    limits::{CONFLICTS_MAX, Limits, VERSIONS_MAX},
    server::{Actor, Command, Commit, Context, Counters, Hub, Outcome, Receipt, Record, Request, Rows, Session},
    wire::{AckCode, ClientFrame, Exception, Horizon, Op, Role},
};
use support::{author, key, put_stamp, remove_stamp, store::Store};

const NOW_MS: u64 = 1_000_000;

struct Server {
    store: Store,
    hub: Hub,
    limits: Limits,
    role: Role,
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
        Self { store, hub, limits, role: Role::Writer }
    }

    /// Applies a command at the next seq.
    fn apply(&mut self, command: Command) -> Receipt {
        let actor = Actor { role: self.role, author: author(1) };
        let context = Context { now_ms: NOW_MS, limits: self.limits, actor };
        let record = Record { at: self.hub.counters().head.next(), context, command };
        let Ok(receipt) = self.store.write(|rows| self.hub.apply(rows, &record));
        receipt
    }

    /// Pushes in one transaction; returns the exceptions as (index, code, data), and the commit.
    fn push(&mut self, ops: &[Op]) -> (Vec<(u32, AckCode, u64)>, Option<Commit>) {
        let receipt = self.apply(Command::Push { ops: ops.to_vec() });
        let Ok(commit) = self.store.write(|rows| self.hub.finish(rows));
        self.store.contents().assert_consistent();
        assert_eq!(self.hub.counters(), &self.store.contents().counters);
        assert_eq!(receipt.seq, self.store.contents().counters.head);
        let exceptions = receipt.exceptions();
        (exceptions.iter().map(|Exception { index, code, data }| (*index, *code, *data)).collect(), commit)
    }

    fn code(&mut self, op: Op) -> Option<AckCode> {
        self.push(&[op]).0.first().map(|(_, code, _)| *code)
    }

    fn value(&self, name: &str) -> Option<String> {
        let contents = self.store.contents();
        let row = contents.entries.get(&key(name))?;
        row.entry.value.as_ref().map(|value| value.as_str().to_owned())
    }

    /// The losing values of the conflict rows, oldest first.
    fn losers(&self) -> Vec<Option<String>> {
        let contents = self.store.contents();
        let losers = contents.conflicts.values().map(|conflict| conflict.loser.value.as_ref());
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

fn recovered(op: Op, fork: u64) -> Op {
    Op { recovered: Some(Seq(fork)), ..op }
}

#[test]
fn a_batch_is_one_seq_and_one_commit() {
    let mut server = Server::new();
    let ops = [put("b", "1", 10, 1, &[]), put("a", "2", 11, 1, &[]), put("b", "3", 12, 1, &[put_stamp(10, 1)])];
    let (exceptions, commit) = server.push(&ops);
    assert!(exceptions.is_empty());
    let commit = commit.unwrap();
    assert_eq!((commit.prev, commit.to), (Seq(0), Seq(1)));
    assert_eq!(commit.changes.len(), 2, "of a key that changed twice the last");
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
    let actor = Actor { role: Role::Writer, author: author(1) };
    let context = Context { now_ms: NOW_MS, limits: server.limits, actor };
    let mut at = |seq: u64, op: Op| {
        let record = Record { at: Seq(seq), context: context.clone(), command: Command::Push { ops: vec![op] } };
        let Ok(receipt) = server.store.write(|rows| server.hub.apply(rows, &record));
        assert_eq!(receipt, Receipt { seq: Seq(seq), outcomes: vec![Outcome::Applied] });
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
    assert_eq!(changed, [7, 7, 7, 9], "two entries, their conflict, and the third entry");
    assert_eq!(server.store.contents().conflicts.keys().collect::<Vec<_>>(), [&ConflictId { seq: Seq(7), index: 3 }]);
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
    server.push(&[put("new", "2", 30, 1, &[put_stamp(10, 1)])]);
    assert_eq!(server.code(recovered(put("old", "3", 20, 2, &[]), 1)), None);
    assert_eq!(server.losers(), [], "what the fork shares had been seen");
    assert_eq!(server.code(recovered(put("new", "3", 20, 2, &[]), 1)), Some(AckCode::Superseded));
    assert_eq!(server.losers(), [Some("3".to_owned())]);
    assert_eq!(server.code(recovered(put("old", "4", 40, 3, &[]), 0)), None);
    assert_eq!(server.losers().len(), 1, "both recovered: one history");
}

#[test]
fn a_conflict_is_resolved_once_and_travels() {
    let mut server = Server::new();
    server.push(&[put("k", "1", 10, 1, &[])]);
    server.push(&[put("k", "2", 20, 2, &[])]);
    let id = ConflictId { seq: Seq(2), index: 1 };
    let mut resolve = |role, id| {
        server.role = role;
        let receipt = server.apply(Command::Resolve { id, resolution: Resolution::Dismissed });
        let Ok(commit) = server.store.write(|rows| server.hub.finish(rows));
        server.store.contents().assert_consistent();
        (receipt.outcomes, commit.map(|commit| commit.to))
    };
    assert_eq!(resolve(Role::Reader, id), (vec![AckCode::ReadOnly.into()], None));
    let duplicate = || vec![Outcome::from(AckCode::Duplicate)];
    assert_eq!(resolve(Role::Writer, ConflictId { seq: Seq(1), index: 0 }), (duplicate(), None));
    assert_eq!(resolve(Role::Writer, id), (vec![Outcome::Applied], Some(Seq(3))));
    assert_eq!(resolve(Role::Writer, id), (duplicate(), None));
    let page = server.store.catch_up(Seq(2), usize::MAX);
    assert_eq!(page.changes.len(), 1, "the resolution reaches who was away");
}

#[test]
fn versions_and_conflict_rows_are_bounded() {
    let mut server = Server::new();
    let writes = u64::from(CONFLICTS_MAX) + 5;
    for n in 0..writes {
        // Nobody sees anybody.
        server.push(&[put("k", &n.to_string(), 10 + n, 1 + n, &[])]);
    }
    assert_eq!(server.store.contents().conflicts.len(), CONFLICTS_MAX as usize);
    assert_eq!(server.store.contents().versions.len(), usize::from(VERSIONS_MAX));
    let newest = server.losers().pop().flatten();
    assert_eq!(newest, Some((writes - 2).to_string()));
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
    for op in [remove("k", 20, 2, &[lost]), recovered(remove("k", 20, 2, &[]), 0)] {
        let mut server = Server::new();
        assert_eq!(server.code(op), None);
        assert_eq!(server.code(recovered(put("k", "1", 10, 1, &[]), 0)), Some(AckCode::Superseded));
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
    let mut session = Session::new(Limits::default(), NOW_MS);
    let hello = ClientFrame::hello(ReplicaId(1), author(1));
    session.handle_message(&hello.encode(), NOW_MS);
    assert_eq!(session.poll_request(), Some(Request::Open { token: None }));
    session.handle_message(&ClientFrame::Resume { epoch: Epoch(0), cursor: Seq(0) }.encode(), NOW_MS);
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
