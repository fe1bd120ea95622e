//! What was decided here about conflicts, and the server has not confirmed.
//!
//! A decision names its conflict by the key and the stamps of the two writes, not by its id: a server that was set back gives
//! the ids above the fork to other conflicts. There is no ack for it. It waits until this replica has caught up with the server
//! and has no open conflict row of that name; then it is done, or there is nothing left to decide. Sending it twice is
//! harmless. One that a rollback took back is sent again by every client that knows of it.
//!
//! A decision is kept with the outbox's rows of its key, so that whoever takes those over takes it over too.

use std::{collections::BTreeSet, mem};

use crate::{
    Conflict, ConflictId, Conflicts, Key, Resolution, Seq, Stamp, cbor_array, mutants::mutant, wire::ClientFrame,
};

/// A decision that is not confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingResolution {
    /// The key that both wrote.
    pub key: Key,
    /// The write that stayed.
    pub winner: Stamp,
    /// The one that did not.
    pub loser: Stamp,
    /// What was decided.
    pub resolution: Resolution,
}

cbor_array!(PendingResolution { key, winner, loser, resolution });

impl PendingResolution {
    pub(super) fn new(conflict: &Conflict, resolution: Resolution) -> Self {
        let (winner, loser) = (conflict.winner.stamp, conflict.loser.stamp);
        Self { key: conflict.key.clone(), winner, loser, resolution }
    }

    /// Whether it is about the same conflict.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.key, self.winner, self.loser) == (&other.key, other.winner, other.loser)
    }

    /// Whether it is about this conflict.
    pub fn is_of(&self, conflict: &Conflict) -> bool {
        (&self.key, self.winner, self.loser) == (&conflict.key, conflict.winner.stamp, conflict.loser.stamp)
    }
}

/// The decisions that are not confirmed.
#[derive(Clone, Debug, Default)]
pub(super) struct Decisions {
    pending: Vec<PendingResolution>,
    /// Those that went over this connection.
    sent: Vec<ConflictId>,
    /// Keys whose decisions have changed since a store was told.
    changed: BTreeSet<Key>,
}

impl Decisions {
    pub(super) fn pending(&self) -> &[PendingResolution] {
        &self.pending
    }

    /// What was decided about the conflicts of a key.
    pub(super) fn of_key(&self, key: &Key) -> Vec<PendingResolution> {
        self.pending.iter().filter(|pending| pending.key == *key).cloned().collect()
    }

    /// Whether something was decided about a conflict.
    pub(super) fn is_decided(&self, conflict: &Conflict) -> bool {
        self.pending.iter().any(|pending| pending.is_of(conflict))
    }

    /// Adds a decision, unless one about the same conflict waits already. Returns whether it was added.
    pub(super) fn add(&mut self, new: PendingResolution) -> bool {
        let is_new = !self.pending.iter().any(|pending| pending.is_same(&new));
        if is_new {
            self.changed.insert(new.key.clone());
            self.pending.push(new);
        }
        is_new
    }

    /// The server has lost the decisions above a fork: it gets them again. Returns whether there were any.
    pub(super) fn recover(&mut self, conflicts: &Conflicts, fork: Seq) -> bool {
        let is_lost = |conflict: &&Conflict| conflict.seq > fork && conflict.resolution != Resolution::Open;
        let lost = conflicts.iter().filter(is_lost);
        lost.fold(false, |any, conflict| any | self.add(PendingResolution::new(conflict, conflict.resolution)))
    }

    /// What was sent may be lost.
    pub(super) fn handle_disconnected(&mut self) {
        if mutant!("a cut forgets what was decided") {
            return;
        }
        self.sent.clear();
    }

    /// Lets go of what is done, by the rows of a base that has caught up. Returns whether there was any.
    pub(super) fn settle(&mut self, conflicts: &Conflicts) -> bool {
        let before = self.pending.len();
        let changed = &mut self.changed;
        self.pending.retain(|pending| {
            let is_open = conflicts.open().any(|conflict| pending.is_of(conflict));
            if !is_open {
                changed.insert(pending.key.clone());
            }
            is_open
        });
        self.pending.len() < before
    }

    /// The next decision to send, which is sent from now on. To be asked after [`Decisions::settle`].
    pub(super) fn poll_resolve(&mut self, conflicts: &Conflicts) -> Option<ClientFrame> {
        let Self { pending, sent, .. } = self;
        pending.iter().find_map(|pending| {
            let id = conflicts.open().find(|conflict| pending.is_of(conflict))?.id;
            if sent.contains(&id) {
                return None;
            }
            sent.push(id);
            Some(ClientFrame::Resolve { id, resolution: pending.resolution })
        })
    }

    /// The keys whose decisions have changed since the last call.
    pub(super) fn take_changed(&mut self) -> BTreeSet<Key> {
        mem::take(&mut self.changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AuthorId, HybridTime, ReplicaId, Side};

    fn conflict(seq: u64, resolution: Resolution) -> Conflict {
        let side = |ms| Side {
            value: None,
            stamp: Stamp::new(HybridTime::from_millis(ms), false, ReplicaId(1)),
            author: AuthorId(1),
        };
        let (id, key) = (ConflictId { seq: Seq(seq), index: 0 }, Key::parse("k").unwrap());
        Conflict { id, seq: Seq(seq), key, winner: side(2 * seq), loser: side(2 * seq - 1), resolution }
    }

    fn conflicts(rows: impl IntoIterator<Item = Conflict>) -> Conflicts {
        let mut conflicts = Conflicts::default();
        rows.into_iter().for_each(|row| conflicts.set(row));
        conflicts
    }

    #[test]
    fn a_decision_is_sent_once_a_connection_until_it_is_done() {
        let (open, mut decisions) = (conflict(3, Resolution::Open), Decisions::default());
        assert!(decisions.add(PendingResolution::new(&open, Resolution::Dismissed)));
        assert!(!decisions.add(PendingResolution::new(&open, Resolution::Restored)), "the first stays");
        assert!(decisions.is_decided(&open));
        let rows = conflicts([open]);
        assert!(!decisions.settle(&rows));
        let sent = ClientFrame::Resolve { id: ConflictId { seq: Seq(3), index: 0 }, resolution: Resolution::Dismissed };
        assert_eq!(decisions.poll_resolve(&rows), Some(sent.clone()));
        assert_eq!(decisions.poll_resolve(&rows), None);
        decisions.handle_disconnected();
        assert_eq!(decisions.poll_resolve(&rows), Some(sent));
        assert!(decisions.settle(&conflicts([conflict(3, Resolution::Restored)])), "somebody has decided");
        assert_eq!(decisions.pending(), []);
        assert_eq!(decisions.take_changed().len(), 1);
    }

    #[test]
    fn what_a_rollback_took_back_is_decided_again() {
        let rows = conflicts([
            conflict(2, Resolution::Dismissed),
            conflict(5, Resolution::Open),
            conflict(6, Resolution::Restored),
        ]);
        let mut decisions = Decisions::default();
        assert!(decisions.recover(&rows, Seq(4)));
        let found: Vec<_> = decisions.pending().iter().map(|pending| (pending.winner, pending.resolution)).collect();
        assert_eq!(found, [(conflict(6, Resolution::Open).winner.stamp, Resolution::Restored)]);
    }
}
