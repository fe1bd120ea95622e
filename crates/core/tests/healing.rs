//! What clients make of a server that has lost what it had confirmed.

mod support;

use std::iter;

use keybook_core::{
    AuthorNumbers, Contributor, DictionaryId, Entry, Epoch, PastEpoch, Seq, Stamp,
    client::{Action, Client, EditError, RowState, Stored},
    limits::Limits,
    wire::{AckCode, Change, ClientFrame, Delta, Exception, Horizon, Mode, Role, ServerFrame},
};
use support::{author, device::Device, key, pair::*, person, put_stamp, secret, value};

#[test]
fn a_rolled_back_server_is_healed_by_its_clients() {
    let mut group = group(3);
    group.put(0, "a", "1");
    group.settle();
    let backup = group.store.clone();
    group.put(1, "a", "2");
    group.put(1, "b", "3");
    group.settle();
    group.restart(backup, 2);
    group.pass(60_000);
    assert_eq!(group.store.contents().counters.live, 2);
    for index in 0..3 {
        assert_eq!((group.shown(index, "a"), group.shown(index, "b")), (Some("2"), Some("3")));
        assert_eq!(group.client(index).conflicts().iter().count(), 0);
    }
    assert_eq!(group.store.contents().entries[&key("b")].entry.author, author(2).id, "the author stays");
    assert_eq!(group.members.iter().map(|member| member.fetches).sum::<usize>(), 0, "without a full resync");
    assert_agreement(&group);
}

/// Whoever has it brings it back, and everybody sees who that was, also after a reload and in a snapshot.
#[test]
fn who_has_brought_anothers_entry_back_is_shown() {
    let mut group = group(2);
    group.put(0, "a", "1");
    group.settle();
    let backup = group.store.clone();
    group.put(0, "mine", "2");
    group.put(1, "theirs", "3");
    group.settle();
    group.members[1].client = Client::new(secret(9), person(9), group.now_ms);
    let mut device = Stored::default();
    let now_ms = group.now_ms;
    group.client(1).handle_stored(&device, now_ms);
    group.restart(backup, 2);
    group.pass(60_000);
    let by = |client: &Client| ["a", "mine", "theirs"].map(|name| client.brought_back_by(&key(name)));
    let expected = [None, None, Some(author(1).id)];
    assert_eq!(by(group.client(0)), expected);
    assert_eq!(by(group.client(1)), expected);
    assert_eq!(group.client(0).shown(&key("theirs")).unwrap().author, author(2).id);

    let base = group.client(1).take_local_change().base.unwrap();
    (device.header, device.snapshot, device.deltas) = (base.header, base.snapshot.unwrap(), base.deltas);
    let mut after = Client::opening(secret(10), person(9), group.now_ms);
    after.handle_stored(&device, group.now_ms);
    assert_eq!(by(&after), expected);
    group.members[1].client = Client::new(secret(11), person(9), group.now_ms);
    let fetches = group.members[1].fetches;
    group.settle();
    assert_eq!(by(group.client(1)), expected);
    assert_eq!(group.members[1].fetches, fetches + 1, "by a snapshot");
    assert_agreement(&group);

    group.put(1, "theirs", "4");
    assert_eq!(by(group.client(1)), [None; 3], "an edit is its writer's own");
    group.settle();
    assert_eq!(by(group.client(0)), [None; 3]);
    assert_agreement(&group);
}

#[test]
fn a_reader_of_a_rolled_back_server_takes_a_snapshot() {
    let mut group = group(2);
    group.put(0, "a", "1");
    group.settle();
    let backup = group.store.clone();
    group.put(0, "a", "2");
    group.settle();
    group.role = Role::Reader;
    group.restart(backup, 2);
    group.pass(60_000);
    assert_eq!((group.shown(0, "a"), group.shown(1, "a")), (Some("1"), Some("1")));
    assert!(group.members.iter().all(|member| member.fetches == 1));
    let now_ms = group.local_ms(0);
    let refused = group.client(0).put(&key("a"), value("3"), Stamp::ZERO, now_ms);
    assert_eq!(refused, Err(EditError::ReadOnly));
    assert_agreement(&group);
}

#[test]
fn nothing_is_pushed_to_another_dictionary_of_the_same_name() {
    let mut group = group(1);
    group.put(0, "a", "1");
    group.settle();
    group.disconnect();
    group.put(0, "b", "2");
    group.id = DictionaryId(78);
    let mut empty = support::store::Store::default();
    empty.start(Epoch(5));
    group.restart(empty, 6);
    group.pass(60_000);
    assert_eq!(group.store.contents().counters.live, 0);
    assert_eq!((group.shown(0, "a"), group.shown(0, "b")), (None, None));
    let states: Vec<_> = group.client(0).outbox().iter().map(|(key, row)| (key.to_string(), row.state)).collect();
    assert_eq!(states, [("b".to_owned(), RowState::Orphaned)], "kept for its user");
}

#[test]
fn a_held_row_stays_beside_later_writes_and_recovered_ones() {
    let mut group = Group::new(1, Limits { value_bytes: 100, ..Limits::default() });
    group.put(0, "a", "1");
    group.settle();
    let backup = group.store.clone();
    group.put(0, "k", "1");
    group.settle();
    let long = format!("\"{}\"", "x".repeat(50));
    group.disconnect();
    group.put(0, "k", &long);
    group.limits.value_bytes = 20;
    let same = group.store.clone();
    group.restart(same, 2);
    group.pass(60_000);
    assert_eq!((group.client(0).outbox().inactive(), group.shown(0, "k")), (1, Some("1")));
    group.restart(backup, 3);
    group.pass(60_000);
    assert_eq!(group.shown(0, "k"), Some("1"), "what was acknowledged comes back");
    assert_eq!(group.store.contents().counters.live, 2);
    group.put(0, "k", "2");
    group.settle();
    assert_eq!(group.client(0).outbox().inactive(), 1, "the held row waits for its user");
    assert_agreement(&group);
}

/// Editing what was taken back at a fork and is not confirmed again yet is no conflict with it.
#[test]
fn an_edit_of_a_recovered_entry_has_seen_it() {
    let mut group = group(2);
    group.put(0, "a", "1");
    group.settle();
    let backup = group.store.clone();
    group.put(1, "k", "1");
    group.settle();
    group.restart(backup, 2);
    group.members[1].client = Client::new(secret(9), person(9), group.now_ms);
    group.role = Role::Writer;
    // Welcome has come, and what it pushes then is not answered yet.
    let lineage = group.store.summary().lineage;
    let now_ms = group.now_ms;
    group.client(0).handle_online(now_ms);
    while let Some(action) = group.client(0).poll_action() {
        if action == Action::Connect {
            group.client(0).handle_connected(now_ms);
        }
    }
    let welcome = ServerFrame::Welcome {
        version: 1,
        role: Role::Writer,
        dictionary: group.id,
        epoch: lineage.current,
        lineage: lineage.past,
        head: group.store.contents().counters.head,
        horizon: Horizon::default(),
        server_ms: now_ms,
        mode: Mode::Tail,
        limits: group.limits,
    };
    group.client(0).handle_message(&welcome.encode(), now_ms);
    assert_eq!(group.shown(0, "k"), Some("1"));
    group.put(0, "k", "2");
    group.disconnect();
    group.connected = true;
    group.pass(60_000);
    assert_eq!(group.shown(1, "k"), Some("2"));
    assert_eq!(group.client(0).conflicts().iter().count(), 0);
    assert_agreement(&group);
}

/// Two writes of a key come back after two rollbacks. The server refuses the one that the base had, and has an older entry in its
/// place. The other one was taken for what would bring that entry: the base lacked it, and nothing was shown in its place.
#[test]
fn what_stands_in_the_place_of_a_refused_write_is_fetched_whatever_else_comes_back() {
    let now_ms = 1_800_000_000_000;
    let mut client = Client::new(secret(1), person(1), now_ms);
    let connect = |client: &mut Client, epoch: u64, past: &[(u64, u64)], head: u64| {
        client.handle_disconnected(now_ms, 0);
        client.handle_online(now_ms);
        while client.poll_action().is_some_and(|action| action != Action::Connect) {}
        client.handle_connected(now_ms);
        let past = past.iter().map(|&(epoch, end)| PastEpoch { epoch: Epoch(epoch), end: Seq(end) });
        let welcome = ServerFrame::Welcome {
            version: 1,
            role: Role::Writer,
            dictionary: DictionaryId(7),
            epoch: Epoch(epoch),
            lineage: past.collect(),
            head: Seq(head),
            horizon: Horizon::default(),
            server_ms: now_ms,
            mode: Mode::Tail,
            limits: Limits::default(),
        };
        client.handle_message(&welcome.encode(), now_ms);
    };
    let hear = |client: &mut Client, seq: u64, json: &str| {
        let entry = Entry {
            value: Some(value(json)),
            stamp: put_stamp(1_000 * seq + json.len() as u64, 2),
            seq: Seq(seq),
            author: author(2).id,
        };
        let mut numbers = AuthorNumbers::default();
        numbers.insert(author(2).id, 1);
        let contributor = Contributor { number: 1, author: author(2), made: Seq(1), seq: Seq(1) };
        let changes = [Change::Author(Seq(1), contributor), Change::Entry(key("k"), entry)];
        for delta in Delta::pack(&changes[usize::from(seq > 1)..], Seq(seq - 1), Seq(seq), false, &numbers, 10_000) {
            client.handle_message(&ServerFrame::Delta(delta).encode(), now_ms);
        }
    };
    connect(&mut client, 1, &[], 1);
    hear(&mut client, 1, "1");
    connect(&mut client, 2, &[(1, 0)], 2);
    hear(&mut client, 1, "12");
    hear(&mut client, 2, "123");
    connect(&mut client, 3, &[(1, 0), (2, 1)], 1);
    let pushed = iter::from_fn(|| client.poll_transmit()).last().unwrap();
    let ClientFrame::Push { batch, ops } = ClientFrame::decode(&pushed).unwrap() else { panic!("{pushed:?}") };
    let values: Vec<_> = ops.iter().map(|op| op.value.as_deref().unwrap()).collect();
    assert_eq!(values, ["1", "123"], "both come back");
    let exception = |index, code| Exception { index, code, data: 0 };
    let exceptions = vec![exception(0, AckCode::Superseded), exception(1, AckCode::FullBytes)];
    client.handle_message(&ServerFrame::Ack { batch, seq: Seq(2), exceptions }.encode(), now_ms);
    assert_eq!(client.poll_action(), Some(Action::FetchSnapshot));
    assert!(client.shown(&key("k")).is_some());
}

/// A write took the place of a recovered one and was refused. What had been acknowledged before was then gone, although its
/// device had it.
#[test]
fn a_refused_write_over_a_recovered_one_shows_what_was_acknowledged() {
    let mut group = Group::new(1, Limits { value_bytes: 100, ..Limits::default() });
    group.put(0, "k", "1");
    group.settle();
    let backup = group.store.clone();
    group.put(0, "k", "2");
    group.settle();
    group.disconnect();
    group.put(0, "k", &format!("\"{}\"", "x".repeat(50)));
    group.limits.value_bytes = 20;
    group.restart(backup, 2);
    group.pass(60_000);
    assert_eq!(group.shown(0, "k"), Some("2"));
    assert_eq!(group.client(0).outbox().inactive(), 1);
    assert_eq!(group.client(0).divergences(), 0);
    assert_agreement(&group);
}

/// A user edits what a rollback has taken, while the server gets another's write that is older than what was taken. That had
/// been acknowledged, but never came back, since the edit took its place: the other's write was overwritten without a conflict.
#[test]
fn an_edit_of_what_a_rollback_took_hides_nobodys_write() {
    let mut group = group(2);
    group.put(0, "a", "1");
    group.settle();
    let backup = group.store.clone();
    // Everybody else is somewhere without a network.
    let alone = |group: &mut Group, index: usize, replica: u64| {
        let client = Client::new(secret(replica), person(replica), group.now_ms);
        std::mem::replace(&mut group.members[index].client, client)
    };
    group.disconnect();
    group.put(1, "k", "1");
    let other = alone(&mut group, 1, 8);
    group.connected = true;
    group.pass(60_000);
    group.put(0, "k", "2");
    group.settle();
    group.disconnect();
    group.put(0, "k", "3");
    let editor = alone(&mut group, 0, 9);
    group.members[1].client = other;
    group.restart(backup, 2);
    group.pass(60_000);
    assert_eq!(group.shown(0, "k"), Some("1"));
    group.disconnect();
    group.members[0].client = editor;
    group.connected = true;
    group.pass(60_000);
    assert_eq!(group.shown(1, "k"), Some("3"));
    let contents = group.store.contents();
    let losers: Vec<_> = contents.conflicts.values().map(|row| row.conflict.loser.value.clone()).collect();
    assert_eq!(losers, [Some(value("1"))]);
    assert_agreement(&group);
}

/// A server whose clock was a day ahead confirmed a write, and was set back with the right clock. The write came back a day
/// later, and undid what its user had written since.
#[test]
fn a_recovered_write_of_the_future_undoes_nothing() {
    let mut group = group(1);
    group.put(0, "a", "1");
    group.settle();
    let backup = group.store.clone();
    let day_ms = 24 * 3_600_000;
    group.now_ms += day_ms;
    group.put(0, "k", "1");
    group.settle();
    group.now_ms -= day_ms;
    group.restart(backup, 2);
    group.pass(60_000);
    assert_eq!(group.shown(0, "k"), Some("1"));
    assert_eq!(group.client(0).outbox().active(), 0, "it is with the server again");
    group.put(0, "k", "2");
    group.pass(60_000);
    assert_eq!(group.client(0).outbox().active(), 0);
    group.pass(2 * day_ms);
    assert_eq!(group.shown(0, "k"), Some("2"));
    assert_agreement(&group);
}

/// While something waits to come back for long, the device keeps no base, since the server may lack what is in it. What was acknowledged
/// meanwhile left its outbox too, so a crash showed what had been before it.
#[test]
fn what_is_acknowledged_while_something_comes_back_is_kept() {
    let mut group = group(1);
    let now_ms = group.now_ms;
    let mut device = Device::new(group.client(0), now_ms);
    group.put(0, "a", "1");
    group.settle();
    device.keep(group.client(0));
    let backup = group.store.clone();
    // Confirmed two centuries ahead, it waits longer than anybody lives.
    let centuries_ms = 200 * 365 * 24 * 3_600_000;
    group.now_ms += centuries_ms;
    group.put(0, "k", "1");
    group.settle();
    device.keep(group.client(0));
    group.now_ms -= centuries_ms;
    group.restart(backup, 2);
    group.pass(60_000);
    device.keep(group.client(0));
    group.put(0, "a", "2");
    group.pass(60_000);
    let there =
        |group: &Group, name: &str| group.store.contents().entries.get(&key(name)).map(|row| row.entry.value.clone());
    assert_eq!(there(&group, "a"), Some(Some(value("2"))), "the server has the edit");
    assert_eq!(there(&group, "k"), None, "and not yet what comes back");
    device.keep(group.client(0));
    group.disconnect();
    device.reopen(&mut group, 0);
    assert_eq!((group.shown(0, "a"), group.shown(0, "k")), (Some("2"), Some("1")));
    group.connected = true;
    group.pass(60_000);
    assert_eq!((group.shown(0, "a"), group.shown(0, "k")), (Some("2"), Some("1")));
}
