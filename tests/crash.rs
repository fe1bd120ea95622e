//! The program is killed while it writes: what it acknowledged, and what it showed to others, is there when it is back.

mod process;
#[path = "../crates/server/tests/support/mod.rs"]
mod support;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use keybook_core::{
    Seq, Value,
    wire::{ClientFrame, Delta, ServerFrame},
};
use process::Process;
use support::{Raw, soon};
use tokio::sync::mpsc;

const KILLS: usize = 50;

/// What clients were told that is.
type Known = Arc<Mutex<BTreeMap<String, String>>>;

/// A client that follows from here on: the kill must not come while it is being greeted.
async fn join(address: SocketAddr) -> Raw {
    let mut raw = Raw::connect(address, "main").await;
    let head = raw.hello(None, None, Seq(0)).await.head;
    if head > Seq(0) {
        raw.resume(head).await;
    }
    raw
}

/// Writes keys of its own until the server is gone; reports each write that is acknowledged.
async fn load(mut raw: Raw, prefix: String, known: Known, acked: mpsc::UnboundedSender<()>) {
    let mut waiting = BTreeMap::new();
    for batch in 0.. {
        let rows: Vec<_> = (0..5).map(|row| (format!("{prefix}-{batch}-{row}"), format!("[{batch},{row}]"))).collect();
        let ops = rows.iter().map(|(key, value)| raw.op(key, Some(value))).collect();
        if !raw.try_send(&ClientFrame::Push { batch, ops }).await {
            return;
        }
        waiting.insert(batch, rows);
        while waiting.len() >= 4 {
            match raw.receive().await {
                Some(ServerFrame::Ack { batch, exceptions, .. }) => {
                    assert_eq!(exceptions, []);
                    known.lock().unwrap().extend(waiting.remove(&batch).unwrap());
                    // Nobody counts any more.
                    let _ = acked.send(());
                }
                Some(_) => {}
                None => return,
            }
        }
    }
}

/// Follows until the server is gone.
async fn follow(mut raw: Raw, known: Known) {
    while let Some(frame) = raw.receive().await {
        if let ServerFrame::Delta(delta) = frame {
            let value = |value: &Option<Value>| value.as_ref().expect("nothing is removed").as_str().to_owned();
            let rows = delta.entries().map(|row| (row.key.to_string(), value(&row.value)));
            known.lock().unwrap().extend(rows);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_fifty_times_it_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let known = Known::default();
    for round in 0..KILLS {
        let process = Process::start(folder.path());
        check(process.address, &known).await;
        let (acked, mut acks) = mpsc::unbounded_channel();
        let mut joined = Vec::new();
        for _ in 0..5 {
            joined.push(join(process.address).await);
        }
        let follower = joined.pop().expect("the fifth");
        let mut clients = vec![tokio::spawn(follow(follower, known.clone()))];
        for (client, raw) in joined.into_iter().enumerate() {
            clients.push(tokio::spawn(load(raw, format!("{round}-{client}"), known.clone(), acked.clone())));
        }
        // At another moment each time.
        for _ in 0..5 + 7 * (round % 10) {
            soon("an acknowledgement", acks.recv()).await.expect("clients write");
        }
        drop(process);
        for client in clients {
            soon("the client's end", client).await.unwrap();
        }
    }
    let process = Process::start(folder.path());
    check(process.address, &known).await;
    assert!(known.lock().unwrap().len() > 1000);
}

/// Everything that clients know of is there.
async fn check(address: SocketAddr, known: &Known) {
    let mut raw = Raw::connect(address, "main").await;
    let welcome = raw.hello(None, None, Seq(0)).await;
    let mut found = BTreeMap::new();
    if welcome.head > Seq(0) {
        let deltas = raw.resume(Seq(0)).await;
        let rows = deltas.iter().flat_map(Delta::entries);
        found.extend(rows.map(|row| (row.key.to_string(), row.value.as_ref().unwrap().as_str().to_owned())));
    }
    let known = known.lock().unwrap();
    let lost: Vec<_> = known.iter().filter(|(key, value)| found.get(*key) != Some(value)).collect();
    assert!(lost.is_empty(), "lost {} of {}: {lost:?}", lost.len(), known.len());
}
