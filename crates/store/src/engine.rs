//! What a store offers, whichever engine keeps the rows.
//!
//! One write transaction is open at a time. Readers see what is committed and nothing else, and each read sees one moment.

use keybook_core::{
    AuthorId, AuthorName, AuthorNumbers, DictionaryId, DictionaryName, Entry, Key, Lineage, PastEpoch, Seq,
    server::{CatchUp, Counters, Hub, Place, Rows},
    wire::Change,
};

/// A store of dictionaries.
pub trait Engine {
    /// Why the store could not.
    type Error;
    /// A write transaction.
    type Transaction<'a>: Transaction<Error = Self::Error>
    where
        Self: 'a;

    /// Begins a write transaction; waits for the one before to end.
    ///
    /// # Errors
    /// When the store fails.
    fn begin(&self) -> Result<Self::Transaction<'_>, Self::Error>;

    /// A dictionary; one that does not exist is empty. Writes nothing.
    ///
    /// # Errors
    /// When the store fails.
    fn summary(&self, name: &DictionaryName) -> Result<Summary, Self::Error>;

    /// What changed after a cursor: whole batches by rising seq, and no further batch once `bytes` are reached. So the
    /// changes are at most `bytes` and a batch. O(changes in the answer).
    ///
    /// # Errors
    /// When the store fails.
    fn catch_up(&self, name: &DictionaryName, after: Seq, bytes: usize) -> Result<CatchUp, Self::Error>;

    /// The first live entries, at most `count`. O(count + tombstones between them).
    ///
    /// # Errors
    /// When the store fails.
    fn first_entries(&self, name: &DictionaryName, count: usize) -> Result<FirstEntries, Self::Error>;

    /// Writes the snapshot of a dictionary, as it is sent, chunk by chunk: one chunk is in memory. Returns its seq. O(entries).
    ///
    /// # Errors
    /// When the store fails, or `write`.
    fn write_snapshot<E: From<Self::Error>>(
        &self,
        name: &DictionaryName,
        write: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Seq, E>;

    /// The snapshot of a dictionary in memory, and its seq. O(entries).
    ///
    /// # Errors
    /// When the store fails.
    fn snapshot(&self, name: &DictionaryName) -> Result<(Seq, Vec<u8>), Self::Error> {
        let mut bytes = Vec::new();
        let seq = self.write_snapshot(name, |chunk| {
            bytes.extend_from_slice(chunk);
            Ok::<_, Self::Error>(())
        })?;
        Ok((seq, bytes))
    }
}

/// A write transaction over any number of dictionaries. Without [`Transaction::commit`] nothing of it remains.
pub trait Transaction {
    /// Why the store could not.
    type Error;
    /// The tables, open.
    type Tables<'t>: Tables<Error = Self::Error>
    where
        Self: 't;

    /// The tables, opened once for the whole transaction.
    ///
    /// # Errors
    /// When the store fails.
    fn tables(&mut self) -> Result<Self::Tables<'_>, Self::Error>;

    /// Makes the transaction as durable as the engine can, and shows it to readers.
    ///
    /// # Errors
    /// When the store fails. What is stored is then unknown: the store must not be used again.
    fn commit(self) -> Result<(), Self::Error>;
}

/// The open tables of a [`Transaction`].
pub trait Tables {
    /// Why the store could not.
    type Error;
    /// The rows of one dictionary.
    type Rows<'a>: Rows<Error = Self::Error>
    where
        Self: 'a;

    /// The rows of a dictionary. One that does not exist is made when its counters are set.
    ///
    /// # Errors
    /// When the store fails.
    fn rows(&mut self, name: &DictionaryName) -> Result<Self::Rows<'_>, Self::Error>;
}

/// A dictionary without its rows, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its identity; of one that does not exist yet, the identity that it will have.
    pub id: DictionaryId,
    /// Its epochs.
    pub lineage: Lineage,
    /// The epochs in which it was written, with its head at the end of each.
    pub writes: Vec<PastEpoch>,
    /// Its counters.
    pub counters: Counters,
}

impl Summary {
    /// The hub that continues the dictionary.
    pub fn into_hub(self) -> Hub {
        Hub::new(self.id, self.lineage, self.writes, self.counters)
    }
}

/// The beginning of a dictionary, for a page that is readable without a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstEntries {
    /// The dictionary at the same moment: the cursor that continues the entries is its head, in its current epoch.
    pub summary: Summary,
    /// The first live entries in the order of their keys.
    pub entries: Vec<FirstEntry>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstEntry {
    /// Its key.
    pub key: Key,
    /// The entry.
    pub entry: Entry,
    /// The name of who wrote it.
    pub author: AuthorName,
    /// The name of who has brought it back after the server had lost it.
    pub brought_back_by: Option<AuthorName>,
}

/// Above every place: no batch has so many changes.
pub(crate) const LAST_PLACE: Place = Place { seq: Seq(u64::MAX), index: u16::MAX };

/// The first place after a cursor. A cursor comes from a peer, and may be the last number.
pub(crate) fn first_place(after: Seq) -> Place {
    match after {
        // Authors of a file of format 1 are there.
        Seq(0) => Place { seq: Seq(0), index: 0 },
        after if after == LAST_PLACE.seq => LAST_PLACE,
        after => Place { seq: after.next(), index: 0 },
    }
}

/// Takes whole batches of changes, which come by rising seq from `after` on, those of a place together, until `bytes` are reached. `number` finds the
/// number of an author; it is 0 for one who has none.
pub(crate) fn fill<E>(
    after: Seq,
    head: Seq,
    bytes: usize,
    places: impl Iterator<Item = Result<[Option<Change>; 2], E>>,
    mut number: impl FnMut(AuthorId) -> Result<u16, E>,
) -> Result<CatchUp, E> {
    let mut filled = CatchUp { after, changes: Vec::new(), numbers: AuthorNumbers::default(), to: head, more: false };
    let mut size = 0;
    // An error is the last of them.
    let changes = places.flat_map(|place| match place {
        Ok(changes) => changes.map(|change| change.map(Ok)),
        Err(error) => [Some(Err(error)), None],
    });
    for change in changes.flatten() {
        let change = change?;
        if let Some(last) = filled.changes.last().map(Change::seq)
            && size >= bytes
            && last < change.seq()
        {
            (filled.to, filled.more) = (last, true);
            break;
        }
        size += change.bytes();
        for id in change.authors() {
            if filled.numbers.get(id).is_none() {
                filled.numbers.insert(id, number(id)?);
            }
        }
        filled.changes.push(change);
    }
    Ok(filled)
}
