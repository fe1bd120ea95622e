//! The last-write-wins element dictionary: one entry for each key, merged by [`Entry::beats`].
//!
//! Merge is commutative, associative and idempotent, so replicas that have seen the same writes hold the same entries,
//! whatever the order. It is the two-set LWW element set with an add bias, in half the state (Shapiro et al., *A
//! comprehensive study of Convergent and Commutative Replicated Data Types*, 2011), and it converges on equal stamps too.
//!
//! It does not know who may write, what is durable or what anyone has seen: see [`crate::server`] and [`crate::client`].

use std::{
    collections::{BTreeMap, btree_map::Entry as Slot},
    ops::Bound,
};

use minicbor::{Decode, Encode};

use crate::{AuthorId, Digest, Entry, Key, Seq, Stamp, Value};

/// The dictionary's identity: deleted and made again under the same name it is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct DictionaryId(#[n(0)] pub u64);

/// Entries in the order of their keys' bytes, tombstones included, with their digest and counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dictionary {
    entries: BTreeMap<Key, Entry>,
    tally: Tally,
}

/// The digest, the number and the bytes of the live entries and the bytes of all, brought up to date with each change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally {
    digest: Digest,
    live: u64,
    live_bytes: u64,
    bytes: u64,
    /// Of the entries that somebody else than their author has brought back, who did: few, so they have no place in each entry.
    brought_back: BTreeMap<Key, AuthorId>,
}

impl Dictionary {
    /// An empty dictionary.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a value; loses silently against a greater write. O(log n). Returns whether it stayed.
    pub fn put(&mut self, key: Key, value: Value, stamp: Stamp, author: AuthorId) -> bool {
        debug_assert!(stamp.is_put());
        self.merge_entry(key, Entry { value: Some(value), stamp, seq: Seq::default(), author })
    }

    /// Removes a key, leaving a tombstone; loses silently against a greater write. O(log n). Returns whether it stayed.
    pub fn remove(&mut self, key: Key, stamp: Stamp, author: AuthorId) -> bool {
        debug_assert!(!stamp.is_put());
        self.merge_entry(key, Entry { value: None, stamp, seq: Seq::default(), author })
    }

    /// Keeps the greater of what is there and `entry`. O(log n). Returns whether `entry` stayed.
    pub fn merge_entry(&mut self, key: Key, entry: Entry) -> bool {
        match self.entries.entry(key) {
            Slot::Occupied(slot) if !entry.beats(slot.get()) => false,
            slot => {
                self.tally.set(slot, entry);
                true
            }
        }
    }

    /// Merges every entry of another replica. O(m log n).
    pub fn merge(&mut self, other: &Dictionary) {
        for (key, entry) in &other.entries {
            match self.entries.entry(key.clone()) {
                Slot::Occupied(slot) if !entry.beats(slot.get()) => {}
                slot => _ = self.tally.set(slot, entry.clone()),
            }
        }
    }

    /// Sets an entry whatever is there, as a confirmed state does. O(log n). Returns what was there.
    pub fn replace(&mut self, key: Key, entry: Entry) -> Option<Entry> {
        self.tally.set(self.entries.entry(key), entry)
    }

    /// Takes an entry out without a tombstone. O(log n).
    pub fn forget(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.tally.subtract(key, &entry);
        Some(entry)
    }

    /// Notes who has brought the entry of a key back, until another takes its place. Nothing if there is no entry. O(log n).
    pub fn bring_back(&mut self, key: &Key, by: AuthorId) {
        if let Some(entry) = self.entries.get(key) {
            self.tally.forget_bringer(key, entry);
            self.tally.digest.add_brought_back(key, entry, by);
            self.tally.brought_back.insert(key.clone(), by);
        }
    }

    /// Who has brought the entry of a key back, if somebody else than its author did. O(log n).
    pub fn brought_back_by(&self, key: &Key) -> Option<AuthorId> {
        self.tally.brought_back.get(key).copied()
    }

    /// The value of a key. O(log n).
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.get(key)?.value.as_ref()
    }

    /// The entry of a key, which may be a tombstone. O(log n).
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// All entries in key order, tombstones included.
    pub fn entries(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter()
    }

    /// The live entries in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Value)> {
        self.entries.iter().filter_map(|(key, entry)| Some((key, entry.value.as_ref()?)))
    }

    /// The live entries whose keys begin with `prefix`, in key order. O(log n) to the first.
    pub fn prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a Key, &'a Value)> {
        self.entries
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(key, _)| key.as_str().starts_with(prefix))
            .filter_map(|(key, entry)| Some((key, entry.value.as_ref()?)))
    }

    /// The digest of the live entries, and of who has brought them back.
    pub fn digest(&self) -> Digest {
        self.tally.digest
    }

    /// How many entries have a value.
    pub fn live(&self) -> u64 {
        self.tally.live
    }

    /// How many entries are tombstones.
    pub fn tombstones(&self) -> u64 {
        self.entries.len() as u64 - self.tally.live
    }

    /// What its live entries take of its room.
    pub fn live_bytes(&self) -> u64 {
        self.tally.live_bytes
    }

    /// What its entries take of its room, tombstones included.
    pub fn bytes(&self) -> u64 {
        self.tally.bytes
    }

    /// The digest computed anew. O(n); equals [`Dictionary::digest`] always.
    pub fn recompute_digest(&self) -> Digest {
        let mut digest = Digest::default();
        self.entries.iter().for_each(|(key, entry)| digest.add(key, entry));
        for (key, by) in &self.tally.brought_back {
            digest.add_brought_back(key, &self.entries[key], *by);
        }
        digest
    }
}

/// If a key comes twice, the entry that comes later stays. O(n log n). They are put in one by one: the tree's own way sorts them
/// first, and the code for that would be a fiftieth of the page.
impl FromIterator<(Key, Entry)> for Dictionary {
    fn from_iter<I: IntoIterator<Item = (Key, Entry)>>(entries: I) -> Self {
        let mut dictionary = Self::new();
        for (key, entry) in entries {
            dictionary.replace(key, entry);
        }
        dictionary
    }
}

impl Tally {
    /// Fills a slot that a walk down the tree has found. Returns what was there.
    fn set(&mut self, slot: Slot<'_, Key, Entry>, entry: Entry) -> Option<Entry> {
        self.add(slot.key(), &entry);
        match slot {
            Slot::Vacant(slot) => {
                slot.insert(entry);
                None
            }
            Slot::Occupied(mut slot) => {
                self.subtract(slot.key(), slot.get());
                Some(slot.insert(entry))
            }
        }
    }

    fn add(&mut self, key: &Key, entry: &Entry) {
        self.digest.add(key, entry);
        self.live += u64::from(entry.is_live());
        self.live_bytes += entry.live_bytes(key);
        self.bytes += entry.bytes(key);
    }

    fn subtract(&mut self, key: &Key, entry: &Entry) {
        self.forget_bringer(key, entry);
        self.digest.subtract(key, entry);
        self.live -= u64::from(entry.is_live());
        self.live_bytes -= entry.live_bytes(key);
        self.bytes -= entry.bytes(key);
    }

    fn forget_bringer(&mut self, key: &Key, entry: &Entry) {
        if let Some(by) = self.brought_back.remove(key) {
            self.digest.subtract_brought_back(key, entry, by);
        }
    }
}
