//! The server over a socket, when what is behind it is slow or breaks. The rest is in tests/, where a server is a server.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use keybook_core::{
    Author, AuthorId, AuthorName, Authors, DictionaryName, Epoch, HybridTime, Person, ReplicaId, Resolution, Secret,
    Seq, Stamp,
    limits::{GROUP_OPS_MAX, Limits, PUSHES_IN_FLIGHT_MAX},
    paths,
    server::{Actor, Command, Context, Record},
    wire::{AckCode, ByeCode, Change, ClientFrame, Condition, Exception, Op, Role, SUBPROTOCOL, ServerFrame},
};
use keybook_store::{Engine, Folder, OpenError, Store, Tables, Transaction, testing::faulty};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use crate::{
    Config, Pages, RunError,
    run::{Source, run_with, serve},
};

/// A server over a store, which runs until the second is sent or dropped, and a client that has said Hello.
async fn start(config: Config, store: Store) -> (Socket, oneshot::Sender<()>, JoinHandle<Result<(), RunError>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let shutdown = async move {
        // Sent or dropped, the test is over.
        let _ = stopped.await;
    };
    let running = tokio::spawn(serve(listener.into(), config, Pages::NONE, store, shutdown));
    let mut socket = connect(address).await;
    assert!(matches!(socket.receive().await, ServerFrame::Welcome { .. }));
    (socket, stop, running)
}

/// A client that has said Hello.
async fn connect(address: SocketAddr) -> Socket {
    let mut request = format!("ws://{address}{}", paths::socket("main")).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", SUBPROTOCOL.parse().unwrap());
    let stream = TcpStream::connect(address).await.unwrap();
    let mut socket = Socket(client_async(request, stream).await.unwrap().0);
    let secret = Secret([1; 16]);
    socket.send(&ClientFrame::hello(secret, Person::generated(secret))).await;
    socket
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

/// A conflict that nobody has decided stayed open until its dictionary was written again, which may be never.
#[tokio::test]
async fn conflicts_that_nobody_decides_are_closed_without_a_write() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), 1, Epoch(1)).unwrap();
    let main = DictionaryName::parse("main").unwrap();
    let mut hub = store.summary(&main).unwrap().into_hub();
    let mut transaction = store.begin().unwrap();
    {
        let mut tables = transaction.tables().unwrap();
        let mut rows = tables.rows(&main).unwrap();
        // Of 1970: two who have not seen each other's.
        let author = Author { id: AuthorId(1), name: AuthorName::new("Ada") };
        let actor = Actor { role: Role::Writer, author, replicas: Vec::new() };
        let context = Context { now_ms: 0, limits: Limits::default(), actor };
        let ops = (1..=2).map(|ms| Op { key: "k".to_owned(), value: Some(ms.to_string()), ..op(ms, 0) }).collect();
        let record = Record { at: Seq(1), room_bytes: u64::MAX, context, command: Command::Push { ops } };
        hub.apply(&mut rows, &record).unwrap();
        hub.finish(&mut rows).unwrap();
    }
    transaction.commit().unwrap();
    assert_eq!(store.summary(&main).unwrap().counters.conflicts, 1);

    let mut config = Config::new(folder.path());
    config.disk_reserve_bytes = 0;
    let (mut socket, stop, running) = start(config, store).await;
    socket.send(&ClientFrame::Resume { epoch: Epoch(1), cursor: Seq(0) }).await;
    let mut authors = Authors::default();
    loop {
        let ServerFrame::Delta(delta) = socket.receive().await else { continue };
        let changes = delta.into_changes(&mut authors).unwrap();
        let is_closed = |change: &Change| match change {
            Change::Conflict(row) => row.resolution == Resolution::Archived,
            _ => false,
        };
        if changes.iter().any(is_closed) {
            break;
        }
    }
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

/// The answer to a GET.
async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await.expect("an answer in time").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// With no room on its disk the server did not start, not even to be read.
#[tokio::test]
async fn a_server_that_starts_on_a_full_disk_is_read_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(folder.path());
    config.timeouts.room = Duration::from_millis(20);
    (config.disk_reserve_bytes, config.disk_last_reserve_bytes) = (0, 0);
    let store = Store::open(folder.path(), 1, Epoch(1)).unwrap();
    let (mut socket, stop, running) = start(config.clone(), store).await;
    socket.push(1).await;
    while !matches!(socket.receive().await, ServerFrame::Ack { batch: 1, .. }) {}
    drop((socket, stop));
    running.await.unwrap().unwrap();

    let file = folder.path().join("keybook.redb");
    let before = std::fs::read(&file).unwrap();
    let (folder, has_room) = (Folder::take(folder.path()).unwrap(), Arc::<AtomicBool>::default());
    let (to_read, path, room) = (folder.clone(), file.clone(), has_room.clone());
    let (opens, opened) = oneshot::channel();
    let mut opens = Some(opens);
    let open = {
        let room = room.clone();
        move || match room.load(Ordering::SeqCst) {
            true => {
                // The server that only read has ended.
                opens.take().expect("it is opened once").send(()).expect("the test waits");
                folder.open(1, Epoch(2))
            }
            false => Err(OpenError::System { path: path.clone(), error: io::ErrorKind::StorageFull.into() }),
        }
    };
    let source =
        Source { open, open_to_read: move || to_read.open_to_read(), has_room: move || room.load(Ordering::SeqCst) };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async move {
        // Sent or dropped, the test is over.
        let _ = stopped.await;
    };
    let running = tokio::spawn(run_with(listener, config, Pages::NONE, source, shutdown));

    let ready = get(address, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.0 200") && ready.contains("degraded"), "{ready}");
    assert!(get(address, "/healthz").await.contains("the disk is full: nothing can be edited"));
    let snapshot = get(address, &paths::snapshot("main")).await;
    assert!(snapshot.starts_with("HTTP/1.0 200"), "{snapshot}");
    let mut socket = connect(address).await;
    let frame = socket.receive().await;
    assert!(matches!(frame, ServerFrame::Welcome { epoch: Epoch(1), head: Seq(1), .. }), "the last epoch: {frame:?}");
    socket.push(2).await;
    match socket.receive().await {
        ServerFrame::Ack { batch: 2, exceptions, .. } => assert_eq!(exceptions[0].code, AckCode::Busy),
        frame => panic!("no Ack: {frame:?}"),
    }
    assert!(std::fs::read(&file).unwrap() == before, "the file is as it was");

    has_room.store(true, Ordering::SeqCst);
    opened.await.unwrap();
    let mut socket = connect(address).await;
    let frame = socket.receive().await;
    assert!(matches!(frame, ServerFrame::Welcome { epoch: Epoch(2), .. }), "{frame:?}");
    socket.push(2).await;
    while !matches!(socket.receive().await, ServerFrame::Ack { batch: 2, .. }) {}
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.0 200"));
    drop((socket, stop));
    running.await.unwrap().unwrap();
}
