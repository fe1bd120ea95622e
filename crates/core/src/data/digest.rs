//! The digest of a dictionary: 128 bits that two replicas compare to know that they hold the same.
//!
//! It is the sum, modulo 2^128, of a hash of each live entry (and of who has brought it back), of each open conflict row and of each author, so that one change costs one hash taken
//! out and one put in, whatever their number. It detects divergence, not tampering: sums of hashes can be forged. Tombstones and
//! closed rows are not in it, since they are purged one day.

use std::ops::{Add, Sub};

use minicbor::{Decode, Decoder, Encode, Encoder, bytes::ByteSlice, decode, encode};

use crate::{AuthorId, Conflict, Contributor, Entry, Key};

/// The sum of the hashes of what is live. The empty dictionary's is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(u128);

impl Digest {
    /// Adds an entry; a tombstone adds nothing.
    pub fn add(&mut self, key: &Key, entry: &Entry) {
        self.0 = self.0.wrapping_add(entry_hash(key, entry));
    }

    /// Takes out an entry that was added.
    pub fn subtract(&mut self, key: &Key, entry: &Entry) {
        self.0 = self.0.wrapping_sub(entry_hash(key, entry));
    }

    /// Adds a conflict row; one that is closed adds nothing.
    pub fn add_conflict(&mut self, conflict: &Conflict) {
        self.0 = self.0.wrapping_add(conflict_hash(conflict));
    }

    /// Takes out a conflict row that was added.
    pub fn subtract_conflict(&mut self, conflict: &Conflict) {
        self.0 = self.0.wrapping_sub(conflict_hash(conflict));
    }

    /// Adds who has brought an entry back; of a tombstone that adds nothing.
    pub fn add_brought_back(&mut self, key: &Key, entry: &Entry, by: AuthorId) {
        self.0 = self.0.wrapping_add(brought_back_hash(key, entry, by));
    }

    /// Takes out who has brought an entry back, which was added.
    pub fn subtract_brought_back(&mut self, key: &Key, entry: &Entry, by: AuthorId) {
        self.0 = self.0.wrapping_sub(brought_back_hash(key, entry, by));
    }

    /// Adds an author.
    pub fn add_author(&mut self, author: &Contributor) {
        self.0 = self.0.wrapping_add(author_hash(author));
    }

    /// Takes out an author that was added.
    pub fn subtract_author(&mut self, author: &Contributor) {
        self.0 = self.0.wrapping_sub(author_hash(author));
    }

    /// Big-endian.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The inverse of [`Digest::to_bytes`].
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl Add for Digest {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

impl Sub for Digest {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.wrapping_sub(other.0))
    }
}

/// The hash of: the key's length (u32, big-endian), the key, the stamp (16 bytes), the value's length (u32, big-endian), the
/// value.
fn entry_hash(key: &Key, entry: &Entry) -> u128 {
    let Some(value) = &entry.value else { return 0 };
    let (key, value) = (key.as_str().as_bytes(), value.as_str().as_bytes());
    let key_length = (key.len() as u32).to_be_bytes();
    let value_length = (value.len() as u32).to_be_bytes();
    hash([&key_length, key, &entry.stamp.to_bytes(), &value_length, value])
}

/// The hash of: 4 bytes of ones, which no entry begins with; the key's length (u32, big-endian), the key; the stamps of the loser
/// and of the winner (16 bytes each); the value's length (u32, big-endian; all ones for a remove), the value.
fn conflict_hash(conflict: &Conflict) -> u128 {
    if !conflict.is_open() {
        return 0;
    }
    let (key, value) = (conflict.key.as_str().as_bytes(), conflict.loser.value.as_ref());
    let begin = u64::from(u32::MAX) << 32 | key.len() as u64;
    let stamps = [conflict.loser.stamp.to_bytes(), conflict.winner.stamp.to_bytes()].concat();
    let value_length = value.map_or(u32::MAX, |value| value.as_str().len() as u32).to_be_bytes();
    let value = value.map_or(&b""[..], |value| value.as_str().as_bytes());
    hash([&begin.to_be_bytes(), key, &stamps, &value_length, value])
}

/// The hash of: 4 bytes 0xff 0xff 0xff 0xfd, which nothing else begins with; the key's length (u32, big-endian), the key; the stamp (16
/// bytes), the id of who has brought the entry back (8).
fn brought_back_hash(key: &Key, entry: &Entry, by: AuthorId) -> u128 {
    if !entry.is_live() {
        return 0;
    }
    let (begin, key) = ((u32::MAX - 2).to_be_bytes(), key.as_str().as_bytes());
    hash([&begin, &(key.len() as u32).to_be_bytes(), key, &entry.stamp.to_bytes(), &by.0.to_be_bytes()])
}

/// The hash of: 4 bytes 0xff 0xff 0xff 0xfe, which neither an entry nor a row begins with; the number (u16, big-endian), the id (8),
/// the name.
fn author_hash(contributor: &Contributor) -> u128 {
    let Contributor { number, author, .. } = contributor;
    let (begin, id) = ((u32::MAX - 1).to_be_bytes(), author.id.0.to_be_bytes());
    hash([&begin, &number.to_be_bytes(), &id, author.name.as_str().as_bytes(), b""])
}

/// The first 16 bytes, big-endian, of BLAKE3 over the parts.
fn hash(parts: [&[u8]; 5]) -> u128 {
    let hash = match gather(parts, &mut [0; BUFFER_BYTES]) {
        Some(message) => blake3::hash(message),
        None => parts.iter().fold(&mut blake3::Hasher::new(), |hasher, part| hasher.update(part)).finalize(),
    };
    u128::from_be_bytes(hash.as_bytes()[..16].try_into().expect("BLAKE3 has 32 bytes"))
}

/// What most entries fit in. In one piece a hash takes a quarter fewer instructions than by a hasher, which is 2 kB to set
/// up.
const BUFFER_BYTES: usize = 256;

/// Puts the parts side by side, if they fit.
fn gather<'a>(parts: [&[u8]; 5], buffer: &'a mut [u8; BUFFER_BYTES]) -> Option<&'a [u8]> {
    let mut end = 0;
    for part in parts {
        buffer.get_mut(end..end + part.len())?.copy_from_slice(part);
        end += part.len();
    }
    Some(&buffer[..end])
}

impl<C> Encode<C> for Digest {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.to_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Digest {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let bytes: &ByteSlice = d.decode_with(ctx)?;
        let bytes = <[u8; 16]>::try_from(&bytes[..]);
        bytes.map(Self::from_bytes).map_err(|_| decode::Error::message("a digest has 16 bytes").at(at))
    }
}
