//! What a server that was set back is told of what it has lost, and what it makes of it.

mod support;

use keybook_core::{
    Branch, Conflict, Epoch, PastEpoch, Resolution, Seq,
    limits::{CLOCK_AHEAD_MS_MAX, RECOVERED_AHEAD_MS_MAX},
    server::{Command, Outcome, Reason},
    wire::{AckCode, Change, Op, Role, snapshot::Snapshot},
};
use support::{author, hub::*, key, put_stamp};

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

/// A server was set back, and its clock too, so a later edit got a lower stamp. Then another page brought the earlier edit back, which
/// took the later one's place, and nobody was told.
#[test]
fn whose_edit_is_undone_by_what_comes_back_is_told() {
    let mut server = Server::new();
    server.set_back(0);
    assert_eq!(server.code(put("k", "\"later\"", 10, 1, &[])), None);
    assert_eq!(server.code(recovered(put("k", "\"earlier\"", 20, 1, &[]), 1, 1)), None);
    assert_eq!(
        (server.value("k"), server.losers()),
        (Some("\"earlier\"".to_owned()), vec![Some("\"later\"".to_owned())])
    );

    // What is not undone is nobody's business: it is the same person's earlier edit.
    assert_eq!(server.code(put("other", "\"later\"", 20, 1, &[])), None);
    assert_eq!(server.code(recovered(put("other", "\"earlier\"", 10, 1, &[]), 1, 1)), Some(AckCode::Superseded));
    assert_eq!(server.losers().len(), 1);
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
