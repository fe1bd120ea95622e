//! Reading: each function opens a read transaction of its own. It sees one moment of what is committed. It neither waits for
//! the writer nor makes it wait.

use std::iter;

use keybook_core::{
    Author, AuthorId, AuthorName, Conflict, ConflictId, DictionaryName, Entry, Key, Lineage, Names, Seq,
    server::{CatchUp, Counters},
    wire::{
        Change,
        snapshot::{Encoder, Header},
    },
};
use redb::{ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable};

use super::{
    Store, StoreError, Transaction, begin,
    tables::{
        self, AUTHORS, BY_SEQ, CONFLICTS, Changed, Corrupt, DICTIONARIES, ENTRIES, Number, STATES, WRITES,
        decode_author, decode_changed, decode_conflict, decode_conflict_key, decode_counters, decode_dictionary,
        decode_entry_key, decode_name, decode_row, decode_writes,
    },
};
use crate::{
    dictionary_id,
    engine::{Engine, FirstEntries, LAST_PLACE, Summary, fill, first_place},
};

type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;

impl Engine for Store {
    type Error = StoreError;
    type Transaction<'a> = Transaction;

    fn begin(&self) -> Result<Transaction, StoreError> {
        begin(&self.database).map(Transaction::new)
    }

    fn summary(&self, name: &DictionaryName) -> Result<Summary, StoreError> {
        let (_, summary) = self.moment()?.dictionary(name)?;
        Ok(summary)
    }

    fn catch_up(&self, name: &DictionaryName, after: Seq, bytes: usize) -> Result<CatchUp, StoreError> {
        let moment = self.moment()?;
        let (number, summary) = moment.dictionary(name)?;
        let head = summary.counters.head;
        let Some(number) = number else {
            return fill(after, head, bytes, iter::empty(), |author| moment.name(author));
        };
        let rows = moment.by_seq.range(&number.place(first_place(after))[..]..=&number.place(LAST_PLACE)[..])?;
        let changes = rows.map(|row| moment.change(number, decode_changed(row?.1.value())?));
        fill(after, head, bytes, changes, |author| moment.name(author))
    }

    fn first_entries(&self, name: &DictionaryName, count: usize) -> Result<FirstEntries, StoreError> {
        let moment = self.moment()?;
        let (number, summary) = moment.dictionary(name)?;
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
        Ok(FirstEntries { summary, entries })
    }

    fn write_snapshot<E: From<StoreError>>(
        &self,
        name: &DictionaryName,
        mut write: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Seq, E> {
        let moment = self.moment()?;
        let (number, Summary { id, lineage, counters, .. }) = moment.dictionary(name)?;
        let Counters { head, horizon, digest, .. } = counters;
        let names = moment.names()?;
        let header = Header { dictionary: id, lineage, seq: head, horizon, digest };
        let (mut encoder, bytes) = Encoder::new(&header, &names);
        write(&bytes)?;
        let mut conflicts = Vec::new();
        if let Some(number) = number {
            for row in moment.entries(number)? {
                let (key, entry) = row?;
                if let Some(chunk) = encoder.entry(&key, &entry) {
                    write(&chunk)?;
                }
            }
            conflicts = moment.conflicts(number)?;
        }
        write(&encoder.finish(conflicts.iter()))?;
        Ok(head)
    }
}

impl Store {
    /// A dictionary that nobody has written yet.
    fn summary_of_new(&self, name: &DictionaryName) -> Summary {
        let lineage = Lineage::of_store(&self.starts, &[]);
        Summary { id: dictionary_id(self.id, name, 0), lineage, writes: Vec::new(), counters: Counters::default() }
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

    fn dictionary(&self, name: &DictionaryName) -> Result<(Option<Number>, Summary), StoreError> {
        let Some(row) = self.open(DICTIONARIES)?.get(name.as_str().as_bytes())? else {
            return Ok((None, self.store.summary_of_new(name)));
        };
        let (number, id) = decode_dictionary(row.value())?;
        let counters = match self.open(STATES)?.get(&number.key()[..])? {
            Some(row) => decode_counters(row.value())?,
            None => return Err(Corrupt { table: "states" }.into()),
        };
        let writes = match self.open(WRITES)?.get(&number.key()[..])? {
            Some(row) => decode_writes(row.value(), counters.head)?,
            None => return Err(Corrupt { table: "writes" }.into()),
        };
        let lineage = Lineage::of_store(&self.store.starts, &writes);
        Ok((Some(number), Summary { id, lineage, writes, counters }))
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
}
