//! Conflicts: two people wrote the same key without having seen each other's write. One value stays; the other is kept
//! as a version and shown in a conflict row, until somebody restores or dismisses it.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use crate::{author::AuthorId, entry::Seq, key::Key, limits::CONFLICTS_MAX, stamp::Stamp, value::Value};

/// A conflict's name: the batch in which it arose, and its number in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(array)]
pub struct ConflictId {
    /// The batch.
    #[n(0)]
    pub seq: Seq,
    /// Its number among the batch's rows.
    #[n(1)]
    pub index: u16,
}

/// One of the two writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The value, or nothing for a remove.
    pub value: Option<Value>,
    /// When and by which replica.
    pub stamp: Stamp,
    /// By whom.
    pub author: AuthorId,
}

/// What has become of a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Resolution {
    /// Nobody has looked at it.
    #[n(0)]
    Open,
    /// Somebody let the losing value go.
    #[n(1)]
    Dismissed,
    /// Somebody wrote the losing value again.
    #[n(2)]
    Restored,
}

/// A conflict row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Its name.
    pub id: ConflictId,
    /// The batch that changed it last: its own, or the one that resolved it.
    pub seq: Seq,
    /// The key that both wrote.
    pub key: Key,
    /// What stayed.
    pub winner: Side,
    /// What did not.
    pub loser: Side,
    /// What has become of it.
    pub resolution: Resolution,
}

/// The newest conflict rows of a dictionary by their names. At most [`CONFLICTS_MAX`]: when a newer one comes, the oldest
/// leaves, on the server and on every client alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflicts(BTreeMap<ConflictId, Conflict>);

impl Conflicts {
    /// Adds a row or replaces the one of the same name.
    pub fn set(&mut self, conflict: Conflict) {
        self.0.insert(conflict.id, conflict);
        while self.0.len() > CONFLICTS_MAX as usize {
            self.0.pop_first();
        }
    }

    /// Goes back to how the rows were at `fork`: a server that has lost what came after knows them so. Returns whether any
    /// changed.
    pub fn step_back(&mut self, fork: Seq) -> bool {
        let above = |conflict: &Conflict| conflict.seq > fork;
        let changed = self.0.values().any(above);
        self.0.retain(|id, _| id.seq <= fork);
        for conflict in self.0.values_mut().filter(|conflict| above(conflict)) {
            (conflict.seq, conflict.resolution) = (conflict.id.seq, Resolution::Open);
        }
        changed
    }

    /// A row by its name.
    pub fn get(&self, id: ConflictId) -> Option<&Conflict> {
        self.0.get(&id)
    }

    /// The rows, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Conflict> {
        self.0.values()
    }

    /// Those that nobody has resolved, oldest first.
    pub fn open(&self) -> impl Iterator<Item = &Conflict> {
        self.iter().filter(|conflict| conflict.resolution == Resolution::Open)
    }
}
