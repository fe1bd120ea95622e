//! The stories of clients on one device, such as the tabs of a browser: what each shows of what the others wrote.

mod support;

use keybook_core::{
    Conflict, ConflictId, DictionaryId, Resolution,
    client::{Client, RowState},
    limits::Limits,
};
use support::{key, pair::Group, person, secret, store::Store};

/// Clients without a connection, of which all know `k`.
fn offline(clients: u64) -> Group {
    let mut group = Group::new(clients, Limits::default());
    group.put(0, "k", "1");
    group.settle();
    group.disconnect();
    group
}

/// What a client has written since the last call.
fn tell(group: &mut Group, from: usize) -> Vec<u8> {
    let outbox = group.client(from).take_outbox_change();
    group.client(from).tell(outbox, Vec::new())
}

/// Tells all others, and lets them ask and answer until nobody has a question.
fn broadcast(group: &mut Group, from: usize, message: &[u8]) {
    let now_ms = group.now_ms;
    for index in (0..group.members.len()).filter(|&index| index != from) {
        group.client(index).handle_told(message, now_ms);
    }
    for index in 0..group.members.len() {
        while let Some(message) = group.client(index).poll_told() {
            broadcast(group, index, &message);
        }
    }
}

fn tell_all(group: &mut Group, from: usize) {
    let message = tell(group, from);
    broadcast(group, from, &message);
}

fn assert_shown(group: &Group, name: &str, expected: Option<&str>) {
    for index in 0..group.members.len() {
        assert_eq!(group.shown(index, name), expected, "client {index} of {name}");
    }
}

#[test]
fn tabs_agree_without_a_server() {
    let mut group = offline(2);
    group.put(0, "k", "2");
    group.put(0, "a", "1");
    tell_all(&mut group, 0);
    group.put(1, "k", "3");
    group.put(1, "b", "1");
    tell_all(&mut group, 1);
    let now_ms = group.now_ms;
    let began = group.client(1).begin(&key("a"));
    group.client(1).remove(&key("a"), began, now_ms).unwrap();
    tell_all(&mut group, 1);
    assert_shown(&group, "k", Some("3"));
    assert_shown(&group, "a", None);
    for member in &group.members {
        assert_eq!(member.client.keys(), [key("b"), key("k")]);
        assert_eq!(member.client.shown(&key("b")).unwrap().pending, Some(RowState::Queued));
    }
    let edits = [0, 1]
        .map(|index| (group.members[index].client.outbox().active(), group.members[index].client.sibling_edits()));
    assert_eq!(edits, [(2, 3), (3, 2)]);

    group.connected = true;
    group.pass(60_000);
    for index in [0, 1, 0] {
        tell_all(&mut group, index);
        group.settle();
    }
    assert_shown(&group, "k", Some("3"));
    assert!(group.members.iter().all(|member| member.client.sibling_edits() == 0));
}

/// A person edits a key in one tab, and again in others, which have replaced what the first wrote. The last one connects first, and
/// what it replaces was taken for a conflict with it.
#[test]
fn a_write_has_seen_the_siblings_that_it_replaces_and_lets_them_go_first() {
    let mut group = offline(3);
    group.put(2, "k", "2");
    tell_all(&mut group, 2);
    group.put(1, "k", "3");
    tell_all(&mut group, 1);
    group.put(0, "k", "4");
    group.connected = true;
    group.pass(60_000);
    tell_all(&mut group, 2);
    group.settle();
    tell_all(&mut group, 1);
    group.settle();
    assert_shown(&group, "k", Some("4"));
    assert_eq!(group.client(0).outbox().active(), 0, "it waits for nobody");
    // Nor for ever, if nothing is told.
    group.disconnect();
    group.put(1, "a", "1");
    tell_all(&mut group, 1);
    group.put(0, "a", "2");
    group.members[1].client = Client::new(secret(9), person(9), group.now_ms);
    group.connected = true;
    group.pass(60_000);
    group.pass(5000);
    assert_shown(&group, "a", Some("2"));
    assert_eq!(group.client(0).conflicts().iter().count(), 0);
}

/// The first tab is confirmed while the second is offline yet: what that shows does not go back.
#[test]
fn a_row_leaves_when_the_base_has_come_as_far() {
    let mut group = Group::new(2, Limits::default());
    group.put(0, "k", "1");
    tell_all(&mut group, 0);
    let mut behind = group.members.remove(1);
    group.settle();
    let left = tell(&mut group, 0);
    behind.client.handle_told(&left, group.now_ms);
    assert_eq!(behind.client.get(&key("k")), Some(&support::value("1")));
    assert_eq!(behind.client.sibling_edits(), 0, "the server has it");
    group.members.push(behind);
    group.disconnect();
    group.connected = true;
    group.pass(60_000);
    assert_shown(&group, "k", Some("1"));
    assert_eq!(group.client(1).sibling_rows(&key("k")).count(), 0);
}

#[test]
fn a_message_that_gets_lost_is_asked_for() {
    let mut group = offline(2);
    group.put(0, "a", "1");
    let _lost = tell(&mut group, 0);
    group.put(0, "b", "1");
    tell_all(&mut group, 0);
    assert_shown(&group, "a", Some("1"));
    assert_shown(&group, "b", Some("1"));
    // The last one too, once somebody asks.
    group.put(0, "c", "1");
    let _lost = tell(&mut group, 0);
    group.client(1).ask_siblings();
    let ask = group.client(1).poll_told().unwrap();
    broadcast(&mut group, 1, &ask);
    assert_shown(&group, "c", Some("1"));
}

#[test]
fn who_comes_later_is_told_everything() {
    let mut group = offline(1);
    group.put(0, "a", "1");
    tell(&mut group, 0);
    let mut late = Group::new(1, Limits::default()).members.remove(0);
    late.client = Client::new(secret(9), person(9), group.now_ms);
    late.client.ask_siblings();
    let ask = late.client.poll_told().unwrap();
    group.members.push(late);
    broadcast(&mut group, 1, &ask);
    assert_eq!(group.shown(1, "a"), Some("1"));
}

#[test]
fn what_waits_for_its_user_is_shown_to_no_sibling() {
    let mut group = Group::new(2, Limits { entries: 1, ..Limits::default() });
    group.put(0, "a", "1");
    group.settle();
    group.disconnect();
    let mut fresh = Client::new(secret(7), person(7), group.now_ms);
    fresh.put(&key("b"), support::value("1"), keybook_core::Stamp::ZERO, group.now_ms).unwrap();
    group.members[1].client = fresh;
    tell_all(&mut group, 1);
    assert_eq!(group.shown(0, "b"), Some("1"));
    group.connected = true;
    group.settle();
    group.pass(60_000);
    assert_eq!(group.client(1).outbox().inactive(), 1, "the dictionary is full");
    tell_all(&mut group, 1);
    assert_shown(&group, "b", None);
}

#[test]
fn a_tab_that_has_ended_is_shown_by_whoever_takes_over() {
    let mut group = offline(3);
    let now_ms = group.now_ms;
    group.put(0, "a", "1");
    let outbox = group.client(0).take_outbox_change();
    let message = group.client(0).tell(outbox.clone(), Vec::new());
    broadcast(&mut group, 0, &message);
    let ended = group.members.remove(0).client.replica();
    let rows: Vec<_> = outbox.into_iter().filter_map(|(key, rows)| Some((key, rows?))).collect();
    group.client(0).adopt_rows(&rows, now_ms);
    group.client(0).forget_sibling(ended, now_ms);
    let outbox = group.client(0).take_outbox_change();
    let taken_over = group.client(0).tell(outbox, vec![ended]);
    broadcast(&mut group, 0, &taken_over);
    assert_shown(&group, "a", Some("1"));
    let edits = [0, 1]
        .map(|index| (group.members[index].client.outbox().active(), group.members[index].client.sibling_edits()));
    assert_eq!(edits, [(1, 0), (0, 1)], "each edit counts once");
    // What it had told comes late.
    broadcast(&mut group, 0, &message);
    assert_eq!(group.client(1).sibling_edits(), 1);
}

/// A tab whose clock is an hour ahead removes a key and ends; another takes the remove over and writes the key again. The server
/// refuses both stamps. The remove was let go for the write that had replaced it, and when the server then refused that one's
/// value, it had neither.
#[test]
fn a_refused_write_stays_until_the_one_that_replaced_it_is_answered() {
    let check = |value_bytes: u32, is_held: bool| {
        let mut group = offline(2);
        group.members[1].skew_ms = 3_600_000;
        let ahead_ms = group.local_ms(1);
        let began = group.client(1).begin(&key("k"));
        group.client(1).remove(&key("k"), began, ahead_ms).unwrap();
        let outbox = group.client(1).take_outbox_change();
        let ended = group.members.remove(1).client.replica();
        let rows: Vec<_> = outbox.into_iter().filter_map(|(key, rows)| Some((key, rows?))).collect();
        let now_ms = group.now_ms;
        group.client(0).adopt_rows(&rows, now_ms);
        group.client(0).forget_sibling(ended, now_ms);
        group.put(0, "k", "\"a longer value\"");
        group.limits.value_bytes = value_bytes;
        group.connected = true;
        group.pass(60_000);
        let expected = (!is_held).then_some("\"a longer value\"");
        assert_shown(&group, "k", expected);
        let entry = &group.store.contents().entries[&key("k")].entry;
        assert_eq!(entry.value.as_ref().map(keybook_core::Value::as_str), expected);
        let outbox = group.client(0).outbox();
        assert_eq!((outbox.active(), outbox.inactive()), (0, usize::from(is_held)));
        assert_eq!(group.client(0).conflicts().iter().count(), 0);
    };
    check(100, false);
    check(10, true);
}

/// One tab has heard that the dictionary was deleted and made again, the other not yet.
#[test]
fn tabs_of_different_dictionaries_show_each_other_nothing() {
    let mut group = offline(2);
    group.put(0, "a", "1");
    tell_all(&mut group, 0);
    assert_eq!(group.shown(1, "a"), Some("1"));
    let behind = group.members.remove(0);
    group.id = DictionaryId(78);
    let mut empty = Store::default();
    empty.start(keybook_core::Epoch(5));
    group.restart(empty, 6);
    group.pass(60_000);
    assert_eq!(group.shown(0, "a"), None);
    group.members.push(behind);
    group.connected = false;
    group.put(1, "a", "2");
    tell_all(&mut group, 1);
    assert_eq!(group.shown(0, "a"), None);
}

/// What a tab decided, its siblings showed as open: a dismissal of somebody else's value until the tab had ended.
#[test]
fn what_a_tab_decides_about_a_conflict_is_decided_in_all() {
    // Two tabs of one device, and another device, which loses the keys `k` and `l`.
    let mut group = Group::new(3, Limits::default());
    group.disconnect();
    for name in ["k", "l"] {
        group.put(2, name, "2");
        group.now_ms += 1000;
        group.put(0, name, "1");
    }
    group.connected = true;
    group.settle();
    group.pass(60_000);
    let say = |group: &mut Group, from: usize, message: &[u8]| {
        let now_ms = group.now_ms;
        group.client(1 - from).handle_told(message, now_ms);
        group.client(1 - from).poll_told()
    };
    let tell_sibling = |group: &mut Group| {
        let message = tell(group, 0);
        assert_eq!(say(group, 0, &message), None);
    };
    tell_sibling(&mut group);
    let open = |group: &Group, index: usize| -> Vec<ConflictId> {
        group.members[index].client.open_conflicts().into_iter().map(Conflict::id).collect()
    };
    let shown = |group: &Group, name: &str| [0, 1].map(|index| group.members[index].client.is_in_conflict(&key(name)));
    let ids = open(&group, 0);
    assert_eq!((ids.len(), open(&group, 1).len()), (2, 2));
    let now_ms = group.now_ms;

    // It is nobody else's business, and lasts.
    group.client(0).resolve(&ids[0], Resolution::Dismissed, now_ms).unwrap();
    tell_sibling(&mut group);
    assert_eq!((open(&group, 0), open(&group, 1)), (vec![ids[1].clone()], vec![ids[1].clone()]));
    assert_eq!(shown(&group, ids[0].key.as_str()), [false; 2]);
    assert_eq!(open(&group, 2).len(), 2);

    // Offline, for everybody. The first one hears of the end of it before the second has it from the server.
    group.disconnect();
    group.client(0).resolve(&ids[1], Resolution::Restored, now_ms).unwrap();
    tell_sibling(&mut group);
    assert_eq!((open(&group, 0), open(&group, 1)), (vec![], vec![]));
    group.connected = true;
    let behind = group.members.remove(1);
    group.pass(60_000);
    let left = tell(&mut group, 0);
    group.members.insert(1, behind);
    say(&mut group, 0, &left);
    assert_eq!(open(&group, 1), [], "what it shows does not go back");
    group.pass(60_000);
    assert_eq!((open(&group, 0), open(&group, 1)), (vec![], vec![]));
    assert_eq!(group.store.conflict_rows().open().count(), 1, "for everybody else the first is open");

    // Who comes later is told, and who takes over goes on.
    let late = Client::new(secret(9), person(9), now_ms);
    group.members[1].client = late;
    group.members[1].session = None;
    group.settle();
    group.pass(60_000);
    assert_eq!(open(&group, 1).len(), 1);
    group.client(1).ask_siblings();
    let ask = group.client(1).poll_told().unwrap();
    let answer = say(&mut group, 1, &ask).unwrap();
    say(&mut group, 0, &answer);
    assert_eq!(open(&group, 1), []);
    let ended = group.members[0].client.replica();
    group.client(1).forget_sibling(ended, now_ms);
    assert_eq!(open(&group, 1).len(), 1, "unless nobody does");
}
