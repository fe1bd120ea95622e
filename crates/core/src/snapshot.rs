//! The snapshot: a whole dictionary of one moment, for a replica that has nothing or is too far behind.
//!
//! It travels over HTTP as a CBOR sequence (RFC 8742): a header, then chunks, then the end. A chunk holds its entries in
//! columns, because equal things side by side compress: keys front-coded (each says how much of the one before it repeats),
//! times and seqs as differences, replicas and authors by position in tables. docs/protocol.md has the layout.
//!
//! Entries are in key order, tombstones included. Numbers are unsigned LEB128; differences are zigzag first.

use std::collections::HashMap;

use minicbor::{Decode, Decoder, Encode};

use crate::{
    author::{Author, Names},
    conflict::{Conflict, Conflicts},
    dictionary::Dictionary,
    digest::Digest,
    entry::{Entry, Seq},
    key::Key,
    limits::CHUNK_BYTES_MAX,
    lineage::{Epoch, Lineage, PastEpoch},
    mutants::mutant,
    stamp::{HybridTime, ReplicaId, Stamp},
    value::Value,
    wire::{AuthorTable, DictionaryId, Horizon, WireConflict, WireError, encode},
};

/// What a snapshot is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The dictionary.
    pub dictionary: DictionaryId,
    /// Its epochs.
    pub lineage: Lineage,
    /// The moment.
    pub seq: Seq,
    /// What has been purged.
    pub horizon: Horizon,
    /// The digest of the live entries.
    pub digest: Digest,
}

/// A whole dictionary of one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What it is of.
    pub header: Header,
    /// The entries.
    pub base: Dictionary,
    /// The names of their authors.
    pub names: Names,
    /// The conflict rows.
    pub conflicts: Conflicts,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct WireHeader {
    #[n(0)]
    dictionary: DictionaryId,
    #[n(1)]
    epoch: Epoch,
    #[n(2)]
    lineage: Vec<PastEpoch>,
    #[n(3)]
    seq: Seq,
    #[n(4)]
    horizon: Horizon,
    #[n(5)]
    digest: Digest,
}

/// Columns of a chunk, one number or run of bytes an entry. The one without entries is the end, and has the conflict rows.
#[derive(Debug, Default, Encode, Decode)]
#[cbor(array)]
struct Columns {
    #[n(0)]
    count: u32,
    #[n(1)]
    replicas: Vec<ReplicaId>,
    #[n(2)]
    authors: Vec<Author>,
    /// How many bytes the key shares with the one before it, how many follow, and those.
    #[cbor(n(3), with = "minicbor::bytes")]
    keys: Vec<u8>,
    /// Zero for a tombstone, or the length plus one and the text.
    #[cbor(n(4), with = "minicbor::bytes")]
    values: Vec<u8>,
    /// Milliseconds less those of the entry before.
    #[cbor(n(5), with = "minicbor::bytes")]
    times: Vec<u8>,
    #[cbor(n(6), with = "minicbor::bytes")]
    counters: Vec<u8>,
    /// Seqs less that of the entry before.
    #[cbor(n(7), with = "minicbor::bytes")]
    seqs: Vec<u8>,
    /// Positions in `replicas`.
    #[cbor(n(8), with = "minicbor::bytes")]
    replica_of: Vec<u8>,
    /// Positions in `authors`.
    #[cbor(n(9), with = "minicbor::bytes")]
    author_of: Vec<u8>,
    #[n(10)]
    conflicts: Vec<WireConflict>,
}

/// Writes a snapshot piece by piece, so that only a chunk at a time is in memory.
#[derive(Debug)]
pub struct Encoder<'a> {
    names: &'a Names,
    chunk: Chunk,
}

impl<'a> Encoder<'a> {
    /// Begins a snapshot. Returns the encoder and the first bytes.
    pub fn new(header: &Header, names: &'a Names) -> (Self, Vec<u8>) {
        let Header { dictionary, lineage, seq, horizon, digest } = header.clone();
        let header = WireHeader { dictionary, epoch: lineage.current, lineage: lineage.past, seq, horizon, digest };
        (Self { names, chunk: Chunk::default() }, encode(&header))
    }

    /// Adds the next entry in key order. Returns the bytes of the chunk that it does not fit in any more, if so.
    pub fn entry(&mut self, key: &Key, entry: &Entry) -> Option<Vec<u8>> {
        if mutant!("snapshots have no tombstones") && !entry.is_live() {
            return None;
        }
        let bytes = 64 + key.as_str().len() + entry.value.as_ref().map_or(0, |value| value.as_str().len());
        let full = self.chunk.columns.count > 0 && self.chunk.bytes + bytes > CHUNK_BYTES_MAX;
        let done = full.then(|| std::mem::take(&mut self.chunk).encode());
        self.chunk.push(key, entry, self.names);
        self.chunk.bytes += bytes;
        done
    }

    /// Ends the snapshot. Returns the last bytes.
    pub fn finish<'c>(self, conflicts: impl Iterator<Item = &'c Conflict>) -> Vec<u8> {
        let mut bytes = if self.chunk.columns.count > 0 { self.chunk.encode() } else { Vec::new() };
        let mut authors = AuthorTable::default();
        let conflicts = conflicts.map(|conflict| WireConflict::new(conflict, &mut authors, self.names)).collect();
        bytes.extend(encode(&Columns { conflicts, authors: authors.into_authors(), ..Columns::default() }));
        bytes
    }
}

impl Snapshot {
    /// Reads a snapshot.
    ///
    /// # Errors
    /// When it is not one, is cut short, or its digest is not that of its entries.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut decoder = Decoder::new(bytes);
        let WireHeader { dictionary, epoch, lineage, seq, horizon, digest } = decoder.decode()?;
        let lineage = Lineage { past: lineage, current: epoch };
        let header = Header { dictionary, lineage, seq, horizon, digest };
        let (mut entries, mut names) = (Vec::new(), Names::new());
        let mut conflicts = Conflicts::default();
        loop {
            let chunk: Columns = decoder.decode()?;
            names.extend(chunk.authors.iter().map(|author| (author.id, author.name.clone())));
            if chunk.count == 0 {
                for conflict in chunk.conflicts {
                    conflicts.set(conflict.into_conflict(&chunk.authors)?);
                }
                break;
            }
            chunk.read_into(&mut entries)?;
        }
        let base = Dictionary::from_iter(entries);
        if base.digest() != digest {
            return Err(minicbor::decode::Error::message("the digest is not that of the entries").into());
        }
        Ok(Self { header, base, names, conflicts })
    }
}

/// A chunk being written.
#[derive(Debug, Default)]
struct Chunk {
    columns: Columns,
    replicas: HashMap<ReplicaId, u32>,
    authors: AuthorTable,
    last: Option<(Key, Stamp, Seq)>,
    last_replica: u32,
    /// At most what the columns take.
    bytes: usize,
}

impl Chunk {
    fn push(&mut self, key: &Key, entry: &Entry, names: &Names) {
        let columns = &mut self.columns;
        let (stamp, text) = (entry.stamp, key.as_str().as_bytes());
        let (shared, millis, seq) = match &self.last {
            None => (0, 0, 0),
            Some((last, stamp, seq)) => (shared_bytes(last.as_str().as_bytes(), text), stamp.millis(), seq.0),
        };
        write_number(&mut columns.keys, shared as u64);
        write_number(&mut columns.keys, (text.len() - shared) as u64);
        columns.keys.extend_from_slice(&text[shared..]);
        match &entry.value {
            None => write_number(&mut columns.values, 0),
            Some(value) => {
                write_number(&mut columns.values, value.as_str().len() as u64 + 1);
                columns.values.extend_from_slice(value.as_str().as_bytes());
            }
        }
        write_number(&mut columns.times, zigzag(stamp.millis().wrapping_sub(millis)));
        write_number(&mut columns.counters, stamp.time().counter().into());
        write_number(&mut columns.seqs, zigzag(entry.seq.0.wrapping_sub(seq)));
        let replica = match &self.last {
            // Most entries are by the replica of the one before.
            Some(last) if last.1.replica() == stamp.replica() => self.last_replica,
            _ => *self.replicas.entry(stamp.replica()).or_insert_with(|| {
                columns.replicas.push(stamp.replica());
                columns.replicas.len() as u32 - 1
            }),
        };
        self.last_replica = replica;
        write_number(&mut columns.replica_of, replica.into());
        write_number(&mut columns.author_of, self.authors.position(entry.author, names).into());
        columns.count += 1;
        self.last = Some((key.clone(), stamp, entry.seq));
    }

    fn encode(self) -> Vec<u8> {
        encode(&Columns { authors: self.authors.into_authors(), ..self.columns })
    }
}

impl Columns {
    fn read_into(&self, entries: &mut Vec<(Key, Entry)>) -> Result<(), WireError> {
        let column = |bytes| Column { bytes };
        let (mut keys, mut values) = (column(&self.keys[..]), column(&self.values[..]));
        let (mut times, mut counters) = (column(&self.times[..]), column(&self.counters[..]));
        let (mut seqs, mut replicas) = (column(&self.seqs[..]), column(&self.replica_of[..]));
        let mut authors = column(&self.author_of[..]);
        let (mut text, mut millis, mut seq) = (Vec::new(), 0_u64, 0_u64);
        for _ in 0..self.count {
            text.truncate(keys.number()? as usize);
            text.extend_from_slice(keys.run()?);
            let key = Key::parse(utf8(&text)?).map_err(|error| malformed(error.to_string()))?;
            let value = match values.number()? {
                0 => None,
                length => Some(utf8(values.take(length - 1)?)?),
            };
            let value = value.map(Value::from_peer).transpose().map_err(|error| malformed(error.to_string()))?;
            millis = millis.wrapping_add(unzigzag(times.number()?));
            seq = seq.wrapping_add(unzigzag(seqs.number()?));
            let replica = self.replicas.get(replicas.number()? as usize).ok_or_else(|| malformed("no such replica"))?;
            let author = self.authors.get(authors.number()? as usize).ok_or_else(|| malformed("no such author"))?;
            let time = HybridTime::new(millis, counters.number()? as u16);
            let stamp = Stamp::new(time, value.is_some(), *replica);
            entries.push((key, Entry { value, stamp, seq: Seq(seq), author: author.id }));
        }
        Ok(())
    }
}

/// A column being read.
struct Column<'a> {
    bytes: &'a [u8],
}

impl<'a> Column<'a> {
    fn number(&mut self) -> Result<u64, WireError> {
        let mut number = 0;
        for (position, byte) in self.bytes.iter().take(10).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * position);
            if byte & 0x80 == 0 {
                self.bytes = &self.bytes[position + 1..];
                return Ok(number);
            }
        }
        Err(malformed("a number does not end"))
    }

    fn run(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.number()?;
        self.take(length)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], WireError> {
        let length = usize::try_from(length).map_err(|_| malformed("a run is too long"))?;
        let (run, rest) = self.bytes.split_at_checked(length).ok_or_else(|| malformed("a column is too short"))?;
        self.bytes = rest;
        Ok(run)
    }
}

fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn zigzag(difference: u64) -> u64 {
    (difference << 1) ^ (difference as i64 >> 63) as u64
}

fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

fn shared_bytes(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn utf8(bytes: &[u8]) -> Result<&str, WireError> {
    std::str::from_utf8(bytes).map_err(|error| malformed(error.to_string()))
}

fn malformed(message: impl std::fmt::Display) -> WireError {
    minicbor::decode::Error::message(message).into()
}
