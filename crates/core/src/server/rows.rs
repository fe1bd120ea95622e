//! What a hub asks of a store: the rows of one dictionary in an open transaction.

use crate::{
    AuthorId, Branch, Conflict, ConflictId, Contributor, DictionaryId, Digest, Entry, Key, PastEpoch, Seq, Stamp,
    Value, cbor_array,
    limits::ROW_BYTES,
    wire::{Change, Check, Horizon},
};

/// The rows of one dictionary in an open transaction.
///
/// `by_seq` is an index that the implementation keeps: it names what changed at each [`Place`]. Each entry and each
/// conflict row has exactly one place in it. An author has one for good, below all that was written, and if the name has changed
/// another one for that.
pub trait Rows {
    /// Why the store could not.
    type Error;

    /// The row of a key.
    ///
    /// # Errors
    /// When the store cannot read.
    fn entry(&mut self, key: &Key) -> Result<Option<Row>, Self::Error>;
    /// Sets the row of a key, and moves it in `by_seq` from the place `replaced` to its own.
    ///
    /// # Errors
    /// When the store cannot write.
    fn set_entry(&mut self, key: &Key, row: &Row, replaced: Option<Place>) -> Result<(), Self::Error>;

    /// Which versions a key has; none if it has never had any.
    ///
    /// # Errors
    /// When the store cannot read.
    fn history(&mut self, key: &Key) -> Result<History, Self::Error>;
    /// Sets which versions a key has.
    ///
    /// # Errors
    /// When the store cannot write.
    fn set_history(&mut self, key: &Key, history: &History) -> Result<(), Self::Error>;
    /// Adds a version.
    ///
    /// # Errors
    /// When the store cannot write.
    fn add_version(&mut self, id: &VersionId, version: &Version) -> Result<(), Self::Error>;
    /// A version, if it is there.
    ///
    /// # Errors
    /// When the store cannot read.
    fn version(&mut self, id: &VersionId) -> Result<Option<Version>, Self::Error>;
    /// Takes a version out, if it is there.
    ///
    /// # Errors
    /// When the store cannot write.
    fn take_version(&mut self, id: &VersionId) -> Result<Option<Version>, Self::Error>;
    /// The version of the dictionary that has been one for longest. O(log versions).
    ///
    /// # Errors
    /// When the store cannot read.
    fn oldest_version(&mut self) -> Result<Option<VersionId>, Self::Error>;

    /// A conflict row.
    ///
    /// # Errors
    /// When the store cannot read.
    fn conflict(&mut self, id: &ConflictId) -> Result<Option<ConflictRow>, Self::Error>;
    /// Sets a conflict row and moves it in `by_seq` from the place `replaced` to its own.
    ///
    /// # Errors
    /// When the store cannot write.
    fn set_conflict(&mut self, row: &ConflictRow, replaced: Option<Place>) -> Result<(), Self::Error>;
    /// The conflict rows that are open, in the order of their names. At most
    /// [`CONFLICT_BYTES_MAX`](crate::limits::CONFLICT_BYTES_MAX).
    ///
    /// # Errors
    /// When the store cannot read.
    fn open_conflicts(&mut self) -> Result<Vec<ConflictRow>, Self::Error>;

    /// The row of an author.
    ///
    /// # Errors
    /// When the store cannot read.
    fn author(&mut self, id: AuthorId) -> Result<Option<AuthorRow>, Self::Error>;
    /// Sets the row of an author: one who is new, at the first place; or one whose name changes, who moves in `by_seq` from the place
    /// of the last change, if there was one, to that of this one.
    ///
    /// # Errors
    /// When the store cannot write.
    fn set_author(&mut self, row: &AuthorRow, replaced: Option<Place>) -> Result<(), Self::Error>;

    /// Sets the dictionary's counters; creates the dictionary if it is new.
    ///
    /// # Errors
    /// When the store cannot write.
    fn set_counters(&mut self, id: DictionaryId, counters: &Counters) -> Result<(), Self::Error>;
    /// Sets the epochs in which the dictionary was written.
    ///
    /// # Errors
    /// When the store cannot write.
    fn set_writes(&mut self, writes: &[PastEpoch]) -> Result<(), Self::Error>;
}

/// A position in `by_seq`: a batch, and the number of a change in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The batch.
    pub seq: Seq,
    /// The number.
    pub index: u16,
}

/// An entry as the server keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What travels.
    pub entry: Entry,
    /// With the entry's seq its [`Place`].
    pub index: u16,
    /// Where it was confirmed, if it came from a client after the server had lost it.
    pub recovered: Option<Branch>,
    /// Whether it came over a connection that had proven its replica.
    pub is_proven: bool,
    /// Who brought it after the server had lost it, if that was somebody else than its author.
    pub brought_back_by: Option<AuthorId>,
}

impl Row {
    /// What changed with it, in the order in which that is told.
    pub fn into_changes(self, key: Key) -> [Option<Change>; 2] {
        let seq = self.entry.seq;
        let brought_back = self.brought_back_by.map(|by| Change::BroughtBack(key.clone(), seq, by));
        [Some(Change::Entry(key, self.entry)), brought_back]
    }

    /// Where `by_seq` has it.
    pub fn place(&self) -> Place {
        Place { seq: self.entry.seq, index: self.index }
    }

    /// The bytes of its value.
    pub(super) fn value_bytes(&self) -> u64 {
        self.entry.value.as_ref().map_or(0, |value| value.as_str().len() as u64)
    }
}

/// The name of a version: versions are in the order in which they became some.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionId {
    /// The batch that made it one: it replaced it, refused it, or archived it.
    pub since: Seq,
    /// The key.
    pub key: Key,
    /// The stamp of the write.
    pub stamp: Stamp,
}

/// A value that a key had once, or that lost in a conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The batch that accepted the write.
    pub accepted: Seq,
    /// How it became a version.
    pub reason: Reason,
    /// Who wrote it.
    pub author: AuthorId,
    /// As of the entry: see [`Row::brought_back_by`].
    pub brought_back_by: Option<AuthorId>,
    /// What was written.
    pub value: Option<Value>,
}

/// How a write became a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was the entry, and another write took its place.
    Replaced,
    /// It never was the entry: it lost in a conflict.
    Lost,
    /// It had left the history, and was in a conflict row that was closed.
    Archived,
}

impl Version {
    /// What it takes of the room for versions.
    pub fn bytes(&self, key: &Key) -> u64 {
        (key.as_str().len() + self.value.as_ref().map_or(0, |value| value.as_str().len())) as u64 + ROW_BYTES
    }
}

/// Which versions a key has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// All that the key has had, or that has lost, since the end of this batch is there. Zero is the beginning.
    pub complete_from: Seq,
    /// Since when they are versions, and their stamps; oldest first. At most [`VERSIONS_MAX`](crate::limits::VERSIONS_MAX).
    pub versions: Vec<(Seq, Stamp)>,
}

impl History {
    /// Whether one of them has this stamp.
    pub fn has(&self, stamp: Stamp) -> bool {
        self.versions.iter().any(|&(_, known)| known == stamp)
    }

    /// The name of the one of them that has this stamp.
    pub fn id(&self, key: &Key, stamp: Stamp) -> Option<VersionId> {
        let (since, stamp) = *self.versions.iter().find(|&&(_, known)| known == stamp)?;
        Some(VersionId { since, key: key.clone(), stamp })
    }
}

/// A conflict row as the server keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictRow {
    /// What travels.
    pub conflict: Conflict,
    /// With the row's seq its [`Place`].
    pub index: u16,
    /// The author whose connection made it, and has so much less room for others.
    pub maker: AuthorId,
    /// The server's time when it was made.
    pub made_ms: u64,
    /// Whether the write that lost came, or the row came back, over a connection that had proven the write's replica.
    pub is_proven: bool,
}

impl ConflictRow {
    /// Where `by_seq` has it.
    pub fn place(&self) -> Place {
        Place { seq: self.conflict.seq, index: self.index }
    }
}

/// An author as the server keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorRow {
    /// What travels.
    pub contributor: Contributor,
    /// With the seq of the first write the [`Place`] that stays.
    pub made_index: u16,
    /// With the seq of the last change the place of that; the same as `made_index` if there was none.
    pub index: u16,
}

impl AuthorRow {
    /// Where `by_seq` has had it from the first.
    pub fn made(&self) -> Place {
        Place { seq: self.contributor.made, index: self.made_index }
    }

    /// Where `by_seq` has its last change, if there was one.
    pub fn renamed(&self) -> Option<Place> {
        let place = Place { seq: self.contributor.seq, index: self.index };
        Some(place).filter(|&place| place != self.made())
    }
}

/// The counters of a dictionary. They change with every commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The seq of the newest batch.
    pub head: Seq,
    /// What has been purged.
    pub horizon: Horizon,
    /// The digest of the live entries, the open conflict rows and the authors.
    pub digest: Digest,
    /// How many entries have a value.
    pub live: u64,
    /// How many have none.
    pub tombstones: u64,
    /// How many conflict rows are open.
    pub conflicts: u64,
    /// The bytes that these take.
    pub conflict_bytes: u64,
    /// See [`Check::untold`].
    pub untold: u64,
    /// What entries, tombstones and conflict rows take, closed ones included: see [`Limits::bytes`](crate::limits::Limits::bytes).
    pub bytes: u64,
    /// What the live entries take of that.
    pub live_bytes: u64,
    /// What the versions take.
    pub version_bytes: u64,
    /// How many authors have numbers.
    pub authors: u16,
}

cbor_array!(Counters {
    head,
    horizon,
    digest,
    live,
    tombstones,
    conflicts,
    conflict_bytes,
    untold,
    bytes,
    live_bytes,
    version_bytes,
    authors
});

impl Counters {
    /// An entry takes the place of another one, or of none.
    pub(super) fn replace(&mut self, key: &Key, old: Option<&Entry>, new: &Entry) {
        if let Some(old) = old {
            self.digest.subtract(key, old);
            self.bytes -= old.bytes(key);
            self.live_bytes -= old.live_bytes(key);
            *self.count(old) -= 1;
        }
        self.digest.add(key, new);
        self.bytes += new.bytes(key);
        self.live_bytes += new.live_bytes(key);
        *self.count(new) += 1;
    }

    fn count(&mut self, entry: &Entry) -> &mut u64 {
        if entry.is_live() { &mut self.live } else { &mut self.tombstones }
    }

    /// What a replica at the head must hold.
    pub fn check(&self) -> Check {
        let Self { head, digest, live, tombstones, untold, .. } = *self;
        Check { seq: head, digest, live, tombstones, untold }
    }
}
