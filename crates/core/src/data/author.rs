//! Who wrote: the id of a browser profile's or a command line's secret, and the name that its person chose.

use std::{fmt, sync::Arc};

use minicbor::{Decode, Decoder, Encode, Encoder, bytes::ByteSlice, decode, encode};

use crate::{
    Digest, Seq, cbor_array,
    limits::{AUTHOR_BYTES_MAX, AUTHORS_MAX},
};

/// An author's id: the hash of a secret, which stays while the name changes. See [`Secret`](crate::Secret).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorId(pub u64);

impl AuthorId {
    /// Who has no number in a dictionary, because there are too many authors: nobody's own id.
    pub const SOMEBODY: Self = Self(0);
}

impl<C> Encode<C> for AuthorId {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.0.to_be_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for AuthorId {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let bytes: &ByteSlice = d.decode_with(ctx)?;
        let bytes = <[u8; 8]>::try_from(&bytes[..]);
        bytes
            .map(|b| Self(u64::from_be_bytes(b)))
            .map_err(|_| decode::Error::message("an author's id has 8 bytes").at(at))
    }
}

/// An author's name: 1 to 64 bytes without control characters. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorName(Arc<str>);

impl AuthorName {
    /// Makes a name of any text: control characters go, what is over the limit is cut at a character, and an empty rest
    /// becomes `?`. A name is decoration, so no edit is refused for it.
    pub fn new(text: &str) -> Self {
        // Nearly every one is a name already, and each frame brings some.
        let fits = (1..=AUTHOR_BYTES_MAX).contains(&text.len());
        if fits && text.trim().len() == text.len() && !text.contains(char::is_control) {
            return Self(text.into());
        }
        let mut name = String::new();
        for c in text.chars().filter(|c| !c.is_control()) {
            if name.len() + c.len_utf8() > AUTHOR_BYTES_MAX {
                break;
            }
            name.push(c);
        }
        Self(if name.trim().is_empty() { "?".into() } else { name.trim().into() })
    }

    /// The readable name of somebody who has not chosen one, always the same for an id: an adjective and a bird.
    pub fn generated(id: AuthorId) -> Self {
        const ADJECTIVES: [&str; 16] = [
            "Amber", "Brisk", "Calm", "Clever", "Coral", "Early", "Gentle", "Golden", "Keen", "Lucky", "Mellow",
            "Nimble", "Quiet", "Silver", "Sunny", "Swift",
        ];
        const BIRDS: [&str; 16] = [
            "Avocet", "Bunting", "Crane", "Dunlin", "Egret", "Finch", "Gannet", "Heron", "Ibis", "Jay", "Kestrel",
            "Linnet", "Magpie", "Nuthatch", "Osprey", "Plover",
        ];
        if id == AuthorId::SOMEBODY {
            return Self("Somebody".into());
        }
        let (adjective, bird) = (ADJECTIVES[(id.0 % 16) as usize], BIRDS[(id.0 / 16 % 16) as usize]);
        Self(format!("{adjective} {bird}").into())
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AuthorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<C> Encode<C> for AuthorName {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for AuthorName {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        Ok(Self::new(d.str()?))
    }
}

/// An author as it travels: id and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// Stays.
    pub id: AuthorId,
    /// May change.
    pub name: AuthorName,
}

cbor_array!(Author { id, name });

/// An author of a dictionary. Each has a number there, which entries name instead of the id: they are given in turn from 1 on, and
/// stay. A name is the author's own, dictionary by dictionary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contributor {
    /// From 1 to [`AUTHORS_MAX`].
    pub number: u16,
    /// The id stays, the name may change.
    pub author: Author,
    /// The batch of the author's first write here.
    pub made: Seq,
    /// The batch that changed the name last; of the first name the same.
    pub seq: Seq,
}

cbor_array!(Contributor { number, author, made, seq });

/// A contributor does not follow those that are known, or has another's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongNumber;

/// The authors of a dictionary, with their digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authors {
    /// The one at position n has the number n + 1.
    rows: Vec<Contributor>,
    /// Positions, in the order of the ids.
    by_id: Vec<u16>,
    digest: Digest,
}

impl Authors {
    /// Sets the name of an author that is known, or adds the next one. O(n) for one who is new.
    ///
    /// # Errors
    /// When the number is not that of the author, nor the next.
    pub fn set(&mut self, row: Contributor) -> Result<(), WrongNumber> {
        let position = usize::from(row.number.checked_sub(1).ok_or(WrongNumber)?);
        match self.find(row.author.id) {
            Ok(place) if usize::from(self.by_id[place]) == position => {
                self.digest.subtract_author(&self.rows[position]);
                self.digest.add_author(&row);
                self.rows[position] = row;
            }
            Err(place) if self.rows.len() == position && row.number <= AUTHORS_MAX => {
                self.digest.add_author(&row);
                self.by_id.insert(place, position as u16);
                self.rows.push(row);
            }
            Ok(_) | Err(_) => return Err(WrongNumber),
        }
        Ok(())
    }

    /// An author by the id. O(log n).
    pub fn get(&self, id: AuthorId) -> Option<&Contributor> {
        self.find(id).ok().map(|place| &self.rows[usize::from(self.by_id[place])])
    }

    /// The number of an author; 0 for one who has none. O(log n).
    pub fn number(&self, id: AuthorId) -> u16 {
        self.get(id).map_or(0, |row| row.number)
    }

    /// Whose number this is; none if it was not given.
    pub fn id(&self, number: u16) -> Option<AuthorId> {
        match number.checked_sub(1) {
            None => Some(AuthorId::SOMEBODY),
            Some(position) => self.rows.get(usize::from(position)).map(|row| row.author.id),
        }
    }

    /// Takes out those that were new above `fork`. O(n).
    pub fn take_above(&mut self, fork: Seq) -> Vec<Contributor> {
        let kept = self.rows.partition_point(|row| row.made <= fork);
        let above = self.rows.split_off(kept);
        self.by_id.retain(|&position| usize::from(position) < kept);
        above.iter().for_each(|row| self.digest.subtract_author(row));
        above
    }

    /// All, by their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Contributor> {
        self.rows.iter()
    }

    /// The sum of their hashes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    fn find(&self, id: AuthorId) -> Result<usize, usize> {
        self.by_id.binary_search_by_key(&id, |&position| self.rows[usize::from(position)].author.id)
    }
}

/// The numbers of the authors in some changes, by their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorNumbers(Vec<(AuthorId, u16)>);

impl AuthorNumbers {
    /// The number of an author; none if it is not here. O(log n).
    pub fn get(&self, id: AuthorId) -> Option<u16> {
        self.find(id).ok().map(|place| self.0[place].1)
    }

    /// Adds an author.
    pub fn insert(&mut self, id: AuthorId, number: u16) {
        if let Err(place) = self.find(id) {
            self.0.insert(place, (id, number));
        }
    }

    fn find(&self, id: AuthorId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |(id, _)| *id)
    }
}

impl From<&Authors> for AuthorNumbers {
    fn from(authors: &Authors) -> Self {
        let id = |&position: &u16| authors.rows[usize::from(position)].author.id;
        Self(authors.by_id.iter().map(|position| (id(position), position + 1)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_makes_a_name() {
        let check = |text: &str, name: &str| assert_eq!(AuthorName::new(text).as_str(), name);
        check("Ada", "Ada");
        check(" A\u{0}d\na ", "Ada");
        check("\n", "?");
        check(&"é".repeat(40), &"é".repeat(32));
    }

    fn contributor(number: u16, id: u64, name: &str) -> Contributor {
        let author = Author { id: AuthorId(id), name: AuthorName::new(name) };
        Contributor { number, author, made: Seq(number.into()), seq: Seq(number.into()) }
    }

    #[test]
    fn numbers_are_given_in_turn_and_stay() {
        let mut authors = Authors::default();
        for (number, id) in (1..).zip([9, 4, 7]) {
            authors.set(contributor(number, id, "Ada")).unwrap();
        }
        assert_eq!((authors.number(AuthorId(4)), authors.number(AuthorId(5))), (2, 0));
        assert_eq!([0, 3, 4].map(|number| authors.id(number)), [Some(AuthorId::SOMEBODY), Some(AuthorId(7)), None]);
        let before = authors.digest();
        authors.set(contributor(2, 4, "Eve")).unwrap();
        assert_eq!(authors.get(AuthorId(4)).unwrap().author.name.as_str(), "Eve");
        assert_ne!(authors.digest(), before);
        for wrong in
            [contributor(3, 4, "Eve"), contributor(2, 5, "Bo"), contributor(5, 5, "Bo"), contributor(0, 5, "Bo")]
        {
            assert_eq!(authors.set(wrong), Err(WrongNumber));
        }
        let gone: Vec<_> = authors.take_above(Seq(1)).into_iter().map(|row| row.author.id).collect();
        assert_eq!((gone, authors.number(AuthorId(4))), (vec![AuthorId(4), AuthorId(7)], 0));
        let mut rest = Authors::default();
        rest.set(contributor(1, 9, "Ada")).unwrap();
        assert_eq!(authors, rest);
    }
}
