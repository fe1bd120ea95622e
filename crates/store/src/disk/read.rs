//! Reading: each function opens a read transaction of its own. It sees one moment of what is committed. It neither waits for
//! the writer nor makes it wait.

use std::{collections::BTreeSet, iter};

use keybook_core::{
    AuthorId, AuthorName, Authors, Conflicts, DictionaryName, Digest, Key, Lineage, Seq,
    server::{AuthorRow, CatchUp, ConflictRow, Counters, Row, VersionId},
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
        WRITES, decode_author, decode_author_key, decode_changed, decode_conflict, decode_conflict_key,
        decode_counters, decode_dictionary, decode_dictionary_name, decode_entry_key, decode_history,
        decode_history_key, decode_place_seq, decode_row, decode_version, decode_version_key, decode_writes,
    },
};
use crate::{
    dictionary_id,
    engine::{Engine, FirstEntries, FirstEntry, LAST_PLACE, Summary, fill, first_place},
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
            return fill(after, head, bytes, iter::empty(), |_| Ok(0));
        };
        let rows = moment.by_seq.range(&number.place(first_place(after))[..]..=&number.place(LAST_PLACE)[..])?;
        let changes = rows.map(|row| {
            let (place, changed) = row?;
            moment.changes(number, decode_place_seq(place.value())?, decode_changed(changed.value())?)
        });
        fill(after, head, bytes, changes, |author| {
            Ok(moment.author(number, author)?.map_or(0, |row| row.contributor.number))
        })
    }

    fn first_entries(&self, name: &DictionaryName, count: usize) -> Result<FirstEntries, StoreError> {
        let moment = self.moment()?;
        let (number, summary) = moment.dictionary(name)?;
        let mut entries = Vec::new();
        if let Some(number) = number {
            let counters = &summary.counters;
            for row in moment
                .entries(number, counters, None)?
                .filter(|row| row.as_ref().map_or(true, |(_, row)| row.entry.is_live()))
            {
                if entries.len() == count {
                    break;
                }
                let (key, Row { entry, brought_back_by, .. }) = row?;
                let author = moment.author_name(number, entry.author)?;
                let brought_back_by = brought_back_by.map(|by| moment.author_name(number, by)).transpose()?;
                entries.push(FirstEntry { key, entry, author, brought_back_by });
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
        let header = Header { dictionary: id, lineage, seq: head, horizon, digest };
        let authors = number.map(|number| moment.authors(number, &counters)).transpose()?.unwrap_or_default();
        let (mut encoder, bytes) = Encoder::new(&header, &authors);
        write(&bytes)?;
        let mut conflicts = Conflicts::default();
        if let Some(number) = number {
            conflicts = moment.conflicts(number, &counters)?;
            let beside = conflicts.digest() + authors.digest();
            for row in moment.entries(number, &counters, Some((beside, conflicts.bytes())))? {
                let (key, row) = row?;
                if let Some(chunk) = encoder.entry(&key, &row.entry, row.brought_back_by) {
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
        let (conflicts, authors) = (moment.conflicts(number, counters)?, moment.authors(number, counters)?);
        let beside = (conflicts.digest() + authors.digest(), conflicts.bytes());
        for entry in moment.entries(number, counters, Some(beside))? {
            entry?;
        }
        let mut places = 0;
        for row in moment.by_seq.range(&number.place(first_place(Seq(0)))[..]..=&number.place(LAST_PLACE)[..])? {
            let (place, changed) = row?;
            moment.changes(number, decode_place_seq(place.value())?, decode_changed(changed.value())?)?;
            places += 1;
        }
        let mut renamed = 0;
        for author in authors.iter() {
            let row = moment.author(number, author.author.id)?.ok_or(Corrupt { table: "authors" })?;
            renamed += u64::from(row.renamed().is_some());
        }
        let rows = conflicts.iter().count() + authors.iter().count();
        if places != counters.live + counters.tombstones + rows as u64 + renamed {
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

    fn changes(&self, number: Number, at: Seq, changed: Changed) -> Result<[Option<Change>; 2], StoreError> {
        let change = match changed {
            Changed::Entry(key) => {
                let row = self.entries.get(&number.entry(key.as_str())[..])?.ok_or(Corrupt { table: "by_seq" })?;
                return Ok(decode_row(row.value())?.into_changes(key));
            }
            Changed::Conflict(id) => {
                let row = self.conflicts.get(&number.conflict(&id)[..])?.ok_or(Corrupt { table: "by_seq" })?;
                Change::Conflict(decode_conflict(id, row.value())?.conflict)
            }
            Changed::Author(id) => {
                let row = self.author(number, id)?.ok_or(Corrupt { table: "by_seq" })?;
                Change::Author(at, row.contributor)
            }
        };
        Ok([Some(change), None])
    }

    /// All entries in key order, tombstones included. With the digest and the bytes of what is beside them theirs are checked too.
    fn entries(
        &self,
        number: Number,
        counters: &Counters,
        beside: Option<(Digest, u64)>,
    ) -> Result<Entries<'_>, StoreError> {
        let (first, end) = (number.entry(""), Number(number.0 + 1).entry(""));
        let rows = self.entries.range(&first[..]..&end[..])?;
        let Counters { live, live_bytes, tombstones, digest, bytes, .. } = *counters;
        let whole = beside.map(|(beside, beside_bytes)| (digest - beside, bytes.wrapping_sub(beside_bytes)));
        Ok(Entries { rows, live, live_bytes, tombstones, whole })
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

    /// The authors.
    fn authors(&self, number: Number, counters: &Counters) -> Result<Authors, StoreError> {
        let (first, end) = (number.key(), Number(number.0 + 1).key());
        let mut rows = Vec::new();
        for row in self.authors.range(&first[..]..&end[..])? {
            let (key, row) = row?;
            rows.push(decode_author(decode_author_key(key.value())?, row.value())?.contributor);
        }
        rows.sort_by_key(|row| row.number);
        let mut authors = Authors::default();
        let is_whole = rows.len() == usize::from(counters.authors);
        if is_whole && rows.into_iter().all(|row| authors.set(row).is_ok()) {
            Ok(authors)
        } else {
            Err(Corrupt { table: "authors" }.into())
        }
    }

    fn author(&self, number: Number, id: AuthorId) -> Result<Option<AuthorRow>, StoreError> {
        let row = self.authors.get(&number.author(id)[..])?;
        Ok(row.map(|row| decode_author(id, row.value())).transpose()?)
    }

    fn author_name(&self, number: Number, id: AuthorId) -> Result<AuthorName, StoreError> {
        let name = self.author(number, id)?.map(|row| row.contributor.author.name);
        Ok(name.unwrap_or_else(|| AuthorName::generated(id)))
    }
}

/// The entries of a dictionary, and what the counters say is yet to come: a row that is missing, or that is there although it was
/// replaced, is found out at the end.
struct Entries<'a> {
    rows: Range<'a>,
    live: u64,
    live_bytes: u64,
    tombstones: u64,
    /// Their digest and their bytes, unless these are not checked.
    whole: Option<(Digest, u64)>,
}

impl Entries<'_> {
    fn decode(
        &mut self,
        row: Option<(AccessGuard<'_, &'static [u8]>, sealed::Row<'_>)>,
    ) -> Result<Option<(Key, Row)>, Corrupt> {
        let Some((key, row)) = row else {
            let counts = (self.live, self.live_bytes, self.tombstones);
            let is_whole = (counts, self.whole.unwrap_or_default()) == Default::default();
            return if is_whole { Ok(None) } else { Err(Corrupt { table: "entries" }) };
        };
        let (key, row) = (decode_entry_key(key.value())?, decode_row(row.value())?);
        let entry = &row.entry;
        let count = if entry.is_live() { &mut self.live } else { &mut self.tombstones };
        *count = count.wrapping_sub(1);
        self.live_bytes = self.live_bytes.wrapping_sub(entry.live_bytes(&key));
        if let Some((digest, bytes)) = &mut self.whole {
            digest.subtract(&key, entry);
            if let Some(by) = row.brought_back_by {
                digest.subtract_brought_back(&key, entry, by);
            }
            *bytes = bytes.wrapping_sub(entry.bytes(&key));
        }
        Ok(Some((key, row)))
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<(Key, Row), StoreError>;

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
