//! The server's end of one connection: what the client has been sent, what it still lacks, and when the server gives it up.
//!
//! While a session keeps up, it passes commits on as they come. When it has missed one, because its client is new, was away or
//! reads slowly, it asks for pages of what changed since its cursor, in which a key that was written twice appears once. So a
//! slow reader costs no memory, and nobody is disconnected for being slow.
//!
//! It does no I/O. What has to be done outside is a [`Request`]. While one waits to be taken, the driver reads no further frame:
//! that is the backpressure.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{
    AuthorNumbers, DictionaryId, Lineage, Secret, Seq,
    limits::{HELLO_MS_MAX, Limits, PUSHES_IN_FLIGHT_MAX, REPLICAS_MAX, SILENT_MS_MAX},
    mutants::mutant,
    server::{Actor, Command, Commit, Counters, Now, Receipt},
    wire::{ByeCode, Change, ClientFrame, Delta, FRAME_IGNORED_MIN, Mode, Role, ServerFrame, VERSIONS, WireError},
};

/// How long a session waits for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For Hello, in milliseconds.
    pub hello_ms: u64,
    /// For any frame after it, in milliseconds.
    pub silent_ms: u64,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { hello_ms: HELLO_MS_MAX, silent_ms: SILENT_MS_MAX }
    }
}

/// A commit as it is sent: encoded once, shared by all who receive it.
#[derive(Clone, Debug)]
pub struct Broadcast {
    /// The head before it.
    pub prev: Seq,
    /// The head after it.
    pub to: Seq,
    /// Its Deltas, at least one.
    pub frames: Vec<Bytes>,
}

impl Broadcast {
    /// Encodes a commit into frames of at most `limits.delta_bytes()`.
    pub fn new(commit: &Commit, limits: &Limits) -> Self {
        let Commit { prev, to, changes, numbers } = commit;
        Self { prev: *prev, to: *to, frames: encode_deltas(changes, *prev, *to, false, numbers, limits) }
    }
}

/// A page of what changed since a cursor: whole batches, by rising seq.
#[derive(Clone, Debug)]
pub struct CatchUp {
    /// The cursor that it continues.
    pub after: Seq,
    /// The changes above `after` and up to `to`.
    pub changes: Vec<Change>,
    /// The numbers of the authors in them.
    pub numbers: AuthorNumbers,
    /// The last batch of the page; the head, if `more` is false.
    pub to: Seq,
    /// Whether more had changed when the page was read.
    pub more: bool,
}

impl CatchUp {
    fn has_next(&self) -> bool {
        if mutant!("the first page is the last") {
            return false;
        }
        self.more
    }
}

/// A dictionary as a session finds it, of one moment.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its identity.
    pub id: DictionaryId,
    /// Its epochs.
    pub lineage: Lineage,
    /// Its counters.
    pub counters: Counters,
    /// What this connection may do.
    pub role: Role,
}

/// What a session needs done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Check the token, follow the commits from now on, and then answer with [`Session::handle_opened`].
    Open {
        /// The token of Hello.
        token: Option<String>,
    },
    /// Have a command applied. Further requests may come before the answer.
    Apply {
        /// The command.
        command: Command,
        /// Who asks.
        actor: Actor,
        /// The number that the answer repeats: call [`Session::handle_receipt`] with it. None if the client is told nothing.
        batch: Option<u64>,
    },
    /// Read what changed after a cursor; answer with [`Session::handle_catch_up`].
    CatchUp {
        /// The cursor.
        after: Seq,
    },
    /// Read the counters; answer with [`Session::handle_counters`].
    Check,
    /// Tell the other connections; needs no answer.
    Presence {
        /// What to tell.
        blob: Vec<u8>,
    },
}

#[derive(Debug)]
enum Phase {
    /// No Hello yet.
    New,
    /// Waiting for [`Session::handle_opened`].
    Opening(Box<Hello>),
    /// The client fetches a snapshot.
    AwaitingResume,
    /// Follows commits from its cursor.
    Following,
    /// A page is being read.
    Reading,
    /// Bye has been said.
    Closed,
}

#[derive(Debug)]
struct Hello {
    /// The newest that both ends speak.
    version: u64,
    dictionary: Option<DictionaryId>,
    lineage: Option<Lineage>,
    cursor: Seq,
}

/// The server's end of one connection.
#[derive(Debug)]
pub struct Session {
    limits: Limits,
    deadlines: Deadlines,
    phase: Phase,
    actor: Option<Actor>,
    lineage: Lineage,
    /// What the client has been sent, once it follows.
    cursor: Seq,
    /// Commands without an ack.
    in_flight: usize,
    /// On the steady clock.
    deadline_ms: u64,
    transmits: VecDeque<Bytes>,
    requests: VecDeque<Request>,
}

impl Session {
    /// A connection that has just been opened.
    pub fn new(limits: Limits, now: Now) -> Self {
        Self::with_deadlines(limits, Deadlines::default(), now)
    }

    /// The same, with other deadlines than the default.
    pub fn with_deadlines(limits: Limits, deadlines: Deadlines, now: Now) -> Self {
        Self {
            limits,
            deadlines,
            phase: Phase::New,
            actor: None,
            lineage: Lineage::default(),
            cursor: Seq(0),
            in_flight: 0,
            deadline_ms: now.steady_ms + deadlines.hello_ms,
            transmits: VecDeque::new(),
            requests: VecDeque::new(),
        }
    }

    /// Who speaks, once Hello was said.
    pub fn actor(&self) -> Option<&Actor> {
        self.actor.as_ref()
    }

    /// Whether Bye has been said: what is in [`Session::poll_transmit`] is the last.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether the driver may read a frame: nothing is being opened, and not too many commands wait for their acks.
    pub fn wants_frame(&self) -> bool {
        !matches!(self.phase, Phase::Opening(_) | Phase::Closed)
            && self.in_flight < PUSHES_IN_FLIGHT_MAX
            && self.requests.is_empty()
    }

    /// A message came in.
    pub fn handle_message(&mut self, bytes: &[u8], now: Now) {
        self.deadline_ms = now.steady_ms + self.deadlines.silent_ms;
        match ClientFrame::decode(bytes) {
            Ok(frame) => self.handle_frame(frame, now),
            // A later version's, which it can do without.
            Err(WireError::UnknownFrame(FRAME_IGNORED_MIN..)) if !matches!(self.phase, Phase::New) => {}
            Err(error @ WireError::Version(_)) => self.close(ByeCode::Version, &error.to_string(), 0),
            Err(error) => self.close(ByeCode::Protocol, &error.to_string(), 0),
        }
    }

    /// A message came in that is no frame at all: text, or over the limit.
    pub fn handle_bad_message(&mut self, message: &str) {
        self.close(ByeCode::Protocol, message, 0);
    }

    fn handle_frame(&mut self, frame: ClientFrame, now: Now) {
        match (&self.phase, frame) {
            (Phase::Closed, _) => {}
            (
                Phase::New,
                ClientFrame::Hello { versions, token, replicas, dictionary, epoch, lineage, cursor, author, .. },
            ) => {
                let version = VERSIONS.common(versions).expect("a Hello of other versions does not decode");
                let lineage = epoch.map(|current| Lineage { past: lineage, current });
                self.phase = Phase::Opening(Box::new(Hello { version, dictionary, lineage, cursor }));
                let replicas = replicas.iter().map(Secret::replica).collect();
                self.actor = Some(Actor { role: Role::Reader, author: author.author(), replicas });
                self.requests.push_back(Request::Open { token });
            }
            (Phase::New, _) => self.close(ByeCode::Protocol, "the first frame must be Hello", 0),
            // The driver reads none until the dictionary is open; what it may do is not known before.
            (Phase::Opening(_), _) => self.close(ByeCode::Protocol, "a frame before Welcome", 0),
            (_, ClientFrame::Hello { .. }) => self.close(ByeCode::Protocol, "Hello was said before", 0),
            (_, ClientFrame::Push { batch, ops }) => self.request_command(Command::Push { ops }, Some(batch)),
            (_, ClientFrame::Group { batch, ops, conditions }) => {
                self.request_command(Command::Group { ops, conditions }, Some(batch));
            }
            (_, ClientFrame::Ping { client_ms }) => {
                self.transmit(&ServerFrame::Pong { client_ms, server_ms: now.wall_ms });
            }
            (_, ClientFrame::Presence { blob }) => self.requests.push_back(Request::Presence { blob: blob.into() }),
            (_, ClientFrame::Resume { epoch, .. }) if epoch != self.lineage.current => {
                self.close(ByeCode::Epoch, "the epoch of Resume has ended: connect again", 0);
            }
            (_, ClientFrame::Resume { cursor, .. }) => {
                self.cursor = cursor;
                self.read();
            }
            (_, ClientFrame::Resolve { batch, id, resolution }) => {
                self.request_command(Command::Resolve { id, resolution }, Some(batch));
            }
            (_, ClientFrame::Recover { batch, conflicts, authors }) => {
                let rows = conflicts.into_iter().map(|conflict| conflict.with_positions(&authors)).collect();
                match rows {
                    Ok(conflicts) => self.request_command(Command::Recover { conflicts, authors }, Some(batch)),
                    Err(error) => self.close(ByeCode::Protocol, &error.to_string(), 0),
                }
            }
            (_, ClientFrame::Check) => self.requests.push_back(Request::Check),
            (_, ClientFrame::Name { name }) => {
                self.actor.as_mut().expect("Hello comes first").author.name = name;
                self.request_command(Command::Name, None);
            }
            (_, ClientFrame::Prove { replicas }) => {
                let known = &mut self.actor.as_mut().expect("Hello comes first").replicas;
                for replica in replicas.iter().map(Secret::replica) {
                    if known.contains(&replica) {
                        continue;
                    }
                    if known.len() == REPLICAS_MAX {
                        known.remove(1);
                    }
                    known.push(replica);
                }
            }
        }
    }

    fn request_command(&mut self, command: Command, batch: Option<u64>) {
        let actor = self.actor.clone().expect("Hello comes first");
        self.in_flight += 1;
        self.requests.push_back(Request::Apply { command, actor, batch });
    }

    /// The dictionary is open, and its commits follow from this moment on.
    pub fn handle_opened(&mut self, opened: Opened, now: Now) {
        if !matches!(self.phase, Phase::Opening(_)) {
            return;
        }
        let Phase::Opening(hello) = std::mem::replace(&mut self.phase, Phase::AwaitingResume) else { return };
        let Opened { id, lineage, counters, role } = opened;
        let from = match (hello.dictionary, &hello.lineage) {
            (Some(dictionary), _) if dictionary != id => None,
            (_, Some(client)) => client.fork(hello.cursor, &lineage, counters.head),
            (_, None) => Some(Seq(0)),
        };
        // Who has nothing takes the snapshot, which is compressed and cached.
        let tail = from.filter(|&from| from >= counters.horizon.seq && (from > Seq(0) || counters.head == Seq(0)));
        self.transmit(&ServerFrame::Welcome {
            version: hello.version,
            role,
            dictionary: id,
            epoch: lineage.current,
            lineage: lineage.past.clone(),
            head: counters.head,
            horizon: counters.horizon,
            server_ms: now.wall_ms,
            mode: if tail.is_some() { Mode::Tail } else { Mode::Snapshot },
            limits: self.limits,
        });
        if let Some(actor) = &mut self.actor {
            actor.role = role;
        }
        self.lineage = lineage;
        match tail {
            None => self.phase = Phase::AwaitingResume,
            Some(from) => {
                self.cursor = from;
                if from == counters.head { self.phase = Phase::Following } else { self.read() }
            }
        }
    }

    /// A command is on disk.
    pub fn handle_receipt(&mut self, batch: Option<u64>, receipt: &Receipt) {
        self.in_flight -= 1;
        if let Some(batch) = batch.filter(|_| !self.is_closed()) {
            self.transmit(&ServerFrame::Ack { batch, seq: receipt.seq, exceptions: receipt.exceptions() });
        }
    }

    /// A commit was made. Commits come in their order; some may be missing.
    pub fn handle_commit(&mut self, commit: &Broadcast) {
        if !matches!(self.phase, Phase::Following) || commit.to <= self.cursor {
            return;
        }
        if commit.prev == self.cursor {
            self.cursor = commit.to;
            self.transmits.extend(commit.frames.iter().cloned());
        } else {
            self.read();
        }
    }

    /// Commits were missed.
    pub fn handle_lagged(&mut self) {
        if matches!(self.phase, Phase::Following) {
            self.read();
        }
    }

    /// A page was read. The driver sends what [`Session::poll_transmit`] has before it asks for the next request, so one
    /// page a connection is in memory.
    pub fn handle_catch_up(&mut self, page: &CatchUp) {
        if !matches!(self.phase, Phase::Reading) {
            return;
        }
        self.phase = Phase::Following;
        let CatchUp { after, changes, numbers, to, .. } = page;
        if to < after {
            let message = format!("the cursor of Resume is {}, the head is {}", after.0, to.0);
            return self.close(ByeCode::Protocol, &message, 0);
        }
        let more = page.has_next();
        // A Resume may have moved the cursor meanwhile.
        let continues = *after == self.cursor;
        if continues {
            self.transmits.extend(encode_deltas(changes, *after, *to, more, numbers, &self.limits));
            self.cursor = *to;
        }
        if more || !continues {
            self.read();
        }
    }

    /// The counters were read.
    pub fn handle_counters(&mut self, counters: &Counters) {
        if !self.is_closed() {
            self.transmit(&ServerFrame::Check(counters.check()));
        }
    }

    /// Another connection's presence; encoded once for all who receive it.
    pub fn handle_presence(&mut self, frame: Bytes) {
        if matches!(self.phase, Phase::Following | Phase::Reading) {
            self.transmits.push_back(frame);
        }
    }

    /// The driver has not been reading for a while, and the client may wonder: says that the server lives.
    pub fn handle_keepalive(&mut self, now: Now) {
        if !self.is_closed() {
            self.transmit(&ServerFrame::Pong { client_ms: 0, server_ms: now.wall_ms });
        }
    }

    /// When to call [`Session::handle_timeout`], on the steady clock.
    pub fn poll_timeout(&self) -> u64 {
        self.deadline_ms
    }

    /// Time has passed: a connection that is silent for too long is closed.
    pub fn handle_timeout(&mut self, now: Now) {
        if now.steady_ms < self.deadline_ms || self.is_closed() {
            return;
        }
        let Deadlines { hello_ms, silent_ms } = self.deadlines;
        let (what, limit_ms) =
            if matches!(self.phase, Phase::New) { ("no Hello", hello_ms) } else { ("no frame", silent_ms) };
        self.close(ByeCode::Silent, &format!("{what} for {limit_ms} ms"), 0);
    }

    /// Ends the connection with a reason, after what is already waiting.
    pub fn close(&mut self, code: ByeCode, message: &str, retry_after_ms: u64) {
        if !self.is_closed() {
            self.transmit(&ServerFrame::Bye { code, message: message.to_owned(), retry_after_ms });
            self.requests.clear();
            self.phase = Phase::Closed;
        }
    }

    /// The next message to send.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.transmits.pop_front()
    }

    /// The next thing to do.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    fn read(&mut self) {
        if !matches!(self.phase, Phase::Reading) {
            self.phase = Phase::Reading;
            self.requests.push_back(Request::CatchUp { after: self.cursor });
        }
    }

    fn transmit(&mut self, frame: &ServerFrame) {
        self.transmits.push_back(frame.encode().into());
    }
}

fn encode_deltas(
    changes: &[Change],
    prev: Seq,
    to: Seq,
    more: bool,
    numbers: &AuthorNumbers,
    limits: &Limits,
) -> Vec<Bytes> {
    let deltas = Delta::pack(changes, prev, to, more, numbers, limits.delta_bytes());
    deltas.into_iter().map(|delta| ServerFrame::Delta(delta).encode().into()).collect()
}
