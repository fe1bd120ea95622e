//! Every table of the data file, with its keys and values byte by byte.
//!
//! Numbers are unsigned and big-endian, so that the order of the bytes is the order of the numbers. Texts are UTF-8 and
//! end where the row ends, unless a length or a terminator is said. redb sees byte strings only: what a byte means is
//! decided here, so that neither a version of redb nor of the compiler can change it. docs/storage.md explains the file.
//!
//! Each row of a dictionary begins with the dictionary's number. So its rows lie together, and no name is a prefix of
//! another's.
//!
//! It has more than 500 lines because the tables belong in one place: what one row says of another is seen here alone.

#[cfg(test)]
mod tests;

use keybook_core::{
    Author, AuthorId, AuthorName, Branch, Conflict, ConflictId, Contributor, DictionaryId, DictionaryName, Digest,
    Entry, Epoch, Key, PastEpoch, Resolution, Seq, Side, Stamp, Value, Winner,
    server::{AuthorRow, ConflictRow, Counters, History, Place, Reason, Row, Version, VersionId},
    wire::Horizon,
};

use super::sealed::TableDefinition;

/// A table of byte strings. What is said below of a row begins behind its checksum (4 bytes).
pub(super) type Table = TableDefinition;

/// What concerns the whole file.
///
/// | key | value |
/// | --- | --- |
/// | `format` | 4 bytes: [`FORMAT`](super::FORMAT); the one row without a checksum, since programs of all formats read it |
/// | `store` | 8 bytes: the store's random id |
/// | `starts` | 8 bytes each: the epochs of the starts that wrote something, of the first and of the last one; oldest first, the newest 1024 |
/// | `written` | 8 bytes: the epoch that has written last |
/// | `numbers` | 4 bytes: how many dictionary numbers have been given out |
pub(super) const META: Table = TableDefinition::new("meta");

/// The dictionaries. Written once each.
///
/// | key | value |
/// | --- | --- |
/// | name | 4 bytes: number; 8 bytes: id |
pub(super) const DICTIONARIES: Table = TableDefinition::new("dictionaries");

/// The counters of each dictionary. Written with each commit, so they are a row of their own, 98 bytes.
///
/// | key | value |
/// | --- | --- |
/// | number, 4 | head, 8; horizon's seq, 8, and milliseconds, 8; digest, 16; live, 8; tombstones, 8; open conflicts, 8, and their bytes, 8; untold, 8; bytes of entries and conflict rows, 8, of live entries, 8, and of versions, 8; authors, 2 |
pub(super) const STATES: Table = TableDefinition::new("states");

/// The epochs in which each dictionary was written. Written once an epoch: of the last one the end is the head in
/// [`STATES`], not the one here.
///
/// | key | value |
/// | --- | --- |
/// | number, 4 | (epoch, 8; end, 8) each, oldest first, at most 1024 |
pub(super) const WRITES: Table = TableDefinition::new("writes");

/// The entries, tombstones included, in the order of their keys.
///
/// | key | value |
/// | --- | --- |
/// | number, 4; key | stamp, 16; seq, 8; index, 2; author, 8; epochs, 1, with 128 added if the replica is proven, and 64 if somebody else than the author has brought it back; in that case who did, 8; (epoch, 8; end, 8) each; value, nothing in a tombstone |
///
/// The epochs are the branch of a recovered entry; others have none.
pub(super) const ENTRIES: Table = TableDefinition::new("entries");

/// What changed last at each place: one row an entry and a conflict; of an author one for the first write, which stays, and one for
/// the last change of the name. Reading it from a cursor on is catching up.
///
/// | key | value |
/// | --- | --- |
/// | number, 4; seq, 8; index, 2 | 1 byte: 0; key of the entry |
/// | | 1 byte: 1; name of the conflict row: key; 1 byte: 0; stamp of the loser, 16 |
/// | | 1 byte: 2; id of the author, 8 |
pub(super) const BY_SEQ: Table = TableDefinition::new("by_seq");

/// Values that an entry had once, or that lost in a conflict, in the order in which they became so.
///
/// | key | value |
/// | --- | --- |
/// | number, 4; seq that made it a version, 8; key; 1 byte: 0, which no key contains; stamp, 16 | seq that accepted the write, 8; reason, 1: 0 replaced, 1 lost, 2 archived, with 64 added if somebody else than the author had brought it back; author, 8; in that case who had, 8; value, nothing in a remove |
pub(super) const VERSIONS: Table = TableDefinition::new("versions");

/// Which versions each key has.
///
/// | key | value |
/// | --- | --- |
/// | number, 4; key | seq from which on they are complete, 8; (seq that made it a version, 8; stamp, 16) each, oldest first, at most 100 |
pub(super) const HISTORIES: Table = TableDefinition::new("histories");

/// Conflict rows, in the order of their names.
///
/// | key | value |
/// | --- | --- |
/// | number, 4; key of the entry; 1 byte: 0; stamp of the loser, 16 | seq of the last change, 8; index, 2; resolution, 1: 0 open, 1 dismissed, 2 restored, 3 archived, with 128 added if the replica of the loser is proven; maker, 8; made, in milliseconds, 8; author of the loser, 8; stamp of the winner, 16; its author, 8; the value that lost, nothing in a remove or a closed row |
pub(super) const CONFLICTS: Table = TableDefinition::new("conflicts");

/// The authors of each dictionary, at most 10 000.
///
/// | key | value |
/// | --- | --- |
/// | number, 4; author's id, 8 | author's number, 2; place of the first write: seq, 8, and index, 2; of the last change: seq, 8, and index, 2; name |
pub(super) const AUTHORS: Table = TableDefinition::new("authors");

/// A dictionary in the keys of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number(pub(super) u32);

/// A row that has been damaged since it was written, is missing, or was not written by this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a row of the table {table} is not what was written")]
pub struct Corrupt {
    /// The table.
    pub table: &'static str,
}

impl Number {
    /// The key of [`STATES`] and [`WRITES`].
    pub(super) fn key(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    /// The key of an entry; of the empty text, what lies before all entries.
    pub(super) fn entry(self, key: &str) -> Vec<u8> {
        [&self.key(), key.as_bytes()].concat()
    }

    /// The key in `by_seq`.
    pub(super) fn place(self, place: Place) -> [u8; 14] {
        array(&[&self.key(), &place.seq.0.to_be_bytes(), &place.index.to_be_bytes()])
    }

    /// The key of a conflict row.
    pub(super) fn conflict(self, id: &ConflictId) -> Vec<u8> {
        [&self.key(), id.key.as_str().as_bytes(), &[0], &id.loser.to_bytes()].concat()
    }

    /// The key of an author.
    pub(super) fn author(self, id: AuthorId) -> [u8; 12] {
        array(&[&self.key(), &id.0.to_be_bytes()])
    }

    /// The key of a version.
    pub(super) fn version(self, VersionId { since, key, stamp }: &VersionId) -> Vec<u8> {
        [&self.key(), &since.0.to_be_bytes()[..], key.as_str().as_bytes(), &[0], &stamp.to_bytes()].concat()
    }
}

fn array<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    parts.concat().try_into().expect("the parts have the length of the key")
}

/// The key of an entry from the row's key.
pub(super) fn decode_entry_key(key: &[u8]) -> Result<Key, Corrupt> {
    decode_key("entries", key)
}

/// The key of an entry from the key of its row in [`HISTORIES`].
pub(super) fn decode_history_key(key: &[u8]) -> Result<Key, Corrupt> {
    decode_key("histories", key)
}

fn decode_key(table: &'static str, key: &[u8]) -> Result<Key, Corrupt> {
    let mut fields = Fields::new(table, key);
    fields.u32()?;
    fields.rest_key()
}

/// The seq in the key of a row of [`BY_SEQ`].
pub(super) fn decode_place_seq(key: &[u8]) -> Result<Seq, Corrupt> {
    let mut fields = Fields::new("by_seq", key);
    fields.u32()?;
    Ok(Seq(fields.u64()?))
}

pub(super) fn encode_dictionary(number: Number, id: DictionaryId) -> [u8; 12] {
    array(&[&number.key(), &id.0.to_be_bytes()])
}

pub(super) fn decode_dictionary(bytes: &[u8]) -> Result<(Number, DictionaryId), Corrupt> {
    let mut fields = Fields::new("dictionaries", bytes);
    let found = (Number(fields.u32()?), DictionaryId(fields.u64()?));
    fields.end(found)
}

/// The key of a row of [`DICTIONARIES`].
pub(super) fn decode_dictionary_name(key: &[u8]) -> Result<DictionaryName, Corrupt> {
    let name = std::str::from_utf8(key).ok().and_then(|name| DictionaryName::parse(name).ok());
    name.ok_or(Corrupt { table: "dictionaries" })
}

pub(super) fn encode_counters(counters: &Counters) -> [u8; 106] {
    let Counters { head, horizon, digest, live, tombstones, conflicts, .. } = counters;
    let Counters { conflict_bytes, untold, bytes, live_bytes, version_bytes, authors, .. } = counters;
    array(&[
        &head.0.to_be_bytes(),
        &horizon.seq.0.to_be_bytes(),
        &horizon.time_ms.to_be_bytes(),
        &digest.to_bytes(),
        &live.to_be_bytes(),
        &tombstones.to_be_bytes(),
        &conflicts.to_be_bytes(),
        &conflict_bytes.to_be_bytes(),
        &untold.to_be_bytes(),
        &bytes.to_be_bytes(),
        &live_bytes.to_be_bytes(),
        &version_bytes.to_be_bytes(),
        &authors.to_be_bytes(),
    ])
}

pub(super) fn decode_counters(bytes: &[u8]) -> Result<Counters, Corrupt> {
    let mut fields = Fields::new("states", bytes);
    let counters = Counters {
        head: Seq(fields.u64()?),
        horizon: Horizon { seq: Seq(fields.u64()?), time_ms: fields.u64()? },
        digest: Digest::from_bytes(fields.take()?),
        live: fields.u64()?,
        tombstones: fields.u64()?,
        conflicts: fields.u64()?,
        conflict_bytes: fields.u64()?,
        untold: fields.u64()?,
        bytes: fields.u64()?,
        live_bytes: fields.u64()?,
        version_bytes: fields.u64()?,
        authors: fields.u16()?,
    };
    fields.end(counters)
}

pub(super) fn encode_past(writes: &[PastEpoch]) -> Vec<u8> {
    writes.iter().flat_map(|past| [past.epoch.0.to_be_bytes(), past.end.0.to_be_bytes()]).flatten().collect()
}

/// The last one ends at `head`.
pub(super) fn decode_writes(bytes: &[u8], head: Seq) -> Result<Vec<PastEpoch>, Corrupt> {
    let mut fields = Fields::new("writes", bytes);
    let mut writes = Vec::with_capacity(bytes.len() / 16);
    while !fields.is_empty() {
        writes.push(fields.past_epoch()?);
    }
    if let Some(last) = writes.last_mut() {
        last.end = head;
    }
    Ok(writes)
}

pub(super) fn encode_epochs(epochs: &[Epoch]) -> Vec<u8> {
    epochs.iter().flat_map(|epoch| epoch.0.to_be_bytes()).collect()
}

pub(super) fn decode_epochs(bytes: &[u8]) -> Result<Vec<Epoch>, Corrupt> {
    let mut fields = Fields::new("meta", bytes);
    let mut epochs = Vec::with_capacity(bytes.len() / 8);
    while !fields.is_empty() {
        epochs.push(Epoch(fields.u64()?));
    }
    Ok(epochs)
}

/// A number of [`META`].
pub(super) fn decode_u32(bytes: &[u8]) -> Result<u32, Corrupt> {
    let mut fields = Fields::new("meta", bytes);
    let number = fields.u32()?;
    fields.end(number)
}

/// A number of [`META`].
pub(super) fn decode_u64(bytes: &[u8]) -> Result<u64, Corrupt> {
    let mut fields = Fields::new("meta", bytes);
    let number = fields.u64()?;
    fields.end(number)
}

/// Beside the number of epochs in a row of [`ENTRIES`], and beside the resolution in one of [`CONFLICTS`].
const PROVEN: u8 = 128;

/// Beside the number of epochs in a row of [`ENTRIES`], and beside the reason in one of [`VERSIONS`].
const BROUGHT_BACK: u8 = 64;

fn flag(is_set: bool, flag: u8) -> u8 {
    if is_set { flag } else { 0 }
}

/// Nothing if nobody has.
fn encode_bringer(by: Option<AuthorId>) -> Vec<u8> {
    by.map_or(Vec::new(), |by| by.0.to_be_bytes().to_vec())
}

pub(super) fn encode_row(row: &Row) -> Vec<u8> {
    let Row { entry, index, recovered, is_proven, brought_back_by } = row;
    let epochs = recovered.as_ref().map_or(&[][..], Branch::epochs);
    [
        &entry.stamp.to_bytes()[..],
        &entry.seq.0.to_be_bytes(),
        &index.to_be_bytes(),
        &entry.author.0.to_be_bytes(),
        &[epochs.len() as u8 | flag(*is_proven, PROVEN) | flag(brought_back_by.is_some(), BROUGHT_BACK)],
        &encode_bringer(*brought_back_by),
        &encode_past(epochs),
        text(entry.value.as_ref()).as_bytes(),
    ]
    .concat()
}

pub(super) fn decode_row(bytes: &[u8]) -> Result<Row, Corrupt> {
    let mut fields = Fields::new("entries", bytes);
    let (stamp, seq, index) = (fields.stamp()?, Seq(fields.u64()?), fields.u16()?);
    let author = AuthorId(fields.u64()?);
    let flags = fields.u8()?;
    let (is_proven, brought_back_by) = (flags & PROVEN != 0, fields.bringer(flags)?);
    let epochs = (0..flags & !PROVEN & !BROUGHT_BACK).map(|_| fields.past_epoch()).collect::<Result<Vec<_>, _>>()?;
    let recovered =
        if epochs.is_empty() { None } else { Some(Branch::new(epochs).ok_or(Corrupt { table: "entries" })?) };
    let entry = Entry { value: fields.rest_value()?, stamp, seq, author };
    Ok(Row { entry, index, recovered, is_proven, brought_back_by })
}

/// What a row of [`BY_SEQ`] names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Changed {
    Entry(Key),
    Conflict(ConflictId),
    Author(AuthorId),
}

pub(super) fn encode_changed_author(id: AuthorId) -> [u8; 9] {
    array(&[&[2], &id.0.to_be_bytes()])
}

pub(super) fn encode_changed_entry(key: &Key) -> Vec<u8> {
    [&[0], key.as_str().as_bytes()].concat()
}

pub(super) fn encode_changed_conflict(id: &ConflictId) -> Vec<u8> {
    [&[1], id.key.as_str().as_bytes(), &[0], &id.loser.to_bytes()].concat()
}

pub(super) fn decode_changed(bytes: &[u8]) -> Result<Changed, Corrupt> {
    let mut fields = Fields::new("by_seq", bytes);
    match fields.u8()? {
        0 => Ok(Changed::Entry(fields.rest_key()?)),
        1 => Ok(Changed::Conflict(fields.conflict_id()?)),
        2 => {
            let author = Changed::Author(AuthorId(fields.u64()?));
            fields.end(author)
        }
        _ => Err(fields.corrupt()),
    }
}

pub(super) fn encode_version(version: &Version) -> Vec<u8> {
    let Version { accepted, reason, author, brought_back_by, value } = version;
    let reason = match reason {
        Reason::Replaced => 0,
        Reason::Lost => 1,
        Reason::Archived => 2,
    };
    let (accepted, author) = (accepted.0.to_be_bytes(), author.0.to_be_bytes());
    let (flags, by) = (reason | flag(brought_back_by.is_some(), BROUGHT_BACK), encode_bringer(*brought_back_by));
    [&accepted[..], &[flags], &author, &by, text(value.as_ref()).as_bytes()].concat()
}

pub(super) fn decode_version(bytes: &[u8]) -> Result<Version, Corrupt> {
    let mut fields = Fields::new("versions", bytes);
    let (accepted, flags) = (Seq(fields.u64()?), fields.u8()?);
    let reason = match flags & !BROUGHT_BACK {
        0 => Reason::Replaced,
        1 => Reason::Lost,
        2 => Reason::Archived,
        _ => return Err(fields.corrupt()),
    };
    let (author, brought_back_by) = (AuthorId(fields.u64()?), fields.bringer(flags)?);
    Ok(Version { accepted, reason, author, brought_back_by, value: fields.rest_value()? })
}

/// The name in the key of a row of [`VERSIONS`].
pub(super) fn decode_version_key(key: &[u8]) -> Result<VersionId, Corrupt> {
    let mut fields = Fields::new("versions", key);
    fields.u32()?;
    let since = Seq(fields.u64()?);
    let ConflictId { key, loser } = fields.conflict_id()?;
    Ok(VersionId { since, key, stamp: loser })
}

pub(super) fn encode_history(History { complete_from, versions }: &History) -> Vec<u8> {
    let mut bytes = complete_from.0.to_be_bytes().to_vec();
    for (since, stamp) in versions {
        bytes.extend(since.0.to_be_bytes());
        bytes.extend(stamp.to_bytes());
    }
    bytes
}

pub(super) fn decode_history(bytes: &[u8]) -> Result<History, Corrupt> {
    let mut fields = Fields::new("histories", bytes);
    let mut history = History { complete_from: Seq(fields.u64()?), versions: Vec::with_capacity(bytes.len() / 24) };
    while !fields.is_empty() {
        history.versions.push((Seq(fields.u64()?), fields.stamp()?));
    }
    Ok(history)
}

pub(super) fn encode_conflict(row: &ConflictRow) -> Vec<u8> {
    let ConflictRow { conflict, index, maker, made_ms, is_proven } = row;
    let Conflict { key: _, loser, winner, seq, resolution } = conflict;
    let resolution = match resolution {
        Resolution::Open => 0,
        Resolution::Dismissed => 1,
        Resolution::Restored => 2,
        Resolution::Archived => 3,
    };
    [
        &seq.0.to_be_bytes()[..],
        &index.to_be_bytes(),
        &[resolution | flag(*is_proven, PROVEN)],
        &maker.0.to_be_bytes(),
        &made_ms.to_be_bytes(),
        &loser.author.0.to_be_bytes(),
        &winner.stamp.to_bytes(),
        &winner.author.0.to_be_bytes(),
        text(loser.value.as_ref()).as_bytes(),
    ]
    .concat()
}

pub(super) fn decode_conflict(id: ConflictId, bytes: &[u8]) -> Result<ConflictRow, Corrupt> {
    let mut fields = Fields::new("conflicts", bytes);
    let (seq, index) = (Seq(fields.u64()?), fields.u16()?);
    let flags = fields.u8()?;
    let resolution = match flags & !PROVEN {
        0 => Resolution::Open,
        1 => Resolution::Dismissed,
        2 => Resolution::Restored,
        3 => Resolution::Archived,
        _ => return Err(fields.corrupt()),
    };
    let (maker, made_ms, author) = (AuthorId(fields.u64()?), fields.u64()?, AuthorId(fields.u64()?));
    let winner = Winner { stamp: fields.stamp()?, author: AuthorId(fields.u64()?) };
    let ConflictId { key, loser: stamp } = id;
    let loser = Side { value: fields.rest_value()?, stamp, author };
    let (conflict, is_proven) = (Conflict { key, loser, winner, seq, resolution }, flags & PROVEN != 0);
    Ok(ConflictRow { conflict, index, maker, made_ms, is_proven })
}

/// The name in the key of a row of [`CONFLICTS`].
pub(super) fn decode_conflict_key(key: &[u8]) -> Result<ConflictId, Corrupt> {
    let mut fields = Fields::new("conflicts", key);
    fields.u32()?;
    fields.conflict_id()
}

/// The id in the key of a row of [`AUTHORS`].
pub(super) fn decode_author_key(key: &[u8]) -> Result<AuthorId, Corrupt> {
    let mut fields = Fields::new("authors", key);
    fields.u32()?;
    let id = AuthorId(fields.u64()?);
    fields.end(id)
}

pub(super) fn encode_author(row: &AuthorRow) -> Vec<u8> {
    let AuthorRow { contributor: Contributor { number, author, made, seq }, made_index, index } = row;
    [
        &number.to_be_bytes()[..],
        &made.0.to_be_bytes(),
        &made_index.to_be_bytes(),
        &seq.0.to_be_bytes(),
        &index.to_be_bytes(),
        author.name.as_str().as_bytes(),
    ]
    .concat()
}

pub(super) fn decode_author(id: AuthorId, bytes: &[u8]) -> Result<AuthorRow, Corrupt> {
    let mut fields = Fields::new("authors", bytes);
    let (number, made, made_index) = (fields.u16()?, Seq(fields.u64()?), fields.u16()?);
    let (seq, index) = (Seq(fields.u64()?), fields.u16()?);
    let name = std::str::from_utf8(fields.rest).map_err(|_| fields.corrupt())?;
    let author = Author { id, name: AuthorName::new(name) };
    Ok(AuthorRow { contributor: Contributor { number, author, made, seq }, made_index, index })
}

/// A value's text; nothing for no value, which is unambiguous because no JSON text is empty.
fn text(value: Option<&Value>) -> &str {
    value.map_or("", Value::as_str)
}

/// The fields of a row, read from its beginning.
struct Fields<'a> {
    table: &'static str,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn new(table: &'static str, row: &'a [u8]) -> Self {
        Self { table, rest: row }
    }

    fn corrupt(&self) -> Corrupt {
        Corrupt { table: self.table }
    }

    fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// `value`, if nothing is left of the row.
    fn end<T>(&self, value: T) -> Result<T, Corrupt> {
        if self.is_empty() { Ok(value) } else { Err(self.corrupt()) }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Corrupt> {
        let (field, rest) = self.rest.split_first_chunk().ok_or(self.corrupt())?;
        self.rest = rest;
        Ok(*field)
    }

    fn u8(&mut self) -> Result<u8, Corrupt> {
        self.take().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, Corrupt> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Corrupt> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Corrupt> {
        self.take().map(u64::from_be_bytes)
    }

    fn stamp(&mut self) -> Result<Stamp, Corrupt> {
        self.take().map(Stamp::from_bytes)
    }

    fn past_epoch(&mut self) -> Result<PastEpoch, Corrupt> {
        Ok(PastEpoch { epoch: Epoch(self.u64()?), end: Seq(self.u64()?) })
    }

    fn bringer(&mut self, flags: u8) -> Result<Option<AuthorId>, Corrupt> {
        (flags & BROUGHT_BACK != 0).then(|| self.u64().map(AuthorId)).transpose()
    }

    /// What is left: a key, a terminator and a stamp.
    fn conflict_id(&mut self) -> Result<ConflictId, Corrupt> {
        let (key, loser) = self.rest.split_last_chunk().ok_or(self.corrupt())?;
        self.rest = key.strip_suffix(&[0]).ok_or(self.corrupt())?;
        Ok(ConflictId { key: self.rest_key()?, loser: Stamp::from_bytes(*loser) })
    }

    fn rest_key(&self) -> Result<Key, Corrupt> {
        std::str::from_utf8(self.rest).ok().and_then(|key| Key::parse(key).ok()).ok_or(self.corrupt())
    }

    fn rest_value(&self) -> Result<Option<Value>, Corrupt> {
        self.value(self.rest)
    }

    fn value(&self, bytes: &[u8]) -> Result<Option<Value>, Corrupt> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let value = std::str::from_utf8(bytes).ok().and_then(|value| Value::from_peer(value).ok());
        value.map(Some).ok_or(self.corrupt())
    }
}
