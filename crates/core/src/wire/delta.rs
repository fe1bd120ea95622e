//! The Delta: changes of a dictionary, and how they are packed into frames.

use super::WireError;
use crate::{
    Author, AuthorId, AuthorName, Conflict, ConflictId, Entry, Key, Names, Resolution, Seq, Side, Stamp, Value,
    cbor_array,
};

/// A change of a dictionary: an entry or a conflict row, as the rows of a Delta are made of.
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

    /// About what it takes in a frame, never less.
    pub fn bytes(&self) -> usize {
        let value = |value: &Option<Value>| value.as_ref().map_or(0, |v| v.as_str().len());
        let author = 96;
        match self {
            Self::Entry(key, entry) => key.as_str().len() + value(&entry.value) + 48 + author,
            Self::Conflict(c) => {
                c.key.as_str().len() + value(&c.winner.value) + value(&c.loser.value) + 2 * author + 112
            }
        }
    }
}

/// The state of what changed in `prev..=to`, the same bytes for everyone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// The cursor that it continues.
    pub prev: Seq,
    /// The cursor after it. Equals `prev` in the middle of a batch that fills several frames.
    pub to: Seq,
    /// Whether another follows at once; until then the client's state is of no single moment.
    pub more: bool,
    /// Entries, by rising seq.
    pub entries: Vec<WireEntry>,
    /// The authors that the rows name by position.
    pub authors: Vec<Author>,
    /// Conflict rows, by rising seq.
    pub conflicts: Vec<WireConflict>,
}

cbor_array!(Delta { prev, to, more, entries, authors, conflicts });

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

/// A side of a conflict in a Delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireSide {
    /// The value, or none for a remove.
    pub value: Option<Value>,
    /// When and by which replica it was written.
    pub stamp: Stamp,
    /// Position among the frame's authors.
    pub author: u32,
}

cbor_array!(WireSide { value, stamp, author });

/// A conflict row in a Delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireConflict {
    /// Its name.
    pub id: ConflictId,
    /// The batch that changed it last.
    pub seq: Seq,
    /// The key that both wrote.
    pub key: Key,
    /// What stayed.
    pub winner: WireSide,
    /// What did not.
    pub loser: WireSide,
    /// What has become of it.
    pub resolution: Resolution,
}

cbor_array!(WireConflict { id, seq, key, winner, loser, resolution });

impl Delta {
    /// Packs changes into frames of at most `frame_bytes`, the first continuing `prev`, the last ending at `to`; `more` is
    /// of the last, all before it have it set. The changes are by rising seq, above `prev` and up to `to`.
    ///
    /// At least one frame. A frame that ends within a batch has the end of the batch before as its `to`.
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
            match change {
                Change::Entry(key, entry) => delta.entries.push(WireEntry {
                    key: key.clone(),
                    value: entry.value.clone(),
                    stamp: entry.stamp,
                    seq: entry.seq,
                    author: table.position(entry.author, names),
                }),
                Change::Conflict(conflict) => delta.conflicts.push(WireConflict::new(conflict, &mut table, names)),
            }
        }
        delta.authors = table.into_authors();
        delta
    }

    /// The rows as changes.
    ///
    /// # Errors
    /// When a row names an author that the frame does not have.
    pub fn into_changes(self) -> Result<Vec<Change>, WireError> {
        let authors = self.authors;
        let entries = self.entries.into_iter().map(|row| {
            let author = author_at(&authors, row.author)?;
            Ok(Change::Entry(row.key, Entry { value: row.value, stamp: row.stamp, seq: row.seq, author }))
        });
        let conflicts = self.conflicts.into_iter().map(|row| Ok(Change::Conflict(row.into_conflict(&authors)?)));
        entries.chain(conflicts).collect()
    }
}

impl WireConflict {
    /// A conflict row with its authors by position.
    pub fn new(conflict: &Conflict, table: &mut AuthorTable, names: &Names) -> Self {
        let mut side = |side: &Side| WireSide {
            value: side.value.clone(),
            stamp: side.stamp,
            author: table.position(side.author, names),
        };
        Self {
            id: conflict.id,
            seq: conflict.seq,
            key: conflict.key.clone(),
            winner: side(&conflict.winner),
            loser: side(&conflict.loser),
            resolution: conflict.resolution,
        }
    }

    /// The conflict row.
    ///
    /// # Errors
    /// When it names an author that is not among `authors`.
    pub fn into_conflict(self, authors: &[Author]) -> Result<Conflict, WireError> {
        let side = |side: WireSide| -> Result<Side, WireError> {
            Ok(Side { value: side.value, stamp: side.stamp, author: author_at(authors, side.author)? })
        };
        let (winner, loser) = (side(self.winner)?, side(self.loser)?);
        Ok(Conflict { id: self.id, seq: self.seq, key: self.key, winner, loser, resolution: self.resolution })
    }
}

fn author_at(authors: &[Author], position: u32) -> Result<AuthorId, WireError> {
    let author = authors.get(position as usize);
    author.map(|author| author.id).ok_or_else(|| minicbor::decode::Error::message("no such author").into())
}

/// The authors of a frame or a chunk while it is written: each once, by position.
#[derive(Debug, Default)]
pub struct AuthorTable {
    positions: Positions,
    authors: Vec<Author>,
}

impl AuthorTable {
    /// The position of an author, who is added at the first call; one whose name is unknown is called by a generated one.
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

/// Ids by the order in which they came first. A sorted list: there are few in a frame or a chunk, and most rows are of the
/// one before.
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
