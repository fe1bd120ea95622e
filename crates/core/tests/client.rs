//! The client's stories: what it shows, what it sends, and how it finds back.

mod support;

use keybook_core::{
    Entry, Seq, Stamp, Value,
    client::{Action, Client, EditError, Event, Phase, RowState, Stored},
    limits::{Limits, PUSHES_IN_FLIGHT_MAX},
    wire::{AckCode, ClientFrame, Delta, Exception, Op, Role, ServerFrame},
};
use support::{author, key, pair::*, person, put_stamp, secret, value};

#[test]
fn an_edit_shows_at_once_and_everywhere_after_the_commit() {
    let mut group = group(2);
    group.put(0, "k", "1");
    assert_eq!((group.shown(0, "k"), group.shown(1, "k")), (Some("1"), None));
    let pending = group.client(0).shown(&key("k")).unwrap().pending;
    assert_eq!(pending, Some(RowState::Sent));
    group.settle();
    assert_eq!(group.shown(1, "k"), Some("1"));
    let shown = group.client(0).shown(&key("k")).unwrap();
    assert_eq!((shown.pending, shown.author), (None, author(1).id));
    assert_eq!(group.client(1).authors().get(author(1).id).map(|row| &row.author), Some(&author(1)));
    assert_agreement(&group);
}

#[test]
fn edits_made_offline_merge_on_reconnect() {
    let mut group = group(2);
    group.put(0, "a", "0");
    group.settle();
    group.disconnect();
    group.put(0, "a", "1");
    group.put(0, "b", "1");
    group.put(1, "c", "2");
    assert_eq!(group.client(0).outbox().active(), 2);
    group.connected = true;
    group.pass(60_000);
    for index in 0..2 {
        assert_eq!(["a", "b", "c"].map(|name| group.shown(index, name)), [Some("1"), Some("1"), Some("2")]);
    }
    assert_agreement(&group);
}

/// While one types, another changes the same key: what was typed wins, and the other's value is not lost.
#[test]
fn what_was_shown_when_editing_began_decides_the_conflict() {
    let mut group = group(2);
    group.put(0, "k", "1");
    group.settle();
    let began = group.client(0).begin(&key("k"));
    group.put(1, "k", "2");
    group.settle();
    let now_ms = group.local_ms(0);
    group.client(0).put(&key("k"), value("3"), began, now_ms).unwrap();
    group.settle();
    assert_eq!((group.shown(0, "k"), group.shown(1, "k")), (Some("3"), Some("3")));
    for member in &group.members {
        let losers: Vec<_> = member.client.conflicts().open().map(|conflict| conflict.loser.value.clone()).collect();
        assert_eq!(losers, [Some(value("2"))]);
        assert!(member.events.contains(&Event::Conflicts));
    }
}

#[test]
fn nobody_conflicts_with_oneself() {
    let mut group = group(1);
    for n in 0..20 {
        group.put(0, "k", &n.to_string());
    }
    group.settle();
    group.put(0, "k", "20");
    group.settle();
    group.disconnect();
    group.put(0, "k", "21");
    group.put(0, "k", "22");
    group.connected = true;
    group.pass(60_000);
    assert_eq!(group.shown(0, "k"), Some("22"));
    assert_eq!(group.client(0).conflicts().iter().count(), 0);
}

/// Each edit of a key named all that its page had sent of that key before: a frame of many stamps, which the server refuses now.
#[test]
fn an_edit_names_the_newest_of_ones_own_that_it_replaces() {
    let mut group = group(1);
    for n in 0..70 {
        group.put(0, "k", &n.to_string());
    }
    let stamp = group.client(0).shown(&key("k")).unwrap().stamp;
    group.put(0, "k", "70");
    group.settle();
    let sent = group.members[0].sent.iter().filter_map(ops).flatten();
    let named: Vec<_> = sent.map(|op| op.seen.clone()).collect();
    assert_eq!(named.len(), PUSHES_IN_FLIGHT_MAX + 1);
    assert_eq!(named.iter().map(Vec::len).max(), Some(2), "{named:?}");
    assert!(named.iter().all(|seen| seen[0] == Stamp::ZERO && !seen.contains(&stamp)), "that one never left");
    assert!(named[PUSHES_IN_FLIGHT_MAX][1] >= *named[PUSHES_IN_FLIGHT_MAX - 1].last().unwrap());
    assert_eq!(group.shown(0, "k"), Some("70"));
    assert_eq!(group.client(0).conflicts().iter().count(), 0);
    assert_agreement(&group);
}

#[test]
fn what_the_server_refuses_for_good_is_held_and_not_shown() {
    let limits = Limits { entries: 1, ..Limits::default() };
    let mut group = Group::new(2, limits);
    // Both are within the limit as far as they know.
    group.put(0, "a", "1");
    group.put(1, "b", "2");
    group.settle();
    assert_eq!((group.shown(1, "b"), group.members[1].client.outbox().inactive()), (None, 1));
    let (held, row) = group.client(1).outbox().iter().next().map(|(key, row)| (key.clone(), row.clone())).unwrap();
    assert_eq!(row.state, RowState::Held { code: AckCode::Full, data: 1 });
    assert_eq!(row.value, Some(value("2")));
    let now_ms = group.local_ms(1);
    assert!(group.client(1).discard(&held, row.stamp, now_ms));
    assert!(!group.client(1).discard(&held, row.stamp, now_ms));
    let refused = group.client(1).put(&key("c"), value("3"), Stamp::ZERO, now_ms);
    assert_eq!(refused, Err(EditError::Full(1)));
    let large = Value::from_text(&"x".repeat(65_536));
    let refused = group.client(1).put(&key("a"), large, Stamp::ZERO, now_ms).unwrap_err();
    assert_eq!(refused.to_string(), "value is 65538 bytes, limit is 65536");
    assert_agreement(&group);
}

#[test]
fn pushes_are_split_by_count_and_bytes_and_bounded_in_flight() {
    let mut group = group(1);
    group.disconnect();
    for n in 0..1300 {
        group.put(0, &n.to_string(), "1");
    }
    let large = format!("\"{}\"", "x".repeat(60_000));
    for n in 0..20 {
        group.put(0, &format!("large {n}"), &large);
    }
    group.members[0].sent.clear();
    group.connected = true;
    group.pass(60_000);
    let pushes: Vec<usize> = group.members[0].sent.iter().filter_map(ops).map(<[Op]>::len).collect();
    assert_eq!(pushes.iter().sum::<usize>(), 1320);
    assert_eq!(&pushes[..2], [512, 512]);
    assert!(pushes[3..].iter().all(|&ops| ops <= 3), "three values of 60 000 bytes at most: {pushes:?}");
    assert_agreement(&group);
}

#[test]
fn without_acks_pushes_stop() {
    let mut group = group(1);
    for n in 0..20 {
        group.put(0, &n.to_string(), "1");
    }
    let sent = std::iter::from_fn(|| group.client(0).poll_transmit()).count();
    assert_eq!(sent, PUSHES_IN_FLIGHT_MAX);
}

#[test]
fn a_missing_delta_is_asked_for() {
    let mut group = group(2);
    group.put(0, "a", "1");
    group.settle();
    let gap = Delta { to: Seq(8), advance: 1, ..Delta::default() };
    let now_ms = group.local_ms(1);
    group.members[1].sent.clear();
    for _ in 0..2 {
        group.client(1).handle_message(&ServerFrame::Delta(gap.clone()).encode(), now_ms);
    }
    group.settle();
    let resumes = group.members[1].sent.iter().filter(|frame| matches!(frame, ClientFrame::Resume { .. })).count();
    assert_eq!(resumes, 1, "one Resume for any number of Deltas that do not fit");
    group.put(0, "b", "2");
    group.settle();
    assert_eq!(group.shown(1, "b"), Some("2"));
    assert_agreement(&group);
}

#[test]
fn what_cannot_be_read_ends_the_connection_and_loses_nothing() {
    let mut group = group(1);
    group.put(0, "k", "1");
    let now_ms = group.local_ms(0);
    group.client(0).handle_message(b"nonsense", now_ms);
    group.settle();
    assert!(group.members[0].events.iter().any(|event| matches!(event, Event::Unreadable(_))));
    group.pass(60_000);
    assert_eq!(group.shown(0, "k"), Some("1"));
    assert_agreement(&group);
}

#[test]
fn a_difference_is_found_counted_and_mended() {
    let mut group = group(2);
    group.put(0, "k", "1");
    group.settle();
    let plant = |group: &mut Group| {
        let entry = Entry { value: Some(value("666")), stamp: put_stamp(1, 1), seq: Seq(1), author: author(1).id };
        let mut wrong = group.store.catch_up(Seq(0), usize::MAX);
        wrong.changes = vec![keybook_core::wire::Change::Entry(key("k"), entry)];
        let (cursor, now_ms) = (group.client(1).cursor(), group.local_ms(1));
        let delta = Delta::pack(&wrong.changes, cursor, cursor, false, &wrong.numbers, 10_000).remove(0);
        group.client(1).handle_message(&ServerFrame::Delta(delta).encode(), now_ms);
        group.client(1).verify(now_ms);
    };
    plant(&mut group);
    assert_eq!(group.shown(1, "k"), Some("666"));
    group.settle();
    assert_eq!((group.shown(1, "k"), group.members[1].client.divergences()), (Some("1"), 1));
    assert_agreement(&group);
    // A second one at once is counted, but does not fetch again and again.
    let fetches = group.members[1].fetches;
    plant(&mut group);
    group.settle();
    assert_eq!((group.client(1).divergences(), group.members[1].fetches), (2, fetches));
}

/// Promise 4: a reconnect costs what changed, not what there is.
#[test]
fn reconnecting_costs_what_changed() {
    let mut group = group(2);
    for n in 0..100_000 {
        group.put(0, &format!("key number {n}"), "\"a value\"");
    }
    group.settle();
    let member = &mut group.members[1];
    member.session = None;
    member.client.handle_disconnected(group.now_ms, 0);
    for n in 0..10 {
        group.put(0, &format!("key number {}", n * 1000), "\"another\"");
    }
    let member = &mut group.members[1];
    (member.sent_bytes, member.received_bytes) = (0, 0);
    group.pass(1000);
    let member = &group.members[1];
    assert_eq!(member.fetches, 0);
    let moved = member.sent_bytes + member.received_bytes;
    assert!(moved < 4096, "{moved} bytes");
    assert_agreement(&group);
}

#[test]
fn a_new_client_takes_the_snapshot_and_the_tail() {
    let mut group = group(1);
    for n in 0..1000 {
        group.put(0, &n.to_string(), "1");
    }
    group.settle();
    let mut late = Group::new(1, Limits::default()).members.remove(0);
    late.client = Client::new(secret(2), person(2), group.now_ms);
    group.members.push(late);
    group.settle();
    assert_eq!((group.members[1].fetches, group.client(1).keys().len()), (1, 1000));
    assert_agreement(&group);
}

#[test]
fn the_link_pings_gives_up_and_backs_off_within_bounds() {
    let mut client = Client::new(secret(1), person(1), 0);
    assert_eq!(client.poll_action(), Some(Action::Connect));
    let mut now_ms = 0;
    for attempt in 0..20 {
        client.handle_disconnected(now_ms, u64::MAX - attempt);
        assert_eq!(client.phase(), Phase::Waiting);
        let until_ms = client.poll_timeout().unwrap();
        assert!(until_ms - now_ms <= 30_000.min(500 << attempt.min(16)));
        now_ms = until_ms;
        client.handle_timeout(now_ms);
        assert_eq!(client.poll_action(), Some(Action::Connect));
    }
    client.handle_connected(now_ms);
    assert_eq!(client.poll_timeout(), Some(now_ms + 10_000), "Hello is answered, or it is dead");
    client.handle_timeout(now_ms + 10_000);
    assert_eq!(client.poll_action(), Some(Action::Disconnect));
    client.handle_disconnected(now_ms, 1 << 40);
    client.handle_online(now_ms);
    assert_eq!(client.poll_action(), Some(Action::Connect), "back online it does not wait");
}

#[test]
fn numbers_of_a_server_never_overflow() {
    for huge in [u64::MAX, 1 << 63, i64::MAX as u64] {
        for code in [AckCode::Busy, AckCode::ClockAhead] {
            let mut group = group(1);
            group.put(0, "k", "1");
            let now_ms = group.now_ms;
            let batch = std::iter::from_fn(|| group.client(0).poll_transmit())
                .find_map(|bytes| match ClientFrame::decode(&bytes).unwrap() {
                    ClientFrame::Push { batch, .. } => Some(batch),
                    _ => None,
                })
                .unwrap();
            let exceptions = vec![Exception { index: 0, code, data: huge }];
            let client = group.client(0);
            client.handle_message(&ServerFrame::Ack { batch, seq: Seq(huge), exceptions }.encode(), now_ms);
            client.handle_message(&ServerFrame::Pong { client_ms: 1, server_ms: huge }.encode(), now_ms);
            client.handle_message(&ServerFrame::Pong { client_ms: huge, server_ms: huge }.encode(), now_ms);
            let _ = client.put(&key("k"), value("2"), Stamp::ZERO, now_ms);
            client.handle_timeout(now_ms);
        }
    }
    assert!(Seq(u64::MAX).next() >= Seq(u64::MAX));
}

/// A reader drops what the server has lost, and needs a snapshot until it has had one.
#[test]
fn a_snapshot_that_fails_is_still_needed_on_the_next_connection() {
    let mut group = group(1);
    group.put(0, "a", "1");
    group.settle();
    let backup = group.store.clone();
    group.put(0, "a", "2");
    group.settle();
    group.role = Role::Reader;
    group.restart(backup, 2);
    group.failing_fetches = 1;
    group.pass(60_000);
    group.pass(60_000);
    assert_eq!(group.shown(0, "a"), Some("1"));
    assert_eq!(group.client(0).divergences(), 0);
    assert_agreement(&group);
}

/// A server that greets and then cannot go on is not asked four times a second.
#[test]
fn connections_that_end_after_their_welcome_are_failures_too() {
    let mut group = group(1);
    group.put(0, "k", "1");
    group.settle();
    group.disconnect();
    group.members[0].client = Client::new(secret(2), person(2), group.now_ms);
    (group.connected, group.failing_fetches) = (true, usize::MAX);
    let mut waits = Vec::new();
    for _ in 0..5 {
        group.settle();
        assert_eq!(group.client(0).phase(), Phase::Waiting);
        let until_ms = group.client(0).poll_timeout().unwrap();
        waits.push(until_ms - group.now_ms);
        group.now_ms = until_ms;
    }
    assert!(waits.is_sorted_by(|a, b| a < b), "{waits:?}");
}

#[test]
fn a_device_without_room_for_the_base_keeps_the_edits() {
    let mut group = group(1);
    let now_ms = group.local_ms(0);
    group.members[0].client.handle_stored(&Stored::default(), now_ms);
    group.put(0, "k", "1");
    group.settle();
    let change = group.client(0).take_local_change();
    assert!(change.base.is_some() && change.outbox == [(key("k"), None)]);

    group.client(0).keep_no_base();
    assert!(group.client(0).take_local_change().is_empty());
    group.disconnect();
    group.put(0, "l", "2");
    let change = group.client(0).take_local_change();
    let [(edited, Some(rows))] = &change.outbox[..] else { panic!("no edit in {change:?}") };
    assert_eq!((edited, &change.base), (&key("l"), &None));

    let mut after = Client::opening(secret(7), person(1), now_ms);
    after.handle_stored(&Stored { outbox: vec![(edited.clone(), rows.clone())], ..Stored::default() }, now_ms);
    group.members[0].client = after;
    group.connected = true;
    group.settle();
    assert_eq!((group.shown(0, "k"), group.shown(0, "l")), (Some("1"), Some("2")));
    assert_agreement(&group);
}
