//! What the hub decides: admission, seqs, the three classes of acks, conflicts.

mod support;

use keybook_core::{
    Epoch, HybridTime, ReplicaId, Resolution, Seq, Stamp,
    limits::{CONFLICT_MS_MAX, Limits, VERSIONS_MAX},
    server::{Actor, Command, Context, Counters, Now, Outcome, Reason, Record, Request, Session},
    wire::{AckCode, ClientFrame, Horizon, Op, Role},
};
use support::{author, hub::*, key, person, put_stamp, secret};

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
