//! What the server is to be told about conflicts: what was decided here, and the open rows that it has lost in a rollback.
//!
//! Each is sent once over a connection, and is done when the base has reached the answer, or shows that there is nothing left to
//! tell. Sending it twice is harmless. A decision that a rollback took back is told again by every client that knows of it.
//!
//! Only its author lets a losing value go for everybody. Who dismisses somebody else's hides the row on this device, and
//! tells nobody.
//!
//! That a value was restored is told after the write that restores it: the server looks whether the key has the value.
//!
//! A row that was lost has the branch of its last change. It goes to a server that has some of that history; of strangers it is none of
//! their business.
//!
//! All is kept with the outbox's rows of the key, so that whoever takes those over takes it over too.

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, mem};

use super::outbox::{WAIT_MS_MAX, WAIT_MS_MIN};
use crate::{
    Author, AuthorId, AuthorName, Branch, Conflict, ConflictId, Conflicts, Key, Lineage, Resolution, Seq, cbor_array,
    limits::{Limits, PUSH_BYTES_MAX, PUSH_OPS_MAX},
    mutants::mutant,
    wire::{AckClass, AckCode, AuthorTable, ClientFrame, Exception, WireConflict, WireError},
};

/// What a Recover of one row takes beside the row, rounded up: two names, and the frame.
const RECOVER_BYTES: usize = 1024;

/// A decision that is not confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingResolution {
    /// The conflict.
    pub id: ConflictId,
    /// What was decided.
    pub resolution: Resolution,
    /// Whether it counts on this device alone, and is told to nobody.
    pub is_private: bool,
}

cbor_array!(PendingResolution { id, resolution, is_private });

impl PendingResolution {
    /// Of somebody with this id.
    pub(super) fn new(conflict: &Conflict, resolution: Resolution, own: AuthorId) -> Self {
        let is_private = resolution == Resolution::Dismissed && conflict.loser.author != own;
        Self { id: conflict.id(), resolution, is_private }
    }

    pub(super) fn is_about(&self, conflict: &Conflict) -> bool {
        (&self.id.key, self.id.loser) == (&conflict.key, conflict.loser.stamp)
    }
}

/// Something to tell, and how far that has come.
#[derive(Clone, Debug)]
struct Report<T> {
    what: T,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// It is sent when this time has come.
    Waiting { until_ms: u64 },
    /// It went over this connection, in the message of this number, as the row at this place in it.
    Sent { batch: u64, index: u32 },
    /// The server has answered: it is done when the base has reached this.
    Answered(Seq),
}

impl<T> Report<T> {
    fn new(what: T) -> Self {
        Self { what, progress: Progress::Waiting { until_ms: 0 } }
    }

    /// None waits for longer than a server may ask for: a later time is of a clock that was set back.
    fn is_due(&self, now_ms: u64) -> bool {
        let is_due = |until_ms| until_ms <= now_ms || until_ms > now_ms + WAIT_MS_MAX;
        matches!(self.progress, Progress::Waiting { until_ms } if is_due(until_ms))
    }

    fn wake(&mut self, now_ms: u64) {
        if self.is_due(now_ms) {
            self.progress = Progress::Waiting { until_ms: 0 };
        }
    }

    fn is_reached(&self, cursor: Seq) -> bool {
        matches!(self.progress, Progress::Answered(seq) if seq <= cursor)
    }

    fn handle_answer(&mut self, batch: u64, seq: Seq, exceptions: &[Exception], now_ms: u64) {
        let Progress::Sent { batch: sent, index } = self.progress else { return };
        if sent != batch {
            return;
        }
        let exception = exceptions.iter().find(|exception| exception.index == index);
        self.progress = match exception.map(|exception| (exception.code, exception.code.class(), exception.data)) {
            Some((AckCode::ReadOnly, ..)) => Progress::Waiting { until_ms: now_ms + WAIT_MS_MAX },
            Some((_, AckClass::Retry, wait_ms)) => {
                Progress::Waiting { until_ms: now_ms + wait_ms.clamp(WAIT_MS_MIN, WAIT_MS_MAX) }
            }
            _ => Progress::Answered(seq),
        };
    }

    fn restart(&mut self, acks_are_void: bool) {
        let again = match self.progress {
            Progress::Waiting { .. } => false,
            Progress::Sent { .. } => true,
            Progress::Answered(_) => acks_are_void,
        };
        if again {
            self.progress = Progress::Waiting { until_ms: 0 };
        }
    }
}

/// A conflict row that the server has lost.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    pub(super) conflict: Conflict,
    /// Where it was confirmed.
    pub(super) branch: Branch,
}

/// What the server is to be told about conflicts.
#[derive(Clone, Debug, Default)]
pub(super) struct Decisions {
    pending: Vec<Report<PendingResolution>>,
    /// Rows that the server has lost.
    lost: Vec<Report<Lost>>,
    /// Keys of which something else is to be kept than a store was told.
    changed: BTreeSet<Key>,
}

/// The rows of a key that the server has lost, as a store keeps them.
#[derive(Debug, Default)]
pub(super) struct KeptConflicts {
    rows: Vec<WireConflict>,
    authors: Vec<Author>,
    /// One for each row.
    branches: Vec<Branch>,
}

cbor_array!(KeptConflicts { rows, authors, branches });

impl KeptConflicts {
    /// The rows, and the names of their authors.
    pub(super) fn into_rows(self) -> Result<(Vec<Lost>, Vec<Author>), WireError> {
        let Self { rows, authors, branches } = self;
        let lost = |(row, branch): (WireConflict, _)| Ok(Lost { conflict: row.with_positions(&authors)?, branch });
        let lost = rows.into_iter().zip(branches).map(lost).collect::<Result<_, WireError>>()?;
        Ok((lost, authors))
    }
}

impl Decisions {
    pub(super) fn pending(&self) -> impl Iterator<Item = &PendingResolution> {
        self.pending.iter().map(|report| &report.what)
    }

    /// The keys about whose conflicts there is something to tell, or decided.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.pending().map(|pending| &pending.id.key).chain(self.lost().map(|lost| &lost.key))
    }

    /// The rows that the server has lost, and that are shown meanwhile.
    pub(super) fn lost(&self) -> impl Iterator<Item = &Conflict> {
        self.lost.iter().map(|report| &report.what.conflict)
    }

    /// What was decided about the conflicts of a key.
    pub(super) fn of_key(&self, key: &Key) -> Vec<PendingResolution> {
        self.pending().filter(|pending| pending.id.key == *key).cloned().collect()
    }

    /// The rows of a key that the server has lost; none if there are none.
    pub(super) fn lost_of_key(&self, key: &Key, name: &dyn Fn(AuthorId) -> AuthorName) -> Option<KeptConflicts> {
        let mut table = AuthorTable::default();
        let of_key = self.lost.iter().map(|report| &report.what).filter(|lost| lost.conflict.key == *key);
        let mut position = |id| table.position(id, name);
        let row = |lost: &Lost| (WireConflict::new(&lost.conflict, &mut position), lost.branch.clone());
        let (rows, branches): (Vec<_>, _) = of_key.map(row).unzip();
        (!rows.is_empty()).then(|| KeptConflicts { rows, authors: table.into_authors(), branches })
    }

    /// Whether something was decided about a conflict.
    pub(super) fn is_decided(&self, conflict: &Conflict) -> bool {
        self.pending().any(|pending| pending.is_about(conflict))
    }

    /// Whether there is nothing to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.lost.is_empty()
    }

    /// Adds a decision, unless one about the same conflict waits already. Returns whether it was added.
    pub(super) fn add(&mut self, new: PendingResolution) -> bool {
        let is_new = !self.pending().any(|pending| pending.id == new.id);
        if is_new {
            self.changed.insert(new.id.key.clone());
            self.pending.push(Report::new(new));
        }
        is_new
    }

    /// Adds a row that the server has lost. Returns whether it was not known.
    pub(super) fn add_lost(&mut self, lost: Lost) -> bool {
        let is_new = !self.lost().any(|known| known.id() == lost.conflict.id());
        if is_new {
            self.changed.insert(lost.conflict.key.clone());
            self.lost.push(Report::new(lost));
        }
        is_new
    }

    /// The server has lost what these rows say: it is told again. `branch` says where a batch was confirmed.
    pub(super) fn recover(&mut self, rows: Vec<Conflict>, branch: &dyn Fn(Seq) -> Branch, own: AuthorId) {
        for conflict in rows {
            match conflict.resolution {
                Resolution::Open => _ = self.add_lost(Lost { branch: branch(conflict.seq), conflict }),
                Resolution::Archived => {}
                resolution => {
                    let decision = PendingResolution::new(&conflict, resolution, own);
                    if !decision.is_private {
                        self.add(decision);
                    }
                }
            }
        }
    }

    /// The server was set back once more: see [`Outbox::extend_branches`](super::Outbox::extend_branches).
    pub(super) fn extend_branches(&mut self, lineage: &Lineage, server: &Lineage) {
        for Report { what, .. } in &mut self.lost {
            what.branch.extend(lineage, server);
            self.changed.insert(what.conflict.key.clone());
        }
    }

    /// Takes out the rows of a history that the server has no part of: nobody is told of them.
    pub(super) fn take_strangers(&mut self, server: &Lineage) -> Vec<Lost> {
        let (known, strange) =
            mem::take(&mut self.lost).into_iter().partition(|report| report.what.branch.hangs_on(server));
        self.lost = known;
        let strange: Vec<Lost> = Vec::into_iter(strange).map(|report: Report<Lost>| report.what).collect();
        self.changed.extend(strange.iter().map(|lost| lost.conflict.key.clone()));
        strange
    }

    /// What was sent may be lost.
    pub(super) fn handle_disconnected(&mut self) {
        if mutant!("a cut forgets what was decided") {
            return;
        }
        self.restart(false);
    }

    /// The server goes on in another epoch: what it has answered may be lost.
    pub(super) fn handle_epoch(&mut self) {
        self.restart(true);
    }

    fn restart(&mut self, acks_are_void: bool) {
        self.pending.iter_mut().for_each(|report| report.restart(acks_are_void));
        self.lost.iter_mut().for_each(|report| report.restart(acks_are_void));
    }

    /// It is another dictionary: what waits says nothing about it.
    pub(super) fn handle_other_dictionary(&mut self) {
        let keys = self.pending.drain(..).map(|report| report.what.id.key);
        self.changed.extend(keys.chain(self.lost.drain(..).map(|report| report.what.conflict.key)));
    }

    /// Lets go of what is done, by the rows of a base that has come to `cursor`. Returns whether there was any. A row that was hidden as
    /// somebody else's is shown again if by now it is of `own`: somebody had taken its name.
    pub(super) fn settle(&mut self, conflicts: &Conflicts, cursor: Seq, own: AuthorId) -> bool {
        let before = self.pending.len() + self.lost.len();
        let changed = &mut self.changed;
        self.lost.retain(|report| {
            let Lost { conflict, .. } = &report.what;
            let is_lost = !report.is_reached(cursor) && conflicts.get(&conflict.id()).is_none();
            if !is_lost {
                changed.insert(conflict.key.clone());
            }
            is_lost
        });
        let lost = &self.lost;
        self.pending.retain(|report| {
            let id = &report.what.id;
            let is_hidden = |row: &Conflict| !report.what.is_private || row.loser.author != own;
            let is_open = conflicts.get(id).is_some_and(|row| row.is_open() && is_hidden(row));
            let waits =
                !report.is_reached(cursor) && (is_open || lost.iter().any(|lost| lost.what.conflict.id() == *id));
            if !waits {
                changed.insert(id.key.clone());
            }
            waits
        });
        self.pending.len() + self.lost.len() < before
    }

    /// How many messages wait for their answers.
    pub(super) fn in_flight(&self) -> usize {
        let lost = self.lost.iter().map(|report| report.progress);
        let all = self.pending.iter().map(|report| report.progress).chain(lost);
        let sent = all.filter_map(|progress| match progress {
            Progress::Sent { batch, .. } => Some(batch),
            _ => None,
        });
        let mut batches: Vec<u64> = sent.collect();
        batches.sort_unstable();
        batches.dedup();
        batches.len()
    }

    /// The next message, which is sent from now on, under the number `batch`. To be asked after [`Decisions::settle`]. `waits` says
    /// whether a write of a key waits here. A lost row that fits no frame of these limits, which were greater when it was written, stays
    /// here.
    pub(super) fn take_message(
        &mut self,
        conflicts: &Conflicts,
        limits: &Limits,
        name: &dyn Fn(AuthorId) -> AuthorName,
        waits: &dyn Fn(&Key) -> bool,
        batch: u64,
        now_ms: u64,
    ) -> Option<ClientFrame> {
        // The write that has won comes back before what it has won over: the key has an entry then.
        let bytes_max = limits.frame_bytes() - RECOVER_BYTES;
        let goes = |report: &Report<Lost>| {
            let Lost { conflict, .. } = &report.what;
            report.is_due(now_ms) && !waits(&conflict.key) && conflict.bytes() <= bytes_max
        };
        if self.lost.iter().any(goes) {
            let (mut table, mut rows, mut bytes) = (AuthorTable::default(), Vec::new(), 0);
            for report in self.lost.iter_mut().filter(|report| goes(report)) {
                let conflict = &report.what.conflict;
                bytes += conflict.bytes();
                if rows.len() == PUSH_OPS_MAX || !rows.is_empty() && bytes > PUSH_BYTES_MAX {
                    break;
                }
                report.progress = Progress::Sent { batch, index: rows.len() as u32 };
                rows.push(WireConflict::new(conflict, &mut |id| table.position(id, name)));
            }
            return Some(ClientFrame::Recover { batch, conflicts: rows, authors: table.into_authors() });
        }
        let is_open = |id: &ConflictId| conflicts.get(id).is_some_and(Conflict::is_open);
        let report = self.pending.iter_mut().find(|report| {
            let PendingResolution { id, is_private, .. } = &report.what;
            !is_private && report.is_due(now_ms) && is_open(id) && !waits(&id.key)
        })?;
        report.progress = Progress::Sent { batch, index: 0 };
        let PendingResolution { id, resolution, .. } = report.what.clone();
        Some(ClientFrame::Resolve { batch, id, resolution })
    }

    /// A message was answered.
    pub(super) fn handle_answer(&mut self, batch: u64, seq: Seq, exceptions: &[Exception], now_ms: u64) {
        self.pending.iter_mut().for_each(|report| report.handle_answer(batch, seq, exceptions, now_ms));
        self.lost.iter_mut().for_each(|report| report.handle_answer(batch, seq, exceptions, now_ms));
    }

    /// What waits for a time that has come waits for it no more, but for whatever else keeps it here.
    pub(super) fn wake(&mut self, now_ms: u64) {
        self.pending.iter_mut().for_each(|report| report.wake(now_ms));
        self.lost.iter_mut().for_each(|report| report.wake(now_ms));
    }

    /// When something is to be sent again, if it waits for that.
    pub(super) fn wakes_at(&self) -> Option<u64> {
        let lost = self.lost.iter().map(|report| report.progress);
        let progress = self.pending.iter().map(|report| report.progress).chain(lost);
        let times = progress.filter_map(|progress| match progress {
            Progress::Waiting { until_ms } if until_ms > 0 => Some(until_ms),
            _ => None,
        });
        times.min()
    }

    /// The keys of which something else is to be kept since the last call.
    pub(super) fn take_changed(&mut self) -> BTreeSet<Key> {
        mem::take(&mut self.changed)
    }
}
