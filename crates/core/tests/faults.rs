//! The stories of what goes wrong around a client: servers that start again and again, clocks that jump, limits that change.

mod support;

use keybook_core::{
    Epoch, Stamp,
    client::{Client, RowState},
    limits::Limits,
    wire::AckCode,
};
use support::{author, key, pair::Group, person, secret, value};

fn group(clients: u64) -> Group {
    Group::new(clients, Limits::default())
}

/// A server that is started each night and written once a year: after 1024 starts no epoch was left that it shared with a page
/// that had slept meanwhile, and all that this one had waited for its user.
#[test]
fn starts_without_a_write_cost_no_history() {
    let mut group = group(2);
    group.put(0, "a", "1");
    group.settle();
    let mut store = group.store.clone();
    (2..1500).for_each(|epoch| store.start(Epoch(epoch)));
    group.restart(store, 1500);
    group.pass(60_000);
    for index in 0..2 {
        assert_eq!((group.shown(index, "a"), group.members[index].fetches), (Some("1"), 0));
        assert_eq!(group.client(index).outbox().iter().count(), 0);
    }
    assert_eq!(group.store.summary().lineage.past.len(), 1, "of all these one has written");
}

/// While a page is away with an edit of 1 MiB, the server is told to take 64 KiB and no more. The edit's frame was over what the
/// server reads, so there was no answer but the end of the connection, and the page connected and sent it again for ever.
#[test]
fn a_value_that_the_server_takes_no_more_is_not_sent() {
    let mut group = Group::new(1, Limits { value_bytes: 1 << 20, ..Limits::default() });
    group.put(0, "k", "1");
    group.settle();
    group.disconnect();
    group.put(0, "k", &format!("\"{}\"", "x".repeat(1_000_000)));
    group.put(0, "l", "2");
    group.limits.value_bytes = 64 * 1024;
    group.members[0].sent_bytes = 0;
    group.connected = true;
    group.pass(60_000);
    assert!(group.members[0].sent_bytes < 10_000, "{} bytes", group.members[0].sent_bytes);
    let states: Vec<_> = group.client(0).outbox().iter().map(|(key, row)| (key.clone(), row.state)).collect();
    assert_eq!(states, [(key("k"), RowState::Held { code: AckCode::TooLarge, data: 1_000_002 })]);
    assert_eq!((group.shown(0, "k"), group.shown(0, "l")), (Some("1"), Some("2")));
}

/// A laptop sleeps for eight hours between its Hello and the Welcome: that set its clock four hours wrong for 25 seconds.
#[test]
fn a_welcome_of_long_ago_does_not_set_the_offset() {
    let mut group = group(1);
    group.put(0, "k", "1");
    group.settle();
    group.disconnect();
    group.connected = true;
    group.now_ms += 60_000;
    let (hello_ms, offset_ms) = (group.now_ms, group.client(0).offset_ms());
    group.client(0).handle_timeout(hello_ms);
    while group.client(0).poll_action().is_some() {}
    group.client(0).handle_connected(hello_ms);
    let lineage = group.store.summary().lineage;
    let welcome = keybook_core::wire::ServerFrame::Welcome {
        version: 1,
        role: group.role,
        dictionary: group.id,
        epoch: lineage.current,
        lineage: lineage.past,
        head: group.store.contents().counters.head,
        horizon: keybook_core::wire::Horizon::default(),
        server_ms: hello_ms,
        mode: keybook_core::wire::Mode::Tail,
        limits: group.limits,
    };
    let now_ms = hello_ms + 8 * 3_600_000;
    group.client(0).handle_message(&welcome.encode(), now_ms);
    assert_eq!(group.client(0).offset_ms(), offset_ms);
    assert_eq!(group.client(0).poll_timeout(), Some(now_ms), "it asks again at once");
}

/// A row of an outbox that had seen nothing, not even that nothing was there, ended the page that took it over.
#[test]
fn a_row_that_has_seen_nothing_is_taken_over() {
    let mut client = Client::new(secret(1), person(1), 0);
    let mut rows = minicbor::Encoder::new(Vec::new());
    rows.array(1).unwrap().array(7).unwrap().encode(value("1")).unwrap().encode(support::put_stamp(5, 2)).unwrap();
    rows.array(0).unwrap().encode(author(2)).unwrap().null().unwrap().null().unwrap().bool(false).unwrap();
    client.adopt_rows(&[(key("k"), rows.into_writer())], 0);
    assert_eq!(client.get(&key("k")), Some(&value("1")));
    let began = client.begin(&key("k"));
    assert_eq!(began, Stamp::ZERO);
    client.put(&key("k"), value("2"), began, 10).unwrap();
    assert_eq!(client.get(&key("k")), Some(&value("2")));
}
