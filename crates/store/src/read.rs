//! Reading: each function opens a read transaction of its own, which sees one moment of what is committed and neither
//! waits for the writer nor makes it wait.

use keybook_core::{
    Author, AuthorId, AuthorName, Conflict, ConflictId, DictionaryId, DictionaryName, Entry, Key, Lineage, Names,
    PastEpoch, Seq,
    server::{CatchUp, Counters, Place},
    wire::{
        Change,
        snapshot::{Encoder, Header},
    },
};
use redb::{ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable};

use crate::{
    Store, StoreError,
    tables::{
        self, AUTHORS, BY_SEQ, CONFLICTS, Changed, Corrupt, DICTIONARIES, ENTRIES, Number, STATES, WRITES,
        decode_author, decode_changed, decode_conflict, decode_conflict_key, decode_dictionary, decode_entry_key,
        decode_name, decode_place, decode_row, decode_state, decode_writes,
    },
};

type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// A dictionary without its rows, at one moment.
#[derive(Clone, Debug)]
pub struct Dictionary {
    /// Its identity; of one that does not exist yet, the identity that it will have.
    pub id: DictionaryId,
    /// Its epochs.
    pub lineage: Lineage,
    /// The epochs in which it was written, with its head at the end of each.
    pub writes: Vec<PastEpoch>,
    /// Its counters.
    pub counters: Counters,
}

/// The beginning of a dictionary, for a page that is readable without a script.
#[derive(Clone, Debug)]
pub struct FirstEntries {
    /// The dictionary at the same moment: the cursor that continues the entries is its head, in its current epoch.
    pub dictionary: Dictionary,
    /// The first live entries in the order of their keys, with the names of their authors.
    pub entries: Vec<(Key, Entry, AuthorName)>,
}

impl Store {
    /// A dictionary; one that does not exist is empty. Writes nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub fn dictionary(&self, name: &DictionaryName) -> Result<Dictionary, StoreError> {
        let (_, dictionary) = self.moment()?.dictionary(name)?;
        Ok(dictionary)
    }

    /// What changed after a cursor: whole batches by rising seq, and no further batch once `bytes` are reached. So a page
    /// is at most `bytes` and a batch. O(changes in the page).
    ///
    /// # Errors
    /// When the store fails.
    pub fn page(&self, name: &DictionaryName, after: Seq, bytes: usize) -> Result<CatchUp, StoreError> {
        let moment = self.moment()?;
        let (number, dictionary) = moment.dictionary(name)?;
        let head = dictionary.counters.head;
        let mut page = CatchUp { after, changes: Vec::new(), names: Names::new(), to: head, more: false };
        let Some(number) = number else { return Ok(page) };

        let mut size = 0;
        for row in moment.by_seq.range(&number.place(first_place(after))[..]..=&number.place(LAST_PLACE)[..])? {
            let (place, changed) = row?;
            let seq = decode_place(place.value())?;
            let last = page.changes.last().map(Change::seq);
            if size >= bytes && last.is_some_and(|last| last < seq) {
                (page.to, page.more) = (last.unwrap_or(after), true);
                break;
            }
            let change = moment.change(number, decode_changed(changed.value())?)?;
            size += change.bytes();
            moment.learn_names(&change, &mut page.names)?;
            page.changes.push(change);
        }
        Ok(page)
    }

    /// The first live entries, at most `count`. O(count + tombstones between them).
    ///
    /// # Errors
    /// When the store fails.
    pub fn first_entries(&self, name: &DictionaryName, count: usize) -> Result<FirstEntries, StoreError> {
        let moment = self.moment()?;
        let (number, dictionary) = moment.dictionary(name)?;
        let mut entries = Vec::new();
        if let Some(number) = number {
            for row in moment.entries(number)?.filter(|row| row.as_ref().map_or(true, |(_, entry)| entry.is_live())) {
                if entries.len() == count {
                    break;
                }
                let (key, entry) = row?;
                let name = moment.name(entry.author)?;
                entries.push((key, entry, name));
            }
        }
        Ok(FirstEntries { dictionary, entries })
    }

    /// The snapshot of a dictionary, as it is sent, and its seq. O(entries).
    ///
    /// # Errors
    /// When the store fails.
    pub fn snapshot(&self, name: &DictionaryName) -> Result<(Seq, Vec<u8>), StoreError> {
        let moment = self.moment()?;
        let (number, Dictionary { id, lineage, counters, .. }) = moment.dictionary(name)?;
        let Counters { head, horizon, digest, .. } = counters;
        let names = moment.names()?;
        let header = Header { dictionary: id, lineage, seq: head, horizon, digest };
        let (mut encoder, mut bytes) = Encoder::new(&header, &names);
        let mut conflicts = Vec::new();
        if let Some(number) = number {
            for row in moment.entries(number)? {
                let (key, entry) = row?;
                bytes.extend(encoder.entry(&key, &entry).unwrap_or_default());
            }
            conflicts = moment.conflicts(number)?;
        }
        bytes.extend(encoder.finish(conflicts.iter()));
        Ok((head, bytes))
    }

    fn moment(&self) -> Result<Moment<'_>, StoreError> {
        let transaction = self.database.begin_read()?;
        Ok(Moment {
            store: self,
            entries: transaction.open_table(ENTRIES)?,
            by_seq: transaction.open_table(BY_SEQ)?,
            conflicts: transaction.open_table(CONFLICTS)?,
            authors: transaction.open_table(AUTHORS)?,
            transaction,
        })
    }
}

/// Above every place: no batch has so many changes.
const LAST_PLACE: Place = Place { seq: Seq(u64::MAX), index: u16::MAX };

/// The first place after a cursor. A cursor comes from a peer, and may be the last number.
fn first_place(after: Seq) -> Place {
    if after == LAST_PLACE.seq { LAST_PLACE } else { Place { seq: after.next(), index: 0 } }
}

/// One moment of the store.
struct Moment<'a> {
    store: &'a Store,
    transaction: ReadTransaction,
    entries: Table,
    by_seq: Table,
    conflicts: Table,
    authors: Table,
}

impl Moment<'_> {
    fn open(&self, table: tables::Table) -> Result<Table, StoreError> {
        Ok(self.transaction.open_table(table)?)
    }

    fn dictionary(&self, name: &DictionaryName) -> Result<(Option<Number>, Dictionary), StoreError> {
        let Some(row) = self.open(DICTIONARIES)?.get(name.as_str().as_bytes())? else {
            return Ok((None, self.store.new_dictionary(name)));
        };
        let (number, id) = decode_dictionary(row.value())?;
        let counters = match self.open(STATES)?.get(&number.key()[..])? {
            Some(row) => decode_state(row.value())?,
            None => return Err(Corrupt { table: "states" }.into()),
        };
        let writes = match self.open(WRITES)?.get(&number.key()[..])? {
            Some(row) => decode_writes(row.value(), counters.head)?,
            None => return Err(Corrupt { table: "writes" }.into()),
        };
        let lineage = Lineage::of_store(self.store.starts(), &writes);
        Ok((Some(number), Dictionary { id, lineage, writes, counters }))
    }

    fn change(&self, number: Number, changed: Changed) -> Result<Change, StoreError> {
        Ok(match changed {
            Changed::Entry(key) => {
                let row = self.entries.get(&number.entry(key.as_str())[..])?.ok_or(Corrupt { table: "by_seq" })?;
                Change::Entry(key, decode_row(row.value())?.entry)
            }
            Changed::Conflict(id) => {
                let row = self.conflicts.get(&number.conflict(id)[..])?.ok_or(Corrupt { table: "by_seq" })?;
                Change::Conflict(decode_conflict(id, row.value())?)
            }
        })
    }

    /// All entries in key order, tombstones included.
    fn entries(&self, number: Number) -> Result<impl Iterator<Item = Result<(Key, Entry), StoreError>>, StoreError> {
        let (first, end) = (number.entry(""), Number(number.0 + 1).entry(""));
        let rows = self.entries.range(&first[..]..&end[..])?;
        Ok(rows.map(|row| {
            let (key, row) = row?;
            Ok((decode_entry_key(key.value())?, decode_row(row.value())?.entry))
        }))
    }

    /// The conflict rows, oldest first.
    fn conflicts(&self, number: Number) -> Result<Vec<Conflict>, StoreError> {
        let ids = [(Seq(0), 0), (LAST_PLACE.seq, LAST_PLACE.index)].map(|(seq, index)| ConflictId { seq, index });
        let [first, last] = ids.map(|id| number.conflict(id));
        let rows = self.conflicts.range(&first[..]..=&last[..])?.map(|row| {
            let (key, row) = row?;
            Ok(decode_conflict(decode_conflict_key(key.value())?, row.value())?)
        });
        rows.collect()
    }

    /// The names of all authors, of whatever dictionary.
    fn names(&self) -> Result<Names, StoreError> {
        let rows = self.authors.iter()?.map(|row| {
            let (id, name) = row?;
            Ok(Author { id: decode_author(id.value())?, name: decode_name(name.value())? })
        });
        rows.collect()
    }

    fn name(&self, id: AuthorId) -> Result<AuthorName, StoreError> {
        Ok(match self.authors.get(&id.0.to_be_bytes()[..])? {
            Some(row) => decode_name(row.value())?,
            None => AuthorName::generated(id),
        })
    }

    fn learn_names(&self, change: &Change, names: &mut Names) -> Result<(), StoreError> {
        for id in change.authors() {
            if names.get(id).is_none() {
                names.insert(Author { id, name: self.name(id)? });
            }
        }
        Ok(())
    }
}
