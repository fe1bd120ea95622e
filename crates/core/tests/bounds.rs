//! What the hub bounds: the entries, conflict rows and versions of a dictionary, and what a commit writes.

mod support;

use keybook_core::{
    Resolution, Seq, Stamp,
    limits::{
        COMMIT_BYTES_MAX, CONFLICT_BYTES_MAX, CONFLICT_SHARE_BYTES_MAX, Limits, VERSIONS_BYTES_MAX, VERSIONS_MAX,
    },
    server::{Actor, Command, Context, Counters, Outcome, Reason, Receipt, Record, VersionId},
    wire::{AckCode, Op, Role},
};
use support::{author, hub::*, key, put_stamp, remove_stamp};

#[test]
fn a_full_dictionary_takes_updates_and_removes() {
    let mut server = Server::new();
    let ops: Vec<Op> = (0..11).map(|n| put(&n.to_string(), "1", 10 + n, 1, &[])).collect();
    assert_eq!(server.push(&ops).0, [(10, AckCode::Full, 10)]);
    assert_eq!(server.code(put("1", "2", 100, 1, &[put_stamp(11, 1)])), None);
    assert_eq!(server.code(remove("1", 101, 1, &[put_stamp(100, 1)])), None);
    assert_eq!(server.code(put("1", "3", 102, 1, &[remove_stamp(101, 1)])), None);
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

/// Of eleven authors none has more than a share of the room, and together no more than there is.
#[test]
fn all_open_conflicts_together_have_a_limit() {
    let mut server = Server::with(Counters::default(), Limits { value_bytes: 1 << 20, ..Limits::default() });
    let value = |n: u64| format!("\"{n:03}{}\"", "x".repeat(400_000));
    let bytes = value(0).len() as u64 + 129;
    let (of_author, in_all) = (CONFLICT_SHARE_BYTES_MAX / bytes, CONFLICT_BYTES_MAX / bytes);
    assert!(11 * of_author > in_all, "the last one has room of its own, but there is none");
    for author in 1..=11 {
        server.author = author;
        // Each write but the first of all loses to the next.
        (0..of_author).for_each(|n| _ = server.push(&[put("k", &value(n), 100 * author + n, 100 * author + n, &[])]));
    }
    let counters = server.store.contents().counters;
    assert!(counters.conflict_bytes <= CONFLICT_BYTES_MAX, "{counters:?}");
    assert_eq!((counters.conflicts, counters.untold), (in_all, 11 * of_author - 1 - in_all));
    assert_eq!(server.store.contents().versions.len() as u64, 11 * of_author - 1, "all are in the history");
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
    assert_eq!(
        server.code(put("b", &text(2), 40, 1, &[put_stamp(30, 2)])),
        None,
        "and takes no room from live entries"
    );
    assert_eq!(server.code(put("d", "1", 40, 1, &[])), Some(AckCode::FullBytes));
    assert_eq!(server.code(remove("a", 40, 1, &[seen])), None);

    // Another limit decides otherwise: it travels in the record.
    server.limits.bytes = 2000;
    assert_eq!(server.code(put("c", "1", 50, 1, &[])), None);
    assert_eq!(server.code(put("a", "1", 50, 1, &[remove_stamp(40, 1)])), None);
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

/// Removed keys took all the bytes of a dictionary, for ever: no key of it could be written, neither a removed one nor a live one.
#[test]
fn what_was_removed_takes_no_room_from_the_keys_that_are_or_were_there() {
    let limits = Limits { bytes: 10 * 33, ..Limits::default() };
    let mut server = Server::with(Counters::default(), limits);
    let keys: Vec<String> = (0..9).map(|number| number.to_string()).collect();
    for key in &keys {
        assert_eq!(server.code(put(key, "1", 10, 1, &[])), None);
        assert_eq!(server.code(remove(key, 20, 1, &[put_stamp(10, 1)])), None);
    }
    assert_eq!(server.store.contents().counters.bytes, 9 * 33, "tombstones take what is left of the limit but one");
    assert_eq!(server.code(put("new", "1", 30, 1, &[])), Some(AckCode::FullBytes), "a new key needs room among all");

    // Nine of a length that all tombstones together would leave no room for, to the last byte among live entries.
    let value = "2".repeat(3);
    for key in &keys {
        assert_eq!(server.code(put(key, &value, 30, 1, &[remove_stamp(20, 1)])), None, "{key}");
    }
    let live = 9 * 36;
    assert_eq!(server.store.contents().counters.live_bytes, live);
    let longest = "3".repeat(3 + (limits.bytes - live) as usize);
    assert_eq!(server.code(put("0", &format!("{longest}3"), 40, 1, &[put_stamp(30, 1)])), Some(AckCode::FullBytes));
    assert_eq!(server.code(put("0", &longest, 40, 1, &[put_stamp(30, 1)])), None);
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
