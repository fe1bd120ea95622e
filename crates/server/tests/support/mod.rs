//! What the tests over real sockets share: a server in this process, and a client that speaks in frames.

// Each test program uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::{
    future::Future,
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::{SinkExt, StreamExt};
use keybook_core::{
    Author, AuthorName, DictionaryId, Epoch, HybridTime, Lineage, PastEpoch, Person, ReplicaId, Secret, Seq, Stamp,
    paths,
    wire::{ByeCode, ClientFrame, Delta, Exception, Mode, Op, SUBPROTOCOL, ServerFrame, VERSIONS},
};
use keybook_server::{Config, Pages, RunError};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

/// A test that waits longer for one thing hangs.
const HANGS: Duration = Duration::from_secs(30);

/// What comes of a future, or a panic that says what did not come.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANGS, future).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A server in this process, on a port that the system picks.
pub struct Server {
    pub address: SocketAddr,
    pub folder: TempDir,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), RunError>>,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts one with a changed configuration.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), change).await
    }

    /// Starts one over a folder that another has left.
    pub async fn start_in(folder: TempDir, change: impl FnOnce(&mut Config)) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), folder, change).await
    }

    /// Starts one where another was, so that its clients find it.
    pub async fn start_at(address: SocketAddr, folder: TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = Config::new(folder.path());
        change(&mut config);
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(keybook_server::run(listener, config, Pages::NONE, async move {
            // Dropped with the server of a test that has failed.
            let _ = stopped.await;
        }));
        Self { address, folder, stop, running }
    }

    /// Begins the stop, and returns how to wait for its end.
    pub fn begin_stop(self) -> (TempDir, JoinHandle<Result<(), RunError>>) {
        self.stop.send(()).expect("the server runs");
        (self.folder, self.running)
    }

    /// Stops it, and returns its folder.
    pub async fn stop(self) -> TempDir {
        let (folder, running) = self.begin_stop();
        soon("the server's end", running).await.unwrap().unwrap();
        folder
    }

    /// A client of a dictionary that has said nothing yet.
    pub async fn connect(&self, name: &str) -> Raw {
        Raw::connect(self.address, name).await
    }

    /// A client that has said Hello and got Welcome, as somebody who has seen nothing.
    pub async fn join(&self, name: &str) -> Raw {
        let mut raw = self.connect(name).await;
        raw.hello(None, None, Seq(0)).await;
        raw
    }

    /// The answer to a request of a line and headers; Host is added if it has none.
    pub async fn http(&self, request: &str) -> String {
        String::from_utf8_lossy(&self.ask(request, "close").await).into_owned()
    }

    /// The answer to a request to upgrade the connection that is refused.
    pub async fn upgrade(&self, request: &str) -> String {
        String::from_utf8_lossy(&self.ask(request, "upgrade, close").await).into_owned()
    }

    /// The body of the answer to a request that is granted.
    pub async fn get(&self, request: &str) -> Vec<u8> {
        // Without chunks: the body ends where the connection does.
        let (head, body) = http_bytes(self.address, &request.replace("HTTP/1.1", "HTTP/1.0")).await;
        assert!(head.starts_with("HTTP/1.0 200"), "{head}");
        body
    }

    async fn ask(&self, request: &str, connection: &str) -> Vec<u8> {
        ask(self.address, request, connection).await
    }
}

/// The answer to a request of a line and headers; Host is added if it has none.
pub async fn http(address: SocketAddr, request: &str) -> String {
    String::from_utf8_lossy(&ask(address, request, "close").await).into_owned()
}

/// The same: head and body. With HTTP/1.0 the body comes without chunks.
pub async fn http_bytes(address: SocketAddr, request: &str) -> (String, Vec<u8>) {
    let answer = ask(address, request, "close").await;
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head ends");
    (String::from_utf8_lossy(&answer[..head]).into_owned(), answer[head + 4..].to_vec())
}

async fn ask(address: SocketAddr, request: &str, connection: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let host = if request.contains("Host:") { String::new() } else { format!("Host: {address}\r\n") };
    let request = format!("{}\r\n{host}Connection: {connection}\r\n\r\n", request.replace('\n', "\r\n"));
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    soon("an answer", stream.read_to_end(&mut answer)).await.unwrap();
    answer
}

/// What Welcome says.
#[derive(Clone, Debug)]
pub struct Welcome {
    pub dictionary: DictionaryId,
    pub lineage: Lineage,
    pub head: Seq,
    pub mode: Mode,
}

/// A client that sends and receives frames, and knows nothing of what they mean.
pub struct Raw {
    pub replica: ReplicaId,
    pub author: Author,
    person: Person,
    pub cursor: Seq,
    pub welcome: Option<Welcome>,
    next_batch: u64,
    socket: WebSocketStream<TcpStream>,
}

impl Raw {
    pub async fn connect(address: SocketAddr, name: &str) -> Self {
        Self::connect_with(address, name, None).await
    }

    /// Connects with a small receive buffer, for a client that is slow.
    pub async fn connect_with(address: SocketAddr, name: &str, receive_buffer: Option<u32>) -> Self {
        Self::connect_as(address, name, receive_buffer, Some(SUBPROTOCOL)).await
    }

    /// Asks for these subprotocols. The server has to choose one of them, as browsers demand.
    pub async fn connect_as(
        address: SocketAddr,
        name: &str,
        receive_buffer: Option<u32>,
        subprotocols: Option<&str>,
    ) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let stream = socket.connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut request = format!("ws://{address}{}", paths::socket(name)).into_client_request().unwrap();
        if let Some(subprotocols) = subprotocols {
            request.headers_mut().insert("sec-websocket-protocol", subprotocols.parse().unwrap());
        }
        let (socket, _) = soon("the upgrade", client_async(request, stream)).await.unwrap();
        let secret = Secret(u128::from(rand_like(address, name)).to_be_bytes());
        let person = Person { secret, name: AuthorName::new("Tester") };
        let (replica, author) = (secret.replica(), person.author());
        Self { person, replica, author, cursor: Seq(0), welcome: None, next_batch: 0, socket }
    }

    pub async fn send(&mut self, frame: &ClientFrame) {
        self.send_bytes(frame.encode()).await;
    }

    pub async fn send_bytes(&mut self, bytes: Vec<u8>) {
        self.send_message(Message::Binary(bytes.into())).await;
    }

    /// Sends a message while it reads, and returns the reason of the server's end of the connection.
    pub async fn send_until_bye(self, message: Message) -> (ByeCode, String) {
        let (mut sender, mut receiver) = self.socket.split();
        let bye = async {
            loop {
                let message = receiver.next().await.expect("Bye comes before the end").expect("Bye is readable");
                if let Message::Binary(bytes) = message
                    && let ServerFrame::Bye { code, message, .. } = ServerFrame::decode(&bytes).unwrap()
                {
                    return (code, message);
                }
            }
        };
        // It need not get through.
        let send = async {
            let _ = sender.send(message).await;
            std::future::pending::<()>().await;
        };
        soon("Bye", async {
            tokio::select! { bye = bye => bye, () = send => unreachable!() }
        })
        .await
    }

    /// Sends a frame; false when the connection is gone.
    pub async fn try_send(&mut self, frame: &ClientFrame) -> bool {
        soon("sending", self.socket.send(Message::Binary(frame.encode().into()))).await.is_ok()
    }

    /// Sends a message; false when the connection is gone.
    pub async fn try_send_message(&mut self, message: Message) -> bool {
        soon("sending", self.socket.send(message)).await.is_ok()
    }

    /// Writes bytes past the WebSocket protocol; false when the connection is gone.
    pub async fn try_send_garbage(&mut self, bytes: &[u8]) -> bool {
        soon("sending", self.socket.get_mut().write_all(bytes)).await.is_ok()
    }

    /// Sends nothing more, and reads frames until the server has closed.
    pub async fn leave(mut self) {
        // It fails when the server was the first.
        let _ = soon("the end of sending", self.socket.get_mut().shutdown()).await;
        while self.receive().await.is_some() {}
    }

    pub async fn send_message(&mut self, message: Message) {
        soon("sending", self.socket.send(message)).await.unwrap();
    }

    /// The next frame; none when the server has closed.
    pub async fn receive(&mut self) -> Option<ServerFrame> {
        loop {
            match soon("a frame", self.socket.next()).await {
                Some(Ok(Message::Binary(bytes))) => return Some(ServerFrame::decode(&bytes).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_))) | None | Some(Err(_)) => return None,
                Some(Ok(other)) => panic!("no frame: {other:?}"),
            }
        }
    }

    pub fn hello_frame(&self, dictionary: Option<DictionaryId>, lineage: Option<&Lineage>, cursor: Seq) -> ClientFrame {
        ClientFrame::Hello {
            versions: VERSIONS,
            token: None,
            replicas: vec![self.person.secret],
            dictionary,
            epoch: lineage.map(|lineage| lineage.current),
            lineage: lineage.map_or(Vec::new(), |lineage| lineage.past.clone()),
            cursor,
            client_ms: now_ms(),
            author: self.person.clone(),
            capabilities: 0,
            prefix: None,
        }
    }

    /// Says Hello, and waits for Welcome.
    pub async fn hello(&mut self, dictionary: Option<DictionaryId>, lineage: Option<&Lineage>, cursor: Seq) -> Welcome {
        self.send(&self.hello_frame(dictionary, lineage, cursor)).await;
        self.cursor = cursor;
        match self.receive().await {
            Some(ServerFrame::Welcome { dictionary, epoch, lineage, head, mode, .. }) => {
                let lineage = Lineage { past: lineage, current: epoch };
                let welcome = Welcome { dictionary, lineage, head, mode };
                self.welcome = Some(welcome.clone());
                welcome
            }
            other => panic!("no Welcome: {other:?}"),
        }
    }

    /// Asks for all after a cursor, and returns what is received until no more follows at once.
    pub async fn resume(&mut self, cursor: Seq) -> Vec<Delta> {
        let epoch = self.welcome.as_ref().expect("Hello comes first").lineage.current;
        self.send(&ClientFrame::Resume { epoch, cursor }).await;
        self.cursor = cursor;
        self.deltas().await
    }

    /// Deltas until one says that no more follows. Each continues the one before.
    pub async fn deltas(&mut self) -> Vec<Delta> {
        let mut deltas = Vec::new();
        loop {
            let delta = self.delta().await;
            let more = delta.has_more();
            deltas.push(delta);
            if !more {
                return deltas;
            }
        }
    }

    /// The next Delta; skips other frames.
    pub async fn delta(&mut self) -> Delta {
        loop {
            match self.receive().await.expect("the connection lives") {
                ServerFrame::Delta(delta) => {
                    assert_eq!(delta.prev(), Some(self.cursor), "a Delta continues the cursor");
                    self.cursor = delta.to;
                    return delta;
                }
                ServerFrame::Bye { message, .. } => panic!("Bye: {message}"),
                _ => {}
            }
        }
    }

    /// An operation of now that has seen whatever is there.
    pub fn op(&self, key: &str, value: Option<&str>) -> Op {
        op(self.replica, now_ms(), key, value)
    }

    /// Pushes, and returns the batch's number.
    pub async fn push(&mut self, ops: Vec<Op>) -> u64 {
        self.next_batch += 1;
        self.send(&ClientFrame::Push { batch: self.next_batch, ops }).await;
        self.next_batch
    }

    /// Pushes and waits for the Ack; keeps the cursor along.
    pub async fn write(&mut self, ops: Vec<Op>) -> (Seq, Vec<Exception>) {
        let batch = self.push(ops).await;
        self.ack(batch).await
    }

    /// The Ack of a batch; keeps the cursor along.
    pub async fn ack(&mut self, expected: u64) -> (Seq, Vec<Exception>) {
        loop {
            match self.receive().await.expect("the connection lives") {
                ServerFrame::Ack { batch, seq, exceptions } if batch == expected => return (seq, exceptions),
                ServerFrame::Delta(delta) => self.cursor = delta.to,
                ServerFrame::Bye { message, .. } => panic!("Bye: {message}"),
                _ => {}
            }
        }
    }

    /// The reason of the server's end of the connection; skips other frames. Nothing comes after it.
    pub async fn bye(&mut self) -> (ByeCode, String, u64) {
        loop {
            let frame = self.receive().await.expect("Bye comes before the end");
            if let ServerFrame::Bye { code, message, retry_after_ms } = frame {
                assert_eq!(self.receive().await, None, "Bye is the last frame");
                return (code, message, retry_after_ms);
            }
        }
    }

    /// Closes the socket.
    pub async fn close(mut self) {
        soon("closing", self.socket.close(None)).await.unwrap();
    }
}

/// An operation that has seen whatever is there, so that it conflicts with nothing.
pub fn op(replica: ReplicaId, millis: u64, key: &str, value: Option<&str>) -> Op {
    let stamp = Stamp::new(HybridTime::from_millis(millis), value.is_some(), replica);
    let value = value.map(str::to_owned);
    Op { key: key.to_owned(), value, stamp, seen: vec![Stamp::MAX], author: None, recovered: None }
}

/// A number that differs from connection to connection.
fn rand_like(address: SocketAddr, name: &str) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one((address, name))
}

/// A past epoch, for a Hello.
pub fn past(epoch: u64, end: u64) -> PastEpoch {
    PastEpoch { epoch: Epoch(epoch), end: Seq(end) }
}
