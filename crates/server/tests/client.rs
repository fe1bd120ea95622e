//! The native client against the real server: two replicas agree, whatever happens to the server between them.

mod support;

use std::time::Duration;

use keybook_client::{Client, Event, Key, Options, Value};
use keybook_core::Seq;
use keybook_server::Config;
use support::{Server, soon};

/// A server that lets its clients come back at once.
fn at_once(config: &mut Config) {
    config.timeouts.retry_after = Duration::ZERO;
}

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

fn value(text: &str) -> Value {
    Value::parse(text).unwrap()
}

async fn connect(server: &Server) -> Client {
    let client = Client::connect(&format!("http://{}/d/main", server.address), Options::default()).unwrap();
    soon("the first agreement", client.settled()).await;
    client
}

/// Waits until both hold the same, with the server's digest.
async fn agree(clients: [&Client; 2], live: u64) {
    for client in clients {
        let agreed = client.wait(|replica| {
            let is_complete = replica.outbox().active() == 0 && replica.base().live() == live;
            is_complete && replica.is_settled()
        });
        soon("agreement", agreed).await;
    }
    let [one, two] = clients.map(|client| client.with(|replica| replica.base().digest()));
    assert_eq!(one, two);
    assert_eq!(clients[0].entries(), clients[1].entries());
}

#[tokio::test]
async fn two_replicas_agree() {
    let server = Server::start().await;
    let (one, two) = (connect(&server).await, connect(&server).await);
    let mut changes = two.changes();
    one.put(&key("espresso"), value("2.20")).unwrap();
    assert_eq!(one.get(&key("espresso")), Some(value("2.20")), "shown at once");
    soon("the disk", one.saved()).await;
    loop {
        if let Event::Entries(keys) = soon("a change", changes.next()).await.expect("the client lives") {
            assert!(keys.contains(&key("espresso")));
            break;
        }
    }
    assert_eq!(two.get(&key("espresso")), Some(value("2.20")));
    two.remove(&key("espresso")).unwrap();
    two.put(&key("latte"), value("3.10")).unwrap();
    agree([&one, &two], 1).await;
    assert_eq!(one.entries(), [(key("latte"), value("3.10"))]);
    assert!(one.put(&key("big"), Value::from_text(&"x".repeat(70_000))).is_err(), "refused before it is written");
    one.close().await;
    two.close().await;
    server.stop().await;
}

#[tokio::test]
async fn a_large_dictionary_comes_as_a_snapshot_and_goes_on_live() {
    let server = Server::start().await;
    let one = connect(&server).await;
    for number in 0..5000 {
        one.put(&key(&format!("key-{number:05}")), value(&format!("[{number}]"))).unwrap();
    }
    soon("the disk", one.saved()).await;
    let two = connect(&server).await;
    agree([&one, &two], 5000).await;
    two.put(&key("after"), value("1")).unwrap();
    agree([&one, &two], 5001).await;
    assert!(two.with(|replica| replica.divergences() == 0));
}

#[tokio::test]
async fn edits_made_while_the_server_is_away_merge_when_it_is_back() {
    let server = Server::start_with(at_once).await;
    let address = server.address;
    let (one, two) = (connect(&server).await, connect(&server).await);
    one.put(&key("a"), value("1")).unwrap();
    agree([&one, &two], 1).await;
    let folder = server.stop().await;

    one.put(&key("a"), value("2")).unwrap();
    one.put(&key("b"), value("2")).unwrap();
    two.put(&key("c"), value("3")).unwrap();
    assert_eq!(one.get(&key("a")), Some(value("2")));
    assert_eq!(one.with(|replica| replica.outbox().active()), 2);

    let server = Server::start_at(address, folder, at_once).await;
    agree([&one, &two], 3).await;
    assert_eq!(two.get(&key("a")), Some(value("2")));
    drop(server);
}

#[tokio::test]
async fn a_server_restored_from_an_old_copy_is_healed() {
    let server = Server::start_with(at_once).await;
    let address = server.address;
    let (one, two) = (connect(&server).await, connect(&server).await);
    one.put(&key("old"), value("1")).unwrap();
    agree([&one, &two], 1).await;
    let folder = server.stop().await;
    let file = folder.path().join("keybook.redb");
    let old = std::fs::read(&file).unwrap();

    let server = Server::start_at(address, folder, at_once).await;
    one.put(&key("new"), value("2")).unwrap();
    agree([&one, &two], 2).await;
    let folder = server.stop().await;

    std::fs::write(&file, old).unwrap();
    let server = Server::start_at(address, folder, at_once).await;
    let three = connect(&server).await;
    soon("what was lost", three.wait(|replica| replica.base().live() == 2)).await;
    agree([&one, &two], 2).await;
    assert!(one.with(|replica| replica.conflicts().open().count() == 0));
    assert!(one.with(|replica| replica.cursor() > Seq(0)));
}

#[tokio::test]
async fn a_refused_address_is_named() {
    let error = Client::connect("http://127.0.0.1:3000/d/Main", Options::default()).unwrap_err();
    assert!(error.to_string().contains("\"Main\" is no name of a dictionary"), "{error}");
}
