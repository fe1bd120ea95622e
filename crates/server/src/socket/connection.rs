//! One connection: moves frames, commits and answers between a socket and its [`Session`], which decides what they mean.
//!
//! While a write waits for those before it to be written, or too many pushes have no answer, the socket is not read: that is the
//! backpressure. Everything else goes on meanwhile, and a Pong now and then says so.

use std::{future::Future, ops::ControlFlow, sync::Arc, time::Duration};

use axum::extract::ws::{Message, WebSocket};
use futures_util::{SinkExt, StreamExt};
use keybook_core::{
    DictionaryName,
    limits::PUSHES_IN_FLIGHT_MAX,
    server::{Opened, Request, Session},
    wire::{ByeCode, SUBPROTOCOL, ServerFrame},
};
use keybook_store::{StoreError, Summary};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, error};

use crate::{
    Dictionary, access,
    clock::now,
    damage::Found,
    feeds::{ConnectionNumber, Event, News, Subscription},
    limits::{CATCH_UP_BYTES, DAMAGED_RETRY_MS, NEWS_BYTES, QUEUED_BYTES_MAX},
    shared::{Shared, Stop},
    writer::{Answer, Reply, Write},
};

/// A connection before and while it lives.
pub(super) struct Connection {
    server: Arc<Shared>,
    dictionary: DictionaryName,
    number: ConnectionNumber,
    session: Session,
    /// Since the dictionary was opened.
    subscription: Option<Subscription>,
    answers: mpsc::Receiver<Answer>,
    /// What the writer answers through.
    answers_to: mpsc::Sender<Answer>,
    /// Writes whose answers have not come, the one that waits included.
    unanswered: usize,
    /// Waits for room.
    write: Option<Write>,
    /// The bytes that may wait for the writer and do not.
    room: Arc<Semaphore>,
    /// Since the socket is not read: when to say that the server lives.
    keepalive_at: Option<Instant>,
    /// Whether others have been told about this connection.
    is_present: bool,
    /// Whether it brought what is no message, so that nothing more can be read.
    is_unreadable: bool,
    damage: watch::Receiver<Found>,
    stop: watch::Receiver<Stop>,
}

/// What [`Connection::wait`] waited for.
enum Happening {
    News(News),
    Answer(Answer),
    /// The write has left.
    Queued,
    Message(Option<Result<Message, axum::Error>>),
    Time,
    Damage,
    Stop,
}

/// Why a connection ends without Bye.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("it does not read")]
    Stalled,
    #[error("{0}")]
    Socket(#[from] axum::Error),
}

impl Connection {
    pub(super) fn new(server: Arc<Shared>, dictionary: DictionaryName) -> Self {
        let (answers_to, answers) = mpsc::channel(PUSHES_IN_FLIGHT_MAX);
        let session = Session::with_deadlines(server.config.limits, server.config.timeouts.session, now());
        let number = server.next_connection();
        let (damage, stop) = (server.damage.subscribe(), server.stop.subscribe());
        Self {
            server,
            dictionary,
            number,
            session,
            subscription: None,
            answers,
            answers_to,
            unanswered: 0,
            write: None,
            room: Arc::new(Semaphore::new(QUEUED_BYTES_MAX)),
            keepalive_at: None,
            is_present: false,
            is_unreadable: false,
            damage,
            stop,
        }
    }

    /// It speaks another subprotocol than this server: all that it is told is that.
    pub(super) fn refuse(&mut self, asked: &str) {
        let message = format!("subprotocol asked for: {asked}; this server speaks {SUBPROTOCOL}");
        self.session.close(ByeCode::Version, &message, 0);
    }

    /// Serves the socket until one end has enough.
    pub(super) async fn run(mut self, mut socket: WebSocket) {
        if let Err(lost) = self.serve(&mut socket).await {
            debug!("connection {} lost: {lost}", self.number.0);
        }
        self.leave();
    }

    async fn serve(&mut self, socket: &mut WebSocket) -> Result<(), Lost> {
        self.close_if_stopped();
        loop {
            self.send_all(socket).await?;
            if self.session.is_closed() {
                return self.close(socket).await;
            }
            // One request at a time; the next when all frames that the last one brought have been sent.
            if self.write.is_none()
                && let Some(request) = self.session.poll_request()
            {
                self.handle_request(request).await;
                continue;
            }
            let happening = self.wait(socket).await;
            if self.handle(happening).is_break() {
                return Ok(());
            }
        }
    }

    /// Waits for whatever comes first.
    async fn wait(&mut self, socket: &mut WebSocket) -> Happening {
        let reads = self.reads();
        let timeouts = self.server.config.timeouts;
        let deadline = if reads {
            self.keepalive_at = None;
            Instant::now() + Duration::from_millis(self.session.poll_timeout().saturating_sub(now().steady_ms))
        } else {
            *self.keepalive_at.get_or_insert_with(|| Instant::now() + timeouts.keepalive)
        };
        let Self { server, subscription, answers, write, room, damage, stop, .. } = self;
        let bytes = write.as_ref().map_or(0, |write| write.command.bytes().min(QUEUED_BYTES_MAX));
        let news = async {
            match subscription {
                Some(subscription) => subscription.next().await,
                None => std::future::pending().await,
            }
        };
        // What has come counts, even if it was read only after the time was over.
        let message_or_time = async {
            tokio::select! {
                biased;
                message = socket.next(), if reads => Happening::Message(message),
                () = sleep_until(deadline) => Happening::Time,
            }
        };
        tokio::select! {
            news = news => Happening::News(news),
            Some(answer) = answers.recv() => Happening::Answer(answer),
            Ok(room) = room.clone().acquire_many_owned(bytes as u32), if write.is_some() => {
                if let Some(write) = write.take() {
                    server.writer.write(write.with_room(room));
                }
                Happening::Queued
            }
            Ok(()) = damage.changed() => Happening::Damage,
            Ok(()) = stop.changed() => Happening::Stop,
            happening = message_or_time => happening,
        }
    }

    /// Whether the socket is being read.
    fn reads(&self) -> bool {
        self.session.wants_frame() && self.write.is_none() && *self.stop.borrow() == Stop::No
    }

    fn handle(&mut self, happening: Happening) -> ControlFlow<()> {
        match happening {
            Happening::News(news) => self.handle_news(news),
            Happening::Answer(Answer { batch, receipt }) => {
                self.unanswered -= 1;
                self.session.handle_receipt(batch, &receipt);
                self.close_if_stopped();
            }
            Happening::Queued => self.close_if_stopped(),
            Happening::Message(None | Some(Ok(Message::Close(_)))) => return ControlFlow::Break(()),
            Happening::Message(Some(message)) => self.handle_message(message),
            Happening::Time => self.handle_time(),
            Happening::Damage => self.close_if_damaged(),
            Happening::Stop => self.close_if_stopped(),
        }
        ControlFlow::Continue(())
    }

    fn handle_message(&mut self, message: Result<Message, axum::Error>) {
        match message {
            Ok(Message::Binary(bytes)) => self.session.handle_message(&bytes, now()),
            Ok(Message::Text(text)) => {
                let message = format!("a text message of {} bytes; every frame is a binary message", text.len());
                self.session.handle_bad_message(&message);
            }
            // The library answers them. They are no sign of life of the client: a proxy sends them too.
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_)) => {}
            // A message over the limit, with its size and the limit; or no WebSocket frame; or the line is cut, and Bye
            // goes nowhere.
            Err(error) => {
                self.is_unreadable = true;
                self.session.handle_bad_message(&error.to_string());
            }
        }
    }

    /// Takes the news that there are, so that they go out together; but no more than a client gets that reads slowly.
    fn handle_news(&mut self, first: News) {
        let (mut next, mut bytes) = (Some(first), 0);
        while let Some(news) = next {
            match news {
                News::Event(event) => {
                    bytes += event.bytes();
                    self.handle_event(event);
                }
                News::Lagged => self.session.handle_lagged(),
            }
            let more = self.subscription.as_mut().filter(|_| bytes < NEWS_BYTES);
            next = more.and_then(Subscription::try_next);
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Commit(commit) => self.session.handle_commit(&commit),
            Event::Presence { about, .. } if about == self.number => {}
            Event::Presence { frame, .. } => self.session.handle_presence(frame),
        }
    }

    fn handle_time(&mut self) {
        if self.reads() {
            self.session.handle_timeout(now());
        } else {
            self.keepalive_at = None;
            self.session.handle_keepalive(now());
        }
    }

    /// When the server stops: Bye, after what was taken has been answered.
    fn close_if_stopped(&mut self) {
        let stop = *self.stop.borrow();
        match stop {
            Stop::No => {}
            Stop::Shutdown if self.unanswered > 0 || self.write.is_some() => {}
            Stop::Shutdown => {
                let retry_after_ms = self.server.config.timeouts.retry_after.as_millis() as u64;
                self.session.close(ByeCode::Shutdown, "the server stops", retry_after_ms);
            }
            Stop::Failed => self.fail(),
        }
    }

    /// When the dictionary is not what it was. Whoever comes back may find it restored.
    fn close_if_damaged(&mut self) {
        if self.damage.borrow_and_update().contains_key(&self.dictionary) {
            let message =
                "this dictionary is damaged on the server's disk; nobody can read or edit it until it is restored";
            self.session.close(ByeCode::Damaged, message, DAMAGED_RETRY_MS);
        }
    }

    fn fail(&mut self) {
        let retry_after_ms = self.server.config.timeouts.retry_after.as_millis() as u64;
        self.session.close(ByeCode::Failed, "the server cannot go on; what it acknowledged is safe", retry_after_ms);
    }

    async fn handle_request(&mut self, request: Request) {
        match request {
            Request::Open { token } => {
                let role = access::role(&self.dictionary, token.as_deref());
                self.subscription = Some(self.server.feeds.subscribe(&self.dictionary));
                self.read(Dictionary::summary, move |session, found| {
                    let Summary { id, lineage, counters, .. } = found;
                    session.handle_opened(Opened { id, lineage, counters, role }, now());
                })
                .await;
            }
            Request::CatchUp { after } => {
                let read = move |dictionary: &Dictionary| dictionary.catch_up(after, CATCH_UP_BYTES);
                self.read(read, |session, found| session.handle_catch_up(&found)).await;
            }
            Request::Check => {
                self.read(Dictionary::summary, |session, found| session.handle_counters(&found.counters)).await;
            }
            Request::Apply { command, actor, batch } => {
                let reply = Reply { batch, to: self.answers_to.clone() };
                self.unanswered += 1;
                self.write = Some(Write::new(self.dictionary.clone(), actor, command, reply));
            }
            Request::Presence { blob } => {
                self.is_present = true;
                self.tell_presence(Some(blob));
            }
        }
    }

    /// Reads from the store, off the threads that serve sockets, and hands what was found to the session.
    async fn read<T: Send + 'static>(
        &mut self,
        read: impl FnOnce(&Dictionary) -> Result<T, StoreError> + Send + 'static,
        found: impl FnOnce(&mut Session, T),
    ) {
        match self.server.reader.read(&self.dictionary, read).await {
            Ok(value) => found(&mut self.session, value),
            Err(StoreError::Corrupt(_)) => self.close_if_damaged(),
            Err(error) => {
                error!("reading fails: {error}");
                self.fail();
            }
        }
    }

    fn tell_presence(&self, blob: Option<Vec<u8>>) {
        let Some(actor) = self.session.actor() else { return };
        let (about, author) = (self.number, actor.author.clone());
        self.server.feeds.publish(&self.dictionary, || {
            let presence = ServerFrame::Presence { connection: about.0, author, blob: blob.map(Into::into) };
            Event::Presence { about, frame: presence.encode().into() }
        });
    }

    fn leave(&self) {
        if self.is_present {
            self.tell_presence(None);
        }
    }

    /// Sends what waits. Each frame has its time: the socket's buffer takes it, or the client does not read.
    async fn send_all(&mut self, socket: &mut WebSocket) -> Result<(), Lost> {
        let stall = self.server.config.timeouts.stall;
        let mut sent = false;
        while let Some(frame) = self.session.poll_transmit() {
            within(stall, socket.feed(Message::Binary(frame))).await?;
            sent = true;
        }
        if sent {
            within(stall, socket.flush()).await?;
        }
        Ok(())
    }

    /// Bye has been sent. Waits for the other end to close: what it has sent meanwhile must be read, or the system resets
    /// the connection, and Bye with it. What cannot be read stays where it is for as long as this end waits.
    async fn close(&mut self, socket: &mut WebSocket) -> Result<(), Lost> {
        let timeouts = self.server.config.timeouts;
        within(timeouts.stall, socket.send(Message::Close(None))).await?;
        let drained = async {
            while let Some(Ok(_)) = socket.next().await {}
            if self.is_unreadable {
                std::future::pending::<()>().await;
            }
        };
        if timeout(timeouts.linger, drained).await.is_err() {
            debug!("connection {} does not close after Bye", self.number.0);
        }
        Ok(())
    }
}

async fn within(stall: Duration, sent: impl Future<Output = Result<(), axum::Error>>) -> Result<(), Lost> {
    Ok(timeout(stall, sent).await.map_err(|_| Lost::Stalled)??)
}
