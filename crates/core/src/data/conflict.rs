//! Conflicts: two people wrote the same key without having seen each other's write. One value stays; the other is kept
//! as a version and shown in a conflict row, until somebody restores it or its author dismisses it.
//!
//! An open row carries the value that lost, and names the write that stayed: what stayed is the entry, or a version. A row that
//! is closed carries no value. It remains, so that everybody learns of it, and so that the same write never loses again.

use minicbor::{Decode, Encode};

use crate::{AuthorId, Digest, Entry, Key, Seq, Stamp, Value, cbor_array};

/// A conflict's name: the key, and the stamp of the write that lost. A write loses once, whatever a rollback does to seqs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConflictId {
    /// The key that both wrote.
    pub key: Key,
    /// The write that did not stay.
    pub loser: Stamp,
}

cbor_array!(ConflictId { key, loser });

/// A write to a key that is not its entry.
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

/// The write that stayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Winner {
    /// When and by which replica.
    pub stamp: Stamp,
    /// By whom.
    pub author: AuthorId,
}

impl From<&Entry> for Winner {
    fn from(entry: &Entry) -> Self {
        Self { stamp: entry.stamp, author: entry.author }
    }
}

/// What has become of a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Resolution {
    /// Nobody has decided.
    #[n(0)]
    Open,
    /// Who had lost let the value go.
    #[n(1)]
    Dismissed,
    /// Somebody wrote the losing value again.
    #[n(2)]
    Restored,
    /// Nobody decided for long. The value is in the history of its key.
    #[n(3)]
    Archived,
}

/// A conflict row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The key that both wrote.
    pub key: Key,
    /// What did not stay. Its value goes when the row is closed.
    pub loser: Side,
    /// What stayed.
    pub winner: Winner,
    /// The batch that changed the row last.
    pub seq: Seq,
    /// What has become of it.
    pub resolution: Resolution,
}

impl Conflict {
    /// Its name.
    pub fn id(&self) -> ConflictId {
        ConflictId { key: self.key.clone(), loser: self.loser.stamp }
    }

    /// Whether nobody has decided.
    pub fn is_open(&self) -> bool {
        self.resolution == Resolution::Open
    }

    /// Closes it in the batch of `seq`.
    pub fn close(&mut self, resolution: Resolution, seq: Seq) {
        (self.resolution, self.seq, self.loser.value) = (resolution, seq, None);
    }

    /// Rounded up, the bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.key.as_str().len() + self.loser.value.as_ref().map_or(0, |value| value.as_str().len()) + 128
    }

    fn name(&self) -> (&Key, Stamp) {
        (&self.key, self.loser.stamp)
    }
}

/// The conflict rows of a dictionary, with their digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflicts {
    /// In the order of their names.
    rows: Vec<Conflict>,
    digest: Digest,
    bytes: u64,
}

impl Conflicts {
    /// Adds a row or replaces the one of the same name.
    pub fn set(&mut self, conflict: Conflict) {
        self.digest.add_conflict(&conflict);
        self.bytes += conflict.bytes() as u64;
        match self.position(&conflict.key, conflict.loser.stamp) {
            Ok(position) => {
                let old = std::mem::replace(&mut self.rows[position], conflict);
                self.digest.subtract_conflict(&old);
                self.bytes -= old.bytes() as u64;
            }
            Err(position) => self.rows.insert(position, conflict),
        }
    }

    /// Takes out the rows that changed above `fork`, which a server that was set back has otherwise or not at all.
    pub fn take_above(&mut self, fork: Seq) -> Vec<Conflict> {
        let (above, rest) = std::mem::take(&mut self.rows).into_iter().partition(|conflict| conflict.seq > fork);
        self.rows = rest;
        for conflict in &above {
            self.digest.subtract_conflict(conflict);
            self.bytes -= conflict.bytes() as u64;
        }
        above
    }

    /// A row by its name.
    pub fn get(&self, id: &ConflictId) -> Option<&Conflict> {
        self.position(&id.key, id.loser).ok().map(|position| &self.rows[position])
    }

    fn position(&self, key: &Key, loser: Stamp) -> Result<usize, usize> {
        self.rows.binary_search_by(|conflict| conflict.name().cmp(&(key, loser)))
    }

    /// The rows in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Conflict> {
        self.rows.iter()
    }

    /// The rows of a key.
    pub fn of_key(&self, key: &Key) -> &[Conflict] {
        let first = self.rows.partition_point(|conflict| conflict.key < *key);
        let count = self.rows[first..].partition_point(|conflict| conflict.key == *key);
        &self.rows[first..first + count]
    }

    /// Those that nobody has decided, in the order of their names.
    pub fn open(&self) -> impl Iterator<Item = &Conflict> {
        self.iter().filter(|conflict| conflict.is_open())
    }

    /// What all rows take of the room of the dictionary.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest of the open rows.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}
