//! How the client agrees with the server: where it goes on after a Welcome, what a Delta, an Ack and a snapshot change, and
//! what it does when the digests differ.

use super::{Client, Event, HEAL_MS_MIN, LATE_MS_MAX, OutboxRow, Phase, RowState, outbox::WAIT_MS_MAX};
use crate::{
    Author, Conflicts, Dictionary, DictionaryId, Entry, HybridTime, Key, Lineage, Seq, Stamp,
    limits::{CLOCK_AHEAD_MS_MAX, PUSHES_IN_FLIGHT_MAX},
    mutants::mutant,
    wire::{AckClass, AckCode, Change, ClientFrame, Delta, Exception, Mode, Role, WireError, snapshot::Snapshot},
};

impl Client {
    /// Finds the last point of history that is shared with the server, and goes on from there.
    pub(super) fn join(&mut self, dictionary: DictionaryId, server: Lineage, head: Seq, mode: Mode, now_ms: u64) {
        let same = self.dictionary.is_none_or(|known| known == dictionary);
        let new_epoch = self.lineage.as_ref().is_none_or(|known| known.current != server.current);
        if !same {
            self.outbox.orphan();
            self.siblings.forget_all();
            self.start_over();
        } else if let Some(known) = self.lineage.take()
            && new_epoch
        {
            self.outbox.requeue(!mutant!("acks outlive their epoch"));
            self.step_back(known.fork(self.settled, &server, head));
        }
        self.applied = self.settled;
        (self.verified, self.unverified) = (None, true);
        self.dictionary = Some(dictionary);
        self.siblings.handle_lineage(&server);
        self.lineage = Some(server);
        self.release_siblings();
        if mode == Mode::Snapshot || self.incomplete {
            self.fetch();
        } else if self.applied == head {
            self.verify_once(now_ms);
        }
        self.status_changed();
    }

    /// Goes back to the fork: what the base has above it, the server may have lost.
    pub(super) fn step_back(&mut self, fork: Option<Seq>) {
        let shared = fork.unwrap_or_default();
        let lost: Vec<Key> =
            self.base.entries().filter(|(_, entry)| entry.seq > shared).map(|(key, _)| key.clone()).collect();
        self.outbox.lower_forks(shared);
        for key in &lost {
            let Some(entry) = self.base.forget(key) else { continue };
            if self.role == Role::Writer {
                let state = if fork.is_some() { RowState::Queued } else { RowState::Orphaned };
                self.outbox.insert(key.clone(), self.recovered(entry, shared, state));
            }
        }
        self.recover_resolutions(shared);
        if self.conflicts.step_back(shared) {
            self.events.push_back(Event::Conflicts);
            self.keep_whole();
        }
        self.settled = self.settled.min(shared);
        if !lost.is_empty() {
            self.keep_whole();
            self.incomplete |= self.role != Role::Writer;
            self.taken_back.extend(lost);
            self.reset();
        }
    }

    /// A confirmed write as a row of the outbox, with its own stamp: nobody else may have it any more.
    pub(super) fn recovered(&self, entry: Entry, fork: Seq, state: RowState) -> OutboxRow {
        OutboxRow {
            value: entry.value,
            stamp: entry.stamp,
            seen: vec![Stamp::ZERO],
            author: Author { id: entry.author, name: self.name(entry.author) },
            recovered: Some(fork),
            sent: true,
            state,
        }
    }

    pub(super) fn start_over(&mut self) {
        self.base = Dictionary::new();
        self.taken_back.clear();
        self.incomplete = false;
        self.conflicts = Conflicts::default();
        self.settled = Seq(0);
        self.keep_whole();
        self.reset();
    }

    pub(super) fn adopt(&mut self, snapshot: Snapshot) {
        let Snapshot { header, base, names, conflicts } = snapshot;
        base.entries().for_each(|(key, entry)| self.note_change(key, entry));
        (self.base, self.conflicts) = (base, conflicts);
        self.taken_back.clear();
        self.incomplete = false;
        self.keep_whole();
        self.names.extend(names);
        (self.applied, self.settled) = (header.seq, header.seq);
        self.horizon = header.horizon;
        self.unverified = true;
        self.outbox.release(header.seq);
        self.release_siblings();
        self.reset();
    }

    pub(super) fn handle_delta(&mut self, delta: Delta, frame: &[u8], now_ms: u64) -> Result<(), WireError> {
        let (prev, to, more) = (delta.prev, delta.to, delta.more);
        if self.link.phase != Phase::Following {
            return Ok(());
        }
        if prev != self.applied {
            if to > self.applied && !self.resuming {
                self.resume();
            }
            return Ok(());
        }
        self.resuming = false;
        self.apply(delta)?;
        if let Some(journal) = &mut self.journal {
            journal.delta(frame);
        }
        self.applied = to;
        if !more || mutant!("a page is a moment") {
            self.settled = to;
        }
        let released = self.outbox.release(self.settled);
        if !released.is_empty() {
            self.changed.extend(released);
            self.status_changed();
        }
        self.release_siblings();
        self.verify_once(now_ms);
        self.compare(now_ms);
        Ok(())
    }

    /// Brings changes into the base.
    pub(super) fn apply(&mut self, delta: Delta) -> Result<(), WireError> {
        self.names.extend(delta.authors.iter().cloned());
        let mut conflicts = false;
        for change in delta.into_changes()? {
            match change {
                Change::Entry(key, entry) => {
                    self.note_change(&key, &entry);
                    self.changed.insert(key.clone());
                    self.base.replace(key, entry);
                }
                Change::Conflict(conflict) => {
                    conflicts = true;
                    self.conflicts.set(conflict);
                }
            }
        }
        if conflicts {
            self.events.push_back(Event::Conflicts);
        }
        Ok(())
    }

    pub(super) fn resume(&mut self) {
        let Some(lineage) = &self.lineage else { return };
        let epoch = lineage.current;
        self.resuming = true;
        self.applied = self.settled;
        self.transmit(&ClientFrame::Resume { epoch, cursor: self.settled });
    }

    pub(super) fn handle_ack(&mut self, batch: u64, seq: Seq, exceptions: &[Exception], now_ms: u64) {
        let Some(position) = self.in_flight.iter().position(|(number, _)| *number == batch) else { return };
        let (_, ops) = self.in_flight.remove(position).expect("it was just found");
        let mut exceptions = exceptions.iter().peekable();
        if let Some(server_ms) = exceptions.clone().find(|e| e.code == AckCode::ClockAhead).map(|e| e.data) {
            self.set_offset(now_ms, server_ms, now_ms);
            if !mutant!("a wrong clock goes on") {
                self.clock.forget_above(HybridTime::from_millis(server_ms.saturating_add(CLOCK_AHEAD_MS_MAX)));
            }
        }
        for (index, (key, stamp)) in (0..).zip(ops) {
            let exception = exceptions.next_if(|exception| exception.index == index);
            self.settle(&key, stamp, seq, exception, now_ms);
            self.changed.insert(key);
        }
        self.outbox.release(if mutant!("a row leaves with its ack") { seq } else { self.settled });
        self.compare(now_ms);
        self.status_changed();
    }

    /// What becomes of an operation that was answered, if no newer one has taken its place.
    pub(super) fn settle(&mut self, key: &Key, stamp: Stamp, seq: Seq, exception: Option<&Exception>, now_ms: u64) {
        let Some(row) = self.outbox.row(key, stamp) else { return };
        let recovered = row.recovered.is_some();
        let state = match exception.map(|exception| (exception.code, exception.code.class(), exception.data)) {
            None | Some((_, AckClass::Done, _)) => RowState::Acked(seq),
            Some((_, AckClass::Held, _)) if mutant!("a refused write is done") => RowState::Acked(seq),
            Some((_, AckClass::Held, _)) if mutant!("a refused write is tried again") => RowState::Queued,
            Some((code, AckClass::Held, data)) => RowState::Held { code, data },
            Some((AckCode::ClockAhead, _, server_ms)) => {
                let admitted_ms = server_ms.saturating_add(CLOCK_AHEAD_MS_MAX);
                let early_ms = |stamp: Stamp| stamp.millis().saturating_sub(admitted_ms);
                // The page that wrote an adopted row may have sent it.
                let adopted = (stamp.replica() != self.clock.replica()).then_some(stamp);
                let sent = self.unanswered.entry(key.as_str()).map(|sent| sent.stamp).max(adopted);
                let wait_ms = match sent.map(early_ms) {
                    // It was confirmed once with this stamp: it waits until the server's clock has come so far.
                    _ if recovered => early_ms(stamp),
                    // An old connection may bring it, or what it replaces, when the server's clock has come so far. That
                    // would undo what is written meanwhile with lower stamps.
                    Some(early_ms @ 1..=LATE_MS_MAX) => early_ms,
                    _ => return self.restamp(key, stamp, server_ms, now_ms),
                };
                RowState::Waiting { until_ms: now_ms + wait_ms.clamp(1000, WAIT_MS_MAX) }
            }
            Some((_, AckClass::Retry, wait_ms)) => RowState::Waiting { until_ms: now_ms + wait_ms.min(WAIT_MS_MAX) },
        };
        self.outbox.set_state(key, stamp, state);
        if matches!(state, RowState::Acked(_))
            && self.unanswered.entry(key.as_str()).is_some_and(|sent| sent.stamp <= stamp)
        {
            self.unanswered.forget(key);
        }
        if !state.is_active() && self.taken_back.contains(key) && self.link.phase == Phase::Following {
            // The server will not take it back, so the base needs what the server has.
            self.fetch();
        }
    }

    /// Nobody else can have seen a refused write, so it may get another stamp: above the entry, and above what it replaces,
    /// as far as the server's clock may have admitted that.
    pub(super) fn restamp(&mut self, key: &Key, stamp: Stamp, server_ms: u64, now_ms: u64) {
        let Some(mut row) = self.outbox.remove(key, stamp) else { return };
        if self.outbox.rows(key).iter().any(|newer| newer.state.is_active() && newer.seen[1..].contains(&stamp)) {
            // It has been replaced by one that says so.
            return;
        }
        let base = self.base.entry(key.as_str()).map_or(Stamp::ZERO, |entry| entry.stamp);
        let by_clock = HybridTime::from_millis(server_ms.saturating_add(CLOCK_AHEAD_MS_MAX));
        let admitted = by_clock.max(base.time().plus_millis(1));
        let others = self.outbox.rows(key).iter().filter(|row| row.state.is_active()).map(|row| row.stamp);
        let late = self.unanswered.entry(key.as_str()).map(|sent| sent.stamp);
        let replaced = row
            .seen
            .iter()
            .copied()
            .chain(others)
            .chain(late)
            .filter(|stamp| stamp.time() <= admitted)
            .fold(base, Stamp::max);
        let time = self.clock.stamp(self.server_ms(now_ms), replaced, row.value.is_some()).time();
        // An adopted write stays its own replica's: this one may have written since without having seen it.
        row.stamp = Stamp::new(time, row.value.is_some(), stamp.replica());
        row.state = RowState::Queued;
        if mutant!("a new stamp has seen what is there") {
            row.seen[0] = base;
        }
        self.steps.rename(key, stamp, row.stamp);
        self.outbox.insert(key.clone(), row);
    }

    /// Asks for the server's digest after a catch-up.
    pub(super) fn verify_once(&mut self, now_ms: u64) {
        if self.is_settled() && std::mem::take(&mut self.unverified) {
            self.verify(now_ms);
        }
    }

    /// Compares the digests, when the base has come to the seq of the server's.
    pub(super) fn compare(&mut self, now_ms: u64) {
        let Some(check) = self.check.filter(|_| self.is_settled()) else { return };
        while self.taken_back.first().is_some_and(|key| self.outbox.shown(key).is_none()) {
            self.taken_back.pop_first();
        }
        if check.seq > self.settled || !self.taken_back.is_empty() {
            return;
        }
        self.check = None;
        if check.seq < self.settled {
            // It has gone by, in the middle of a catch-up.
            return self.verify(now_ms);
        }
        if (check.digest, check.live) == (self.base.digest(), self.base.live()) {
            self.verified = Some(check.seq);
            return self.status_changed();
        }
        self.divergences += 1;
        self.verified = None;
        self.events.push_back(Event::Diverged);
        if self.healed_at_ms.is_none_or(|at| now_ms >= at + HEAL_MS_MIN) {
            self.healed_at_ms = Some(now_ms);
            self.fetch();
        }
    }

    /// Fetches a snapshot; if it cannot be had, after the next Welcome.
    pub(super) fn fetch(&mut self) {
        self.incomplete = true;
        self.link.fetch();
    }

    /// Sends what is queued, as far as pushes may be in flight.
    pub(super) fn push(&mut self) {
        while self.link.is_welcome() && self.in_flight.len() < PUSHES_IN_FLIGHT_MAX {
            let Self { outbox, siblings, siblings_first_until_ms, .. } = self;
            let may_go = |key: &Key, row: &OutboxRow| siblings_first_until_ms.is_none() || !siblings.precede(key, row);
            let (keys, ops): (Vec<_>, Vec<_>) = outbox.take_push(&may_go).into_iter().unzip();
            if ops.is_empty() {
                return;
            }
            let batch = self.next_batch;
            self.next_batch += 1;
            let stamps = ops.iter().map(|op| op.stamp);
            self.in_flight.push_back((batch, keys.into_iter().zip(stamps).collect()));
            self.transmit(&ClientFrame::Push { batch, ops });
        }
    }
}
