//! An entry: what a dictionary holds of a key, and the order that decides which of two writes stays.

use minicbor::{Decode, Encode};

use crate::{AuthorId, Key, Stamp, Value, limits::ENTRY_BYTES};

/// A position in the order of a dictionary's accepted batches. Strictly increasing, not dense, and comparable only within
/// an epoch and its common past (see [`Lineage`](crate::Lineage)). Zero is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Seq(#[n(0)] pub u64);

impl Seq {
    /// The position after this one. The last of all, which only a peer makes up, is its own successor.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The state of a key. Without a value it is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value, or nothing after a remove.
    pub value: Option<Value>,
    /// When and by which replica it was written.
    pub stamp: Stamp,
    /// The batch that brought it.
    pub seq: Seq,
    /// Who wrote it.
    pub author: AuthorId,
}

impl Entry {
    /// Whether it has a value.
    pub fn is_live(&self) -> bool {
        self.value.is_some()
    }

    /// What it takes of the room of its dictionary.
    pub fn bytes(&self, key: &Key) -> u64 {
        Self::bytes_of(key, self.value.as_ref())
    }

    /// What it takes of the room of the live entries: nothing if it is a tombstone.
    pub fn live_bytes(&self, key: &Key) -> u64 {
        if self.is_live() { self.bytes(key) } else { 0 }
    }

    /// What an entry takes that is not made yet.
    pub(crate) fn bytes_of(key: &Key, value: Option<&Value>) -> u64 {
        ENTRY_BYTES + (key.as_str().len() + value.map_or(0, |value| value.as_str().len())) as u64
    }

    /// What decides between this write and another to the same key.
    pub fn rank(&self) -> Rank<'_> {
        (self.stamp, self.value.as_ref())
    }

    /// Whether this write stays when it meets `other`. Equal writes do not beat each other.
    pub fn beats(&self, other: &Entry) -> bool {
        self.rank() > other.rank()
    }
}

/// The merge order of the writes to one key: the stamp, then the value's bytes, so that even two writes with equal stamps
/// converge. The greater stays.
pub type Rank<'a> = (Stamp, Option<&'a Value>);
