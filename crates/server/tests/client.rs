//! The native client against the real server: two replicas agree, whatever happens to the server between them.

mod support;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use keybook_client::{AckCode, Client, Event, Group, GroupError, Key, Options, Value};
use keybook_core::{Seq, client::Client as Replica};
use keybook_server::Config;
use support::{Server, soon};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
};

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

/// A program that wants two writes together could only send one after the other, of which a crash left the first.
#[tokio::test]
async fn a_group_is_applied_as_a_whole_or_not_at_all() {
    let server = Server::start().await;
    let (one, two) = (connect(&server).await, connect(&server).await);
    let (bar, cellar) = (key("bar"), key("cellar"));
    let first = Group::new().put(&bar, value("1")).put(&cellar, value("11")).absent(&bar);
    let admitted = soon("a group", one.group(first.clone())).await.unwrap();
    assert_eq!(one.entries(), [(bar.clone(), value("1")), (cellar.clone(), value("11"))], "shown when it returns");
    assert_eq!(admitted.superseded, []);
    soon("the group", two.wait(|replica| replica.cursor() >= admitted.seq)).await;
    assert_eq!(two.entries(), one.entries());

    let check = async |group: Group, expected: &[(&Key, bool, AckCode)]| {
        let Err(GroupError::Refused(refused)) = soon("a refusal", one.group(group)).await else {
            panic!("expected {expected:?}");
        };
        let refused: Vec<_> = refused.iter().map(|each| (&each.key, each.is_condition, each.code)).collect();
        assert_eq!(refused, expected);
        assert_eq!(one.entries(), two.entries());
    };
    check(first, &[(&bar, true, AckCode::ConditionFailed)]).await;
    let stamp = |client: &Client, key| client.with(|replica| replica.shown(key).unwrap().stamp);
    let (old, counted) = (stamp(&one, &bar), stamp(&one, &cellar));
    two.put(&bar, value("2")).unwrap();
    soon("the disk", two.saved()).await;
    let moved = || Group::new().remove(&cellar).put(&bar, value("12")).unchanged(&cellar, counted);
    check(moved().unchanged(&bar, old), &[(&bar, true, AckCode::ConditionFailed)]).await;
    soon("a group", one.group(moved().unchanged(&bar, stamp(&two, &bar)))).await.unwrap();
    assert_eq!(one.entries(), [(bar, value("12"))]);
}

#[tokio::test]
async fn a_group_has_limits() {
    let server = Server::start().await;
    let one = connect(&server).await;
    let keys: Vec<_> = (0..=1024).map(|number| key(&format!("key-{number:04}"))).collect();
    let puts = |count: usize, text: &str| {
        keys[..count].iter().fold(Group::new(), |group, key| group.put(key, Value::from_text(text)))
    };
    let check = async |group: Group, expected: &str| {
        let refused = soon("a refusal", one.group(group)).await.unwrap_err();
        assert!(refused.to_string().starts_with(expected), "{refused}");
    };
    check(puts(1025, ""), "a group has 1025 writes, limit is 1024").await;
    check(keys.iter().fold(Group::new(), Group::absent), "a group has 1025 conditions, limit is 1024").await;
    check(puts(9, &"x".repeat(60_000)), "a group takes 54").await;
    check(puts(1, &"x".repeat(70_000)), "value is 70002 bytes, limit is 65536").await;
    assert_eq!(one.entries(), []);
    soon("the largest", one.group(puts(1024, ""))).await.unwrap();

    // Each of them fits into a group; what one replaces would not.
    for key in &keys[..80] {
        one.put(key, Value::from_text(&"x".repeat(60_000))).unwrap();
    }
    soon("the disk", one.saved()).await;
    check(puts(80, ""), "the write of key-0069 was refused: GroupTooLarge (42").await;
    soon("none", one.group(Group::new())).await.unwrap();
}

/// The answer to a group is lost with its connection. The group's condition does not hold any more by then, since the group was
/// applied, and somebody has written since.
#[tokio::test]
async fn a_group_whose_answer_is_lost_has_one_outcome() {
    let server = Server::start().await;
    let line = Line::start(server.address).await;
    let one = Client::connect(&format!("http://{}/d/main", line.address), Options::default()).unwrap();
    soon("the first agreement", one.settled()).await;
    let two = connect(&server).await;
    line.is_deaf.send_replace(true);
    let group = Group::new().put(&key("a"), value("1")).put(&key("b"), value("1")).absent(&key("a"));
    let cut = async {
        soon("the group", two.wait(|replica| replica.base().live() == 2)).await;
        two.put(&key("a"), value("2")).unwrap();
        soon("the disk", two.saved()).await;
        line.cut.notify_waiters();
        line.is_deaf.send_replace(false);
    };
    let (answered, ()) = tokio::join!(one.group(group), cut);
    assert_eq!(answered.unwrap().superseded, []);
    assert_eq!(one.entries(), [(key("a"), value("2")), (key("b"), value("1"))]);
    let head = two.with(Replica::cursor);
    agree([&one, &two], 2).await;
    assert_eq!(two.with(Replica::cursor), head, "it was applied once");
}

/// A line to a server, on which what the server says can be lost.
struct Line {
    address: SocketAddr,
    is_deaf: watch::Sender<bool>,
    /// Ends all connections.
    cut: Arc<Notify>,
}

impl Line {
    async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_deaf, cut) = (watch::Sender::new(false), Arc::new(Notify::new()));
        let (deaf, cuts) = (is_deaf.subscribe(), cut.clone());
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let mut server = TcpStream::connect(server).await.unwrap();
                let (deaf, cuts) = (deaf.clone(), cuts.clone());
                tokio::spawn(async move {
                    let ((mut heard, mut said), (mut from_server, mut to_server)) = (client.split(), server.split());
                    let hears = async {
                        let mut bytes = [0; 4096];
                        while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
                            if !*deaf.borrow() && said.write_all(&bytes[..count]).await.is_err() {
                                return;
                            }
                        }
                    };
                    tokio::select! {
                        biased;
                        () = cuts.notified() => {}
                        () = hears => {}
                        // An end that is gone ends the line.
                        _ = tokio::io::copy(&mut heard, &mut to_server) => {}
                    }
                });
            }
        });
        Self { address, is_deaf, cut }
    }
}

#[tokio::test]
async fn a_refused_address_is_named() {
    let error = Client::connect("http://127.0.0.1:3000/d/Main", Options::default()).unwrap_err();
    assert!(error.to_string().contains("\"Main\" is no name of a dictionary"), "{error}");
}
