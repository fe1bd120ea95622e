//! The Delta: changes of a dictionary, and how they are packed into frames.
//!
//! What is no entry carries its kind, so that new kinds can come. A reader skips a change of a kind that it does not know. So a
//! kind that a reader must not miss needs a new version in Hello.
//!
//! Entries name their authors by number. Who is new comes before the first change that names them, since that was written before.

use minicbor::{Decode, Decoder, Encode, Encoder, data::Type, decode, encode};

use super::WireError;
use crate::{
    Author, AuthorId, AuthorName, AuthorNumbers, Authors, Conflict, Contributor, Entry, Key, Resolution, Seq, Side,
    Stamp, Value, Winner, WrongNumber, cbor_array, limits::AUTHOR_BYTES_MAX, mutants::mutant,
};

/// A change of a dictionary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A key's new state.
    Entry(Key, Entry),
    /// Who has brought the entry of a key back, which somebody else had written, in the same batch. It follows the entry.
    BroughtBack(Key, Seq, AuthorId),
    /// A conflict row's new state.
    Conflict(Conflict),
    /// An author's state. It was new at this seq, or its name changed there.
    Author(Seq, Contributor),
}

impl Change {
    /// The batch that made it.
    pub fn seq(&self) -> Seq {
        match self {
            Self::Entry(_, entry) => entry.seq,
            Self::BroughtBack(_, at, _) => *at,
            Self::Conflict(conflict) => conflict.seq,
            Self::Author(at, _) => *at,
        }
    }

    /// The authors that it names by their numbers.
    pub fn authors(&self) -> impl Iterator<Item = AuthorId> + use<> {
        let (first, second) = match self {
            Self::Entry(_, entry) => (Some(entry.author), None),
            Self::BroughtBack(_, _, by) => (Some(*by), None),
            Self::Conflict(conflict) => (Some(conflict.winner.author), Some(conflict.loser.author)),
            Self::Author(..) => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// At least the bytes that it takes in a frame, and not much more.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Entry(key, entry) => {
                key.as_str().len() + entry.value.as_ref().map_or(0, |value| value.as_str().len()) + 48
            }
            Self::BroughtBack(key, ..) => key.as_str().len() + 24,
            Self::Conflict(conflict) => conflict.bytes(),
            Self::Author(..) => AUTHOR_BYTES_MAX + 40,
        }
    }
}

/// What changed up to `to`, each entry, row and author in its newest state. Everyone gets the same bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// The cursor after it.
    pub to: Seq,
    /// `to` less the cursor that it continues. Zero in the middle of a batch that fills several frames.
    pub advance: u64,
    /// The changes, by rising seq.
    pub changes: WireChanges,
    /// Whether another Delta follows at once; until it has come, the client's state is that of no single moment. None is no.
    pub more: Option<bool>,
}

/// A change in a Delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireChange {
    /// A key's new state. It has no kind.
    Entry(WireEntry),
    /// Kind 1: a conflict row's new state.
    Conflict(WireConflict),
    /// Kind 2: an author's state.
    Author(Contributor),
    /// Kind 3: who has brought an entry back.
    BroughtBack(WireBringer),
}

/// The changes of a Delta: entries, which begin with their keys, and pairs of a kind and a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireChanges(pub Vec<WireChange>);

impl Encode<()> for WireChanges {
    fn encode<W: encode::Write>(
        &self,
        encoder: &mut Encoder<W>,
        context: &mut (),
    ) -> Result<(), encode::Error<W::Error>> {
        encoder.array(self.0.len() as u64)?;
        for change in &self.0 {
            match change {
                WireChange::Entry(entry) => entry.encode(encoder, context)?,
                WireChange::Conflict(conflict) => conflict.encode(encoder.array(2)?.u32(1)?, context)?,
                WireChange::Author(author) => author.encode(encoder.array(2)?.u32(2)?, context)?,
                WireChange::BroughtBack(bringer) => bringer.encode(encoder.array(2)?.u32(3)?, context)?,
            }
        }
        Ok(())
    }
}

impl<'b> Decode<'b, ()> for WireChanges {
    fn decode(decoder: &mut Decoder<'b>, _: &mut ()) -> Result<Self, decode::Error> {
        let count = decoder.array()?.ok_or_else(|| decode::Error::message("an array without its length"))?;
        let mut changes = Vec::new();
        for _ in 0..count {
            changes.extend(read_change(decoder)?);
        }
        Ok(Self(changes))
    }
}

/// None for a change of an unknown kind.
fn read_change(decoder: &mut Decoder<'_>) -> Result<Option<WireChange>, decode::Error> {
    let mut ahead = decoder.clone();
    let elements = ahead.array()?.ok_or_else(|| decode::Error::message("an array without its length"))?;
    if elements > 0 && ahead.datatype()? == Type::String {
        return Ok(Some(WireChange::Entry(decoder.decode()?)));
    }
    let kind = ahead.u32()?;
    let known = match kind {
        1 => Some(WireChange::Conflict(ahead.decode()?)),
        2 => Some(WireChange::Author(ahead.decode()?)),
        3 => Some(WireChange::BroughtBack(ahead.decode()?)),
        _ => None,
    };
    decoder.skip()?;
    Ok(known)
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
    /// The number of who wrote it.
    pub author: u16,
    /// The Delta's `to` less the batch that brought it: below zero in the middle of a batch that fills several frames. None is zero.
    pub back: Option<i64>,
}

cbor_array!(WireEntry { key, value, stamp, author, back });

/// Who has brought an entry back, in a Delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireBringer {
    /// The entry's key.
    pub key: Key,
    /// The number of who did.
    pub by: u16,
    /// As of the entry.
    pub back: Option<i64>,
}

cbor_array!(WireBringer { key, by, back });

/// A conflict row in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireConflict {
    /// The key that both wrote.
    pub key: Key,
    /// The value that did not stay; none for a remove, and in a row that is closed.
    pub value: Option<Value>,
    /// When and by which replica that was written. With the key it is the row's name.
    pub loser: Stamp,
    /// By whom: the author's number, or in a frame of a client a position among its authors.
    pub loser_author: u32,
    /// The write that stayed.
    pub winner: Stamp,
    /// By whom, likewise.
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
    pub fn pack(
        changes: &[Change],
        prev: Seq,
        to: Seq,
        more: bool,
        numbers: &AuthorNumbers,
        frame_bytes: usize,
    ) -> Vec<Delta> {
        let mut frames = Vec::new();
        let mut prev = prev;
        let mut rest = changes;
        loop {
            let mut bytes = 64;
            let fits = |change: &&Change| {
                bytes += change.bytes();
                bytes <= frame_bytes
            };
            let mut count = rest.iter().take_while(fits).count().max(1).min(rest.len());
            if mutant!("each change has a frame of its own") {
                count = rest.len().min(1);
            }
            let (rows, tail) = rest.split_at(count);
            let frame_to = match (rows.last(), tail.first()) {
                (_, None) => to,
                (Some(last), Some(next)) if last.seq() < next.seq() => last.seq(),
                // In the middle of a batch: back to the one before it.
                (_, Some(next)) => rows.iter().rev().map(Change::seq).find(|&seq| seq < next.seq()).unwrap_or(prev),
            };
            let more = more || !tail.is_empty();
            frames.push(Delta::new(rows, prev, frame_to, more, numbers));
            prev = frame_to;
            rest = tail;
            if rest.is_empty() {
                return frames;
            }
        }
    }

    fn new(changes: &[Change], prev: Seq, to: Seq, more: bool, numbers: &AuthorNumbers) -> Self {
        let number = |id| numbers.get(id).unwrap_or(0);
        let back = |seq: Seq| Some(to.0.wrapping_sub(seq.0) as i64).filter(|back| *back != 0);
        let changes = changes.iter().map(|change| match change {
            Change::Entry(key, entry) => WireChange::Entry(WireEntry {
                key: key.clone(),
                value: entry.value.clone(),
                stamp: entry.stamp,
                author: number(entry.author),
                back: back(entry.seq),
            }),
            Change::BroughtBack(key, seq, by) => {
                WireChange::BroughtBack(WireBringer { key: key.clone(), by: number(*by), back: back(*seq) })
            }
            Change::Conflict(conflict) => {
                WireChange::Conflict(WireConflict::new(conflict, &mut |id| number(id).into()))
            }
            Change::Author(_, author) => WireChange::Author(author.clone()),
        });
        let changes = WireChanges(changes.collect());
        Delta { to, advance: to.0 - prev.0, changes, more: more.then_some(true) }
    }

    /// The cursor that it continues; none if there is no such cursor.
    pub fn prev(&self) -> Option<Seq> {
        self.to.0.checked_sub(self.advance).map(Seq)
    }

    /// Whether another Delta follows at once.
    pub fn has_more(&self) -> bool {
        self.more == Some(true)
    }

    /// The entries among the changes.
    pub fn entries(&self) -> impl Iterator<Item = &WireEntry> {
        self.changes.0.iter().filter_map(|change| match change {
            WireChange::Entry(entry) => Some(entry),
            _ => None,
        })
    }

    /// The conflict rows among the changes.
    pub fn conflicts(&self) -> impl Iterator<Item = &WireConflict> {
        self.changes.0.iter().filter_map(|change| match change {
            WireChange::Conflict(conflict) => Some(conflict),
            _ => None,
        })
    }

    /// The changes, with their authors by id. Those who are new or have another name are set in `authors`.
    ///
    /// # Errors
    /// When a change names an author that is not known, or an author has a wrong number.
    pub fn into_changes(self, authors: &mut Authors) -> Result<Vec<Change>, WireError> {
        let to = self.to;
        let seq = |back: Option<i64>| Seq(to.0.wrapping_sub(back.unwrap_or(0) as u64));
        let change = |change| match change {
            WireChange::Entry(WireEntry { key, value, stamp, author, back }) => {
                let author = known(authors.id(author))?;
                Ok(Change::Entry(key, Entry { value, stamp, seq: seq(back), author }))
            }
            WireChange::BroughtBack(WireBringer { key, by, back }) => {
                Ok(Change::BroughtBack(key, seq(back), known(authors.id(by))?))
            }
            WireChange::Conflict(conflict) => Ok(Change::Conflict(conflict.with_numbers(authors)?)),
            WireChange::Author(author) => {
                authors.set(author.clone())?;
                Ok(Change::Author(author.seq, author))
            }
        };
        self.changes.0.into_iter().map(change).collect()
    }
}

impl WireConflict {
    /// A conflict row with the numbers of its authors.
    pub fn new(conflict: &Conflict, number: &mut dyn FnMut(AuthorId) -> u32) -> Self {
        let Conflict { key, loser, winner, seq, resolution } = conflict;
        Self {
            key: key.clone(),
            value: loser.value.clone(),
            loser: loser.stamp,
            loser_author: number(loser.author),
            winner: winner.stamp,
            winner_author: number(winner.author),
            seq: *seq,
            resolution: *resolution,
        }
    }

    /// The conflict row, by the numbers of a dictionary's authors.
    ///
    /// # Errors
    /// When it names an author that is not known.
    pub fn with_numbers(self, authors: &Authors) -> Result<Conflict, WireError> {
        self.into_conflict(&|number| authors.id(u16::try_from(number).ok()?))
    }

    /// The conflict row, by the positions of its authors among `authors`.
    ///
    /// # Errors
    /// When it names an author that is not there.
    pub fn with_positions(self, authors: &[Author]) -> Result<Conflict, WireError> {
        self.into_conflict(&|position| authors.get(position as usize).map(|author| author.id))
    }

    fn into_conflict(self, author: &dyn Fn(u32) -> Option<AuthorId>) -> Result<Conflict, WireError> {
        let Self { key, value, loser, loser_author, winner, winner_author, seq, resolution } = self;
        let loser = Side { value, stamp: loser, author: known(author(loser_author))? };
        let winner = Winner { stamp: winner, author: known(author(winner_author))? };
        Ok(Conflict { key, loser, winner, seq, resolution })
    }
}

pub(super) fn known(author: Option<AuthorId>) -> Result<AuthorId, WireError> {
    author.ok_or_else(|| decode::Error::message("no such author").into())
}

impl From<WrongNumber> for WireError {
    fn from(_: WrongNumber) -> Self {
        decode::Error::message("an author has a wrong number").into()
    }
}

/// The authors of a client's frame while it is written: each once, by position.
#[derive(Debug, Default)]
pub struct AuthorTable {
    positions: Positions,
    authors: Vec<Author>,
}

impl AuthorTable {
    /// The position of an author, who is added by the first call.
    pub fn position(&mut self, id: AuthorId, name: &dyn Fn(AuthorId) -> AuthorName) -> u32 {
        let (position, is_new) = self.positions.of(id.0);
        if is_new {
            self.authors.push(Author { id, name: name(id) });
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
