//! A socket to a dictionary: messages of the wire go out and come in, and nothing is made of them here.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::{FutureExt, Sink, Stream};
use keybook_core::{paths, wire::SUBPROTOCOL};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Message,
        client::IntoClientRequest,
        http::HeaderValue,
        protocol::{CloseFrame, WebSocketConfig},
    },
};

use crate::address::Address;

/// What the system is asked for at once: a message of changes, or a good part of one.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// An open connection that speaks the frames of [`keybook_core::wire`], for a program that wants no replica. Hello has not
/// been said.
#[derive(Debug)]
pub struct Connection {
    socket: Box<WebSocketStream<TcpStream>>,
    /// Waits until the socket takes it.
    waiting: Option<Message>,
    /// Something has been written, and not all of it has left.
    is_dirty: bool,
}

/// What [`Connection::step`] waited for.
#[derive(Debug)]
pub enum Step {
    /// The socket has taken the message of [`Connection::send`]: there is room for another.
    Taken,
    /// A binary message came.
    Received(Bytes),
}

/// Why a connection ended, or could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The socket failed.
    #[error(transparent)]
    Socket(#[from] Box<tokio_tungstenite::tungstenite::Error>),
    /// The server closed it.
    #[error("the server closed{}", .0.as_ref().map_or(String::new(), |frame| format!(": {frame}")))]
    Closed(Option<CloseFrame>),
    /// A message that is not binary: no server of Keybook sends one.
    #[error("a message that is not binary")]
    NotBinary,
}

impl Connection {
    /// Connects to a dictionary.
    ///
    /// # Errors
    /// When nobody is there, or it is no server of Keybook.
    pub async fn open(address: &Address) -> Result<Self, ConnectionError> {
        Self::connect(address).await.map_err(|error| ConnectionError::Socket(Box::new(error)))
    }

    async fn connect(address: &Address) -> Result<Self, tokio_tungstenite::tungstenite::Error> {
        let stream = TcpStream::connect(address.authority()).await?;
        // A frame is a whole thought: nothing is gained by waiting for more of it.
        stream.set_nodelay(true)?;
        let mut request =
            format!("ws://{}{}", address.authority(), paths::socket(address.name())).into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
        let (socket, _) = client_async_with_config(request, stream, Some(config)).await?;
        Ok(Self { socket: Box::new(socket), waiting: None, is_dirty: false })
    }

    /// Whether the socket has taken what was sent before.
    pub fn has_room(&self) -> bool {
        self.waiting.is_none()
    }

    /// Sends a message; it leaves while [`Connection::step`] is awaited.
    ///
    /// # Panics
    /// When there is no room.
    pub fn send(&mut self, frame: Vec<u8>) {
        assert!(self.has_room(), "a message waits already");
        self.waiting = Some(Message::Binary(frame.into()));
    }

    /// Sends, and waits for what comes first. It reads while it sends: two ends that both only sent would wait for each
    /// other for ever. Cancel safe.
    ///
    /// # Errors
    /// When the connection has ended; it is of no more use then.
    pub async fn step(&mut self) -> Result<Step, ConnectionError> {
        poll_fn(|cx| self.poll_step(cx)).await
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<Step, ConnectionError>> {
        let mut socket = Pin::new(&mut *self.socket);
        if self.waiting.is_some() {
            if let Poll::Ready(ready) = socket.as_mut().poll_ready(cx) {
                ready.map_err(Box::new)?;
                let message = self.waiting.take().expect("it was just seen");
                socket.start_send(message).map_err(Box::new)?;
                self.is_dirty = true;
                return Poll::Ready(Ok(Step::Taken));
            }
        } else if self.is_dirty
            && let Poll::Ready(flushed) = socket.as_mut().poll_flush(cx)
        {
            flushed.map_err(Box::new)?;
            self.is_dirty = false;
        }
        loop {
            let message = ready!(socket.as_mut().poll_next(cx)).transpose().map_err(Box::new)?;
            return Poll::Ready(match message {
                Some(Message::Binary(bytes)) => Ok(Step::Received(bytes)),
                // The library answers them.
                Some(Message::Ping(_) | Message::Pong(_)) => continue,
                Some(Message::Close(frame)) => Err(ConnectionError::Closed(frame)),
                Some(Message::Text(_) | Message::Frame(_)) => Err(ConnectionError::NotBinary),
                None => Err(ConnectionError::Closed(None)),
            });
        }
    }

    /// Says that it ends, without waiting for an answer.
    pub fn close(mut self) {
        // The other end may be gone already.
        let _ = self.socket.close(None).now_or_never();
    }
}
