//! Clocks that are wrong, and writes that are stamped anew for their sake.

mod support;

use keybook_core::{
    Seq, Stamp,
    client::Client,
    wire::{AckCode, ClientFrame, Exception, ServerFrame},
};
use support::{key, pair::*, person, secret, value};

#[test]
fn a_clock_far_ahead_is_corrected_and_the_order_kept() {
    let mut group = group(2);
    // Offline from the beginning, so that no Welcome has told it.
    group.disconnect();
    group.members[0].skew_ms = 3 * 3_600_000;
    let far_ms = group.local_ms(0);
    group.members[0].client = Client::new(secret(9), person(9), far_ms);
    group.put(0, "a", "1");
    group.put(0, "b", "2");
    group.connected = true;
    group.settle();
    group.pass(60_000);
    let stamp = |name: &str| group.store.contents().entries[&key(name)].entry.stamp;
    assert!(stamp("a") < stamp("b"));
    assert!(stamp("b").millis() <= group.now_ms);
    assert_eq!(group.members[0].client.offset_ms(), -3 * 3_600_000);
    assert_agreement(&group);
    group.put(0, "a", "3");
    group.settle();
    assert_eq!(group.shown(1, "a"), Some("3"));
}

#[test]
fn a_clock_far_behind_wins_over_what_it_saw() {
    let mut group = group(2);
    group.put(1, "k", "1");
    group.settle();
    group.members[0].skew_ms = -3 * 3_600_000;
    group.put(0, "k", "2");
    group.settle();
    assert_eq!(group.shown(1, "k"), Some("2"));
    assert_eq!(group.client(1).conflicts().iter().count(), 0);
}

/// Two edits of a key are in flight when the local clock goes wrong. The server has taken the first, from a clock that was
/// ahead by less than it minds, and refuses the second: with its new stamp that must still replace the first.
#[test]
fn a_write_stamped_anew_stays_above_the_own_one_that_it_replaces() {
    let mut group = group(1);
    let now_ms = group.now_ms;
    let put = |client: &mut Client, json: &str, ms: u64| {
        let began = client.begin(&key("k"));
        let stamp = client.put(&key("k"), value(json), began, ms).unwrap();
        let Some(ClientFrame::Push { batch, .. }) = client.poll_transmit().map(|m| ClientFrame::decode(&m).unwrap())
        else {
            panic!("it is pushed at once");
        };
        (batch, stamp)
    };
    let client = group.client(0);
    let (first, admitted) = put(client, "1", now_ms + 30_000);
    let (second, refused) = put(client, "2", now_ms + 3_600_000);
    let exception = Exception { index: 0, code: AckCode::ClockAhead, data: now_ms };
    for (batch, exceptions) in [(first, vec![]), (second, vec![exception])] {
        client.handle_message(&ServerFrame::Ack { batch, seq: Seq(1), exceptions }.encode(), now_ms);
    }
    let anew = client.shown(&key("k")).unwrap();
    assert_eq!(anew.value, Some(&value("2")));
    assert!(admitted < anew.stamp && anew.stamp < refused, "{admitted:?} < {:?} < {refused:?}", anew.stamp);
}

/// A write from a clock that is two minutes ahead is on its way when the connection breaks. It is sent again, refused, and
/// was stamped anew; a later write of the same key got a stamp between the two. Then the old connection brought the first one
/// after all, when the server's clock had come so far: it was the greatest, and undid the later write.
#[test]
fn a_refused_write_that_may_come_late_keeps_its_stamp() {
    let check = |ahead_ms: u64, cuts: usize, is_stamped_anew: bool| {
        let mut group = group(1);
        let ahead = group.now_ms + ahead_ms;
        let sent = group.client(0).put(&key("k"), value("1"), Stamp::ZERO, ahead).unwrap();
        for _ in 0..cuts {
            assert!(group.client(0).poll_transmit().is_some(), "it is on its way");
            group.disconnect();
            group.connected = true;
        }
        group.settle();
        let shown = group.client(0).shown(&key("k")).unwrap();
        assert_eq!(shown.stamp < sent, is_stamped_anew, "{ahead_ms} ms ahead, {cuts} cuts: {shown:?}");
        group.pass(ahead_ms);
        assert_eq!(group.store.contents().entries[&key("k")].entry.value, Some(value("1")));
        assert_agreement(&group);
    };
    check(120_000, 0, true);
    check(120_000, 1, false);
    // What is so far ahead is not taken while an old connection lives.
    check(3_600_000, 1, true);
}

/// Stamps made anew after several acks keep the order of the writes.
#[test]
fn writes_of_several_pushes_that_are_stamped_anew_keep_their_order() {
    let mut group = group(1);
    group.members[0].skew_ms = 3_600_000;
    for name in ["a", "b", "c", "d"] {
        group.put(0, name, "1");
    }
    group.settle();
    let stamps = ["a", "b", "c", "d"].map(|name| group.store.contents().entries[&key(name)].entry.stamp);
    assert!(stamps.is_sorted_by(|a, b| a < b), "{stamps:?}");
}

/// The local clock is set back by a day while a timer runs, which counts what elapses: nothing waits for a day.
#[test]
fn a_clock_set_back_delays_nothing() {
    let mut group = group(1);
    group.disconnect();
    group.members[0].skew_ms = -86_400_000;
    let now_ms = group.local_ms(0);
    group.client(0).handle_timeout(now_ms);
    group.connected = true;
    group.pass(60_000);
    group.put(0, "k", "1");
    group.settle();
    assert_eq!(group.store.contents().counters.live, 1);
    group.members[0].skew_ms *= 2;
    let now_ms = group.local_ms(0);
    group.client(0).handle_timeout(now_ms);
    assert!(group.client(0).poll_timeout().is_some_and(|at| at <= now_ms + 25_000), "it pings");
}

/// A Pong that was in a buffer while the computer slept says nothing about the server's clock.
#[test]
fn a_pong_of_long_ago_does_not_set_the_offset() {
    let mut group = group(1);
    let now_ms = group.now_ms;
    let offset_ms = group.client(0).offset_ms();
    let pong = ServerFrame::Pong { client_ms: now_ms - 8 * 3_600_000, server_ms: now_ms - 8 * 3_600_000 };
    group.client(0).handle_message(&pong.encode(), now_ms);
    assert_eq!(group.client(0).offset_ms(), offset_ms);
}
