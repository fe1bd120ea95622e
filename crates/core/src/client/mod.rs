//! The client's end of a dictionary: a replica that takes each write at once, and comes to agree with the server when it can.
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
//! Times are milliseconds of the local clock, which may be wrong, and may jump: stamps follow the estimated server time. A clock that
//! goes on while the device sleeps says that a connection is old; one that is set forward costs a connection, no more.
//!
//! It ends in agreement: once connections last long enough for the outbox to be sent and the pages to be read, the outbox
//! holds only rows that wait for their user, and the base equals the server's rows of the same seq.
//!
//! # Parts
//! Each part owns its fields, is tested in its file, and knows the others only by the arguments that it is given. The client
//! is what connects them: `joining` hands them what the server says, `editing` what the user does, `keeping` what the device's
//! store and siblings say. After each of these `evaluate` decides what follows.

mod absence;
mod base;
mod decisions;
mod editing;
mod groups;
mod joining;
mod journal;
mod keeping;
mod link;
mod outbox;
mod output;
mod proofs;
mod seen;
mod sender;
mod server_time;
mod siblings;
mod steps;
mod timers;
mod user;
mod verifier;
mod view;

use absence::Watch;
pub use absence::{ABSENCE_MS_MIN, Absence};
use base::Base;
use decisions::Decisions;
pub use decisions::PendingResolution;
pub use journal::{BaseChange, StoredError, Verdict};
pub use keeping::{LocalChange, Stored};
use link::Link;
pub use link::{Action, Phase};
pub use outbox::{Outbox, OutboxRow, RowState};
pub use output::Event;
use output::{Output, Summary};
use proofs::Proofs;
use sender::Sender;
use server_time::ServerTime;
use siblings::Siblings;
use steps::Steps;
pub use steps::Undone;
use timers::{Timer, TimerTable};
pub use user::EditError;
use user::User;
pub use verifier::HEAL_MS_MIN;
use verifier::{Finding, VERIFY_AFTER_MS, Verifier};
pub use view::Shown;
use view::View;

use crate::{
    AuthorId, Dictionary, DictionaryId, Key, Person, ReplicaId, Secret, Seq, Value,
    limits::{Limits, PUSHES_IN_FLIGHT_MAX},
    wire::{ClientFrame, ServerFrame, VERSIONS, WireError},
};

/// The client's end of one dictionary.
#[derive(Clone, Debug)]
pub struct Client {
    user: User,
    time: ServerTime,
    proofs: Proofs,
    base: Base,
    sender: Sender,
    verifier: Verifier,
    decisions: Decisions,
    steps: Steps,
    siblings: Siblings,
    absence: Watch,
    link: Link,
    timers: TimerTable,
    output: Output,
}

impl Client {
    /// A replica that has nothing and connects at once.
    pub fn new(replica: Secret, author: Person, now_ms: u64) -> Self {
        let mut timers = TimerTable::default();
        let link = Link::new(&mut timers, now_ms);
        Self::with_link(replica, author, link, timers)
    }

    /// A replica that connects once a local store has been read; see [`Client::handle_stored`]. If that takes for ever, it
    /// connects without.
    pub fn opening(replica: Secret, author: Person, now_ms: u64) -> Self {
        let mut timers = TimerTable::default();
        let link = Link::opening(&mut timers, now_ms);
        Self::with_link(replica, author, link, timers)
    }

    fn with_link(replica: Secret, author: Person, link: Link, timers: TimerTable) -> Self {
        Self {
            user: User::new(author),
            time: ServerTime::new(replica.replica()),
            proofs: Proofs::new(replica),
            base: Base::new(),
            sender: Sender::default(),
            verifier: Verifier::default(),
            decisions: Decisions::default(),
            steps: Steps::default(),
            siblings: Siblings::default(),
            absence: Watch::default(),
            link,
            timers,
            output: Output::default(),
        }
    }

    // What it holds.

    fn view(&self) -> View<'_> {
        View { confirmed: self.base.entries(), outbox: self.sender.outbox(), siblings: &self.siblings }
    }

    /// What is shown of a key; none if it never had an entry. O(log n).
    pub fn shown(&self, key: &Key) -> Option<Shown<'_>> {
        self.view().shown(key)
    }

    /// Who has brought back what is shown of a key, after the server had lost it, if that was somebody else than its author. O(log n).
    pub fn brought_back_by(&self, key: &Key) -> Option<AuthorId> {
        let by = self.base.entries().brought_back_by(key)?;
        self.shown(key)?.pending.is_none().then_some(by)
    }

    /// The value that is shown of a key. O(log n).
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.shown(key)?.value
    }

    /// The keys that are shown with a value, in order. O(n).
    pub fn keys(&self) -> Vec<Key> {
        self.view().keys()
    }

    /// What the server has confirmed.
    pub fn base(&self) -> &Dictionary {
        self.base.entries()
    }

    /// What this replica wrote and the server has not confirmed.
    pub fn outbox(&self) -> &Outbox {
        self.sender.outbox()
    }

    /// How many edits and decisions the server has not confirmed; a decision that comes with an edit is one with it.
    pub fn unconfirmed(&self) -> usize {
        let told = self.decisions.pending().filter(|pending| !pending.is_private);
        let alone = told.filter(|pending| self.outbox().shown(&pending.id.key).is_none());
        self.outbox().active() + alone.count()
    }

    /// The rows of a key that wait with siblings.
    pub fn sibling_rows<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = &'a OutboxRow> {
        self.siblings.rows(key)
    }

    /// How many edits of siblings wait for the server.
    pub fn sibling_edits(&self) -> usize {
        self.siblings.edits()
    }

    /// What others changed while this device was away, once it has caught up; none if that is nothing, or was seen.
    pub fn absence(&self) -> Option<&Absence> {
        self.absence.missed()
    }

    /// Which dictionary this is, once a server or a local store has said so.
    pub fn dictionary(&self) -> Option<DictionaryId> {
        self.base.dictionary()
    }

    /// Which replica writes here.
    pub fn replica(&self) -> ReplicaId {
        self.time.replica()
    }

    /// Whether somebody looks at what is shown, as nobody does at first: then a line that says nothing is noticed soon.
    pub fn set_visible(&mut self, is_visible: bool) {
        self.link.set_visible(is_visible);
    }

    /// What the server allows.
    pub fn limits(&self) -> &Limits {
        self.user.limits()
    }

    /// How far the connection has come.
    pub fn phase(&self) -> Phase {
        self.link.phase()
    }

    /// Whether a connection has failed, and none is open by now: attempts after a failure are no news to a person.
    pub fn is_offline(&self) -> bool {
        self.link.is_offline()
    }

    /// The cursor: the base is the server's state of this moment.
    pub fn cursor(&self) -> Seq {
        self.base.cursor()
    }

    /// Whether the base follows the server, and has come to what the server had when it said Welcome.
    pub fn is_settled(&self) -> bool {
        self.base.is_settled()
    }

    /// The last seq at which the digest equalled the server's.
    pub fn verified(&self) -> Option<Seq> {
        self.verifier.verified()
    }

    /// How often it did not.
    pub fn divergences(&self) -> u64 {
        self.verifier.divergences()
    }

    /// The server's clock minus the local one, as estimated.
    pub fn offset_ms(&self) -> i64 {
        self.time.offset_ms()
    }

    // What happened.

    /// The socket is open.
    pub fn handle_connected(&mut self, now_ms: u64) {
        self.link.handle_connected(&mut self.timers, now_ms);
        self.output.forget_transmits();
        self.output.transmit(&ClientFrame::Hello {
            versions: VERSIONS,
            token: None,
            replicas: self.proofs.greet(),
            dictionary: self.base.dictionary(),
            epoch: self.base.epoch(),
            lineage: self.base.lineage().map_or(Vec::new(), |lineage| lineage.past.clone()),
            cursor: self.base.cursor(),
            client_ms: now_ms,
            author: self.user.greet(),
            capabilities: 0,
            prefix: None,
        });
        self.evaluate(now_ms);
    }

    /// The socket is closed, or could not be opened. `random` spreads the next attempts.
    pub fn handle_disconnected(&mut self, now_ms: u64, random: u64) {
        self.link.handle_disconnected(&mut self.timers, now_ms, random);
        self.base.handle_disconnected();
        self.sender.handle_disconnected(self.time.replica());
        self.decisions.handle_disconnected();
        self.verifier.handle_disconnected();
        self.output.forget_transmits();
        self.evaluate(now_ms);
    }

    /// The network is said to be back, or somebody looks at the page again.
    pub fn handle_online(&mut self, now_ms: u64) {
        self.link.handle_online(&mut self.timers, now_ms);
        self.evaluate(now_ms);
    }

    /// A binary message came. One that cannot be read ends the connection.
    pub fn handle_message(&mut self, bytes: &[u8], now_ms: u64) {
        self.timers.follow_clock(now_ms);
        self.link.handle_heard(&mut self.timers, now_ms);
        let handled = match ServerFrame::decode(bytes) {
            // A later version's.
            Err(WireError::UnknownFrame(_)) => Ok(()),
            decoded => decoded.and_then(|frame| self.handle_frame(frame, bytes, now_ms)),
        };
        if let Err(error) = handled {
            self.output.say(Event::Unreadable(error.to_string()));
            self.link.disconnect(&mut self.timers);
        }
        self.absence.handle_heard(now_ms);
        self.evaluate(now_ms);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        self.timers.follow_clock(now_ms);
        if self.link.handle_timeout(&mut self.timers, self.sender.is_sending(), now_ms) {
            self.output.transmit(&ClientFrame::Ping { client_ms: now_ms });
            if self.verified() != Some(self.cursor()) {
                self.ask_digest();
            }
        }
        if self.timers.expire(Timer::Verify, now_ms) {
            self.ask_digest();
        }
        self.timers.expire(Timer::Siblings, now_ms);
        self.sender.outbox_mut().wake(now_ms, Timer::Resend.latest_ms(now_ms));
        self.decisions.wake(now_ms);
        self.evaluate(now_ms);
    }

    /// Asks the server to compare digests now, if it is connected.
    pub fn verify(&mut self, now_ms: u64) {
        self.ask_digest();
        self.evaluate(now_ms);
    }

    /// Asks the server to compare digests now, and takes nothing for verified until it has answered.
    pub fn verify_anew(&mut self, now_ms: u64) {
        self.verifier.forget();
        self.verify(now_ms);
    }

    /// The person has seen what others changed meanwhile.
    pub fn forget_absence(&mut self, now_ms: u64) {
        self.absence.handle_seen();
        self.evaluate(now_ms);
    }

    // What follows of it.

    /// Decides what follows of what has happened: what may leave, what is compared, what is sent, what is said, and when to come
    /// back. It is called at the end of every input, and nowhere else is any of this decided. Afterwards
    ///
    /// - no row waits whose ack the base has reached, unless the base lacks something and so is not kept; and no row that has left
    ///   a sibling whose cursor the base has reached;
    /// - a digest of the server is compared as soon as the base is settled at its seq, and has nothing of it in the outbox;
    /// - what may be sent is on its way: another name; each queued row, unless enough pushes are, or it lets a sibling's go first; and each
    ///   decision about a conflict that is open in a base that is settled;
    /// - the driver has been told if the [`Summary`] is another one;
    /// - the timers are those of what waits now.
    ///
    /// Called twice it does nothing the second time.
    fn evaluate(&mut self, now_ms: u64) {
        self.release();
        self.compare(now_ms);
        self.send(now_ms);
        self.say();
        self.set_timers(now_ms);
    }

    fn release(&mut self) {
        let (cursor, outbox) = (self.base.cursor(), self.sender.outbox_mut());
        let mut released = outbox.release(cursor, &|row| row.recovered.is_some());
        if !self.base.lacks_any(|key| outbox.recovers(key)) {
            released.extend(outbox.release(cursor, &|_| true));
        }
        released.into_iter().for_each(|key| self.output.changed(key));
        self.siblings.release(self.base.lineage(), cursor);
        self.output.changed_all(self.siblings.changed());
        if self.siblings.take_decides_otherwise() {
            self.output.say(Event::Conflicts);
        }
    }

    fn compare(&mut self, now_ms: u64) {
        if !self.base.is_settled() {
            return;
        }
        if self.verifier.handle_settled() {
            self.ask_digest();
        }
        let outbox = self.sender.outbox();
        if !self.verifier.is_waiting() || self.base.lacks_any(|key| outbox.recovers(key)) {
            return;
        }
        let counts = (self.base.entries().live(), self.base.entries().tombstones());
        match self.verifier.compare(self.base.digest(), counts, self.base.cursor(), now_ms) {
            None | Some(Finding::Same) => {}
            Some(Finding::Passed) => self.ask_digest(),
            Some(Finding::DiffersStill) => self.output.say(Event::Diverged),
            Some(Finding::Differs) => {
                self.output.say(Event::Diverged);
                self.fetch();
            }
        }
    }

    fn send(&mut self, now_ms: u64) {
        let Self { user, proofs, base, sender, decisions, siblings, link, timers, output, .. } = self;
        if link.is_welcome()
            && let Some(replicas) = proofs.take_news()
        {
            output.transmit(&ClientFrame::Prove { replicas });
        }
        let holds_back = timers.is_set(Timer::Siblings);
        let may_go = |key: &Key, row: &OutboxRow| !holds_back || !siblings.precede(key, row);
        let (value_bytes_max, mut held) = (user.limits().value_bytes, Vec::new());
        while link.is_welcome()
            && sender.in_flight() + decisions.in_flight() < PUSHES_IN_FLIGHT_MAX
            && let Some(push) = sender.take_push(value_bytes_max, &may_go, &mut held)
        {
            output.transmit(&push);
        }
        if held.iter().any(|key| base.lacks(key)) {
            base.handle_incomplete();
            link.fetch();
        }
        held.into_iter().for_each(|key| output.changed(key));
        if !base.is_settled() {
            return;
        }
        if user.is_writer()
            && let Some(name) = user.take_news(base.authors())
        {
            output.transmit(&ClientFrame::Name { name });
        }
        if decisions.settle(base.conflicts(), base.cursor(), user.author.id) {
            output.say(Event::Conflicts);
        }
        while user.is_writer()
            && !decisions.is_empty()
            && sender.in_flight() + decisions.in_flight() < PUSHES_IN_FLIGHT_MAX
        {
            let batch = sender.next_batch();
            let waits = |key: &Key| sender.outbox().shown(key).is_some();
            let name = |id| base.name(id);
            match decisions.take_message(base.conflicts(), user.limits(), &name, &waits, batch, now_ms) {
                Some(message) => output.transmit(&message),
                None => break,
            }
        }
    }

    fn say(&mut self) {
        if self.is_settled() {
            let Self { base, sender, siblings, absence, .. } = self;
            let view = View { confirmed: base.entries(), outbox: sender.outbox(), siblings };
            absence.handle_settled(|key| view.shown(key)?.value);
        }
        let status = Summary {
            phase: self.phase(),
            is_settled: self.is_settled(),
            is_verified: self.verified() == Some(self.cursor()),
            divergences: self.divergences(),
            unconfirmed: self.unconfirmed(),
            held: self.outbox().inactive(),
            sibling_edits: self.sibling_edits(),
            undoable: self.steps.len(),
            missed: self.absence().map(|absence| absence.changes().len() as u64 + absence.more()),
        };
        self.output.say_status(status);
    }

    fn set_timers(&mut self, now_ms: u64) {
        let wakes = self.outbox().wakes_at().into_iter().chain(self.decisions.wakes_at());
        match wakes.min() {
            Some(wakes_at_ms) => self.timers.set(Timer::Resend, wakes_at_ms),
            None => self.timers.stop(Timer::Resend),
        }
        if self.is_settled() && self.verifier.is_behind(self.cursor()) {
            self.timers.start(Timer::Verify, now_ms + VERIFY_AFTER_MS);
        } else {
            self.timers.stop(Timer::Verify);
        }
    }

    fn ask_digest(&mut self) {
        if self.link.is_welcome() {
            self.verifier.handle_asked(self.base.cursor());
            self.output.transmit(&ClientFrame::Check);
        }
    }

    /// When to call [`Client::handle_timeout`], if ever.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.timers.next_ms()
    }

    /// What the driver has to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.link.poll_action()
    }

    /// The next message to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.output.poll_transmit()
    }

    /// What has changed since the last call.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.output.poll_event()
    }
}
