//! The engine in memory: for the simulator, and for tests that need no file.
//!
//! A transaction works on a copy of each dictionary that it writes; its commit exchanges what readers see. A clone of a
//! store is what a copy of a data folder is: another store with the same dictionaries. Nothing is on a disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
};

use keybook_core::{
    AuthorId, AuthorName, Authors, ConflictId, Conflicts, Dictionary, DictionaryId, DictionaryName, Epoch, Key,
    Lineage, PastEpoch, Seq, Stamp,
    server::{self, AuthorRow, CatchUp, ConflictRow, Counters, History, Place, Row, Version, VersionId},
    wire::{
        Change,
        snapshot::{Header, encode_all},
    },
};

use crate::{
    dictionary_id,
    engine::{self, Engine, FirstEntries, FirstEntry, Summary, fill, first_place},
};

/// The dictionaries.
#[derive(Debug)]
pub struct Store {
    /// What readers see.
    committed: RwLock<Moment>,
    /// Locked while a transaction is open.
    writing: Mutex<()>,
}

/// All that readers see at one moment.
#[derive(Clone, Debug)]
struct Moment {
    /// The store's id.
    id: u64,
    /// The epochs of the last starts, oldest first; the last is the current one.
    starts: Vec<Epoch>,
    dictionaries: BTreeMap<DictionaryName, Arc<Contents>>,
}

/// The rows of one dictionary.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Since its first write.
    id: Option<DictionaryId>,
    writes: Vec<PastEpoch>,
    /// Its counters.
    pub counters: Counters,
    /// Its entries, tombstones included.
    pub entries: BTreeMap<Key, Row>,
    by_seq: BTreeMap<Place, Changed>,
    /// Values that an entry had once, or lost in a conflict.
    pub versions: BTreeMap<VersionId, Version>,
    /// Which of them a key has.
    pub histories: BTreeMap<Key, History>,
    /// Its conflict rows.
    pub conflicts: BTreeMap<ConflictId, ConflictRow>,
    /// Its authors.
    pub authors: BTreeMap<AuthorId, AuthorRow>,
}

/// What changed last at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Changed {
    Entry(Key),
    Conflict(ConflictId),
    Author(AuthorId),
}

impl Store {
    /// A store without a dictionary, which has not been started.
    pub fn new(id: u64) -> Self {
        let moment = Moment { id, starts: Vec::new(), dictionaries: BTreeMap::new() };
        Self { committed: RwLock::new(moment), writing: Mutex::default() }
    }

    /// Begins an epoch, as opening a data folder does.
    pub fn start(&mut self, epoch: Epoch) {
        let moment = self.committed.get_mut().unwrap_or_else(PoisonError::into_inner);
        let writes = moment.dictionaries.values().filter_map(|contents| contents.writes.last());
        let last = moment.starts.last().copied();
        let has_last_written = writes.into_iter().any(|write| Some(write.epoch) == last);
        Lineage::push_start(&mut moment.starts, has_last_written, epoch);
    }

    /// The rows of a dictionary, as they are committed.
    pub fn contents(&self, name: &DictionaryName) -> Arc<Contents> {
        self.committed().dictionaries.get(name).cloned().unwrap_or_default()
    }

    /// The rows of a dictionary, to be written in place without a transaction: what is done stays, and costs no copy. The
    /// store is borrowed, so nobody reads meanwhile.
    pub fn rows_mut(&mut self, name: &DictionaryName) -> Rows<'_> {
        self.committed.get_mut().unwrap_or_else(PoisonError::into_inner).rows_mut(name)
    }

    fn committed(&self) -> RwLockReadGuard<'_, Moment> {
        self.committed.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for Store {
    fn clone(&self) -> Self {
        Self { committed: RwLock::new(self.committed().clone()), writing: Mutex::default() }
    }
}

impl Engine for Store {
    type Error = Infallible;
    type Transaction<'a> = Transaction<'a>;

    fn begin(&self) -> Result<Transaction<'_>, Infallible> {
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Transaction { store: self, moment: self.committed().clone(), _writing: writing })
    }

    fn summary(&self, name: &DictionaryName) -> Result<Summary, Infallible> {
        Ok(self.committed().summary(name))
    }

    fn catch_up(&self, name: &DictionaryName, after: Seq, bytes: usize) -> Result<CatchUp, Infallible> {
        let moment = self.committed();
        let contents = moment.dictionaries.get(name).cloned().unwrap_or_default();
        let changes = contents.by_seq.range(first_place(after)..);
        let changes = changes.map(|(place, changed)| Ok(contents.changes(*place, changed)));
        let number = |author| contents.authors.get(&author).map_or(0, |row| row.contributor.number);
        fill(after, contents.counters.head, bytes, changes, |author| Ok(number(author)))
    }

    fn first_entries(&self, name: &DictionaryName, count: usize) -> Result<FirstEntries, Infallible> {
        let moment = self.committed();
        let contents = moment.dictionaries.get(name).cloned().unwrap_or_default();
        let live = contents.entries.iter().filter(|(_, row)| row.entry.is_live()).take(count);
        let named = |author| contents.author_name(author).unwrap_or_else(|| AuthorName::generated(author));
        let entries = live.map(|(key, row)| FirstEntry {
            key: key.clone(),
            entry: row.entry.clone(),
            author: named(row.entry.author),
            brought_back_by: row.brought_back_by.map(named),
        });
        Ok(FirstEntries { summary: moment.summary(name), entries: entries.collect() })
    }

    fn write_snapshot<E: From<Infallible>>(
        &self,
        name: &DictionaryName,
        mut write: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Seq, E> {
        let moment = self.committed();
        let contents = moment.dictionaries.get(name).cloned().unwrap_or_default();
        let Summary { id, lineage, counters, .. } = moment.summary(name);
        let Counters { head, horizon, digest, .. } = counters;
        let header = Header { dictionary: id, lineage, seq: head, horizon, digest };
        let entries = contents.entries.iter().map(|(key, row)| (key, &row.entry, row.brought_back_by));
        let conflicts = contents.conflicts.values().map(|row| &row.conflict);
        write(&encode_all(&header, &contents.known_authors(), entries, conflicts))?;
        Ok(head)
    }
}

impl Moment {
    fn rows_mut(&mut self, name: &DictionaryName) -> Rows<'_> {
        Rows { contents: Arc::make_mut(self.dictionaries.entry(name.clone()).or_default()) }
    }

    fn summary(&self, name: &DictionaryName) -> Summary {
        let contents = self.dictionaries.get(name).cloned().unwrap_or_default();
        let counters = contents.counters;
        let mut writes = contents.writes.clone();
        if let Some(last) = writes.last_mut() {
            last.end = counters.head;
        }
        let id = contents.id.unwrap_or_else(|| dictionary_id(self.id, name, 0));
        Summary { id, lineage: Lineage::of_store(&self.starts, &writes), writes, counters }
    }
}

impl Contents {
    /// The entries alone, with their digest.
    pub fn dictionary(&self) -> Dictionary {
        let mut dictionary = Dictionary::new();
        for (key, row) in &self.entries {
            dictionary.replace(key.clone(), row.entry.clone());
            row.brought_back_by.into_iter().for_each(|by| dictionary.bring_back(key, by));
        }
        dictionary
    }

    /// The conflict rows, with their digest.
    pub fn conflict_rows(&self) -> Conflicts {
        let mut conflicts = Conflicts::default();
        self.conflicts.values().for_each(|row| conflicts.set(row.conflict.clone()));
        conflicts
    }

    /// The authors, with their digest.
    ///
    /// # Panics
    /// When their numbers are not those from 1 on.
    pub fn known_authors(&self) -> Authors {
        let mut rows: Vec<_> = self.authors.values().map(|row| row.contributor.clone()).collect();
        rows.sort_by_key(|row| row.number);
        let mut authors = Authors::default();
        rows.into_iter().for_each(|row| authors.set(row).expect("numbers are given in turn"));
        authors
    }

    fn author_name(&self, id: AuthorId) -> Option<AuthorName> {
        self.authors.get(&id).map(|row| row.contributor.author.name.clone())
    }

    /// Checks that the tables agree with each other. O(rows).
    ///
    /// # Panics
    /// When they do not.
    pub fn assert_consistent(&self) {
        let (dictionary, conflicts, authors) = (self.dictionary(), self.conflict_rows(), self.known_authors());
        let digest = dictionary.recompute_digest() + conflicts.digest() + authors.digest();
        assert_eq!(self.counters.digest, digest);
        assert_eq!(usize::from(self.counters.authors), self.authors.len());
        assert_eq!((self.counters.live, self.counters.tombstones), (dictionary.live(), dictionary.tombstones()));
        let open_bytes = conflicts.open().map(|conflict| conflict.bytes() as u64);
        assert_eq!(self.counters.bytes, dictionary.bytes() + conflicts.bytes());
        assert_eq!(self.counters.live_bytes, dictionary.live_bytes());
        assert_eq!(self.counters.conflicts as usize, conflicts.open().count());
        assert_eq!(self.counters.conflict_bytes, open_bytes.sum::<u64>());
        let renamed = self.authors.values().filter(|row| row.renamed().is_some()).count();
        assert_eq!(self.by_seq.len(), self.entries.len() + self.conflicts.len() + self.authors.len() + renamed);
        for (id, row) in &self.authors {
            for place in [Some(row.made()), row.renamed()].into_iter().flatten() {
                assert_eq!(self.by_seq.get(&place), Some(&Changed::Author(*id)));
            }
        }
        for (key, row) in &self.entries {
            assert_eq!(self.by_seq.get(&row.place()), Some(&Changed::Entry(key.clone())));
        }
        let named = self.histories.iter().flat_map(|(key, history)| {
            let id = |&(since, stamp): &(Seq, Stamp)| VersionId { since, key: key.clone(), stamp };
            history.versions.iter().map(id)
        });
        assert_eq!(named.collect::<BTreeSet<_>>(), self.versions.keys().cloned().collect());
        let version_bytes = self.versions.iter().map(|(id, version)| version.bytes(&id.key));
        assert_eq!(self.counters.version_bytes, version_bytes.sum::<u64>());
        for (id, row) in &self.conflicts {
            assert_eq!(self.by_seq.get(&row.place()), Some(&Changed::Conflict(id.clone())));
        }
    }

    fn changes(&self, at: Place, changed: &Changed) -> [Option<Change>; 2] {
        match changed {
            Changed::Entry(key) => self.entries[key].clone().into_changes(key.clone()),
            Changed::Conflict(id) => [Some(Change::Conflict(self.conflicts[id].conflict.clone())), None],
            Changed::Author(id) => [Some(Change::Author(at.seq, self.authors[id].contributor.clone())), None],
        }
    }

    fn move_place(&mut self, from: Option<Place>, to: Place, changed: Changed) {
        if let Some(from) = from {
            assert_eq!(self.by_seq.remove(&from).as_ref(), Some(&changed), "a row leaves its own place");
        }
        assert_eq!(self.by_seq.insert(to, changed), None, "a place is free");
    }
}

/// A write transaction.
#[derive(Debug)]
pub struct Transaction<'a> {
    store: &'a Store,
    /// What will be committed.
    moment: Moment,
    _writing: MutexGuard<'a, ()>,
}

impl engine::Transaction for Transaction<'_> {
    type Error = Infallible;
    type Tables<'t>
        = Tables<'t>
    where
        Self: 't;

    fn tables(&mut self) -> Result<Tables<'_>, Infallible> {
        Ok(Tables(&mut self.moment))
    }

    fn commit(self) -> Result<(), Infallible> {
        *self.store.committed.write().unwrap_or_else(PoisonError::into_inner) = self.moment;
        Ok(())
    }
}

/// The tables of a [`Transaction`].
#[derive(Debug)]
pub struct Tables<'t>(&'t mut Moment);

impl engine::Tables for Tables<'_> {
    type Error = Infallible;
    type Rows<'a>
        = Rows<'a>
    where
        Self: 'a;

    fn rows(&mut self, name: &DictionaryName) -> Result<Rows<'_>, Infallible> {
        Ok(self.0.rows_mut(name))
    }
}

/// The rows of one dictionary.
#[derive(Debug)]
pub struct Rows<'a> {
    contents: &'a mut Contents,
}

impl server::Rows for Rows<'_> {
    type Error = Infallible;

    fn entry(&mut self, key: &Key) -> Result<Option<Row>, Infallible> {
        Ok(self.contents.entries.get(key).cloned())
    }

    fn set_entry(&mut self, key: &Key, row: &Row, replaced: Option<Place>) -> Result<(), Infallible> {
        self.contents.move_place(replaced, row.place(), Changed::Entry(key.clone()));
        self.contents.entries.insert(key.clone(), row.clone());
        Ok(())
    }

    fn history(&mut self, key: &Key) -> Result<History, Infallible> {
        Ok(self.contents.histories.get(key).cloned().unwrap_or_default())
    }

    fn set_history(&mut self, key: &Key, history: &History) -> Result<(), Infallible> {
        self.contents.histories.insert(key.clone(), history.clone());
        Ok(())
    }

    fn add_version(&mut self, id: &VersionId, version: &Version) -> Result<(), Infallible> {
        assert_eq!(self.contents.versions.insert(id.clone(), version.clone()), None, "a version is added once");
        Ok(())
    }

    fn version(&mut self, id: &VersionId) -> Result<Option<Version>, Infallible> {
        Ok(self.contents.versions.get(id).cloned())
    }

    fn take_version(&mut self, id: &VersionId) -> Result<Option<Version>, Infallible> {
        Ok(self.contents.versions.remove(id))
    }

    fn oldest_version(&mut self) -> Result<Option<VersionId>, Infallible> {
        Ok(self.contents.versions.keys().next().cloned())
    }

    fn conflict(&mut self, id: &ConflictId) -> Result<Option<ConflictRow>, Infallible> {
        Ok(self.contents.conflicts.get(id).cloned())
    }

    fn set_conflict(&mut self, row: &ConflictRow, replaced: Option<Place>) -> Result<(), Infallible> {
        let id = row.conflict.id();
        self.contents.move_place(replaced, row.place(), Changed::Conflict(id.clone()));
        self.contents.conflicts.insert(id, row.clone());
        Ok(())
    }

    fn open_conflicts(&mut self) -> Result<Vec<ConflictRow>, Infallible> {
        Ok(self.contents.conflicts.values().filter(|row| row.conflict.is_open()).cloned().collect())
    }

    fn author(&mut self, id: AuthorId) -> Result<Option<AuthorRow>, Infallible> {
        Ok(self.contents.authors.get(&id).cloned())
    }

    fn set_author(&mut self, row: &AuthorRow, replaced: Option<Place>) -> Result<(), Infallible> {
        let id = row.contributor.author.id;
        self.contents.move_place(replaced, row.renamed().unwrap_or(row.made()), Changed::Author(id));
        self.contents.authors.insert(id, row.clone());
        Ok(())
    }

    fn set_counters(&mut self, id: DictionaryId, counters: &Counters) -> Result<(), Infallible> {
        assert_eq!(*self.contents.id.get_or_insert(id), id, "a dictionary keeps its identity");
        assert!(counters.head > self.contents.counters.head, "seq rises strictly");
        self.contents.counters = *counters;
        Ok(())
    }

    fn set_writes(&mut self, writes: &[PastEpoch]) -> Result<(), Infallible> {
        self.contents.writes = writes.to_vec();
        Ok(())
    }
}
