//! The Delta: changes of a dictionary, and how they are packed into frames.
//!
//! Each change carries its kind, so that new kinds can come. A reader skips a change of a kind that it does not know. So a
//! kind that a reader must not miss needs a new version in Hello.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::WireError;
use crate::{
    Author, AuthorId, AuthorName, Conflict, Entry, Key, Names, Resolution, Seq, Side, Stamp, Value, Winner, cbor_array,
};

/// A change of a dictionary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A key's new state.
    Entry(Key, Entry),
    /// A conflict row's new state.
    Conflict(Conflict),
}

impl Change {
    /// The batch that made it.
    pub fn seq(&self) -> Seq {
        match self {
            Self::Entry(_, entry) => entry.seq,
            Self::Conflict(conflict) => conflict.seq,
        }
    }

    /// The authors that it names.
    pub fn authors(&self) -> impl Iterator<Item = AuthorId> + use<> {
        let (first, second) = match self {
            Self::Entry(_, entry) => (entry.author, None),
            Self::Conflict(conflict) => (conflict.winner.author, Some(conflict.loser.author)),
        };
        std::iter::once(first).chain(second)
    }

    /// At least the bytes that it takes in a frame, and not much more.
    pub fn bytes(&self) -> usize {
        let value = |value: &Option<Value>| value.as_ref().map_or(0, |v| v.as_str().len());
        let author = 96;
        match self {
            Self::Entry(key, entry) => key.as_str().len() + value(&entry.value) + 48 + author,
            Self::Conflict(conflict) => conflict.bytes() + 2 * author,
        }
    }
}

/// What changed above `prev` and up to `to`, each entry and row in its newest state. Everyone gets the same bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// The cursor that it continues.
    pub prev: Seq,
    /// The cursor after it. Equals `prev` in the middle of a batch that fills several frames.
    pub to: Seq,
    /// Whether another Delta follows at once; until it has come, the client's state is that of no single moment.
    pub more: bool,
    /// The changes, by rising seq.
    pub changes: WireChanges,
    /// The authors that the changes name by position.
    pub authors: Vec<Author>,
}

cbor_array!(Delta { prev, to, more, changes, authors });

/// A change in a Delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireChange {
    /// Kind 0: a key's new state.
    Entry(WireEntry),
    /// Kind 1: a conflict row's new state.
    Conflict(WireConflict),
}

/// The changes of a Delta. They are encoded as one array in which a kind and a body take turns: a kind costs one byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireChanges(pub Vec<WireChange>);

impl Encode<()> for WireChanges {
    fn encode<W: encode::Write>(
        &self,
        encoder: &mut Encoder<W>,
        context: &mut (),
    ) -> Result<(), encode::Error<W::Error>> {
        encoder.array(2 * self.0.len() as u64)?;
        for change in &self.0 {
            match change {
                WireChange::Entry(entry) => entry.encode(encoder.u32(0)?, context)?,
                WireChange::Conflict(conflict) => conflict.encode(encoder.u32(1)?, context)?,
            }
        }
        Ok(())
    }
}

impl<'b> Decode<'b, ()> for WireChanges {
    fn decode(decoder: &mut Decoder<'b>, _: &mut ()) -> Result<Self, decode::Error> {
        let elements = decoder.array()?.ok_or_else(|| decode::Error::message("an array without its length"))?;
        if elements % 2 == 1 {
            return Err(decode::Error::message("a kind without its change"));
        }
        let mut changes = Vec::new();
        for _ in 0..elements / 2 {
            match decoder.u32()? {
                0 => changes.push(WireChange::Entry(decoder.decode()?)),
                1 => changes.push(WireChange::Conflict(decoder.decode()?)),
                _ => decoder.skip()?,
            }
        }
        Ok(Self(changes))
    }
}

/// An entry in a Delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireEntry {
    /// The key.
    pub key: Key,
    /// The value, or none for a tombstone.
    pub value: Option<Value>,
    /// When and by which replica it was written.
    pub stamp: Stamp,
    /// The batch that brought it.
    pub seq: Seq,
    /// Position among the frame's authors.
    pub author: u32,
}

cbor_array!(WireEntry { key, value, stamp, seq, author });

/// A conflict row in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireConflict {
    /// The key that both wrote.
    pub key: Key,
    /// The value that did not stay; none for a remove, and in a row that is closed.
    pub value: Option<Value>,
    /// When and by which replica that was written. With the key it is the row's name.
    pub loser: Stamp,
    /// By whom: a position among the frame's authors.
    pub loser_author: u32,
    /// The write that stayed.
    pub winner: Stamp,
    /// By whom: a position among the frame's authors.
    pub winner_author: u32,
    /// The batch that changed the row last.
    pub seq: Seq,
    /// What has become of it.
    pub resolution: Resolution,
}

cbor_array!(WireConflict { key, value, loser, loser_author, winner, winner_author, seq, resolution });

impl Delta {
    /// Packs changes into frames of at most `frame_bytes`, or of one change that takes more. The first frame continues `prev`, the
    /// last ends at `to` and has `more` as given; all before it have it set. The changes must be by rising seq, above `prev`
    /// and up to `to`.
    ///
    /// There is at least one frame. One that ends in the middle of a batch has the end of the batch before as its `to`.
    pub fn pack(changes: &[Change], prev: Seq, to: Seq, more: bool, names: &Names, frame_bytes: usize) -> Vec<Delta> {
        let mut frames = Vec::new();
        let mut prev = prev;
        let mut rest = changes;
        loop {
            let mut bytes = 64;
            let fits = |change: &&Change| {
                bytes += change.bytes();
                bytes <= frame_bytes
            };
            let count = rest.iter().take_while(fits).count().max(1).min(rest.len());
            let (rows, tail) = rest.split_at(count);
            let frame_to = match (rows.last(), tail.first()) {
                (_, None) => to,
                (Some(last), Some(next)) if last.seq() < next.seq() => last.seq(),
                // In the middle of a batch: back to the one before it.
                (_, Some(next)) => rows.iter().rev().map(Change::seq).find(|&seq| seq < next.seq()).unwrap_or(prev),
            };
            let more = more || !tail.is_empty();
            frames.push(Delta::new(rows, prev, frame_to, more, names));
            prev = frame_to;
            rest = tail;
            if rest.is_empty() {
                return frames;
            }
        }
    }

    fn new(changes: &[Change], prev: Seq, to: Seq, more: bool, names: &Names) -> Self {
        let mut table = AuthorTable::default();
        let mut delta = Delta { prev, to, more, ..Self::default() };
        for change in changes {
            delta.changes.0.push(match change {
                Change::Entry(key, entry) => WireChange::Entry(WireEntry {
                    key: key.clone(),
                    value: entry.value.clone(),
                    stamp: entry.stamp,
                    seq: entry.seq,
                    author: table.position(entry.author, names),
                }),
                Change::Conflict(conflict) => WireChange::Conflict(WireConflict::new(conflict, &mut table, names)),
            });
        }
        delta.authors = table.into_authors();
        delta
    }

    /// The entries among the changes.
    pub fn entries(&self) -> impl Iterator<Item = &WireEntry> {
        self.changes.0.iter().filter_map(|change| match change {
            WireChange::Entry(entry) => Some(entry),
            WireChange::Conflict(_) => None,
        })
    }

    /// The conflict rows among the changes.
    pub fn conflicts(&self) -> impl Iterator<Item = &WireConflict> {
        self.changes.0.iter().filter_map(|change| match change {
            WireChange::Conflict(conflict) => Some(conflict),
            WireChange::Entry(_) => None,
        })
    }

    /// The changes, with their authors by id.
    ///
    /// # Errors
    /// When a change names an author that the frame does not have.
    pub fn into_changes(self) -> Result<Vec<Change>, WireError> {
        let authors = self.authors;
        let change = |change| match change {
            WireChange::Entry(WireEntry { key, value, stamp, seq, author }) => {
                let author = author_at(&authors, author)?;
                Ok(Change::Entry(key, Entry { value, stamp, seq, author }))
            }
            WireChange::Conflict(conflict) => Ok(Change::Conflict(conflict.into_conflict(&authors)?)),
        };
        self.changes.0.into_iter().map(change).collect()
    }
}

impl WireConflict {
    /// A conflict row with its authors by position.
    pub fn new(conflict: &Conflict, table: &mut AuthorTable, names: &Names) -> Self {
        let Conflict { key, loser, winner, seq, resolution } = conflict;
        Self {
            key: key.clone(),
            value: loser.value.clone(),
            loser: loser.stamp,
            loser_author: table.position(loser.author, names),
            winner: winner.stamp,
            winner_author: table.position(winner.author, names),
            seq: *seq,
            resolution: *resolution,
        }
    }

    /// The conflict row.
    ///
    /// # Errors
    /// When it names an author that is not among `authors`.
    pub fn into_conflict(self, authors: &[Author]) -> Result<Conflict, WireError> {
        let Self { key, value, loser, loser_author, winner, winner_author, seq, resolution } = self;
        let loser = Side { value, stamp: loser, author: author_at(authors, loser_author)? };
        let winner = Winner { stamp: winner, author: author_at(authors, winner_author)? };
        Ok(Conflict { key, loser, winner, seq, resolution })
    }
}

fn author_at(authors: &[Author], position: u32) -> Result<AuthorId, WireError> {
    let author = authors.get(position as usize);
    author.map(|author| author.id).ok_or_else(|| decode::Error::message("no such author").into())
}

/// The authors of a frame or a chunk while it is written: each once, by position.
#[derive(Debug, Default)]
pub struct AuthorTable {
    positions: Positions,
    authors: Vec<Author>,
}

impl AuthorTable {
    /// The position of an author, who is added by the first call. An author whose name is unknown gets a generated one.
    pub fn position(&mut self, id: AuthorId, names: &Names) -> u32 {
        let (position, is_new) = self.positions.of(id.0);
        if is_new {
            let name = names.get(id).cloned().unwrap_or_else(|| AuthorName::generated(id));
            self.authors.push(Author { id, name });
        }
        position
    }

    /// The authors by position.
    pub fn into_authors(self) -> Vec<Author> {
        self.authors
    }
}

/// Numbers ids in the order in which they come first. It is a sorted list, because a frame or a chunk has few ids, and most
/// rows have the same id as the row before.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    sorted: Vec<(u64, u32)>,
    last: Option<(u64, u32)>,
}

impl Positions {
    /// An id's position, and whether it is new.
    pub(crate) fn of(&mut self, id: u64) -> (u32, bool) {
        if let Some((_, position)) = self.last.filter(|(last, _)| *last == id) {
            return (position, false);
        }
        let next = self.sorted.len() as u32;
        let place = self.sorted.binary_search_by_key(&id, |(id, _)| *id);
        let position = match place {
            Ok(place) => self.sorted[place].1,
            Err(place) => {
                self.sorted.insert(place, (id, next));
                next
            }
        };
        self.last = Some((id, position));
        (position, place.is_err())
    }
}
