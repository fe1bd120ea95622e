//! A store of one dictionary in memory. A transaction works on a copy; only [`Store::commit`] makes it real.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use keybook_core::{
    Author, AuthorId, AuthorName, Conflict, ConflictId, Conflicts, Dictionary, DictionaryId, Epoch, Key, Lineage,
    Names, PastEpoch, Seq, Side, Stamp,
    server::{CatchUp, Counters, Hub, Opened, Place, Row, Rows},
    wire::{
        Change, Role,
        snapshot::{Header, encode_all},
    },
};

pub const DICTIONARY: DictionaryId = DictionaryId(77);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Changed {
    Entry(Key),
    Conflict(ConflictId),
}

/// What is on the disk.
#[derive(Clone, Debug, Default)]
pub struct Store {
    starts: Vec<Epoch>,
    writes: Vec<PastEpoch>,
    pub state: Counters,
    pub entries: BTreeMap<Key, Row>,
    by_seq: BTreeMap<Place, Changed>,
    pub versions: BTreeMap<(Key, Stamp), Side>,
    pub conflicts: BTreeMap<ConflictId, Conflict>,
    names: Names,
}

impl Store {
    pub fn start(&mut self, epoch: Epoch) {
        Lineage::push_start(&mut self.starts, epoch);
    }

    pub fn lineage(&self) -> Lineage {
        Lineage::of_store(&self.starts, &self.past_writes())
    }

    /// The last write's end is the head.
    fn past_writes(&self) -> Vec<PastEpoch> {
        let mut writes = self.writes.clone();
        if let Some(last) = writes.last_mut() {
            last.end = self.state.head;
        }
        writes
    }

    pub fn hub(&self) -> Hub {
        Hub::new(DICTIONARY, self.lineage(), self.past_writes(), self.state)
    }

    pub fn opened(&self) -> Opened {
        Opened { id: DICTIONARY, lineage: self.lineage(), counters: self.state, role: Role::Writer }
    }

    /// At most `batches` whole batches of what changed after a cursor.
    pub fn page(&self, after: Seq, batches: usize) -> CatchUp {
        let from = Place { seq: after.next(), index: 0 };
        let seqs: BTreeSet<Seq> = self.by_seq.range(from..).map(|(place, _)| place.seq).collect();
        let more = seqs.len() > batches;
        let to = if more { *seqs.iter().nth(batches - 1).unwrap() } else { self.state.head.max(after) };
        let changes = self.by_seq.range(from..).take_while(|(place, _)| place.seq <= to);
        let changes = changes.map(|(_, change)| match change {
            Changed::Entry(key) => Change::Entry(key.clone(), self.entries[key].entry.clone()),
            Changed::Conflict(id) => Change::Conflict(self.conflicts[id].clone()),
        });
        CatchUp { after, changes: changes.collect(), names: self.names.clone(), to, more }
    }

    pub fn snapshot(&self) -> Vec<u8> {
        let Counters { head, horizon, digest, .. } = self.state;
        let header = Header { dictionary: DICTIONARY, lineage: self.lineage(), seq: head, horizon, digest };
        let entries = self.entries.iter().map(|(key, row)| (key, &row.entry));
        encode_all(&header, &self.names, entries, self.conflicts.values())
    }

    pub fn dictionary(&self) -> Dictionary {
        let mut dictionary = Dictionary::new();
        for (key, row) in &self.entries {
            dictionary.replace(key.clone(), row.entry.clone());
        }
        dictionary
    }

    pub fn conflict_rows(&self) -> Conflicts {
        let mut conflicts = Conflicts::default();
        self.conflicts.values().for_each(|conflict| conflicts.set(conflict.clone()));
        conflicts
    }

    /// What must hold of every committed store.
    pub fn assert_consistent(&self) {
        let dictionary = self.dictionary();
        assert_eq!(self.state.digest, dictionary.recompute_digest());
        assert_eq!((self.state.live, self.state.tombstones), (dictionary.live(), dictionary.tombstones()));
        assert_eq!(self.state.conflicts as usize, self.conflicts.len());
        assert_eq!(self.by_seq.len(), self.entries.len() + self.conflicts.len());
        for (key, row) in &self.entries {
            assert_eq!(self.by_seq.get(&row.place()), Some(&Changed::Entry(key.clone())));
            let versions = self.versions.range((key.clone(), Stamp::ZERO)..=(key.clone(), Stamp::MAX));
            assert_eq!(versions.count(), usize::from(row.versions));
        }
        for (id, conflict) in &self.conflicts {
            assert_eq!(self.by_seq.get(&conflict.place()), Some(&Changed::Conflict(*id)));
        }
    }

    fn move_place(&mut self, from: Option<Place>, to: Place, change: Changed) {
        if let Some(from) = from {
            assert_eq!(self.by_seq.remove(&from).as_ref(), Some(&change), "a row leaves its own place");
        }
        assert_eq!(self.by_seq.insert(to, change), None, "a place is free");
    }
}

impl Rows for Store {
    type Error = Infallible;

    fn entry(&mut self, key: &Key) -> Result<Option<Row>, Infallible> {
        Ok(self.entries.get(key).cloned())
    }

    fn set_entry(&mut self, key: &Key, row: &Row, replaced: Option<Place>) -> Result<(), Infallible> {
        self.move_place(replaced, row.place(), Changed::Entry(key.clone()));
        self.entries.insert(key.clone(), row.clone());
        Ok(())
    }

    fn has_version(&mut self, key: &Key, stamp: Stamp) -> Result<bool, Infallible> {
        Ok(self.versions.contains_key(&(key.clone(), stamp)))
    }

    fn add_version(&mut self, key: &Key, version: &Side, full: bool) -> Result<(), Infallible> {
        if full {
            let (oldest, _) =
                self.versions.range((key.clone(), Stamp::ZERO)..).next().expect("a full key has versions");
            let oldest = oldest.clone();
            assert_eq!(oldest.0, *key);
            self.versions.remove(&oldest);
        }
        self.versions.insert((key.clone(), version.stamp), version.clone());
        Ok(())
    }

    fn conflict(&mut self, id: ConflictId) -> Result<Option<Conflict>, Infallible> {
        Ok(self.conflicts.get(&id).cloned())
    }

    fn set_conflict(&mut self, conflict: &Conflict, replaced: Option<Place>) -> Result<(), Infallible> {
        self.move_place(replaced, conflict.place(), Changed::Conflict(conflict.id));
        self.conflicts.insert(conflict.id, conflict.clone());
        Ok(())
    }

    fn drop_oldest_conflict(&mut self) -> Result<(), Infallible> {
        let (_, conflict) = self.conflicts.pop_first().expect("there is one");
        self.by_seq.remove(&conflict.place());
        Ok(())
    }

    fn name(&mut self, id: AuthorId) -> Result<Option<AuthorName>, Infallible> {
        Ok(self.names.get(id).cloned())
    }

    fn set_name(&mut self, author: &Author) -> Result<(), Infallible> {
        self.names.insert(author.clone());
        Ok(())
    }

    fn set_counters(&mut self, id: DictionaryId, counters: &Counters) -> Result<(), Infallible> {
        assert_eq!(id, DICTIONARY);
        assert!(counters.head > self.state.head, "seq rises strictly");
        self.state = *counters;
        Ok(())
    }

    fn set_writes(&mut self, writes: &[PastEpoch]) -> Result<(), Infallible> {
        self.writes = writes.to_vec();
        Ok(())
    }
}
