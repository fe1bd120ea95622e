//! The driver: does for the replica what it asks for.
//!
//! It reads while it sends: two ends that both only sent would wait for each other for ever.

use std::{future::poll_fn, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{
    FutureExt, SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use keybook_core::{
    client::{Action, Client as Replica},
    wire::SUBPROTOCOL,
};
use tokio::{net::TcpStream, task::JoinHandle, time::sleep};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, Message, client::IntoClientRequest, http::HeaderValue},
};
use tracing::debug;

use crate::{
    address::Address,
    client::{Shared, now_ms, random},
    snapshot::{self, FetchError},
};

type Socket = WebSocketStream<TcpStream>;

/// Drives the replica until the client is closed.
pub(crate) async fn run(shared: Arc<Shared>, address: Address) {
    let mut driver = Driver { shared, address, socket: None, connecting: None, fetching: None };
    while !driver.is_closing() {
        driver.act();
        driver.step().await;
    }
    driver.close().await;
}

struct Driver {
    shared: Arc<Shared>,
    address: Address,
    socket: Option<Halves>,
    connecting: Option<Task<Result<Box<Socket>, tungstenite::Error>>>,
    fetching: Option<Task<Result<Bytes, FetchError>>>,
}

/// An open socket.
struct Halves {
    sink: SplitSink<Socket, Message>,
    stream: SplitStream<Socket>,
    /// Waits until the socket takes it.
    next: Option<Message>,
    /// Something has been written, and not all of it has left.
    is_dirty: bool,
}

/// A task that ends with its owner.
struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    fn spawn(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The output of a task, if there is one.
async fn output<T>(task: &mut Option<Task<T>>) -> T {
    match task {
        Some(running) => {
            let output =
                (&mut running.0).await.expect("the task does not panic, and is not cancelled while it is here");
            *task = None;
            output
        }
        None => std::future::pending().await,
    }
}

/// What a step waited for.
enum Happening {
    Woken,
    Connected(Result<Box<Socket>, tungstenite::Error>),
    Fetched(Result<Bytes, FetchError>),
    Received(Option<Result<Message, tungstenite::Error>>),
    /// The socket takes another message, or it is gone.
    Writable(Result<(), tungstenite::Error>),
    Flushed(Result<(), tungstenite::Error>),
    Time,
}

impl Driver {
    fn is_closing(&self) -> bool {
        *self.shared.closing.borrow()
    }

    /// Begins what the replica asks for, and tells the program what has changed.
    fn act(&mut self) {
        let mut events = Vec::new();
        loop {
            let action = {
                let mut replica = self.shared.replica();
                events.extend(std::iter::from_fn(|| replica.poll_event()));
                // There is nobody whose copy of the outbox they concern.
                replica.take_outbox_changes();
                replica.poll_action()
            };
            match action {
                None => break,
                Some(Action::Connect) => self.connecting = Some(Task::spawn(connect(self.address.clone()))),
                Some(Action::FetchSnapshot) => self.fetching = Some(Task::spawn(snapshot::fetch(self.address.clone()))),
                Some(Action::Disconnect) => self.disconnected(None),
            }
        }
        self.shared.publish(events);
    }

    /// Waits for whatever comes first, and tells the replica.
    async fn step(&mut self) {
        let timeout = {
            let mut replica = self.shared.replica();
            if let Some(socket) = &mut self.socket
                && socket.next.is_none()
            {
                socket.next = replica.poll_transmit().map(|bytes| Message::Binary(bytes.into()));
            }
            replica.poll_timeout()
        };
        let happening = self.wait(timeout).await;
        self.handle(happening);
    }

    async fn wait(&mut self, timeout: Option<u64>) -> Happening {
        let Self { shared, socket, connecting, fetching, .. } = self;
        let mut closing = shared.closing.subscribe();
        let socket = async {
            match socket {
                None => std::future::pending().await,
                Some(Halves { sink, stream, next, is_dirty }) => {
                    let sent = poll_fn(|cx| match next {
                        Some(_) => sink.poll_ready_unpin(cx).map(Happening::Writable),
                        None => sink.poll_flush_unpin(cx).map(Happening::Flushed),
                    });
                    tokio::select! {
                        message = stream.next() => Happening::Received(message),
                        happening = sent, if next.is_some() || *is_dirty => happening,
                    }
                }
            }
        };
        let time = async {
            match timeout {
                Some(at_ms) => sleep(Duration::from_millis(at_ms.saturating_sub(now_ms()))).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.wake.notified() => Happening::Woken,
            _ = closing.wait_for(|&closing| closing) => Happening::Woken,
            connected = output(connecting) => Happening::Connected(connected),
            fetched = output(fetching) => Happening::Fetched(fetched),
            happening = socket => happening,
            () = time => Happening::Time,
        }
    }

    fn handle(&mut self, happening: Happening) {
        match happening {
            Happening::Woken => {}
            Happening::Time => self.replica(|replica| replica.handle_timeout(now_ms())),
            Happening::Connected(Ok(socket)) => {
                let (sink, stream) = (*socket).split();
                self.socket = Some(Halves { sink, stream, next: None, is_dirty: false });
                self.shared.set_trouble(None);
                self.replica(|replica| replica.handle_connected(now_ms()));
            }
            Happening::Fetched(Ok(bytes)) => self.replica(|replica| replica.handle_snapshot(&bytes, now_ms())),
            Happening::Fetched(Err(error)) => {
                self.shared.set_trouble(Some(error.to_string()));
                self.replica(|replica| replica.handle_snapshot_failed(&error.to_string()));
            }
            Happening::Received(Some(Ok(Message::Binary(bytes)))) => {
                self.replica(|replica| replica.handle_message(&bytes, now_ms()));
            }
            // The library answers them.
            Happening::Received(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
            Happening::Received(Some(Ok(_)) | None) => self.disconnected(Some("the server closed".to_owned())),
            Happening::Writable(Ok(())) => self.transmit(),
            Happening::Flushed(Ok(())) => {
                if let Some(socket) = &mut self.socket {
                    socket.is_dirty = false;
                }
            }
            Happening::Connected(Err(error))
            | Happening::Received(Some(Err(error)))
            | Happening::Writable(Err(error))
            | Happening::Flushed(Err(error)) => self.disconnected(Some(error.to_string())),
        }
    }

    /// The socket takes a message now.
    fn transmit(&mut self) {
        let Some(socket) = &mut self.socket else { return };
        let Some(message) = socket.next.take() else { return };
        socket.is_dirty = true;
        if let Err(error) = socket.sink.start_send_unpin(message) {
            self.disconnected(Some(error.to_string()));
        }
    }

    fn disconnected(&mut self, why: Option<String>) {
        (self.socket, self.connecting, self.fetching) = (None, None, None);
        if let Some(why) = why {
            debug!("not connected to {}: {why}", self.address);
            self.shared.set_trouble(Some(why));
        }
        self.replica(|replica| replica.handle_disconnected(now_ms(), random()));
    }

    fn replica(&self, tell: impl FnOnce(&mut Replica)) {
        tell(&mut self.shared.replica());
    }

    async fn close(&mut self) {
        if let Some(mut socket) = self.socket.take() {
            // The other end may be gone already.
            let _ = socket.sink.close().now_or_never();
        }
    }
}

async fn connect(address: Address) -> Result<Box<Socket>, tungstenite::Error> {
    let stream = TcpStream::connect(address.authority()).await?;
    // A frame is a whole thought: nothing is gained by waiting for more of it.
    stream.set_nodelay(true)?;
    let mut request = format!("ws://{}{}", address.authority(), address.path("socket")).into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
    let (socket, _) = client_async(request, stream).await?;
    Ok(Box::new(socket))
}
