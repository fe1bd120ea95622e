//! Bad input over a real socket: each gets a clear answer, and nobody else notices.

mod support;

use std::time::Duration;

use keybook_core::{
    Epoch, Lineage, ReplicaId, Seq, Stamp,
    limits::GROUP_BYTES_MAX,
    wire::{AckCode, ByeCode, ClientFrame, Mode, Op, ServerFrame, Versions},
};
use support::{Raw, Server, now_ms, op, past};
use tokio_tungstenite::tungstenite::Message;

/// A client that shares the dictionary with one that misbehaves, and must not notice.
struct Bystander(Raw);

impl Bystander {
    async fn join(server: &Server) -> Self {
        Self(server.join("main").await)
    }

    async fn is_undisturbed(&mut self) {
        let (_, exceptions) = self.0.write(vec![self.0.op("bystander", Some("1"))]).await;
        assert_eq!(exceptions, [], "the bystander writes as ever");
    }
}

/// Sends a message as somebody who has, or has not, said Hello; expects Bye with a code and a text.
async fn check(greeted: bool, message: impl Into<Message>, code: ByeCode, text: &str) {
    let server = Server::start().await;
    let mut bystander = Bystander::join(&server).await;
    let mut raw = if greeted { server.join("main").await } else { server.connect("main").await };
    raw.send_message(message.into()).await;
    let (found, message, _) = raw.bye().await;
    assert_eq!((found, message.contains(text)), (code, true), "{text:?} against {message:?}");
    bystander.is_undisturbed().await;
    drop((raw, bystander));
    server.stop().await;
}

fn frame(frame: &ClientFrame) -> Vec<u8> {
    frame.encode()
}

#[tokio::test]
async fn what_is_no_frame() {
    check(true, vec![0x81, 0x18, 63], ByeCode::Protocol, "unknown frame 63").await;
    check(true, vec![0x81, 16], ByeCode::Protocol, "unknown frame 16").await;
    check(true, vec![0xff], ByeCode::Protocol, "does not decode").await;
    check(true, Vec::new(), ByeCode::Protocol, "does not decode").await;
    check(true, vec![0x82, 1, 0], ByeCode::Protocol, "does not decode").await;
    check(true, [frame(&ClientFrame::Check), vec![0]].concat(), ByeCode::Protocol, "frame ends at byte 2 of 3").await;
    check(true, "hello", ByeCode::Protocol, "a text message of 5 bytes").await;
    // An array that claims more elements than there are bytes.
    check(true, vec![0x9b, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1], ByeCode::Protocol, "does not decode").await;
}

#[tokio::test]
async fn what_is_too_much() {
    let ops = |count| vec![op(ReplicaId(1), now_ms(), "k", Some("1")); count];
    let push = frame(&ClientFrame::Push { batch: 1, ops: ops(513) });
    check(true, push, ByeCode::Protocol, "push has 513 elements, limit is 512").await;

    let mut seen = ops(1);
    seen[0].seen = vec![Stamp::ZERO; 65];
    let push = frame(&ClientFrame::Push { batch: 1, ops: seen });
    check(true, push, ByeCode::Protocol, "seen has 65 elements, limit is 64").await;

    let presence = frame(&ClientFrame::Presence { blob: vec![0; 257].into() });
    check(true, presence, ByeCode::Protocol, "presence is 257 bytes, limit is 256").await;

    check(true, vec![0; GROUP_BYTES_MAX + 1], ByeCode::Protocol, "524289 > 524288").await;
}

#[tokio::test]
async fn what_is_out_of_turn() {
    let server = Server::start().await;
    let raw = server.connect("main").await;
    let ClientFrame::Hello { versions, token, replicas, client_ms, author, .. } = raw.hello_frame(None, None, Seq(0))
    else {
        unreachable!()
    };
    let hello = |versions, lineage| {
        let (token, author) = (token.clone(), author.clone());
        let (dictionary, epoch, cursor, capabilities) = (None, None, Seq(0), 0);
        frame(&ClientFrame::Hello {
            versions,
            token,
            replicas: replicas.clone(),
            dictionary,
            epoch,
            lineage,
            cursor,
            client_ms,
            author,
            capabilities,
            prefix: None,
        })
    };
    let newer = Versions { oldest: 2, newest: u64::MAX };
    check(false, hello(newer, Vec::new()), ByeCode::Version, "versions are 2 to 18446744073709551615, here they").await;
    let long = (0..1025).map(|number| past(number, 0)).collect();
    check(false, hello(versions, long), ByeCode::Protocol, "lineage has 1025 elements, limit is 1024").await;
    check(true, hello(versions, Vec::new()), ByeCode::Protocol, "Hello was said before").await;

    check(false, frame(&ClientFrame::Check), ByeCode::Protocol, "the first frame must be Hello").await;
    let resume = frame(&ClientFrame::Resume { epoch: Epoch(1), cursor: Seq(0) });
    check(true, resume, ByeCode::Epoch, "the epoch of Resume has ended").await;
}

#[tokio::test]
async fn what_is_late() {
    let server = Server::start_with(|config| {
        config.timeouts.session.hello_ms = 50;
        config.timeouts.session.silent_ms = 400;
    })
    .await;
    let mut bystander = Bystander::join(&server).await;
    let (code, message, _) = server.connect("main").await.bye().await;
    assert_eq!((code, &*message), (ByeCode::Silent, "no Hello for 50 ms"));
    bystander.is_undisturbed().await;
    let (code, message, _) = bystander.0.bye().await;
    assert_eq!((code, &*message), (ByeCode::Silent, "no frame for 400 ms"));
}

/// Pushes one operation, and expects one exception.
async fn check_op(change: impl FnOnce(&mut Op), code: AckCode, data: impl FnOnce(u64) -> bool) {
    let server = Server::start().await;
    let mut bystander = Bystander::join(&server).await;
    let mut raw = server.join("main").await;
    let mut bad = raw.op("bad", Some("1"));
    change(&mut bad);
    let (seq, exceptions) = raw.write(vec![raw.op("good", Some("1")), bad]).await;
    let [exception] = exceptions[..] else { panic!("{exceptions:?}") };
    assert_eq!((seq, exception.index, exception.code), (Seq(1), 1, code));
    assert!(data(exception.data), "{exception:?}");
    bystander.is_undisturbed().await;
    drop((raw, bystander));
    server.stop().await;
}

#[tokio::test]
async fn operations_that_are_refused_by_name() {
    let before = now_ms();
    check_op(|op| op.key = "k".repeat(513), AckCode::BadKey, |data| data == 513).await;
    check_op(|op| op.key = String::new(), AckCode::BadKey, |data| data == 0).await;
    check_op(|op| op.value = Some("1".repeat(65_537)), AckCode::TooLarge, |data| data == 65_537).await;
    check_op(|op| op.value = Some("{".to_owned()), AckCode::BadValue, |data| data == 0).await;
    check_op(|op| op.value = Some("[1, 2]".to_owned()), AckCode::BadValue, |data| data == 0).await;
    check_op(|op| op.value = None, AckCode::BadValue, |data| data == 0).await;
    let future = move |op: &mut Op| {
        *op = support::op(op.stamp.replica(), now_ms() + 61_000, "bad", Some("1"));
    };
    check_op(future, AckCode::ClockAhead, |data| data >= before && data <= now_ms()).await;
    // A remove of nothing, by somebody who saw nothing, leaves nothing.
    let remove = |op: &mut Op| *op = Op { seen: vec![], ..support::op(op.stamp.replica(), now_ms(), "bad", None) };
    check_op(remove, AckCode::Duplicate, |data| data == 0).await;
}

#[tokio::test]
async fn writes_are_refused_while_the_disk_is_full() {
    let server = Server::start_with(|config| config.disk_reserve_bytes = u64::MAX).await;
    let mut raw = server.join("main").await;
    let (_, exceptions) = raw.write(vec![raw.op("a", Some("1")), raw.op("b", Some("2"))]).await;
    let found: Vec<_> = exceptions.iter().map(|exception| (exception.index, exception.code, exception.data)).collect();
    assert_eq!(found, [(0, AckCode::Busy, 10_000), (1, AckCode::Busy, 10_000)]);
    assert_eq!(server.join("main").await.welcome.unwrap().head, Seq(0));
    // A watcher is told, and a balancer sends clients on: what is there can be read.
    let (ready, healthy) = (server.http("GET /readyz HTTP/1.1").await, server.http("GET /healthz HTTP/1.1").await);
    assert!(
        ready.starts_with("HTTP/1.1 200") && ready.contains("degraded\nthe disk is nearly full: nothing can be added"),
        "{ready}"
    );
    assert!(healthy.starts_with("HTTP/1.1 503") && healthy.contains("nothing can be added"), "{healthy}");
}

/// A browser tells a page nothing of an upgrade that is refused, so a page of another version could not say why it stays offline.
#[tokio::test]
async fn a_wrong_subprotocol_is_told_on_the_socket() {
    let server = Server::start().await;
    for (asked, told) in [(None, "none"), (Some("keybook.v2, soap"), "keybook.v2, soap")] {
        let mut raw = Raw::connect_as(server.address, "main", None, asked).await;
        let (code, message, _) = raw.bye().await;
        let expected = format!("subprotocol asked for: {told}; this server speaks keybook.v1");
        assert_eq!((code, message), (ByeCode::Version, expected));
    }
    // Of several the one that it speaks.
    let mut raw = Raw::connect_as(server.address, "main", None, Some("keybook.v2, keybook.v1")).await;
    raw.hello(None, None, Seq(0)).await;
}

/// The server closed its socket while much of a frame over the limit was unread, and the system threw Bye away with it.
#[tokio::test]
async fn bye_is_readable_after_a_frame_over_the_limit() {
    let server = Server::start().await;
    for _ in 0..5 {
        let raw = server.join("main").await;
        let (code, message) = raw.send_until_bye(Message::Binary(vec![0; 32 << 20].into())).await;
        assert_eq!((code, message.contains("33554432 > 524288")), (ByeCode::Protocol, true), "{message}");
    }
}

/// A request for a socket that is refused before it becomes one.
async fn check_upgrade(path: &str, headers: &str, status: &str, text: &str) {
    let server = Server::start().await;
    let upgrade = "Upgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
    let mut stream = String::new();
    stream.push_str(&format!("GET {path} HTTP/1.1\n{upgrade}"));
    if !headers.is_empty() {
        stream.push_str(&format!("\n{headers}"));
    }
    let answer = server.upgrade(&stream).await;
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    assert!(answer.contains(text), "no {text:?} in {answer}");
    server.stop().await;
}

#[tokio::test]
async fn sockets_that_are_refused_before_they_open() {
    let path = "/api/v1/dictionaries/main/socket";
    let ours = "Sec-WebSocket-Protocol: keybook.v1";
    check_upgrade("/api/v1/dictionaries/Main/socket", ours, "400", r#"\"Main\" is no name of a dictionary"#).await;
    check_upgrade("/api/v1/dictionaries/a%2Fb/socket", ours, "400", r#"\"a/b\" is no name"#).await;
    check_upgrade(path, &format!("{ours}\nOrigin: http://evil.example"), "403", "http://evil.example").await;
    check_upgrade(path, &format!("{ours}\nHost: evil.example"), "421", "evil.example").await;
    check_upgrade(path, &format!("{ours}\nSec-Fetch-Site: cross-site"), "403", "cross-site").await;

    let server = Server::start().await;
    let answer = server.http(&format!("GET {path} HTTP/1.1")).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn a_client_that_stops_reading() {
    let server = Server::start_with(|config| config.timeouts.stall = Duration::from_millis(300)).await;
    let mut bystander = Bystander::join(&server).await;
    let mut stalled = Raw::connect_with(server.address, "main", Some(4096)).await;
    stalled.hello(None, None, Seq(0)).await;
    let blob = vec![1].into();
    stalled.send(&ClientFrame::Presence { blob }).await;
    // The buffers of both systems fill up, and then the server gives up: its presence ends.
    let value = format!("\"{}\"", "x".repeat(60_000));
    let mut is_gone = false;
    while !is_gone {
        let ops = (0..3).map(|key| bystander.0.op(&format!("k{key}"), Some(&value))).collect();
        let pushed = bystander.0.push(ops).await;
        loop {
            match bystander.0.receive().await.expect("the bystander's connection lives") {
                ServerFrame::Ack { batch, exceptions, .. } if batch == pushed => break assert_eq!(exceptions, []),
                ServerFrame::Presence { blob: None, .. } => is_gone = true,
                _ => {}
            }
        }
    }
    bystander.is_undisturbed().await;
}

#[tokio::test]
async fn a_history_that_shares_nothing_gets_a_snapshot() {
    let server = Server::start().await;
    let mut raw = server.join("main").await;
    raw.write(vec![raw.op("a", Some("1"))]).await;
    let mut stranger = server.connect("main").await;
    let lineage = Lineage { past: vec![past(7, 3)], current: Epoch(8) };
    let welcome = stranger.hello(raw.welcome.as_ref().map(|welcome| welcome.dictionary), Some(&lineage), Seq(9)).await;
    assert_eq!(welcome.mode, Mode::Snapshot);
}
