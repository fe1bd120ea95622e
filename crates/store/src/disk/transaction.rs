//! The rows of a dictionary in the open write transaction, as the hub wants them.

use std::collections::HashMap;

use keybook_core::{
    AuthorId, ConflictId, DictionaryId, DictionaryName, Key, PastEpoch,
    server::{self, AuthorRow, ConflictRow, Counters, History, Place, Row, Version, VersionId},
};
use redb::WriteTransaction;

use super::{
    StoreError,
    read::conflicts,
    sealed::{WriteTable as Table, guarded},
    tables::{
        self, AUTHORS, BY_SEQ, CONFLICTS, DICTIONARIES, ENTRIES, HISTORIES, META, Number, STATES, VERSIONS, WRITES,
        decode_author, decode_conflict, decode_dictionary, decode_history, decode_row, decode_u32, decode_version,
        decode_version_key, encode_author, encode_changed_author, encode_changed_conflict, encode_changed_entry,
        encode_conflict, encode_counters, encode_dictionary, encode_history, encode_past, encode_row, encode_version,
    },
};

use crate::engine;

/// A write transaction over any number of dictionaries. Without [`commit`](engine::Transaction::commit) nothing of it remains.
pub struct Transaction(Option<WriteTransaction>);

impl Transaction {
    pub(super) fn new(transaction: WriteTransaction) -> Self {
        Self(Some(transaction))
    }
}

impl engine::Transaction for Transaction {
    type Error = StoreError;
    type Tables<'t> = Tables<'t>;

    fn tables(&mut self) -> Result<Tables<'_>, StoreError> {
        let transaction = self.0.as_ref().expect("it is open until it is committed");
        let open = |table: tables::Table| Table::to_write(transaction, table);
        let meta = open(META)?;
        let numbers_given = meta.get(&b"numbers"[..])?.map(|row| decode_u32(row.value())).transpose()?;
        Ok(Tables {
            meta,
            dictionaries: open(DICTIONARIES)?,
            states: open(STATES)?,
            writes: open(WRITES)?,
            entries: open(ENTRIES)?,
            by_seq: open(BY_SEQ)?,
            versions: open(VERSIONS)?,
            histories: open(HISTORIES)?,
            conflicts: open(CONFLICTS)?,
            authors: open(AUTHORS)?,
            numbers: HashMap::new(),
            numbers_given: numbers_given.unwrap_or(0),
        })
    }

    /// Makes it durable: when this returns, a loss of power loses nothing of it.
    fn commit(mut self) -> Result<(), StoreError> {
        let transaction = self.0.take().expect("it is open until it is committed");
        guarded("meta", || transaction.commit())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(transaction) = self.0.take() {
            // Nothing of it remains either way. Where it met damage, redb may panic once more.
            let _ = guarded("meta", || transaction.abort());
        }
    }
}

/// The open tables of a [`Transaction`].
pub struct Tables<'t> {
    meta: Table<'t>,
    dictionaries: Table<'t>,
    states: Table<'t>,
    writes: Table<'t>,
    entries: Table<'t>,
    by_seq: Table<'t>,
    versions: Table<'t>,
    histories: Table<'t>,
    conflicts: Table<'t>,
    authors: Table<'t>,
    /// The dictionaries met in this transaction.
    numbers: HashMap<DictionaryName, Number>,
    /// With those of the new ones among them, which are used up even if nothing is written under them.
    numbers_given: u32,
}

impl<'t> engine::Tables for Tables<'t> {
    type Error = StoreError;
    type Rows<'a>
        = Rows<'a, 't>
    where
        Self: 'a;

    fn rows(&mut self, name: &DictionaryName) -> Result<Rows<'_, 't>, StoreError> {
        let number = match self.numbers.get(name) {
            Some(&number) => number,
            None => {
                let number = self.find_number(name)?;
                self.numbers.insert(name.clone(), number);
                number
            }
        };
        Ok(Rows { name: name.clone(), number, tables: self })
    }
}

impl Tables<'_> {
    fn find_number(&mut self, name: &DictionaryName) -> Result<Number, StoreError> {
        if let Some(row) = self.dictionaries.get(name.as_str().as_bytes())? {
            return Ok(decode_dictionary(row.value())?.0);
        }
        self.numbers_given += 1;
        Ok(Number(self.numbers_given - 1))
    }
}

/// The rows of one dictionary.
pub struct Rows<'a, 't> {
    name: DictionaryName,
    number: Number,
    tables: &'a mut Tables<'t>,
}

impl Rows<'_, '_> {
    fn remove_place(&mut self, place: Place) -> Result<(), StoreError> {
        let removed = self.tables.by_seq.remove(&self.number.place(place)[..])?;
        debug_assert!(removed, "each row has a place");
        Ok(())
    }
}

impl server::Rows for Rows<'_, '_> {
    type Error = StoreError;

    fn entry(&mut self, key: &Key) -> Result<Option<Row>, StoreError> {
        let row = self.tables.entries.get(&self.number.entry(key.as_str())[..])?;
        Ok(row.map(|row| decode_row(row.value())).transpose()?)
    }

    fn set_entry(&mut self, key: &Key, row: &Row, replaced: Option<Place>) -> Result<(), StoreError> {
        self.tables.entries.insert(&self.number.entry(key.as_str())[..], &encode_row(row)[..])?;
        if replaced != Some(row.place()) {
            if let Some(place) = replaced {
                self.remove_place(place)?;
            }
            self.tables.by_seq.insert(&self.number.place(row.place())[..], &encode_changed_entry(key)[..])?;
        }
        Ok(())
    }

    fn history(&mut self, key: &Key) -> Result<History, StoreError> {
        let row = self.tables.histories.get(&self.number.entry(key.as_str())[..])?;
        Ok(row.map(|row| decode_history(row.value())).transpose()?.unwrap_or_default())
    }

    fn set_history(&mut self, key: &Key, history: &History) -> Result<(), StoreError> {
        self.tables.histories.insert(&self.number.entry(key.as_str())[..], &encode_history(history)[..])?;
        Ok(())
    }

    fn add_version(&mut self, id: &VersionId, version: &Version) -> Result<(), StoreError> {
        self.tables.versions.insert(&self.number.version(id)[..], &encode_version(version)[..])?;
        Ok(())
    }

    fn version(&mut self, id: &VersionId) -> Result<Option<Version>, StoreError> {
        let row = self.tables.versions.get(&self.number.version(id)[..])?;
        Ok(row.map(|row| decode_version(row.value())).transpose()?)
    }

    fn take_version(&mut self, id: &VersionId) -> Result<Option<Version>, StoreError> {
        let version = self.version(id)?;
        self.tables.versions.remove(&self.number.version(id)[..])?;
        Ok(version)
    }

    fn oldest_version(&mut self) -> Result<Option<VersionId>, StoreError> {
        let (first, end) = (self.number.key(), Number(self.number.0 + 1).key());
        let row = self.tables.versions.range(&first[..]..&end[..])?.next().transpose()?;
        Ok(row.map(|(key, _)| decode_version_key(key.value())).transpose()?)
    }

    fn conflict(&mut self, id: &ConflictId) -> Result<Option<ConflictRow>, StoreError> {
        let row = self.tables.conflicts.get(&self.number.conflict(id)[..])?;
        Ok(row.map(|row| decode_conflict(id.clone(), row.value())).transpose()?)
    }

    fn set_conflict(&mut self, row: &ConflictRow, replaced: Option<Place>) -> Result<(), StoreError> {
        if let Some(place) = replaced {
            self.remove_place(place)?;
        }
        let id = row.conflict.id();
        self.tables.conflicts.insert(&self.number.conflict(&id)[..], &encode_conflict(row)[..])?;
        self.tables.by_seq.insert(&self.number.place(row.place())[..], &encode_changed_conflict(&id)[..])?;
        Ok(())
    }

    fn open_conflicts(&mut self) -> Result<Vec<ConflictRow>, StoreError> {
        let rows = conflicts(&self.tables.conflicts, self.number)?;
        rows.filter(|row| row.as_ref().map_or(true, |row| row.conflict.is_open())).collect()
    }

    fn author(&mut self, id: AuthorId) -> Result<Option<AuthorRow>, StoreError> {
        let row = self.tables.authors.get(&self.number.author(id)[..])?;
        Ok(row.map(|row| decode_author(id, row.value())).transpose()?)
    }

    fn set_author(&mut self, row: &AuthorRow, replaced: Option<Place>) -> Result<(), StoreError> {
        if let Some(place) = replaced {
            self.remove_place(place)?;
        }
        let (id, place) = (row.contributor.author.id, row.renamed().unwrap_or(row.made()));
        self.tables.authors.insert(&self.number.author(id)[..], &encode_author(row)[..])?;
        self.tables.by_seq.insert(&self.number.place(place)[..], &encode_changed_author(id)[..])?;
        Ok(())
    }

    fn set_counters(&mut self, id: DictionaryId, counters: &Counters) -> Result<(), StoreError> {
        self.tables.states.insert(&self.number.key()[..], &encode_counters(counters)[..])?;
        let name = self.name.as_str().as_bytes();
        if self.tables.dictionaries.get(name)?.is_none() {
            self.tables.dictionaries.insert(name, &encode_dictionary(self.number, id)[..])?;
            let given = self.tables.numbers_given.to_be_bytes();
            self.tables.meta.insert(&b"numbers"[..], &given[..])?;
        }
        Ok(())
    }

    fn set_writes(&mut self, writes: &[PastEpoch]) -> Result<(), StoreError> {
        self.tables.writes.insert(&self.number.key()[..], &encode_past(writes)[..])?;
        if let Some(last) = writes.last() {
            self.tables.meta.insert(&b"written"[..], &last.epoch.0.to_be_bytes()[..])?;
        }
        Ok(())
    }
}
