//! What the server says: where the client goes on after a Welcome, and what a Delta, an Ack, a Check and a snapshot change.

use super::{
    Client, Event, OutboxRow, Phase, RowState,
    base::{Followed, Joined},
    decisions::Lost,
    sender::Answered,
    siblings::SIBLINGS_FIRST_MS,
    timers::Timer,
    view::View,
};
use crate::{
    Author, Branch, Conflict, Key, Lineage, Seq, Side, Stamp,
    mutants::mutant,
    wire::{
        AckCode, ClientFrame, Delta, Exception, Mode, ServerFrame, VERSIONS, Versions, WireError, snapshot::Snapshot,
    },
};

impl Client {
    pub(super) fn handle_frame(&mut self, frame: ServerFrame, bytes: &[u8], now_ms: u64) -> Result<(), WireError> {
        match frame {
            ServerFrame::Welcome { version, .. } => {
                let versions = Versions { oldest: version, newest: version };
                VERSIONS.common(versions).ok_or(WireError::Version(versions))?;
                if let Phase::Greeting { since_ms } = self.link.phase() {
                    self.handle_welcome(frame, since_ms, now_ms);
                }
            }
            ServerFrame::Delta(delta) => self.handle_delta(delta, bytes)?,
            ServerFrame::Ack { batch, seq, exceptions } => self.handle_ack(batch, seq, &exceptions, now_ms),
            ServerFrame::Check(check) => self.verifier.handle_check(check),
            ServerFrame::Horizon(horizon) => self.base.handle_horizon(horizon),
            ServerFrame::Pong { client_ms, server_ms } => {
                self.user.handle_answer();
                self.time.handle_reading(client_ms, server_ms, now_ms);
            }
            ServerFrame::Bye { code, message, retry_after_ms } => {
                self.link.retry_after(retry_after_ms);
                self.link.disconnect(&mut self.timers);
                self.output.say(Event::Bye { code, message, retry_after_ms });
            }
            ServerFrame::Presence { .. } => {}
        }
        Ok(())
    }

    /// Finds the last point of history that is shared with the server, and goes on from there.
    fn handle_welcome(&mut self, frame: ServerFrame, since_ms: u64, now_ms: u64) {
        let ServerFrame::Welcome { role, dictionary, epoch, lineage, head, horizon, server_ms, mode, limits, .. } =
            frame
        else {
            return;
        };
        self.link.handle_welcome(&mut self.timers, now_ms);
        if !self.time.handle_reading(since_ms, server_ms, now_ms) {
            self.link.ping(&mut self.timers, now_ms);
        }
        self.timers.set(Timer::Siblings, now_ms + SIBLINGS_FIRST_MS);
        self.user.handle_welcome(role, limits);
        self.verifier.handle_welcome();
        let server = Lineage { past: lineage, current: epoch };
        match self.base.join(dictionary, &server, head) {
            Joined::Same => {}
            Joined::Other => {
                self.sender.outbox_mut().orphan();
                self.siblings.handle_other_dictionary();
                self.decisions.handle_other_dictionary();
                self.base.start_over();
                self.output.reset();
            }
            Joined::Forked(fork) => {
                self.sender.handle_epoch();
                self.decisions.handle_epoch();
                self.step_back(fork, &server);
            }
        }
        self.siblings.handle_lineage(&server);
        self.base.follow(dictionary, server, horizon, head);
        self.orphan_strangers();
        if mode == Mode::Snapshot || self.base.is_incomplete() {
            self.fetch();
        }
        self.absence.handle_welcome(self.base.cursor(), now_ms);
    }

    /// Goes back to a fork. What the base has above it, the server may have lost: it goes back to the outbox. A user who may
    /// not write fetches what the server has instead.
    fn step_back(&mut self, fork: Option<Seq>, server: &Lineage) {
        let (shared, lineage) = (fork.unwrap_or_default(), self.base.lineage().cloned().unwrap_or_default());
        self.sender.outbox_mut().extend_branches(&lineage, server);
        self.decisions.extend_branches(&lineage, server);
        let lost = self.base.step_back(shared);
        self.base.take_authors(shared);
        let is_any_lost = !lost.is_empty();
        if self.user.is_writer() {
            for (key, entry) in lost {
                let branch = Branch::of(&lineage, entry.seq, server);
                let row = self.recovered(branch, entry.into(), RowState::Queued);
                self.sender.outbox_mut().insert(key, row);
            }
        } else if is_any_lost {
            self.base.handle_incomplete();
        }
        let conflicts = self.base.take_conflicts(shared);
        if !conflicts.is_empty() {
            self.output.say(Event::Conflicts);
        }
        if !conflicts.iter().all(|conflict| conflict.is_open() && self.user.is_writer()) {
            self.base.handle_incomplete();
        }
        if self.user.is_writer() {
            let branch = |seq| Branch::of(&lineage, seq, server);
            self.decisions.recover(conflicts, &branch, self.user.author.id);
        }
        if is_any_lost {
            self.output.reset();
        }
    }

    /// What was confirmed in a history that the server has no part of waits for its user, also the values that lost.
    pub(super) fn orphan_strangers(&mut self) {
        let Some(server) = self.base.lineage().filter(|_| !mutant!("strangers are told everything")) else { return };
        self.sender.outbox_mut().orphan_strangers(server);
        for Lost { conflict: Conflict { key, loser, .. }, branch } in self.decisions.take_strangers(server) {
            if self.outbox().row(&key, loser.stamp).is_none() {
                let row = self.recovered(branch, loser, RowState::Orphaned);
                self.sender.outbox_mut().insert(key, row);
            }
        }
    }

    /// A confirmed write as a row of the outbox, with its own stamp: nobody else may have it any more.
    fn recovered(&self, branch: Branch, write: Side, state: RowState) -> OutboxRow {
        OutboxRow {
            value: write.value,
            stamp: write.stamp,
            seen: vec![Stamp::ZERO],
            author: Author { id: write.author, name: self.name(write.author) },
            recovered: Some(branch),
            sent: true,
            state,
        }
    }

    fn handle_delta(&mut self, delta: Delta, frame: &[u8]) -> Result<(), WireError> {
        if self.link.phase() != Phase::Following {
            return Ok(());
        }
        let Self { user, base, sender, siblings, absence, output, .. } = self;
        let (own, outbox) = (user.author.id, sender.outbox());
        let followed = base.handle_delta(delta, frame, &mut |confirmed, key, entry| {
            output.changed(key.clone());
            if entry.author != own {
                let view = View { confirmed, outbox, siblings };
                absence.handle_entry(key, entry, confirmed.entry(key.as_str()), || view.shown(key)?.value);
            }
        })?;
        match followed {
            Followed::Applied { has_conflicts, has_names } => {
                let news = [(has_conflicts, Event::Conflicts), (has_names, Event::Names)];
                news.into_iter().filter(|(is_news, _)| *is_news).for_each(|(_, event)| self.output.say(event));
            }
            Followed::Gap => self.resume(),
            Followed::Known => {}
        }
        Ok(())
    }

    /// Asks for all after the cursor.
    fn resume(&mut self) {
        let Some(epoch) = self.base.epoch() else { return };
        self.base.handle_resume();
        self.output.transmit(&ClientFrame::Resume { epoch, cursor: self.base.cursor() });
    }

    fn handle_ack(&mut self, batch: u64, seq: Seq, exceptions: &[Exception], now_ms: u64) {
        let Some(ops) = self.sender.take_answered(batch) else {
            return self.decisions.handle_answer(batch, seq, exceptions, now_ms);
        };
        self.user.handle_answer();
        let (own, mut exceptions) = (self.replica(), exceptions.iter().peekable());
        for (index, (key, stamp)) in (0..).zip(ops) {
            let exception = exceptions.next_if(|exception| exception.index == index);
            // Each time: the stamp that another key has got may be above what is admitted of this one.
            if let Some(ahead) = exception.filter(|exception| exception.code == AckCode::ClockAhead) {
                self.time.handle_clock_ahead(ahead.data, now_ms);
            }
            match self.sender.handle_answer(&key, stamp, seq, exception, own, now_ms) {
                Answered::Goes => {}
                Answered::Early { server_ms } => self.stamp_anew(&key, stamp, server_ms, now_ms),
                // The server will not take it back, so the base needs what the server has. What else comes back of the key does not
                // bring that.
                Answered::Held if self.base.lacks(&key) && self.link.phase() == Phase::Following => self.fetch(),
                Answered::Held => {}
            }
            self.output.changed(key);
        }
        if mutant!("a row leaves with its ack") {
            self.sender.outbox_mut().release(seq, &|_| true);
        }
    }

    fn stamp_anew(&mut self, key: &Key, stamp: Stamp, server_ms: u64, now_ms: u64) {
        let confirmed = self.base.entries().entry(key.as_str()).map_or(Stamp::ZERO, |entry| entry.stamp);
        if let Some(new) = self.sender.stamp_anew(key, stamp, confirmed, server_ms, &mut self.time, now_ms) {
            self.steps.rename(key, stamp, new);
        }
    }

    /// The snapshot has come, as the server sent it.
    pub fn handle_snapshot(&mut self, bytes: &[u8], now_ms: u64) {
        if self.link.phase() != Phase::Fetching {
            return;
        }
        match Snapshot::decode(bytes) {
            Ok(snapshot) if Some(snapshot.header.dictionary) != self.base.dictionary() => {
                self.handle_snapshot_failed("it is of another dictionary", now_ms);
            }
            Ok(snapshot) if Some(snapshot.header.lineage.current) != self.base.epoch() => {
                self.handle_snapshot_failed("it is of another epoch", now_ms);
            }
            Ok(snapshot) => {
                self.adopt(snapshot);
                self.evaluate(now_ms);
            }
            Err(error) => self.handle_snapshot_failed(&error.to_string(), now_ms),
        }
    }

    fn adopt(&mut self, snapshot: Snapshot) {
        let Self { user, base, sender, siblings, absence, .. } = self;
        let (own, outbox) = (user.author.id, sender.outbox());
        base.handle_snapshot(snapshot, &mut |confirmed, key, entry| {
            if entry.author != own {
                let view = View { confirmed, outbox, siblings };
                absence.handle_entry(key, entry, confirmed.entry(key.as_str()), || view.shown(key)?.value);
            }
        });
        self.verifier.handle_snapshot();
        self.link.handle_fetched();
        self.output.reset();
        self.resume();
    }

    /// The snapshot could not be had: connect again, and with that try again.
    pub fn handle_snapshot_failed(&mut self, reason: &str, now_ms: u64) {
        if self.link.phase() == Phase::Fetching {
            self.output.say(Event::Unreadable(format!("snapshot: {reason}")));
            self.link.disconnect(&mut self.timers);
        }
        self.evaluate(now_ms);
    }

    /// Fetches a snapshot; if it cannot be had, after the next Welcome.
    pub(super) fn fetch(&mut self) {
        self.base.handle_incomplete();
        self.link.fetch();
    }
}
