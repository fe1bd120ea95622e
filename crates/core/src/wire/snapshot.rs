//! The snapshot: a whole dictionary of one moment, for a replica that has nothing or is too far behind.
//!
//! It travels over HTTP as a CBOR sequence (RFC 8742): a header, then chunks, then the end. A chunk holds its entries in
//! columns, because equal things side by side compress: keys front-coded (each says how much of the one before it repeats),
//! times and seqs as differences, replicas by position in a table. docs/protocol.md has the layout.
//!
//! First come the authors, whom entries and conflict rows name by number. Entries are in key order, tombstones included. Numbers are unsigned LEB128; differences are zigzag first.

use minicbor::{Decode, Decoder, Encode, decode, encode};

use crate::{
    AuthorId, Authors, Conflict, Conflicts, Contributor, Dictionary, DictionaryId, Digest, Entry, Epoch, HybridTime,
    Key, Lineage, PastEpoch, ReplicaId, Seq, Stamp, Value, cbor_array,
    codec::check_definite,
    limits::{AUTHOR_BYTES_MAX, CHUNK_BYTES_MAX},
    mutants::mutant,
    wire::{self, Horizon, Positions, WireConflict, WireError},
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
    /// The digest of the live entries, the open conflict rows and the authors.
    pub digest: Digest,
}

/// A whole dictionary of one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What it is of.
    pub header: Header,
    /// The entries.
    pub base: Dictionary,
    /// The authors.
    pub authors: Authors,
    /// The conflict rows.
    pub conflicts: Conflicts,
}

impl Header {
    /// The header's bytes, as a snapshot begins.
    pub fn encode(&self) -> Vec<u8> {
        let Self { dictionary, lineage, seq, horizon, digest } = self.clone();
        let (epoch, lineage) = (lineage.current, lineage.past);
        wire::encode(&WireHeader { dictionary, epoch, lineage, seq, horizon, digest, prefix: None })
    }

    /// Reads a header.
    ///
    /// # Errors
    /// When it is not one.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        check_definite(bytes)?;
        Self::read(&mut Decoder::new(bytes))
    }

    fn read(decoder: &mut Decoder<'_>) -> Result<Self, WireError> {
        let WireHeader { dictionary, epoch, lineage, seq, horizon, digest, prefix } = decoder.decode()?;
        if prefix.is_some() {
            return Err(decode::Error::message("it is of a part of the dictionary").into());
        }
        Ok(Self { dictionary, lineage: Lineage { past: lineage, current: epoch }, seq, horizon, digest })
    }
}

struct WireHeader {
    dictionary: DictionaryId,
    epoch: Epoch,
    lineage: Vec<PastEpoch>,
    seq: Seq,
    horizon: Horizon,
    digest: Digest,
    /// Reserved for a snapshot of the keys that begin so.
    prefix: Option<String>,
}

cbor_array!(WireHeader { dictionary, epoch, lineage, seq, horizon, digest, prefix });

/// The columns of a chunk: one number or run of bytes for each entry. Before the entries come chunks of authors, after them chunks of
/// conflict rows; a chunk of none of these is the end of the snapshot.
#[derive(Debug, Default)]
struct Columns {
    count: u32,
    replicas: Vec<ReplicaId>,
    authors: Vec<Contributor>,
    /// How many bytes the key shares with the key before it, how many bytes follow, and those bytes.
    keys: Bytes,
    /// Zero for a tombstone; otherwise the length plus one, and the text.
    values: Bytes,
    /// Milliseconds less those of the entry before.
    times: Bytes,
    counters: Bytes,
    /// Seqs less that of the entry before.
    seqs: Bytes,
    /// Positions in `replicas`.
    replica_of: Bytes,
    /// Numbers of authors.
    author_of: Bytes,
    conflicts: Vec<WireConflict>,
    /// Of each entry that somebody else than its author has brought back: its position in the chunk, and the number of who did. Left out
    /// where there is none.
    brought_back: Bytes,
}

cbor_array!(Columns {
    count,
    replicas,
    authors,
    keys,
    values,
    times,
    counters,
    seqs,
    replica_of,
    author_of,
    conflicts,
    brought_back
});

/// The bytes of a column.
#[derive(Debug, Default)]
struct Bytes(Vec<u8>);

impl Encode<()> for Bytes {
    fn encode<W: encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut (),
    ) -> Result<(), encode::Error<W::Error>> {
        encoder.bytes(&self.0)?.ok()
    }

    /// At the end of a chunk an empty one is left out.
    fn is_nil(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'b> Decode<'b, ()> for Bytes {
    fn decode(decoder: &mut Decoder<'b>, _: &mut ()) -> Result<Self, decode::Error> {
        Ok(Self(decoder.bytes()?.to_vec()))
    }

    fn nil() -> Option<Self> {
        Some(Self::default())
    }
}

/// Writes a snapshot piece by piece, so that only a chunk at a time is in memory.
#[derive(Debug)]
pub struct Encoder<'a> {
    authors: &'a Authors,
    chunk: Chunk,
}

impl<'a> Encoder<'a> {
    /// Begins a snapshot. Returns the encoder and the first bytes, which have all authors.
    pub fn new(header: &Header, authors: &'a Authors) -> (Self, Vec<u8>) {
        let (mut encoder, mut bytes) = (Self { authors, chunk: Chunk::default() }, header.encode());
        for author in authors.iter() {
            bytes.extend(encoder.make_room(AUTHOR_BYTES_MAX + 40));
            encoder.chunk.columns.authors.push(author.clone());
        }
        bytes.extend(encoder.end_chunk());
        (encoder, bytes)
    }

    /// Adds the next entry in key order, and who has brought it back, if somebody else than its author did. If it does not fit into the open chunk, that chunk ends, and its bytes are returned.
    pub fn entry(&mut self, key: &Key, entry: &Entry, brought_back_by: Option<AuthorId>) -> Option<Vec<u8>> {
        if mutant!("snapshots have no tombstones") && !entry.is_live() {
            return None;
        }
        let bytes = 64 + key.as_str().len() + entry.value.as_ref().map_or(0, |value| value.as_str().len());
        let done = self.make_room(bytes);
        if let Some(by) = brought_back_by {
            write_number(&mut self.chunk.columns.brought_back.0, self.chunk.columns.count.into());
            write_number(&mut self.chunk.columns.brought_back.0, self.authors.number(by).into());
        }
        self.chunk.push(key, entry, self.authors.number(entry.author));
        Some(done).filter(|done| !done.is_empty())
    }

    /// Ends the snapshot. Returns the last bytes.
    pub fn finish<'c>(mut self, conflicts: impl Iterator<Item = &'c Conflict>) -> Vec<u8> {
        let mut bytes = self.end_chunk();
        for conflict in conflicts {
            bytes.extend(self.make_room(conflict.bytes()));
            let row = WireConflict::new(conflict, &mut |id| self.authors.number(id).into());
            self.chunk.columns.conflicts.push(row);
        }
        bytes.extend(self.end_chunk());
        bytes.extend(Chunk::default().encode());
        bytes
    }

    /// Makes room for so many bytes. If they do not fit into the open chunk, that ends, and its bytes are returned.
    fn make_room(&mut self, bytes: usize) -> Vec<u8> {
        let done = if self.chunk.bytes + bytes > CHUNK_BYTES_MAX { self.end_chunk() } else { Vec::new() };
        self.chunk.bytes += bytes;
        done
    }

    /// The bytes of the open chunk; of an empty one there are none.
    fn end_chunk(&mut self) -> Vec<u8> {
        if self.chunk.bytes == 0 { Vec::new() } else { std::mem::take(&mut self.chunk).encode() }
    }
}

/// A snapshot of what is in memory: its entries in key order, with who has brought them back. O(entries).
pub fn encode_all<'a>(
    header: &Header,
    authors: &Authors,
    entries: impl Iterator<Item = (&'a Key, &'a Entry, Option<AuthorId>)>,
    conflicts: impl Iterator<Item = &'a Conflict>,
) -> Vec<u8> {
    let (mut encoder, mut bytes) = Encoder::new(header, authors);
    for (key, entry, brought_back_by) in entries {
        bytes.extend(encoder.entry(key, entry, brought_back_by).unwrap_or_default());
    }
    bytes.extend(encoder.finish(conflicts));
    bytes
}

impl Snapshot {
    /// Reads a snapshot.
    ///
    /// # Errors
    /// When it is not one, is cut short, or its digest is not that of its rows.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        check_definite(bytes)?;
        let mut decoder = Decoder::new(bytes);
        let header = Header::read(&mut decoder)?;
        let (mut entries, mut brought_back, mut authors) = (Vec::new(), Vec::new(), Authors::default());
        let mut conflicts = Conflicts::default();
        loop {
            let chunk: Columns = decoder.decode()?;
            if chunk.count == 0 && chunk.authors.is_empty() && chunk.conflicts.is_empty() {
                break;
            }
            let first = entries.len();
            chunk.read_into(&authors, &mut entries)?;
            chunk.read_brought_back(&authors, &entries[first..], &mut brought_back)?;
            for conflict in chunk.conflicts {
                conflicts.set(conflict.with_numbers(&authors)?);
            }
            for author in chunk.authors {
                authors.set(author)?;
            }
        }
        let mut base = Dictionary::from_iter(entries);
        brought_back.into_iter().for_each(|(key, by)| base.bring_back(&key, by));
        if base.digest() + conflicts.digest() + authors.digest() != header.digest {
            return Err(decode::Error::message("the digest is not that of the rows").into());
        }
        Ok(Self { header, base, authors, conflicts })
    }
}

/// A chunk being written.
#[derive(Debug, Default)]
struct Chunk {
    columns: Columns,
    replicas: Positions,
    last: Option<(Key, Stamp, Seq)>,
    /// At least the bytes that the columns take.
    bytes: usize,
}

impl Chunk {
    fn push(&mut self, key: &Key, entry: &Entry, author: u16) {
        let columns = &mut self.columns;
        let (stamp, text) = (entry.stamp, key.as_str().as_bytes());
        let (shared, millis, seq) = match &self.last {
            None => (0, 0, 0),
            Some((last, stamp, seq)) => (shared_bytes(last.as_str().as_bytes(), text), stamp.millis(), seq.0),
        };
        write_number(&mut columns.keys.0, shared as u64);
        write_number(&mut columns.keys.0, (text.len() - shared) as u64);
        columns.keys.0.extend_from_slice(&text[shared..]);
        match &entry.value {
            None => write_number(&mut columns.values.0, 0),
            Some(value) => {
                write_number(&mut columns.values.0, value.as_str().len() as u64 + 1);
                columns.values.0.extend_from_slice(value.as_str().as_bytes());
            }
        }
        write_number(&mut columns.times.0, zigzag(stamp.millis().wrapping_sub(millis)));
        write_number(&mut columns.counters.0, stamp.time().counter().into());
        write_number(&mut columns.seqs.0, zigzag(entry.seq.0.wrapping_sub(seq)));
        let (replica, is_new) = self.replicas.of(stamp.replica().0);
        if is_new {
            columns.replicas.push(stamp.replica());
        }
        write_number(&mut columns.replica_of.0, replica.into());
        write_number(&mut columns.author_of.0, author.into());
        columns.count += 1;
        self.last = Some((key.clone(), stamp, entry.seq));
    }

    fn encode(self) -> Vec<u8> {
        wire::encode(&self.columns)
    }
}

impl Columns {
    fn read_into(&self, known: &Authors, entries: &mut Vec<(Key, Entry)>) -> Result<(), WireError> {
        let column = |bytes| Column { bytes };
        let (mut keys, mut values) = (column(&self.keys.0[..]), column(&self.values.0[..]));
        let (mut times, mut counters) = (column(&self.times.0[..]), column(&self.counters.0[..]));
        let (mut seqs, mut replicas) = (column(&self.seqs.0[..]), column(&self.replica_of.0[..]));
        let mut authors = column(&self.author_of.0[..]);
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
            let author = authors.author(known)?;
            let time = HybridTime::new(millis, counters.number()? as u16);
            let stamp = Stamp::new(time, value.is_some(), *replica);
            entries.push((key, Entry { value, stamp, seq: Seq(seq), author }));
        }
        Ok(())
    }

    fn read_brought_back(
        &self,
        known: &Authors,
        entries: &[(Key, Entry)],
        brought_back: &mut Vec<(Key, AuthorId)>,
    ) -> Result<(), WireError> {
        let mut column = Column { bytes: &self.brought_back.0 };
        while !column.bytes.is_empty() {
            let (key, _) = entries.get(column.number()? as usize).ok_or_else(|| malformed("no such entry"))?;
            brought_back.push((key.clone(), column.author(known)?));
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

    /// An author by the number.
    fn author(&mut self, known: &Authors) -> Result<AuthorId, WireError> {
        let author = u16::try_from(self.number()?).ok().and_then(|number| known.id(number));
        author.ok_or_else(|| malformed("no such author"))
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
    decode::Error::message(message).into()
}
