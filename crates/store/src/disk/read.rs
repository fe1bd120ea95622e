//! Reading: each function opens a read transaction of its own. It sees one moment of what is committed. It neither waits for
//! the writer nor makes it wait.

use std::{collections::BTreeSet, iter};

use keybook_core::{
    Author, AuthorId, AuthorName, Conflicts, DictionaryName, Digest, Entry, Key, Lineage, Names, Seq,
    server::{CatchUp, ConflictRow, Counters, VersionId},
    wire::{
        Change,
        snapshot::{Encoder, Header},
    },
};
use redb::{AccessGuard, ReadTransaction, ReadableDatabase, ReadableTable};

use super::{
    Store, StoreError, Transaction, begin,
    sealed::{self, Range, ReadTable as Table, Sealed},
    tables::{
        self, AUTHORS, BY_SEQ, CONFLICTS, Changed, Corrupt, DICTIONARIES, ENTRIES, HISTORIES, Number, STATES, VERSIONS,
        WRITES, decode_author, decode_changed, decode_conflict, decode_conflict_key, decode_counters,
        decode_dictionary, decode_dictionary_name, decode_entry_key, decode_history, decode_history_key, decode_name,
        decode_row, decode_version, decode_version_key, decode_writes,
    },
};
use crate::{
    dictionary_id,
    engine::{Engine, FirstEntries, LAST_PLACE, Summary, fill, first_place},
};

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
            let counters = &summary.counters;
            for row in moment
                .entries(number, counters, None)?
                .filter(|row| row.as_ref().map_or(true, |(_, entry)| entry.is_live()))
            {
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
        let mut conflicts = Conflicts::default();
        if let Some(number) = number {
            conflicts = moment.conflicts(number, &counters)?;
            for row in moment.entries(number, &counters, Some(&conflicts))? {
                let (key, entry) = row?;
                if let Some(chunk) = encoder.entry(&key, &entry) {
                    write(&chunk)?;
                }
            }
        }
        write(&encoder.finish(conflicts.iter()))?;
        Ok(head)
    }
}

impl Store {
    /// The dictionaries that have been written.
    ///
    /// # Errors
    /// When the store fails.
    pub fn names(&self) -> Result<Vec<DictionaryName>, StoreError> {
        let names = self.moment()?.open(DICTIONARIES)?;
        let names = names.range(..)?.map(|row| Ok(decode_dictionary_name(row?.0.value())?));
        names.collect()
    }

    /// Reads all rows of a dictionary, and whether they are those that its counters and its digest are of. O(rows).
    ///
    /// # Errors
    /// When it is damaged, or the store fails.
    pub fn check(&self, name: &DictionaryName) -> Result<Summary, StoreError> {
        let moment = self.moment()?;
        let (number, summary) = moment.dictionary(name)?;
        let Some(number) = number else { return Ok(summary) };
        let counters = &summary.counters;
        let conflicts = moment.conflicts(number, counters)?;
        for entry in moment.entries(number, counters, Some(&conflicts))? {
            entry?;
        }
        let mut places = 0;
        for row in moment.by_seq.range(&number.place(first_place(Seq(0)))[..]..=&number.place(LAST_PLACE)[..])? {
            moment.change(number, decode_changed(row?.1.value())?)?;
            places += 1;
        }
        if places != counters.live + counters.tombstones + conflicts.iter().count() as u64 {
            return Err(Corrupt { table: "by_seq" }.into());
        }
        let (first, end) = (number.key(), Number(number.0 + 1).key());
        let (mut named, mut version_bytes) = (BTreeSet::new(), 0);
        for row in moment.open(HISTORIES)?.range(&first[..]..&end[..])? {
            let (key, history) = row?;
            let (key, history) = (decode_history_key(key.value())?, decode_history(history.value())?);
            named.extend(history.versions.into_iter().map(|(since, stamp)| (since, key.clone(), stamp)));
        }
        for row in moment.open(VERSIONS)?.range(&first[..]..&end[..])? {
            let (id, version) = row?;
            let VersionId { since, key, stamp } = decode_version_key(id.value())?;
            version_bytes += decode_version(version.value())?.bytes(&key);
            if !named.remove(&(since, key, stamp)) {
                return Err(Corrupt { table: "histories" }.into());
            }
        }
        if !named.is_empty() || version_bytes != counters.version_bytes {
            return Err(Corrupt { table: "versions" }.into());
        }
        moment.names()?;
        Ok(summary)
    }

    /// A dictionary that nobody has written yet.
    fn summary_of_new(&self, name: &DictionaryName) -> Summary {
        let lineage = Lineage::of_store(&self.starts, &[]);
        Summary { id: dictionary_id(self.id, name, 0), lineage, writes: Vec::new(), counters: Counters::default() }
    }

    fn moment(&self) -> Result<Moment<'_>, StoreError> {
        let transaction = self.database.begin_read()?;
        let open = |table| Table::to_read(&transaction, table);
        let (entries, by_seq, conflicts, authors) = (open(ENTRIES)?, open(BY_SEQ)?, open(CONFLICTS)?, open(AUTHORS)?);
        Ok(Moment { store: self, entries, by_seq, conflicts, authors, transaction })
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
        Table::to_read(&self.transaction, table)
    }

    fn dictionary(&self, name: &DictionaryName) -> Result<(Option<Number>, Summary), StoreError> {
        let (dictionaries, states, writes) = (self.open(DICTIONARIES)?, self.open(STATES)?, self.open(WRITES)?);
        let Some(row) = dictionaries.get(name.as_str().as_bytes())? else {
            return Ok((None, self.store.summary_of_new(name)));
        };
        let (number, id) = decode_dictionary(row.value())?;
        let counters = match states.get(&number.key()[..])? {
            Some(row) => decode_counters(row.value())?,
            None => return Err(Corrupt { table: "states" }.into()),
        };
        let writes = match writes.get(&number.key()[..])? {
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
                let row = self.conflicts.get(&number.conflict(&id)[..])?.ok_or(Corrupt { table: "by_seq" })?;
                Change::Conflict(decode_conflict(id, row.value())?.conflict)
            }
        })
    }

    /// All entries in key order, tombstones included. With the conflict rows the digest and the bytes are checked too.
    fn entries(
        &self,
        number: Number,
        counters: &Counters,
        conflicts: Option<&Conflicts>,
    ) -> Result<Entries<'_>, StoreError> {
        let (first, end) = (number.entry(""), Number(number.0 + 1).entry(""));
        let rows = self.entries.range(&first[..]..&end[..])?;
        let Counters { live, tombstones, digest, bytes, .. } = *counters;
        let whole = conflicts.map(|conflicts| (digest - conflicts.digest(), bytes.wrapping_sub(conflicts.bytes())));
        Ok(Entries { rows, live, tombstones, whole })
    }

    /// The conflict rows.
    fn conflicts(&self, number: Number, counters: &Counters) -> Result<Conflicts, StoreError> {
        let mut found = Conflicts::default();
        for row in conflicts(&self.conflicts, number)? {
            found.set(row?.conflict);
        }
        let open_bytes = found.open().map(|conflict| conflict.bytes() as u64);
        let is_whole = (found.open().count() as u64, open_bytes.sum()) == (counters.conflicts, counters.conflict_bytes);
        if is_whole { Ok(found) } else { Err(Corrupt { table: "conflicts" }.into()) }
    }

    /// The names of all authors, of whatever dictionary.
    fn names(&self) -> Result<Names, StoreError> {
        let rows = self.authors.range(..)?.map(|row| {
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

/// The entries of a dictionary, and what the counters say is yet to come: a row that is missing, or that is there although it was
/// replaced, is found out at the end.
struct Entries<'a> {
    rows: Range<'a>,
    live: u64,
    tombstones: u64,
    /// Their digest and their bytes, unless these are not checked.
    whole: Option<(Digest, u64)>,
}

impl Entries<'_> {
    fn decode(
        &mut self,
        row: Option<(AccessGuard<'_, &'static [u8]>, sealed::Row<'_>)>,
    ) -> Result<Option<(Key, Entry)>, Corrupt> {
        let Some((key, row)) = row else {
            let is_whole = (self.live, self.tombstones, self.whole.unwrap_or_default()) == Default::default();
            return if is_whole { Ok(None) } else { Err(Corrupt { table: "entries" }) };
        };
        let (key, entry) = (decode_entry_key(key.value())?, decode_row(row.value())?.entry);
        let count = if entry.is_live() { &mut self.live } else { &mut self.tombstones };
        *count = count.wrapping_sub(1);
        if let Some((digest, bytes)) = &mut self.whole {
            digest.subtract(&key, &entry);
            *bytes = bytes.wrapping_sub(entry.bytes(&key));
        }
        Ok(Some((key, entry)))
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<(Key, Entry), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.next().transpose();
        row.and_then(|row| Ok(self.decode(row)?)).transpose()
    }
}

/// The conflict rows of a dictionary in the order of their names.
pub(super) fn conflicts<T: ReadableTable<&'static [u8], &'static [u8]>>(
    table: &Sealed<T>,
    number: Number,
) -> Result<impl Iterator<Item = Result<ConflictRow, StoreError>>, StoreError> {
    let (first, end) = (number.entry(""), Number(number.0 + 1).entry(""));
    Ok(table.range(&first[..]..&end[..])?.map(|row| {
        let (key, row) = row?;
        Ok(decode_conflict(decode_conflict_key(key.value())?, row.value())?)
    }))
}
