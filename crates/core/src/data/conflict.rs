//! Conflicts: two people wrote the same key without having seen each other's write. One value stays; the other is kept
//! as a version and shown in a conflict row, until somebody restores or dismisses it.

use minicbor::{Decode, Encode};

use crate::{AuthorId, Entry, Key, Seq, Stamp, Value, cbor_array, limits::CONFLICTS_MAX};

/// A conflict's name: the batch in which it arose, and its number in the batch, for a batch may bring several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConflictId {
    /// The batch.
    pub seq: Seq,
    /// Its number among the batch's rows.
    pub index: u16,
}

cbor_array!(ConflictId { seq, index });

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

impl From<Entry> for Side {
    fn from(entry: Entry) -> Self {
        Self { value: entry.value, stamp: entry.stamp, author: entry.author }
    }
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

/// The newest conflict rows of a dictionary in the order of their names. At most [`CONFLICTS_MAX`], open or resolved: when a
/// newer one comes, the oldest leaves. The rule is the same on the server and on every client, so no server has to tell which
/// rows have left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflicts(Vec<Conflict>);

impl Conflicts {
    /// Adds a row or replaces the one of the same name.
    pub fn set(&mut self, conflict: Conflict) {
        match self.position(conflict.id) {
            Ok(position) => self.0[position] = conflict,
            Err(position) => self.0.insert(position, conflict),
        }
        let excess = self.0.len().saturating_sub(CONFLICTS_MAX as usize);
        self.0.drain(..excess);
    }

    /// Goes back to how the rows were at `fork`: a server that has lost what came after knows them so. Returns whether any
    /// changed.
    pub fn step_back(&mut self, fork: Seq) -> bool {
        let above = |conflict: &Conflict| conflict.seq > fork;
        let changed = self.0.iter().any(above);
        self.0.retain(|conflict| conflict.id.seq <= fork);
        for conflict in self.0.iter_mut().filter(|conflict| above(conflict)) {
            (conflict.seq, conflict.resolution) = (conflict.id.seq, Resolution::Open);
        }
        changed
    }

    /// A row by its name.
    pub fn get(&self, id: ConflictId) -> Option<&Conflict> {
        self.position(id).ok().map(|position| &self.0[position])
    }

    fn position(&self, id: ConflictId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |conflict| conflict.id)
    }

    /// The rows, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Conflict> {
        self.0.iter()
    }

    /// Those that nobody has resolved, oldest first.
    pub fn open(&self) -> impl DoubleEndedIterator<Item = &Conflict> {
        self.iter().filter(|conflict| conflict.resolution == Resolution::Open)
    }
}
