//! Conflicts as their people see them, from one client's decision to all clients' rows, and what a device was away from.

mod support;

use keybook_core::{
    Conflict, ConflictId, Epoch, Resolution, Stamp, Value,
    client::{ABSENCE_MS_MIN, Absence, Client, EditError, RowState},
    limits::Limits,
    wire::{ClientFrame, Role},
};
use support::{device::Device, key, pair::Group, person, secret, store::Store, value};

/// Two clients, of which the second has lost the key `k` to the first: 1 stays, 2 is in the conflict row.
fn group_in_conflict() -> Group {
    let mut group = Group::new(2, Limits::default());
    lose(&mut group, "k");
    assert_eq!((group.shown(0, "k"), group.shown(1, "k")), (Some("1"), Some("1")));
    group
}

/// The second client writes 2 offline, and a little later the first one 1.
fn lose(group: &mut Group, name: &str) {
    group.disconnect();
    group.put(1, name, "2");
    group.now_ms += 1000;
    group.put(0, name, "1");
    reconnect(group);
}

fn reconnect(group: &mut Group) {
    group.connected = true;
    // What is being opened opens before time passes.
    group.settle();
    group.pass(60_000);
}

/// One client's device sleeps, while the others go on.
fn sleep(group: &mut Group, index: usize) {
    let now_ms = group.local_ms(index);
    group.members[index].session = None;
    group.client(index).handle_disconnected(now_ms, 1000);
}

/// It wakes up again after some time.
fn wake(group: &mut Group, after_ms: u64) {
    group.settle();
    group.pass(after_ms);
}

fn open(group: &Group, index: usize) -> Vec<ConflictId> {
    group.members[index].client.open_conflicts().into_iter().map(Conflict::id).collect()
}

/// The client decides about its first open conflict.
fn resolve(group: &mut Group, index: usize, resolution: Resolution) -> Result<Option<Stamp>, EditError> {
    let (id, now_ms) = (open(group, index).remove(0), group.local_ms(index));
    group.client(index).resolve(&id, resolution, now_ms)
}

/// Everywhere the conflict is closed in this way, and nothing waits.
fn assert_closed(group: &Group, resolution: Resolution) {
    for (index, member) in group.members.iter().enumerate() {
        assert_eq!(open(group, index), []);
        assert_eq!((member.client.resolutions().count(), member.client.unconfirmed()), (0, 0));
        assert_eq!(member.client.conflicts().iter().next().unwrap().resolution, resolution);
    }
    assert_eq!(group.store.conflict_rows().open().count(), 0);
}

fn resolves_sent(group: &mut Group, index: usize) -> usize {
    let sent = std::mem::take(&mut group.members[index].sent);
    sent.iter().filter(|frame| matches!(frame, ClientFrame::Resolve { .. })).count()
}

#[test]
fn a_dismissed_conflict_is_closed_for_everybody() {
    let mut group = group_in_conflict();
    assert_eq!(resolve(&mut group, 1, Resolution::Dismissed), Ok(None));
    assert_eq!(open(&group, 1), [], "at once here");
    assert_eq!(open(&group, 0).len(), 1);
    group.settle();
    assert_closed(&group, Resolution::Dismissed);
    assert_eq!(group.shown(1, "k"), Some("1"));
}

/// The winner dismissed it for everybody, and who had lost never saw it.
#[test]
fn who_dismisses_anothers_value_hides_it_on_their_device() {
    let mut group = Group::new(2, Limits::default());
    let now_ms = group.now_ms;
    let mut device = Device::new(group.client(0), now_ms);
    lose(&mut group, "k");
    assert_eq!(resolve(&mut group, 0, Resolution::Dismissed), Ok(None));
    group.settle();
    assert_eq!((open(&group, 0), open(&group, 1).len()), (vec![], 1));
    assert_eq!((group.client(0).unconfirmed(), resolves_sent(&mut group, 0)), (0, 0), "nobody is told");
    device.keep(group.client(0));
    device.reopen(&mut group, 0);
    group.settle();
    assert_eq!((open(&group, 0), open(&group, 1).len()), (vec![], 1), "it is hidden still");
    resolve(&mut group, 1, Resolution::Dismissed).unwrap();
    group.settle();
    device.keep(group.client(0));
    assert_closed(&group, Resolution::Dismissed);
    assert!(device.0.outbox.is_empty(), "nothing is left on the device");
}

/// What lost may be a removal.
#[test]
fn a_restored_removal_removes() {
    let mut group = Group::new(2, Limits::default());
    group.put(0, "k", "0");
    group.settle();
    group.disconnect();
    let (began, now_ms) = (group.client(1).begin(&key("k")), group.local_ms(1));
    group.client(1).remove(&key("k"), began, now_ms).unwrap();
    group.now_ms += 1000;
    group.put(0, "k", "1");
    reconnect(&mut group);
    assert_eq!(group.shown(1, "k"), Some("1"));
    resolve(&mut group, 1, Resolution::Restored).unwrap();
    group.settle();
    assert_closed(&group, Resolution::Restored);
    assert_eq!((group.shown(0, "k"), group.shown(1, "k")), (None, None));
}

#[test]
fn a_conflict_is_decided_offline_and_after_the_page_is_gone() {
    for resolution in [Resolution::Dismissed, Resolution::Restored] {
        let mut group = Group::new(2, Limits::default());
        let now_ms = group.now_ms;
        let mut device = Device::new(group.client(1), now_ms);
        lose(&mut group, "k");
        group.disconnect();
        resolve(&mut group, 1, resolution).unwrap();
        assert_eq!((open(&group, 1), group.client(1).unconfirmed()), (vec![], 1));
        device.keep(group.client(1));

        device.reopen(&mut group, 1);
        assert_eq!((open(&group, 1), group.client(1).unconfirmed()), (vec![], 1), "it is decided still");
        reconnect(&mut group);
        assert_closed(&group, resolution);
        let shown = if resolution == Resolution::Restored { "2" } else { "1" };
        assert_eq!((group.shown(0, "k"), group.shown(1, "k")), (Some(shown), Some(shown)));
        device.keep(group.client(1));
        assert!(device.0.outbox.is_empty(), "nothing is left on the device");
    }
}

#[test]
fn a_decision_that_may_not_have_arrived_is_sent_again() {
    let mut group = group_in_conflict();
    resolve(&mut group, 1, Resolution::Dismissed).unwrap();
    let sent = group.client(1).poll_transmit().map(|bytes| ClientFrame::decode(&bytes).unwrap());
    assert!(matches!(sent, Some(ClientFrame::Resolve { .. })), "the line breaks behind it");
    group.disconnect();
    reconnect(&mut group);
    assert_eq!(resolves_sent(&mut group, 1), 1);
    assert_closed(&group, Resolution::Dismissed);
    group.pass(60_000);
    assert_eq!(resolves_sent(&mut group, 1), 0, "once is enough");
}

#[test]
fn of_two_who_decide_at_once_the_first_is_heard() {
    let mut group = group_in_conflict();
    resolve(&mut group, 1, Resolution::Dismissed).unwrap();
    resolve(&mut group, 0, Resolution::Restored).unwrap();
    group.settle();
    let row = group.store.conflict_rows().iter().next().unwrap().resolution;
    assert_closed(&group, row);
    assert_eq!((group.shown(0, "k"), group.shown(1, "k")), (Some("2"), Some("2")), "a restored value is a write");
}

#[test]
fn who_decides_late_changes_nothing_more() {
    let mut group = group_in_conflict();
    sleep(&mut group, 1);
    resolve(&mut group, 1, Resolution::Dismissed).unwrap();
    resolve(&mut group, 0, Resolution::Restored).unwrap();
    group.settle();
    assert_eq!(group.client(1).unconfirmed(), 1);
    wake(&mut group, 60_000);
    assert_closed(&group, Resolution::Restored);
    assert_eq!(group.shown(1, "k"), Some("2"));
    assert_eq!(resolves_sent(&mut group, 1), 0, "the row has come before it was sent");
}

/// The server is set back to before the conflict. What was decided says nothing about another conflict.
#[test]
fn a_decision_is_never_taken_for_one_about_another_conflict() {
    let mut group = Group::new(2, Limits::default());
    let backup = group.store.clone();
    lose(&mut group, "k");
    group.disconnect();
    resolve(&mut group, 1, Resolution::Dismissed).unwrap();

    // The server and the other client know nothing of it.
    group.restart(backup, 2);
    let decided = group.members[1].client.clone();
    for (index, member) in group.members.iter_mut().enumerate() {
        member.client = Client::new(secret(11 + index as u64), person(index as u64), group.now_ms);
    }
    group.settle();
    lose(&mut group, "other");
    group.disconnect();
    group.members[1].client = decided;
    reconnect(&mut group);
    group.pass(60_000);
    let still_open: Vec<_> = open(&group, 0).into_iter().map(|id| id.key).collect();
    assert_eq!(still_open, [key("other")]);
    assert_eq!(group.client(1).resolutions().count(), 0, "there is nothing to decide any more");
}

/// The server is set back to between the conflict and the decision: who knows of the decision says it again.
#[test]
fn a_decision_comes_back_after_a_rollback() {
    let mut group = group_in_conflict();
    let backup = group.store.clone();
    resolve(&mut group, 0, Resolution::Restored).unwrap();
    group.settle();
    group.restart(backup, 2);
    reconnect(&mut group);
    group.pass(60_000);
    assert_closed(&group, Resolution::Restored);
    assert_eq!(group.shown(1, "k"), Some("2"));
}

/// The losing value went with the rollback, although its author had been told that it is kept.
#[test]
fn a_losing_value_comes_back_after_a_rollback() {
    let mut group = Group::new(2, Limits::default());
    group.put(0, "k", "0");
    group.settle();
    let backup = group.store.clone();
    lose(&mut group, "k");
    group.restart(backup, 2);
    reconnect(&mut group);
    group.pass(60_000);
    assert_eq!((group.shown(0, "k"), group.shown(1, "k")), (Some("1"), Some("1")));
    let rows: Vec<_> = group.store.conflict_rows().open().map(|row| row.loser.value.clone()).collect();
    assert_eq!(rows, [Some(value("2"))]);
    assert_eq!((open(&group, 0).len(), open(&group, 1).len()), (1, 1));
    assert_eq!(group.client(1).lost_conflicts().count(), 0, "it is the server's again");
}

/// A closed row has no value. A server that was set back to before has it open, with the value.
#[test]
fn a_conflict_that_a_rollback_opened_again_has_its_value_everywhere() {
    let mut group = group_in_conflict();
    let backup = group.store.clone();
    resolve(&mut group, 1, Resolution::Dismissed).unwrap();
    group.settle();
    // Only the winner knows of the decision, which is not theirs to repeat.
    group.members[1].client = Client::new(secret(9), person(1), group.now_ms);
    group.restart(backup, 2);
    reconnect(&mut group);
    group.pass(60_000);
    let of_server = group.store.conflict_rows();
    for member in &group.members {
        assert_eq!(member.client.conflicts(), &of_server);
        assert_eq!(member.client.divergences(), 0);
    }
    assert_eq!(of_server.open().count(), 1);
}

/// Another file was put in the place of the server's. What a base holds that shares no history with it waits for its user; but the
/// conflict rows in it were told to the server, and stood there among strangers.
#[test]
fn conflicts_of_another_history_wait_for_their_user() {
    let mut group = group_in_conflict();
    lose(&mut group, "closed");
    let now_ms = group.local_ms(1);
    let id = open(&group, 1).into_iter().find(|open| open.key == key("closed")).unwrap();
    group.client(1).resolve(&id, Resolution::Dismissed, now_ms).unwrap();
    group.settle();
    (0..2).for_each(|index| group.members[index].sent.clear());
    let mut another = Store::default();
    another.start(Epoch(50));
    group.restart(another, 51);
    reconnect(&mut group);
    group.pass(60_000);
    assert_eq!(group.store.conflict_rows().iter().count(), 0);
    for index in 0..2 {
        let tells = |frame: &ClientFrame| {
            matches!(frame, ClientFrame::Push { .. } | ClientFrame::Resolve { .. } | ClientFrame::Recover { .. })
        };
        assert!(!group.members[index].sent.iter().any(tells), "nothing is told by itself");
        assert_eq!((open(&group, index), group.shown(index, "k")), (vec![], None));
        let offered: Vec<_> =
            group.client(index).outbox().iter().map(|(key, row)| (key.clone(), row.clone())).collect();
        assert!(offered.iter().all(|(_, row)| row.state == RowState::Orphaned));
        let values = offered.iter().map(|(key, row)| (key.as_str(), row.value.as_ref().unwrap().as_str()));
        assert_eq!(values.collect::<Vec<_>>(), [("closed", "1"), ("k", "1"), ("k", "2")], "the losing value too");
    }
}

#[test]
fn a_reader_decides_nothing() {
    let mut group = group_in_conflict();
    group.disconnect();
    resolve(&mut group, 1, Resolution::Dismissed).unwrap();
    group.role = Role::Reader;
    reconnect(&mut group);
    assert_eq!(resolves_sent(&mut group, 1), 0);
    assert_eq!(resolve(&mut group, 0, Resolution::Restored), Err(EditError::ReadOnly));
    assert_eq!(open(&group, 0).len(), 1);
    group.role = Role::Writer;
    group.disconnect();
    reconnect(&mut group);
    assert_closed(&group, Resolution::Dismissed);
}

#[test]
fn a_losing_value_over_the_limit_leaves_the_conflict_open() {
    let mut group = Group::new(2, Limits { value_bytes: 20, ..Limits::default() });
    group.disconnect();
    group.put(1, "k", "\"ten letters\"");
    group.now_ms += 1000;
    group.put(0, "k", "1");
    reconnect(&mut group);
    group.limits.value_bytes = 5;
    let store = group.store.clone();
    group.restart(store, 2);
    group.pass(60_000);
    assert!(matches!(resolve(&mut group, 1, Resolution::Restored), Err(EditError::Value(_))));
    assert_eq!(open(&group, 1).len(), 1);
    assert_eq!(group.client(1).resolutions().count(), 0);
}

/// A losing value of 600 kB was taken while 1 MiB was allowed. Then the server was set back and told to take 64 KiB: it closed each
/// connection over which the row came back, and the page connected and sent it again for ever.
#[test]
fn a_losing_value_that_fits_no_frame_any_more_stays_on_its_device() {
    let mut group = Group::new(2, Limits { value_bytes: 1 << 20, ..Limits::default() });
    let backup = group.store.clone();
    group.disconnect();
    group.put(1, "k", &format!("\"{}\"", "x".repeat(600_000)));
    group.now_ms += 1000;
    group.put(0, "k", "1");
    reconnect(&mut group);
    group.limits.value_bytes = 64 * 1024;
    group.restart(backup.clone(), 2);
    group.members.iter_mut().for_each(|member| member.sent_bytes = 0);
    reconnect(&mut group);
    assert!(group.members.iter().all(|member| member.sent_bytes < 10_000));
    assert_eq!((open(&group, 0).len(), open(&group, 1).len()), (1, 1), "it is shown where it is");
    assert_eq!((group.shown(0, "k"), group.shown(1, "k")), (Some("1"), Some("1")));
    assert_eq!(group.store.conflict_rows().iter().count(), 0);

    group.limits.value_bytes = 1 << 20;
    let same = group.store.clone();
    group.restart(same, 3);
    reconnect(&mut group);
    assert_eq!(group.store.conflict_rows().open().count(), 1);
}

/// What a device finds when it comes back: each changed key with what it showed before.
#[track_caller]
fn check_absence(group: &Group, index: usize, expected: &[(&str, Option<&str>)], more: u64) {
    let absence = group.members[index].client.absence();
    let changes = absence.map_or(&[][..], Absence::changes);
    let found: Vec<_> =
        changes.iter().map(|(key, before)| (key.as_str(), before.as_ref().map(Value::as_str))).collect();
    assert_eq!((found, absence.map_or(0, Absence::more)), (expected.to_vec(), more));
}

/// A page that was closed opens on the same device.
#[test]
fn who_was_away_is_told_what_others_changed() {
    let mut group = Group::new(2, Limits::default());
    let now_ms = group.now_ms;
    let mut device = Device::new(group.client(1), now_ms);
    for name in ["a", "b", "c", "d"] {
        group.put(0, name, "1");
    }
    group.settle();
    check_absence(&group, 1, &[], 0);
    device.keep(group.client(1));
    group.members[1].session = None;
    group.put(0, "a", "2");
    group.put(0, "new", "2");
    // Changed, and changed back.
    group.put(0, "b", "2");
    group.put(0, "b", "1");
    let (began, now_ms) = (group.client(0).begin(&key("c")), group.local_ms(0));
    group.client(0).remove(&key("c"), began, now_ms).unwrap();
    group.settle();

    device.reopen(&mut group, 1);
    group.settle();
    check_absence(&group, 1, &[("a", Some("1")), ("c", Some("1")), ("new", None)], 0);
    group.put(0, "d", "2");
    group.settle();
    check_absence(&group, 1, &[("a", Some("1")), ("c", Some("1")), ("new", None)], 0);
    group.client(1).forget_absence(now_ms);
    check_absence(&group, 1, &[], 0);
}

/// One's own edit stays over another's: what one sees has not changed.
#[test]
fn what_looks_as_before_is_no_change() {
    let mut group = Group::new(2, Limits::default());
    for name in ["mine", "theirs"] {
        group.put(0, name, "1");
    }
    group.settle();
    sleep(&mut group, 1);
    for name in ["mine", "theirs"] {
        group.put(0, name, "2");
    }
    group.now_ms += 1;
    group.put(1, "mine", "3");
    wake(&mut group, ABSENCE_MS_MIN);
    assert_eq!((group.shown(1, "mine"), group.shown(1, "theirs")), (Some("3"), Some("2")));
    check_absence(&group, 1, &[("theirs", Some("1"))], 0);
}

#[test]
fn a_line_that_is_down_for_a_moment_is_no_absence() {
    let check = |away_ms: u64, expected: &[(&str, Option<&str>)]| {
        let mut group = Group::new(2, Limits::default());
        group.put(0, "k", "1");
        group.settle();
        sleep(&mut group, 1);
        group.put(0, "k", "2");
        wake(&mut group, away_ms);
        assert_eq!(group.shown(1, "k"), Some("2"));
        check_absence(&group, 1, expected, 0);
    };
    check(ABSENCE_MS_MIN - 1, &[]);
    check(ABSENCE_MS_MIN, &[("k", Some("1"))]);
}

/// A computer that wakes now and then, with nobody there.
#[test]
fn a_second_absence_adds_to_the_first() {
    let mut group = Group::new(2, Limits::default());
    for name in ["a", "b"] {
        group.put(0, name, "1");
    }
    group.settle();
    for (name, json) in [("a", "2"), ("b", "2"), ("a", "3")] {
        sleep(&mut group, 1);
        group.put(0, name, json);
        wake(&mut group, ABSENCE_MS_MIN);
    }
    assert_eq!(group.shown(1, "a"), Some("3"));
    check_absence(&group, 1, &[("a", Some("1")), ("b", Some("1"))], 0);
}

/// A device that has nothing was not away, however much there is.
#[test]
fn a_first_visit_is_no_absence() {
    let mut group = Group::new(2, Limits::default());
    group.put(0, "k", "1");
    group.settle();
    group.members[1].client = Client::new(secret(9), person(9), group.now_ms);
    group.settle();
    assert_eq!(group.shown(1, "k"), Some("1"));
    check_absence(&group, 1, &[], 0);
}

#[test]
fn many_changes_are_counted_and_few_of_them_kept() {
    let check = |keys: usize, bytes: usize, kept: usize| {
        let mut group = Group::new(2, Limits::default());
        let before = format!("\"{}\"", "x".repeat(bytes - 2));
        let names: Vec<String> = (0..keys).map(|n| format!("k{n:04}")).collect();
        names.iter().for_each(|name| group.put(0, name, &before));
        group.settle();
        sleep(&mut group, 1);
        names.iter().for_each(|name| group.put(0, name, "2"));
        wake(&mut group, ABSENCE_MS_MIN);
        let absence = group.client(1).absence().unwrap();
        assert_eq!((absence.changes().len(), absence.more()), (kept, (keys - kept) as u64));
    };
    check(250, 10, 200);
    check(40, 64 * 1024, 16);
}
