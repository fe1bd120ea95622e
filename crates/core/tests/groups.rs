//! Groups: operations that are applied together or not at all.

mod support;

use keybook_core::{
    limits::{CLOCK_AHEAD_MS_MAX, Limits},
    server::Counters,
    wire::{AckCode, Op, Role},
};
use support::{hub::*, put_stamp, remove_stamp};

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
