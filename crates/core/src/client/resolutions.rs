//! What was decided here about conflicts, and the server has not confirmed.
//!
//! A decision names its conflict by the key and the stamps of the two writes, not by its id: a server that was set back gives
//! the ids above the fork to other conflicts. It waits, on the device too, until this replica has caught up with the server and
//! has no open row of that name; then it is done, or there is nothing left to decide. Sending it twice is harmless.

use super::{Client, EditError, Event};
use crate::{
    Conflict, ConflictId, Key, Resolution, Seq, Stamp, cbor_array,
    wire::{ClientFrame, Role},
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
    fn new(conflict: &Conflict, resolution: Resolution) -> Self {
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

impl Client {
    /// The conflicts about which nobody has decided, oldest first. O(rows × pending resolutions).
    pub fn open_conflicts(&self) -> impl DoubleEndedIterator<Item = &Conflict> {
        self.conflicts.open().filter(|conflict| !self.resolutions.iter().any(|pending| pending.is_of(conflict)))
    }

    /// What was decided here and is not confirmed.
    pub fn resolutions(&self) -> &[PendingResolution] {
        &self.resolutions
    }

    /// Decides about a conflict: here at once, for everybody when possible. [`Resolution::Restored`] writes the losing value
    /// again. Returns the stamp of what was written, if anything was. A conflict that is not open stays as it is.
    ///
    /// # Errors
    /// When the losing value cannot be written, or the server lets this client only read.
    pub fn resolve(&mut self, id: ConflictId, resolution: Resolution, now_ms: u64) -> Result<Option<Stamp>, EditError> {
        let Some(conflict) = self.open_conflicts().find(|conflict| conflict.id == id).cloned() else {
            return Ok(None);
        };
        if self.role != Role::Writer {
            return Err(EditError::ReadOnly);
        }
        let written = match resolution {
            Resolution::Open => return Ok(None),
            Resolution::Dismissed => None,
            Resolution::Restored => self.restore(&conflict, now_ms)?,
        };
        self.add_resolution(PendingResolution::new(&conflict, resolution));
        self.send_resolutions();
        Ok(written)
    }

    fn restore(&mut self, conflict: &Conflict, now_ms: u64) -> Result<Option<Stamp>, EditError> {
        let (key, began) = (&conflict.key, self.begin(&conflict.key));
        match &conflict.loser.value {
            Some(value) => self.put(key, value.clone(), began, now_ms).map(Some),
            None => self.remove(key, began, now_ms),
        }
    }

    /// Adds a decision, unless one about the same conflict waits already.
    pub(super) fn add_resolution(&mut self, new: PendingResolution) {
        if !self.resolutions.iter().any(|pending| pending.is_same(&new)) {
            self.outbox.touch(&new.key);
            self.resolutions.push(new);
            self.resolutions_changed();
        }
    }

    /// Sends what waits, and lets go what is done. Only the rows of a base that has caught up say which.
    pub(super) fn send_resolutions(&mut self) {
        if !self.has_caught_up() {
            return;
        }
        let (before, mut resolutions) = (self.resolutions.len(), std::mem::take(&mut self.resolutions));
        resolutions.retain(|pending| {
            let Some(id) = self.conflicts.open().find(|conflict| pending.is_of(conflict)).map(|conflict| conflict.id)
            else {
                self.outbox.touch(&pending.key);
                return false;
            };
            if self.role == Role::Writer && !self.resolves_sent.contains(&id) {
                self.resolves_sent.push(id);
                self.transmit(&ClientFrame::Resolve { id, resolution: pending.resolution });
            }
            true
        });
        self.resolutions = resolutions;
        if self.resolutions.len() < before {
            self.resolutions_changed();
        }
    }

    /// The server lost these decisions with a rollback: it gets them again.
    pub(super) fn recover_resolutions(&mut self, fork: Seq) {
        let conflicts = std::mem::take(&mut self.conflicts);
        for conflict in conflicts.iter() {
            if conflict.seq > fork && conflict.resolution != Resolution::Open {
                self.add_resolution(PendingResolution::new(conflict, conflict.resolution));
            }
        }
        self.conflicts = conflicts;
    }

    fn resolutions_changed(&mut self) {
        self.events.push_back(Event::Conflicts);
        self.status_changed();
    }
}
