//! The client's end of a dictionary: a replica that writes at once, and agrees with the server when it can.
//!
//! It holds the **base** (what the server has confirmed, as of the cursor) and the **outbox** (what this replica wrote and
//! the server has not confirmed). Beside them it knows what the **siblings** on its device wrote. What it shows is the greatest
//! of all three, key by key.
//!
//! It does no I/O. The driver
//!
//! 1. calls `handle_*` for what happened, with the time,
//! 2. then drains [`Client::poll_action`], [`Client::poll_transmit`] and [`Client::poll_event`],
//! 3. and comes back with [`Client::handle_timeout`] at [`Client::poll_timeout`].
//!
//! Times are milliseconds of the local clock, which may be wrong, and may jump: stamps follow the estimated server time.
//!
//! It ends in agreement: once connections last long enough for the outbox to be sent and the pages to be read, the outbox
//! holds only rows that wait for their user, and the base equals the server's rows of the same seq.

mod absence;
mod agree;
mod link;
mod local;
mod outbox;
mod resolutions;
mod siblings;
mod undo;

use std::collections::{BTreeSet, VecDeque};

pub use absence::{ABSENCE_MS_MIN, Absence};
use link::{ANSWER_MS_MAX, Link};
pub use link::{Action, Phase};
use local::Journal;
pub use local::{BaseChange, LocalChange, Stored, Verdict};
use outbox::seen;
pub use outbox::{Outbox, OutboxRow, RowState};
pub use resolutions::PendingResolution;
use siblings::Siblings;
use undo::Steps;
pub use undo::Undone;

use crate::{
    Author, AuthorId, AuthorName, Clock, ConflictId, Conflicts, Dictionary, DictionaryId, Entry, Key, Lineage, Names,
    ReplicaId, Seq, Stamp, Value, ValueError,
    limits::Limits,
    mutants::mutant,
    wire::{ByeCode, Check, ClientFrame, Horizon, Role, ServerFrame, VERSION, WireError, snapshot::Snapshot},
};

/// At most one snapshot in this time mends a base whose digest differs.
pub const HEAL_MS_MIN: u64 = 600_000;

/// What was sent over a connection that this end gave up reaches the server within this, if ever: a connection that is
/// silent for 90 s is closed by the server, and what came before that has been read by then.
const LATE_MS_MAX: u64 = 120_000;

/// The tabs of a device come back together. For so long after its Welcome, a write lets those of siblings go first that it has
/// replaced: the server would take them for conflicts with it.
const SIBLINGS_FIRST_MS: u64 = 5000;

/// What has changed; see [`Client::poll_event`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// What is shown of these keys, or how far their writes have come.
    Entries(BTreeSet<Key>),
    /// Everything may have changed.
    Reset,
    /// The conflict rows.
    Conflicts,
    /// The phase of the connection, or the outbox's count.
    Status,
    /// The server ended the connection with a reason.
    Bye {
        /// Why.
        code: ByeCode,
        /// What it says.
        message: String,
    },
    /// What the server sent cannot be read.
    Unreadable(String),
    /// This of what the device has kept cannot be read.
    Damaged(String),
    /// The base differed from the server's at the same seq, and is fetched anew.
    Diverged,
}

/// What is shown of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown<'a> {
    /// The value, or none after a remove.
    pub value: Option<&'a Value>,
    /// When and by which replica.
    pub stamp: Stamp,
    /// Who wrote it.
    pub author: AuthorId,
    /// What the write waits for; none when it is confirmed.
    pub pending: Option<RowState>,
}

/// Why an edit was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The value is over the server's limit.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The dictionary is full.
    #[error("the dictionary has {0} entries, which is its limit")]
    Full(u64),
    /// This connection may not write.
    #[error("this dictionary is open for reading only")]
    ReadOnly,
}

/// The client's end of one dictionary.
#[derive(Clone, Debug)]
pub struct Client {
    author: Author,
    clock: Clock,
    /// The server's clock minus the local one.
    offset_ms: i64,
    role: Role,
    limits: Limits,

    dictionary: Option<DictionaryId>,
    lineage: Option<Lineage>,
    horizon: Horizon,
    /// Where the next Delta must continue. In the middle of a catch-up the base lacks what changed up to here and again
    /// later.
    applied: Seq,
    /// The last seq at which the base was the server's state of one moment.
    settled: Seq,
    base: Dictionary,
    /// Keys whose confirmed entries were taken back at a fork, and are in the outbox until the server has said what it has
    /// of them. Until then the base lacks them.
    taken_back: BTreeSet<Key>,
    /// The base lacks, or has wrong, what only a snapshot brings.
    incomplete: bool,
    /// What a local store has not been told, if there is one.
    journal: Option<Journal>,
    names: Names,
    conflicts: Conflicts,
    resolutions: Vec<PendingResolution>,
    /// Those that went over this connection.
    resolves_sent: Vec<ConflictId>,
    outbox: Outbox,
    /// What its user can undo and redo.
    steps: Steps,
    siblings: Siblings,
    /// Until then a write waits for those of siblings that it replaces.
    siblings_first_until_ms: Option<u64>,
    /// What came after it had been away.
    absence: Option<Absence>,
    /// When the last message came.
    heard_ms: u64,

    link: Link,
    resuming: bool,
    next_batch: u64,
    in_flight: VecDeque<(u64, Vec<(Key, Stamp)>)>,
    /// The greatest own write of a key that was sent over a connection which ended before its ack: the server may get it yet.
    /// Of each the stamp alone counts.
    unanswered: Dictionary,

    check: Option<Check>,
    verified: Option<Seq>,
    /// Since it joined, the server has not been asked for its digest.
    unverified: bool,
    healed_at_ms: Option<u64>,
    divergences: u64,

    transmits: VecDeque<Vec<u8>>,
    changed: BTreeSet<Key>,
    events: VecDeque<Event>,
}

impl Client {
    /// A replica that has nothing and connects at once.
    pub fn new(replica: ReplicaId, author: Author, now_ms: u64) -> Self {
        Self {
            author,
            clock: Clock::new(replica),
            offset_ms: 0,
            role: Role::Writer,
            limits: Limits::default(),
            dictionary: None,
            lineage: None,
            horizon: Horizon::default(),
            applied: Seq(0),
            settled: Seq(0),
            base: Dictionary::new(),
            taken_back: BTreeSet::new(),
            incomplete: false,
            journal: None,
            names: Names::new(),
            conflicts: Conflicts::default(),
            resolutions: Vec::new(),
            resolves_sent: Vec::new(),
            outbox: Outbox::default(),
            steps: Steps::default(),
            siblings: Siblings::default(),
            siblings_first_until_ms: None,
            absence: None,
            heard_ms: 0,
            link: Link::new(now_ms),
            resuming: false,
            next_batch: 0,
            in_flight: VecDeque::new(),
            unanswered: Dictionary::new(),
            check: None,
            verified: None,
            unverified: true,
            healed_at_ms: None,
            divergences: 0,
            transmits: VecDeque::new(),
            changed: BTreeSet::new(),
            events: VecDeque::new(),
        }
    }

    /// A replica that connects once a local store has been read; see [`Client::handle_stored`]. If that takes for ever, it
    /// connects without.
    pub fn opening(replica: ReplicaId, author: Author, now_ms: u64) -> Self {
        Self { link: Link::opening(now_ms), ..Self::new(replica, author, now_ms) }
    }

    // What it holds.

    /// What is shown of a key; none if it never had an entry. O(log n).
    pub fn shown(&self, key: &Key) -> Option<Shown<'_>> {
        let base = self.base.entry(key.as_str());
        match (base, self.waiting(key)) {
            (Some(base), Some(row)) if base.rank() > row.rank() => Some(Shown::base(base)),
            (_, Some(row)) => Some(Shown::outbox(row)),
            (Some(base), None) => Some(Shown::base(base)),
            (None, None) => None,
        }
    }

    /// The greatest write of a key that waits on this device and is shown.
    fn waiting(&self, key: &Key) -> Option<&OutboxRow> {
        self.siblings.shown(key, self.outbox.shown(key))
    }

    /// The value that is shown of a key. O(log n).
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.shown(key)?.value
    }

    /// The keys that are shown with a value, in order. O(n).
    pub fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::with_capacity(self.base.live() as usize);
        let mut own = BTreeSet::new();
        own.extend(self.outbox.keys().chain(self.siblings.keys()).cloned());
        let has_own = !own.is_empty();
        let mut own = own.into_iter().peekable();
        for (key, _) in self.base.iter() {
            keys.extend(std::iter::from_fn(|| own.next_if(|own| own < key)));
            own.next_if_eq(key);
            keys.push(key.clone());
        }
        keys.extend(own);
        if has_own {
            keys.retain(|key| self.get(key).is_some());
        }
        keys
    }

    /// What the server has confirmed.
    pub fn base(&self) -> &Dictionary {
        &self.base
    }

    /// What this replica wrote and the server has not confirmed.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// How many edits and decisions the server has not confirmed; a decision that comes with an edit is one with it.
    pub fn unconfirmed(&self) -> usize {
        let alone = self.resolutions.iter().filter(|pending| self.outbox.shown(&pending.key).is_none());
        self.outbox.active() + alone.count()
    }

    /// The conflict rows.
    pub fn conflicts(&self) -> &Conflicts {
        &self.conflicts
    }

    /// The names of the authors met so far.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// What an author is called: a name made of the id while none is known.
    pub fn name(&self, author: AuthorId) -> AuthorName {
        if author == self.author.id {
            return self.author.name.clone();
        }
        self.names.get(author).cloned().unwrap_or_else(|| AuthorName::generated(author))
    }

    /// Which dictionary this is, once a server or a local store has said so.
    pub fn dictionary(&self) -> Option<DictionaryId> {
        self.dictionary
    }

    /// Which replica writes here.
    pub fn replica(&self) -> ReplicaId {
        self.clock.replica()
    }

    /// Who writes here.
    pub fn author(&self) -> &Author {
        &self.author
    }

    /// Writes under another name from now on.
    pub fn set_author(&mut self, author: Author) {
        self.author = author;
    }

    /// What the server allows.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How far the connection has come.
    pub fn phase(&self) -> Phase {
        self.link.phase
    }

    /// Whether a connection has failed, and none is open by now: attempts after a failure are no news to a person.
    pub fn is_offline(&self) -> bool {
        self.link.is_offline()
    }

    /// The cursor: the base is the server's state of this moment.
    pub fn cursor(&self) -> Seq {
        self.settled
    }

    /// Whether the base is complete for the connection: it follows, and is not in the middle of a catch-up.
    pub fn is_settled(&self) -> bool {
        self.link.phase == Phase::Following && self.settled == self.applied && !self.resuming
    }

    /// Whether the base has come to what the server had when it said Welcome.
    fn has_caught_up(&self) -> bool {
        self.is_settled() && !self.unverified
    }

    /// The last seq at which the digest equalled the server's.
    pub fn verified(&self) -> Option<Seq> {
        self.verified
    }

    /// How often it did not.
    pub fn divergences(&self) -> u64 {
        self.divergences
    }

    /// The server's clock minus the local one, as estimated.
    pub fn offset_ms(&self) -> i64 {
        self.offset_ms
    }

    // Editing.

    /// What an edit that begins now will have seen of a key; pass it to [`Client::put`] when the edit is done.
    pub fn begin(&self, key: &Key) -> Stamp {
        let base = self.base.entry(key.as_str());
        match self.waiting(key) {
            Some(own) if base.is_none_or(|base| base.rank() <= own.rank()) => match own.recovered {
                // It was the confirmed entry.
                Some(_) => own.stamp,
                None => own.seen[0],
            },
            _ => base.map_or(Stamp::ZERO, |base| base.stamp),
        }
    }

    /// Writes a value: shown at once, sent when possible. `began` is what the editor was showing when editing began.
    ///
    /// # Errors
    /// When the value or the dictionary is over the server's limits, or the server lets this client only read.
    pub fn put(&mut self, key: &Key, value: Value, began: Stamp, now_ms: u64) -> Result<Stamp, EditError> {
        value.check_size(self.limits.value_bytes)?;
        let entries = self.base.live() + self.base.tombstones();
        if entries >= self.limits.entries && self.shown(key).is_none() {
            return Err(EditError::Full(self.limits.entries));
        }
        self.write(key, Some(value), began, now_ms)
    }

    /// Removes a key. Nothing is written if it shows no value, unless the editor showed one that this replica has not
    /// read yet.
    ///
    /// # Errors
    /// When the server lets this client only read.
    pub fn remove(&mut self, key: &Key, began: Stamp, now_ms: u64) -> Result<Option<Stamp>, EditError> {
        let is_absent = self.shown(key).map_or(began == Stamp::ZERO, |shown| shown.value.is_none());
        if is_absent {
            return Ok(None);
        }
        self.write(key, None, began, now_ms).map(Some)
    }

    fn write(&mut self, key: &Key, value: Option<Value>, began: Stamp, now_ms: u64) -> Result<Stamp, EditError> {
        if self.role != Role::Writer {
            return Err(EditError::ReadOnly);
        }
        let shown = self.shown(key).map_or(Stamp::ZERO, |shown| shown.stamp);
        // A page shows the server's first entries before this replica has read them.
        let stamp = self.clock.stamp(self.server_ms(now_ms), shown.max(began), value.is_some());
        let own = |entry: &&Entry| entry.stamp.replica() == self.clock.replica();
        let confirmed = self.base.entry(key.as_str()).filter(own).map(|entry| entry.stamp);
        let rows = self.outbox.rows(key).iter().chain(self.sibling_rows(key));
        let row = OutboxRow {
            value,
            stamp,
            seen: seen(began, confirmed, rows, self.clock.replica()),
            author: self.author.clone(),
            recovered: None,
            sent: false,
            state: RowState::Queued,
        };
        self.outbox.insert(key.clone(), row);
        self.changed.insert(key.clone());
        self.status_changed();
        self.push();
        Ok(stamp)
    }

    /// Lets a row of the outbox go that waits for its user. Returns whether there was one.
    pub fn discard(&mut self, key: &Key, stamp: Stamp, _now_ms: u64) -> bool {
        let waits = self.outbox.row(key, stamp).is_some_and(|row| !row.state.is_active());
        if waits {
            self.outbox.remove(key, stamp);
            self.changed.insert(key.clone());
            self.status_changed();
        }
        waits
    }

    /// Asks the server to compare digests now, if it is connected.
    pub fn verify(&mut self, _now_ms: u64) {
        if self.link.is_welcome() {
            self.transmit(&ClientFrame::Check);
        }
    }

    /// Asks the server to compare digests now, and takes nothing for verified until it has answered.
    pub fn verify_anew(&mut self, now_ms: u64) {
        self.verified = None;
        self.verify(now_ms);
        self.status_changed();
    }

    // What happened.

    /// The socket is open.
    pub fn handle_connected(&mut self, now_ms: u64) {
        self.link.handle_connected(now_ms);
        self.transmits.clear();
        self.transmit(&ClientFrame::Hello {
            version: VERSION,
            token: None,
            replica: self.clock.replica(),
            dictionary: self.dictionary,
            epoch: self.lineage.as_ref().map(|lineage| lineage.current),
            lineage: self.lineage.as_ref().map_or(Vec::new(), |lineage| lineage.past.clone()),
            cursor: self.settled,
            client_ms: now_ms,
            author: self.author.clone(),
            capabilities: 0,
        });
        self.status_changed();
    }

    /// The socket is closed, or could not be opened. `random` spreads the next attempts.
    pub fn handle_disconnected(&mut self, now_ms: u64, random: u64) {
        self.link.handle_disconnected(now_ms, random);
        let own = |(_, stamp): &(Key, Stamp)| stamp.replica() == self.clock.replica();
        for (key, stamp) in self.in_flight.drain(..).flat_map(|(_, ops)| ops).filter(own) {
            let sent = Entry { value: None, stamp, seq: Seq(0), author: self.author.id };
            self.unanswered.merge_entry(key, sent);
        }
        self.transmits.clear();
        if !mutant!("a cut forgets what was sent") {
            self.outbox.requeue(false);
        }
        if !mutant!("a cut forgets what was decided") {
            self.resolves_sent.clear();
        }
        (self.resuming, self.check) = (false, None);
        self.status_changed();
    }

    /// The network is said to be back, or somebody looks at the page again.
    pub fn handle_online(&mut self, now_ms: u64) {
        self.link.handle_online(now_ms);
    }

    /// A binary message came. One that cannot be read ends the connection.
    pub fn handle_message(&mut self, bytes: &[u8], now_ms: u64) {
        self.link.handle_received(now_ms);
        let handled = ServerFrame::decode(bytes).and_then(|frame| self.handle_frame(frame, bytes, now_ms));
        if let Err(error) = handled {
            self.events.push_back(Event::Unreadable(error.to_string()));
            self.link.disconnect();
        }
        self.heard_ms = now_ms;
        self.push();
        self.send_resolutions();
        self.end_absence();
    }

    fn handle_frame(&mut self, frame: ServerFrame, bytes: &[u8], now_ms: u64) -> Result<(), WireError> {
        match frame {
            ServerFrame::Welcome {
                role, dictionary, epoch, lineage, head, horizon, server_ms, mode, limits, ..
            } => {
                if let Phase::Greeting { since_ms } = self.link.phase {
                    self.set_offset(since_ms, server_ms, now_ms);
                    self.link.handle_welcome(now_ms);
                    self.siblings_first_until_ms = Some(now_ms + SIBLINGS_FIRST_MS);
                    (self.role, self.limits, self.horizon) = (role, limits, horizon);
                    self.join(dictionary, ServerFrame::lineage(epoch, lineage), head, mode, now_ms);
                    self.come_back(now_ms);
                }
            }
            ServerFrame::Delta(delta) => self.handle_delta(delta, bytes, now_ms)?,
            ServerFrame::Ack { batch, seq, exceptions } => self.handle_ack(batch, seq, &exceptions, now_ms),
            ServerFrame::Check(check) => {
                self.check = Some(check);
                self.compare(now_ms);
            }
            ServerFrame::Horizon(horizon) => self.horizon = horizon,
            // One that was under way for longer says nothing: this end, or the line, has slept.
            ServerFrame::Pong { client_ms, server_ms } if client_ms.saturating_add(ANSWER_MS_MAX) >= now_ms => {
                self.set_offset(client_ms, server_ms, now_ms);
            }
            ServerFrame::Bye { code, message, retry_after_ms } => {
                self.link.retry_after(retry_after_ms);
                self.link.disconnect();
                self.events.push_back(Event::Bye { code, message });
            }
            ServerFrame::Pong { .. } | ServerFrame::Presence { .. } => {}
        }
        Ok(())
    }

    /// The snapshot has come, as the server sent it.
    pub fn handle_snapshot(&mut self, bytes: &[u8], now_ms: u64) {
        if self.link.phase != Phase::Fetching {
            return;
        }
        match Snapshot::decode(bytes) {
            Ok(snapshot) if Some(snapshot.header.dictionary) != self.dictionary => {
                self.handle_snapshot_failed("it is of another dictionary", now_ms);
            }
            Ok(snapshot) => {
                let epoch = snapshot.header.lineage.current;
                if self.lineage.as_ref().is_none_or(|lineage| lineage.current != epoch) {
                    return self.handle_snapshot_failed("it is of another epoch", now_ms);
                }
                self.adopt(snapshot);
                self.link.phase = Phase::Following;
                self.resume();
                self.compare(now_ms);
                self.push();
            }
            Err(error) => self.handle_snapshot_failed(&error.to_string(), now_ms),
        }
    }

    /// The snapshot could not be had: connect again, and with that try again.
    pub fn handle_snapshot_failed(&mut self, reason: &str, _now_ms: u64) {
        if self.link.phase == Phase::Fetching {
            self.events.push_back(Event::Unreadable(format!("snapshot: {reason}")));
            self.link.disconnect();
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        if self.link.handle_timeout(now_ms) {
            self.transmit(&ClientFrame::Ping { client_ms: now_ms });
            if self.verified != Some(self.settled) {
                self.verify(now_ms);
            }
        }
        let is_over = |until_ms: &u64| *until_ms <= now_ms || *until_ms > now_ms + SIBLINGS_FIRST_MS;
        if self.outbox.wake(now_ms) | self.siblings_first_until_ms.take_if(|until_ms| is_over(until_ms)).is_some() {
            self.push();
        }
    }

    // What follows of it.

    /// When to call [`Client::handle_timeout`], if ever.
    pub fn poll_timeout(&self) -> Option<u64> {
        let own = self.outbox.wakes_at().into_iter().chain(self.siblings_first_until_ms);
        self.link.poll_timeout().into_iter().chain(own).min()
    }

    /// What the driver has to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.link.poll_action()
    }

    /// The next message to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmits.pop_front()
    }

    /// What has changed since the last call.
    pub fn poll_event(&mut self) -> Option<Event> {
        if !self.changed.is_empty() {
            return Some(Event::Entries(std::mem::take(&mut self.changed)));
        }
        self.events.pop_front()
    }

    fn server_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add_signed(self.offset_ms)
    }

    /// The server's clock was read between `sent_ms` and now: half way, as Cristian's algorithm has it.
    fn set_offset(&mut self, sent_ms: u64, server_ms: u64, now_ms: u64) {
        let half_ms = now_ms.saturating_sub(sent_ms) / 2;
        let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        self.offset_ms = ms(server_ms.saturating_add(half_ms)).saturating_sub(ms(now_ms));
    }

    fn transmit(&mut self, frame: &ClientFrame) {
        self.transmits.push_back(frame.encode());
    }

    fn reset(&mut self) {
        self.changed.clear();
        self.events.push_back(Event::Reset);
    }

    fn status_changed(&mut self) {
        if self.events.back() != Some(&Event::Status) {
            self.events.push_back(Event::Status);
        }
    }
}

impl<'a> Shown<'a> {
    fn base(entry: &'a Entry) -> Self {
        Self { value: entry.value.as_ref(), stamp: entry.stamp, author: entry.author, pending: None }
    }

    fn outbox(row: &'a OutboxRow) -> Self {
        Self { value: row.value.as_ref(), stamp: row.stamp, author: row.author.id, pending: Some(row.state) }
    }
}
