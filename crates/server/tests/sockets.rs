//! Replicas over real sockets: what is written arrives, in order, once, and from the disk.

mod support;

use std::{collections::BTreeMap, time::Duration};

use keybook_core::{
    ConflictId, Resolution, Seq, Stamp,
    limits::PUSHES_IN_FLIGHT_MAX,
    wire::{AckCode, ByeCode, ClientFrame, Delta, Mode, Op, ServerFrame, WireChange},
};
use support::{Raw, Server, soon};

/// The entries of Deltas: of each key the last value.
fn entries(deltas: &[Delta]) -> BTreeMap<String, Option<String>> {
    let rows = deltas.iter().flat_map(Delta::entries);
    rows.map(|row| (row.key.to_string(), row.value.as_ref().map(|value| value.as_str().to_owned()))).collect()
}

#[tokio::test]
async fn a_write_is_acknowledged_and_reaches_everyone() {
    let server = Server::start().await;
    let (mut writer, mut reader) = (server.join("main").await, server.join("main").await);
    assert_eq!(writer.welcome.as_ref().unwrap().mode, Mode::Tail, "an empty dictionary needs no snapshot");
    let ops = vec![writer.op("b", Some("2")), writer.op("a", Some(r#"{"x":[1.50]}"#))];
    assert_eq!(writer.write(ops.clone()).await, (Seq(1), vec![]));
    let delta = reader.delta().await;
    assert_eq!((delta.prev(), delta.to, delta.has_more()), (Some(Seq(0)), Seq(1), false));
    assert_eq!(entries(std::slice::from_ref(&delta)), entries_of(&[("a", Some(r#"{"x":[1.50]}"#)), ("b", Some("2"))]));
    assert!(matches!(&delta.changes.0[0], WireChange::Author(row) if row.author == writer.author));

    // Sent again, it changes nothing.
    let (seq, exceptions) = writer.write(ops).await;
    assert_eq!((seq, exceptions.len()), (Seq(1), 2));
    assert!(exceptions.iter().all(|exception| exception.code == AckCode::Duplicate));

    assert_eq!(writer.write(vec![writer.op("a", None)]).await.0, Seq(2));
    assert_eq!(entries(&[reader.delta().await]), entries_of(&[("a", None)]));
    server_check(&mut reader, Seq(2), 1, 1).await;
}

fn entries_of(rows: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
    rows.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect()
}

/// Asks for the counters.
async fn server_check(raw: &mut Raw, seq: Seq, live: u64, tombstones: u64) {
    raw.send(&ClientFrame::Check).await;
    match raw.receive().await {
        Some(ServerFrame::Check(check)) => {
            assert_eq!((check.seq, check.live, check.tombstones), (seq, live, tombstones));
        }
        other => panic!("no Check: {other:?}"),
    }
}

#[tokio::test]
async fn ping_and_presence() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.join("main").await, server.join("main").await);
    one.send(&ClientFrame::Ping { client_ms: 7 }).await;
    assert!(matches!(one.receive().await, Some(ServerFrame::Pong { client_ms: 7, server_ms: 1.. })));

    one.send(&ClientFrame::Presence { blob: vec![1, 2].into() }).await;
    let Some(ServerFrame::Presence { connection, author, blob }) = two.receive().await else { panic!("no Presence") };
    assert_eq!((&author, blob.map(Vec::from)), (&one.author, Some(vec![1, 2])));
    // It is not told itself: the next that it hears is something else.
    one.send(&ClientFrame::Ping { client_ms: 8 }).await;
    assert!(matches!(one.receive().await, Some(ServerFrame::Pong { client_ms: 8, .. })));
    one.close().await;
    let gone = ServerFrame::Presence { connection, author, blob: None };
    assert_eq!(two.receive().await, Some(gone));
}

#[tokio::test]
async fn a_conflict_is_shown_and_resolved() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.join("main").await, server.join("main").await);
    one.write(vec![one.op("k", Some("1"))]).await;
    let unseen = Op { seen: vec![Stamp::ZERO], ..two.op("k", Some("2")) };
    two.write(vec![unseen]).await;
    let conflict = next_conflict(&mut one).await.conflicts().next().unwrap().clone();
    assert_eq!(conflict.resolution, Resolution::Open);
    let id = ConflictId { key: conflict.key, loser: conflict.loser };
    one.send(&ClientFrame::Resolve { batch: 7, id, resolution: Resolution::Dismissed }).await;
    let delta = next_conflict(&mut one).await;
    let resolved: Vec<_> = delta.conflicts().map(|row| (row.loser, row.value.clone(), row.resolution)).collect();
    assert_eq!((delta.entries().count(), resolved), (0, vec![(conflict.loser, None, Resolution::Dismissed)]));

    // Who comes later finds both in one page.
    let mut three = server.join("main").await;
    let deltas = three.resume(Seq(0)).await;
    assert_eq!(deltas.iter().flat_map(Delta::conflicts).count(), 1);
    assert_eq!(entries(&deltas), entries_of(&[("k", Some("2"))]));
}

/// The next Delta that has conflict rows.
async fn next_conflict(raw: &mut Raw) -> Delta {
    loop {
        let delta = raw.delta().await;
        if delta.conflicts().next().is_some() {
            return delta;
        }
    }
}

#[tokio::test]
async fn catching_up_in_pages() {
    let server = Server::start().await;
    let mut writer = server.join("main").await;
    let value = format!("\"{}\"", "x".repeat(10_000));
    // Each batch writes 5 of 40 keys, so every key is written twice.
    for batch in 0..16 {
        let keys = (0..5).map(|key| format!("k{:02}", (batch * 5 + key) % 40));
        let ops = keys.map(|key| writer.op(&key, Some(&value))).collect();
        writer.write(ops).await;
    }
    let mut reader = server.join("main").await;
    let welcome = reader.welcome.clone().unwrap();
    assert_eq!((welcome.mode, welcome.head), (Mode::Snapshot, Seq(16)));
    let deltas = reader.resume(Seq(0)).await;
    assert!(deltas.len() >= 4, "400 kB take several pages, not {}", deltas.len());
    assert_eq!(deltas.last().unwrap().to, Seq(16));
    let rows: usize = deltas.iter().map(|delta| delta.entries().count()).sum();
    assert_eq!((rows, entries(&deltas).len()), (40, 40), "each key comes once");

    // Who was away for the last batch gets that alone.
    let mut late = server.connect("main").await;
    let welcome = late.hello(Some(welcome.dictionary), Some(&welcome.lineage), Seq(15)).await;
    assert_eq!(welcome.mode, Mode::Tail);
    let deltas = late.deltas().await;
    assert_eq!((deltas.len(), deltas[0].entries().count()), (1, 5));
}

#[tokio::test]
async fn a_reader_that_lags_reads_again() {
    let server = Server::start_with(|config| {
        config.feed_events = 4;
        config.timeouts.stall = Duration::from_secs(60);
    })
    .await;
    let mut writer = server.join("main").await;
    let mut reader = Raw::connect_with(server.address, "main", Some(4096)).await;
    reader.hello(None, None, Seq(0)).await;
    // More than the buffers of both ends hold (Linux lets 4 MiB wait to be sent), and then more commits than the feed.
    let value = format!("\"{}\"", "x".repeat(60_000));
    let count = 200;
    let mut head = Seq(0);
    for number in 0..count {
        let op = writer.op(&format!("k{}", number % 3), Some(&format!("[{number},{value}]")));
        head = writer.write(vec![op]).await.0;
    }
    let mut deltas = Vec::new();
    while reader.cursor < head {
        deltas.push(reader.delta().await);
    }
    assert!(deltas.len() < count, "it did not get each commit");
    let last = (count - 3..count).map(|number| (format!("k{}", number % 3), Some(format!("[{number},{value}]"))));
    assert_eq!(entries(&deltas), last.collect());
    // And it follows again.
    writer.write(vec![writer.op("after", Some("1"))]).await;
    assert_eq!(entries(&[reader.delta().await]), entries_of(&[("after", Some("1"))]));
}

#[tokio::test]
async fn dictionaries_are_apart() {
    let server = Server::start().await;
    let (mut main, mut other) = (server.join("main").await, server.join("other").await);
    let ids = [&main, &other].map(|raw| raw.welcome.as_ref().unwrap().dictionary);
    assert_ne!(ids[0], ids[1]);
    main.write(vec![main.op("k", Some("1"))]).await;
    assert_eq!(other.write(vec![other.op("k", Some("2"))]).await.0, Seq(1), "each counts for itself");
    assert_eq!(entries(&server.join("main").await.resume(Seq(0)).await), entries_of(&[("k", Some("1"))]));
    assert_eq!(entries(&server.join("other").await.resume(Seq(0)).await), entries_of(&[("k", Some("2"))]));

    // A Hello makes no dictionary, and a dictionary keeps the identity that Hello promised.
    let looked_at = server.join("looked-at").await.welcome.unwrap();
    let mut again = server.join("looked-at").await;
    assert_eq!(again.welcome.as_ref().unwrap().dictionary, looked_at.dictionary);
    again.write(vec![again.op("k", Some("1"))]).await;
    assert_eq!(server.join("looked-at").await.welcome.unwrap().dictionary, looked_at.dictionary);
}

#[tokio::test]
async fn a_restart_begins_an_epoch_and_keeps_everything() {
    let server = Server::start().await;
    let mut raw = server.join("main").await;
    raw.write(vec![raw.op("a", Some("1"))]).await;
    raw.write(vec![raw.op("b", Some("2"))]).await;
    let before = raw.welcome.clone().unwrap();
    drop(raw);
    let server = Server::start_in(server.stop().await, |_| {}).await;

    let mut raw = server.connect("main").await;
    let after = raw.hello(Some(before.dictionary), Some(&before.lineage), Seq(1)).await;
    assert_eq!((after.dictionary, after.head, after.mode), (before.dictionary, Seq(2), Mode::Tail));
    assert_ne!(after.lineage.current, before.lineage.current);
    let last = after.lineage.past.last().unwrap();
    assert_eq!((last.epoch, last.end), (before.lineage.current, Seq(2)));
    assert_eq!(entries(&raw.deltas().await), entries_of(&[("b", Some("2"))]));
    assert_eq!(raw.write(vec![raw.op("c", Some("3"))]).await.0, Seq(3));
}

#[tokio::test]
async fn many_pushes_at_once_are_all_answered_in_order() {
    let server = Server::start().await;
    let mut raw = server.join("main").await;
    let mut pushed = Vec::new();
    for number in 0..3 * PUSHES_IN_FLIGHT_MAX {
        let op = raw.op(&format!("k{number}"), Some("1"));
        pushed.push(raw.push(vec![op]).await);
    }
    let mut seqs = Vec::new();
    for batch in pushed {
        seqs.push(raw.ack(batch).await.0);
    }
    assert!(seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");
}

#[tokio::test]
async fn a_stop_answers_what_was_taken_and_says_bye() {
    let server = Server::start().await;
    let mut raw = server.join("main").await;
    let batch = raw.push(vec![raw.op("k", Some("1"))]).await;
    // The Pong comes after the push was taken.
    raw.send(&ClientFrame::Ping { client_ms: 1 }).await;
    let mut acked = false;
    loop {
        match raw.receive().await.unwrap() {
            ServerFrame::Pong { .. } => break,
            ServerFrame::Ack { batch: found, .. } => acked = found == batch,
            _ => {}
        }
    }
    let (folder, running) = server.begin_stop();
    loop {
        match raw.receive().await.expect("Bye comes first") {
            ServerFrame::Ack { batch: found, .. } => acked = found == batch,
            ServerFrame::Bye { code, retry_after_ms, .. } => {
                assert_eq!((code, retry_after_ms, acked), (ByeCode::Shutdown, 1000, true));
                break;
            }
            _ => {}
        }
    }
    drop(raw);
    soon("the server's end", running).await.unwrap().unwrap();
    drop(folder);
}

#[tokio::test]
async fn a_snapshot_and_what_follows_it() {
    let server = Server::start().await;
    let mut writer = server.join("main").await;
    let ops = (0..300).map(|number| writer.op(&format!("key-{number:03}"), Some("true"))).collect();
    writer.write(ops).await;
    writer.write(vec![writer.op("key-000", None)]).await;
    let get = "GET /api/v1/dictionaries/main/snapshot HTTP/1.1";
    let plain = server.get(&format!("{get}\nAccept-Encoding: identity")).await;
    let snapshot = keybook_core::wire::snapshot::Snapshot::decode(&plain).unwrap();
    let welcome = writer.welcome.clone().unwrap();
    assert_eq!((snapshot.header.dictionary, snapshot.header.seq), (welcome.dictionary, Seq(2)));
    assert_eq!((snapshot.base.live(), snapshot.base.tombstones()), (299, 1));
    assert_eq!(snapshot.authors.get(writer.author.id).map(|row| &row.author), Some(&writer.author));

    let packed = server.get(&format!("{get}\nAccept-Encoding: zstd")).await;
    assert!(packed.len() * 2 < plain.len(), "{} of {} bytes", packed.len(), plain.len());

    // The next one may be the same: Resume brings the rest.
    writer.write(vec![writer.op("later", Some("1"))]).await;
    let again = keybook_core::wire::snapshot::Snapshot::decode(&server.get(get).await).unwrap();
    let mut reader = server.join("main").await;
    let deltas = reader.resume(again.header.seq).await;
    assert!(again.base.get("later").is_some() || entries(&deltas).contains_key("later"));

    let bad = server.http("GET /api/v1/dictionaries/Main/snapshot HTTP/1.1").await;
    assert!(bad.starts_with("HTTP/1.1 400") && bad.contains("is no name of a dictionary"), "{bad}");
    let empty = server.get("GET /api/v1/dictionaries/none/snapshot HTTP/1.1").await;
    assert_eq!(keybook_core::wire::snapshot::Snapshot::decode(&empty).unwrap().base.live(), 0);
}

/// A snapshot stayed at seq 1 while 60 010 entries came: a new client was sent all of them once more, as changes.
#[tokio::test]
async fn a_snapshot_does_not_stay_behind() {
    let server = Server::start().await;
    let mut writer = server.join("main").await;
    let snapshot = async || {
        let bytes = server.get("GET /api/v1/dictionaries/main/snapshot HTTP/1.1").await;
        keybook_core::wire::snapshot::Snapshot::decode(&bytes).unwrap().header.seq
    };
    writer.write(vec![writer.op("first", Some("1"))]).await;
    assert_eq!(snapshot().await, Seq(1));
    // A page of changes is 64 KiB and a batch: each batch is a page.
    let value = format!("\"{}\"", "x".repeat(65_530));
    let mut head = Seq(1);
    for number in 0..32 {
        head = writer.write(vec![writer.op(&format!("k{number}"), Some(&value))]).await.0;
        if number == 30 {
            assert_eq!(snapshot().await, Seq(1), "31 pages behind, it serves");
        }
    }
    writer.write(vec![writer.op("last", Some("1"))]).await;
    assert_eq!(snapshot().await, head.next(), "32 pages behind, it is made again");
}
