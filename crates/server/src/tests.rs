//! The server over a socket, when what is behind it is slow or breaks. The rest is in tests/, where a server is a server.

use std::{sync::atomic::Ordering, time::Duration};

use futures_util::{SinkExt, StreamExt};
use keybook_core::{
    Author, AuthorId, AuthorName, Epoch, HybridTime, ReplicaId, Seq, Stamp,
    limits::{GROUP_OPS_MAX, PUSHES_IN_FLIGHT_MAX},
    paths,
    wire::{AckCode, ByeCode, ClientFrame, Condition, Exception, Op, SUBPROTOCOL, ServerFrame},
};
use keybook_store::{Engine, Store, testing::faulty};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use crate::{Config, Pages, RunError, run::serve};

/// A server over a store, which runs until the second is sent or dropped, and a client that has said Hello.
async fn start(config: Config, store: Store) -> (Socket, oneshot::Sender<()>, JoinHandle<Result<(), RunError>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let shutdown = async move {
        // Sent or dropped, the test is over.
        let _ = stopped.await;
    };
    let running = tokio::spawn(serve(listener, config, Pages::NONE, store, shutdown));
    let mut request = format!("ws://{address}{}", paths::socket("main")).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", SUBPROTOCOL.parse().unwrap());
    let stream = TcpStream::connect(address).await.unwrap();
    let mut socket = Socket(client_async(request, stream).await.unwrap().0);
    let author = Author { id: AuthorId(1), name: AuthorName::new("Ada") };
    socket.send(&ClientFrame::hello(ReplicaId(1), author)).await;
    assert!(matches!(socket.receive().await, ServerFrame::Welcome { .. }));
    (socket, stop, running)
}

struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    async fn send(&mut self, frame: &ClientFrame) {
        self.0.send(Message::Binary(frame.encode().into())).await.unwrap();
    }

    async fn receive(&mut self) -> ServerFrame {
        let message = timeout(Duration::from_secs(30), self.0.next()).await;
        match message.expect("a frame comes in time") {
            Some(Ok(Message::Binary(bytes))) => ServerFrame::decode(&bytes).unwrap(),
            other => panic!("no frame: {other:?}"),
        }
    }

    async fn push(&mut self, batch: u64) {
        self.send(&ClientFrame::Push { batch, ops: vec![op(batch, 0)] }).await;
    }

    /// The next Ack, as its batch, its seq and its exceptions.
    async fn ack(&mut self) -> (u64, Seq, Vec<Exception>) {
        loop {
            if let ServerFrame::Ack { batch, seq, exceptions } = self.receive().await {
                return (batch, seq, exceptions);
            }
        }
    }
}

fn op(batch: u64, number: usize) -> Op {
    let stamp = Stamp::new(HybridTime::from_millis(1 + batch), true, ReplicaId(1));
    let (key, value) = (format!("k{batch}-{number}"), Some("1".to_owned()));
    Op { key, value, stamp, seen: vec![Stamp::ZERO], author: None, recovered: None }
}

#[tokio::test]
async fn a_group_is_one_batch_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), 1, Epoch(1)).unwrap();
    let mut config = Config::new(folder.path());
    config.disk_reserve_bytes = 0;
    let (mut socket, stop, running) = start(config, store).await;
    // As large as a group may be.
    let ops = |batch| -> Vec<Op> { (0..GROUP_OPS_MAX).map(|number| op(batch, number)).collect() };
    let absent = |key: &str| vec![Condition { key: key.to_owned(), stamp: None }];
    socket.send(&ClientFrame::Group { batch: 1, ops: ops(1), conditions: absent("k1-0") }).await;
    assert_eq!(socket.ack().await, (1, Seq(1), vec![]));
    socket.send(&ClientFrame::Group { batch: 2, ops: ops(2), conditions: absent("k1-0") }).await;
    let (batch, seq, exceptions) = socket.ack().await;
    assert_eq!((batch, seq, exceptions.len()), (2, Seq(1), GROUP_OPS_MAX + 1));
    assert_eq!(exceptions[0].code, AckCode::GroupRefused);
    assert_eq!(exceptions[GROUP_OPS_MAX].code, AckCode::ConditionFailed);
    socket.send(&ClientFrame::Group { batch: 3, ops: ops(1), conditions: absent("k1-0") }).await;
    let (batch, seq, exceptions) = socket.ack().await;
    assert_eq!((batch, seq), (3, Seq(1)));
    assert!(exceptions.iter().all(|exception| exception.code == AckCode::Duplicate), "it was sent again");
    drop((socket, stop));
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_socket_that_is_not_read_hears_that_the_server_lives() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(folder.path());
    config.timeouts.keepalive = Duration::from_millis(20);
    let store = Store::open(folder.path(), 1, Epoch(1)).unwrap();
    // The writer waits for this transaction to end.
    let busy = store.begin().unwrap();
    let (mut socket, stop, running) = start(config, store).await;
    let pushes = PUSHES_IN_FLIGHT_MAX as u64 + 1;
    for batch in 0..pushes {
        socket.push(batch).await;
    }
    socket.send(&ClientFrame::Ping { client_ms: 7 }).await;
    for _ in 0..3 {
        let frame = socket.receive().await;
        assert!(matches!(frame, ServerFrame::Pong { client_ms: 0, .. }), "unasked, and nothing else: {frame:?}");
    }
    drop(busy);
    let (mut acked, mut is_answered) = (0, false);
    while acked < pushes || !is_answered {
        match socket.receive().await {
            ServerFrame::Ack { batch, exceptions, .. } => {
                assert_eq!((batch, exceptions), (acked, vec![]));
                acked += 1;
            }
            ServerFrame::Pong { client_ms, .. } => is_answered |= client_ms == 7,
            _ => {}
        }
    }
    drop((socket, stop));
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_whose_disk_fails_says_bye_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (store, fails) = faulty::store();
    let mut config = Config::new(folder.path());
    config.disk_reserve_bytes = 0;
    let (mut socket, _stop, running) = start(config, store).await;
    socket.push(1).await;
    while !matches!(socket.receive().await, ServerFrame::Ack { batch: 1, .. }) {}
    fails.store(true, Ordering::SeqCst);
    socket.push(2).await;
    loop {
        match socket.receive().await {
            ServerFrame::Bye { code, retry_after_ms, .. } => {
                assert_eq!((code, retry_after_ms), (ByeCode::Failed, 1000));
                break;
            }
            frame => {
                // The Delta of the first push, at most.
                let shows_more = matches!(&frame, ServerFrame::Delta(delta) if delta.to > Seq(1));
                assert!(!shows_more && !matches!(frame, ServerFrame::Ack { .. }), "{frame:?}");
            }
        }
    }
    drop(socket);
    let error = running.await.unwrap().unwrap_err();
    assert!(matches!(error, RunError::Writer(_)), "{error}");
}
