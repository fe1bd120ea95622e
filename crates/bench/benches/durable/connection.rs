//! A connection that sends frames made before, and looks at nothing but acks while the clock runs.

use std::{error::Error, time::Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use keybook_core::{
    AuthorName, Person, Secret, Seq, paths,
    wire::{ClientFrame, Delta, SUBPROTOCOL, ServerFrame},
};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

/// The byte behind the head of an Ack's array: its number.
const ACK: u8 = 18;

/// The benchmark ends with whatever fails.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// A client that follows the dictionary.
pub(crate) struct Connection {
    socket: WebSocketStream<TcpStream>,
    /// Frames other than acks, to be read when there is time.
    others: Vec<Bytes>,
}

/// What came of a connection's pushes.
pub(crate) struct Written {
    /// When the last ack had come.
    pub(crate) end: Instant,
    /// The highest seq of the acks.
    pub(crate) seq: Seq,
}

/// Of all connections: the stamps of the frames are another replica's.
const SECRET: Secret = Secret([1; 16]);

impl Connection {
    /// Connects to the server at `url`, as one that has all there is and is told what follows.
    pub(crate) async fn follow(url: &str, dictionary: &str) -> Outcome<Self> {
        let address = url.strip_prefix("http://").ok_or("no address")?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut request = format!("ws://{address}{}", paths::socket(dictionary)).into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", SUBPROTOCOL.parse()?);
        let (socket, _) = client_async(request, stream).await?;
        let mut connection = Self { socket, others: Vec::new() };
        let author = Person { secret: SECRET, name: AuthorName::new("Loader") };
        connection.send(&ClientFrame::hello(SECRET, author)).await?;
        let welcome = ServerFrame::decode(&connection.receive().await?)?;
        let ServerFrame::Welcome { epoch, head, .. } = welcome else { return Err("no Welcome".into()) };
        connection.send(&ClientFrame::Resume { epoch, cursor: head }).await?;
        while !matches!(ServerFrame::decode(&connection.receive().await?)?, ServerFrame::Delta(delta) if !delta.has_more())
        {
        }
        Ok(connection)
    }

    /// Sends the pushes, with at most `in_flight` of them unanswered, and waits for all answers.
    pub(crate) async fn write(&mut self, pushes: &[Bytes], in_flight: usize) -> Outcome<Written> {
        let (mut sent, mut acked, mut head) = (0, 0, Seq(0));
        while acked < pushes.len() {
            while sent < pushes.len() && sent - acked < in_flight {
                self.socket.feed(Message::Binary(pushes[sent].clone())).await?;
                sent += 1;
            }
            self.socket.flush().await?;
            let frame = self.receive().await?;
            if frame.get(1) != Some(&ACK) {
                self.others.push(frame);
                continue;
            }
            match ServerFrame::decode(&frame)? {
                ServerFrame::Ack { seq, exceptions, .. } if exceptions.is_empty() => head = seq,
                refused => return Err(format!("not every operation was applied: {refused:?}").into()),
            }
            acked += 1;
        }
        Ok(Written { end: Instant::now(), seq: head })
    }

    /// The heads after the commits since the connection follows, up to `last`. Each is told in one Delta, or in several of
    /// which the last says that no more follow.
    pub(crate) async fn commits(&mut self, last: Seq) -> Outcome<Vec<Seq>> {
        let mut commits = Vec::new();
        let mut others = std::mem::take(&mut self.others).into_iter();
        while commits.last() < Some(&last) {
            let frame = match others.next() {
                Some(frame) => frame,
                None => self.receive().await?,
            };
            if let ServerFrame::Delta(Delta { to, more: None, .. }) = ServerFrame::decode(&frame)? {
                commits.push(to);
            }
        }
        Ok(commits)
    }

    async fn send(&mut self, frame: &ClientFrame) -> Outcome<()> {
        Ok(self.socket.send(Message::Binary(frame.encode().into())).await?)
    }

    async fn receive(&mut self) -> Outcome<Bytes> {
        loop {
            match self.socket.next().await.ok_or("the server has closed")?? {
                Message::Binary(frame) => return Ok(frame),
                Message::Close(_) => return Err("the server has closed".into()),
                _ => {}
            }
        }
    }
}
