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
    /// It went over this connection, under this number.
    Sent { batch: u64 },
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

    fn is_reached(&self, cursor: Seq) -> bool {
        matches!(self.progress, Progress::Answered(seq) if seq <= cursor)
    }

    fn handle_answer(&mut self, batch: u64, seq: Seq, exception: Option<&Exception>, now_ms: u64) {
        if self.progress != (Progress::Sent { batch }) {
            return;
        }
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
            Progress::Sent { batch } => Some(batch),
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
                rows.push(WireConflict::new(conflict, &mut |id| table.position(id, name)));
                report.progress = Progress::Sent { batch };
            }
            return Some(ClientFrame::Recover { batch, conflicts: rows, authors: table.into_authors() });
        }
        let is_open = |id: &ConflictId| conflicts.get(id).is_some_and(Conflict::is_open);
        let report = self.pending.iter_mut().find(|report| {
            let PendingResolution { id, is_private, .. } = &report.what;
            !is_private && report.is_due(now_ms) && is_open(id) && !waits(&id.key)
        })?;
        report.progress = Progress::Sent { batch };
        let PendingResolution { id, resolution, .. } = report.what.clone();
        Some(ClientFrame::Resolve { batch, id, resolution })
    }

    /// A message was answered.
    pub(super) fn handle_answer(&mut self, batch: u64, seq: Seq, exceptions: &[Exception], now_ms: u64) {
        let exception = |index: u32| exceptions.iter().find(|exception| exception.index == index);
        for report in &mut self.pending {
            report.handle_answer(batch, seq, exception(0), now_ms);
        }
        let sent = self.lost.iter_mut().filter(|report| report.progress == Progress::Sent { batch });
        for (index, report) in (0..).zip(sent) {
            report.handle_answer(batch, seq, exception(index), now_ms);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, HybridTime, ReplicaId, Side, Stamp, Winner};

    const OWN: AuthorId = AuthorId(1);

    fn stamp(ms: u64) -> Stamp {
        Stamp::new(HybridTime::from_millis(ms), false, ReplicaId(1))
    }

    fn conflict(seq: u64, resolution: Resolution) -> Conflict {
        let loser = Side { value: None, stamp: stamp(2 * seq - 1), author: OWN };
        let winner = Winner { stamp: stamp(2 * seq), author: AuthorId(2) };
        Conflict { key: Key::parse("k").unwrap(), loser, winner, seq: Seq(seq), resolution }
    }

    fn conflicts(rows: impl IntoIterator<Item = Conflict>) -> Conflicts {
        let mut conflicts = Conflicts::default();
        rows.into_iter().for_each(|row| conflicts.set(row));
        conflicts
    }

    fn message(decisions: &mut Decisions, rows: &Conflicts, now_ms: u64) -> Option<ClientFrame> {
        decisions.take_message(rows, &Limits::default(), &AuthorName::generated, &|_| false, 5, now_ms)
    }

    fn dismissal(row: &Conflict) -> PendingResolution {
        PendingResolution::new(row, Resolution::Dismissed, OWN)
    }

    #[test]
    fn a_decision_is_sent_once_a_connection_until_it_is_done() {
        let (open, mut decisions) = (conflict(3, Resolution::Open), Decisions::default());
        assert!(decisions.add(dismissal(&open)));
        assert!(!decisions.add(PendingResolution::new(&open, Resolution::Restored, OWN)), "the first stays");
        assert!(decisions.is_decided(&open));
        let rows = conflicts([open.clone()]);
        assert!(!decisions.settle(&rows, Seq(3), OWN));
        let sent = ClientFrame::Resolve { batch: 5, id: open.id(), resolution: Resolution::Dismissed };
        assert_eq!(message(&mut decisions, &rows, 0), Some(sent.clone()));
        assert_eq!((message(&mut decisions, &rows, 0), decisions.in_flight()), (None, 1));
        decisions.handle_disconnected();
        assert_eq!(message(&mut decisions, &rows, 0), Some(sent));
        assert!(decisions.settle(&conflicts([conflict(3, Resolution::Restored)]), Seq(3), OWN), "somebody has decided");
        assert_eq!(decisions.pending().count(), 0);
        assert_eq!(decisions.take_changed().len(), 1);
    }

    #[test]
    fn what_is_refused_is_open_again_and_what_was_busy_is_sent_again() {
        let check = |code: AckCode, data, is_decided: bool, wakes_at: Option<u64>| {
            let (open, mut decisions) = (conflict(3, Resolution::Open), Decisions::default());
            decisions.add(dismissal(&open));
            let rows = conflicts([open.clone()]);
            message(&mut decisions, &rows, 0).unwrap();
            decisions.handle_answer(5, Seq(4), &[Exception { index: 0, code, data }], 100);
            assert!(!decisions.settle(&rows, Seq(3), OWN), "the base has not come to the answer");
            decisions.settle(&rows, Seq(4), OWN);
            assert_eq!((decisions.is_decided(&open), decisions.wakes_at()), (is_decided, wakes_at));
            assert_eq!(message(&mut decisions, &rows, 200), None);
            assert_eq!(wakes_at.map(|at| message(&mut decisions, &rows, at).is_some()), wakes_at.map(|_| true));
        };
        check(AckCode::Superseded, 0, false, None);
        check(AckCode::NotAuthor, 0, false, None);
        check(AckCode::Busy, 50, true, Some(100 + WAIT_MS_MIN));
        check(AckCode::Busy, 5000, true, Some(5100));
        check(AckCode::Busy, u64::MAX, true, Some(100 + WAIT_MS_MAX));
        check(AckCode::ReadOnly, 0, true, Some(100 + WAIT_MS_MAX));
    }

    #[test]
    fn who_dismisses_anothers_value_tells_nobody() {
        let mut row = conflict(3, Resolution::Open);
        row.loser.author = AuthorId(9);
        let (rows, mut decisions) = (conflicts([row.clone()]), Decisions::default());
        assert!(decisions.add(dismissal(&row)) && decisions.is_decided(&row));
        decisions.settle(&rows, Seq(9), OWN);
        assert_eq!((message(&mut decisions, &rows, 0), decisions.is_decided(&row)), (None, true));
        assert!(decisions.settle(&conflicts([conflict(3, Resolution::Restored)]), Seq(9), OWN));
    }

    /// A row that somebody had made up was hidden here, and with it the real one that took its name.
    #[test]
    fn what_is_hidden_as_anothers_is_shown_once_it_is_ones_own() {
        let (mut made_up, real) = (conflict(3, Resolution::Open), conflict(3, Resolution::Open));
        made_up.loser.author = AuthorId(9);
        let mut decisions = Decisions::default();
        decisions.add(dismissal(&made_up));
        assert!(!decisions.settle(&conflicts([made_up]), Seq(9), OWN));
        let real = Conflict { loser: Side { author: OWN, ..real.loser.clone() }, ..real };
        assert!(decisions.settle(&conflicts([real.clone()]), Seq(9), OWN) && !decisions.is_decided(&real));
    }

    #[test]
    fn what_a_rollback_took_back_is_told_again() {
        let rows =
            vec![conflict(5, Resolution::Open), conflict(6, Resolution::Restored), conflict(7, Resolution::Archived)];
        let epoch = |number| Lineage { past: Vec::new(), current: Epoch(number) };
        let branch = |seq| Branch::of(&epoch(1), seq, &epoch(2));
        let mut decisions = Decisions::default();
        decisions.recover(rows, &branch, OWN);
        let found: Vec<_> = decisions.pending().map(|pending| (pending.id.loser, pending.resolution)).collect();
        assert_eq!(found, [(stamp(11), Resolution::Restored)]);
        let mut strange = decisions.clone();
        assert_eq!((strange.take_strangers(&epoch(1)).len(), strange.take_strangers(&epoch(2)).len()), (0, 1));
        assert_eq!(
            (strange.lost().count(), strange.take_changed()),
            (0, BTreeSet::from([conflict(5, Resolution::Open).key]))
        );
        let (none, mut waiting) = (Conflicts::default(), decisions.clone());
        let sent = waiting.take_message(&none, &Limits::default(), &AuthorName::generated, &|_| true, 5, 0);
        assert_eq!(sent, None, "the write that won goes first");
        let Some(ClientFrame::Recover { conflicts: sent, .. }) = message(&mut decisions, &none, 0) else { panic!() };
        assert_eq!(sent.iter().map(|row| row.loser).collect::<Vec<_>>(), [stamp(9)]);
        assert!(
            decisions.settle(&conflicts([conflict(5, Resolution::Dismissed)]), Seq(1), OWN),
            "it has a row of that name"
        );
        assert_eq!(decisions.lost().count(), 0);
    }
}
