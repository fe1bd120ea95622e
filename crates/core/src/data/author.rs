//! Who wrote: a browser profile's or a command line's random id, and the name that its person chose.

use std::{fmt, sync::Arc};

use minicbor::{Decode, Decoder, Encode, Encoder, bytes::ByteSlice, decode, encode};

use crate::{cbor_array, limits::AUTHOR_BYTES_MAX};

/// An author's id: 8 random bytes, which stay while the name changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorId(pub u64);

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

/// Authors in one list of [`Names`]: a new one moves no more than these.
const LIST_MAX: usize = 512;

/// The names of the authors that a replica has met, by their ids: sorted lists, which follow each other and are not empty. In the
/// page they are a tenth of a tree's code, and in a single list a stranger's 200 000 authors took 8 s.
#[derive(Clone, Debug, Default)]
pub struct Names(Vec<Vec<Author>>);

impl Names {
    /// No names.
    pub fn new() -> Self {
        Self::default()
    }

    /// The name of an author. O(log n).
    pub fn get(&self, id: AuthorId) -> Option<&AuthorName> {
        let list = self.0.get(self.list(id))?;
        position(list, id).ok().map(|position| &list[position].name)
    }

    /// Sets an author's name. O(n / 512) for one who is new.
    pub fn insert(&mut self, author: Author) {
        let number = self.list(author.id);
        let Some(list) = self.0.get_mut(number) else { return self.0.push(vec![author]) };
        match position(list, author.id) {
            Ok(position) => list[position] = author,
            Err(position) => list.insert(position, author),
        }
        if list.len() > LIST_MAX {
            let upper = list.split_off(LIST_MAX / 2);
            self.0.insert(number + 1, upper);
        }
    }

    /// How many there are. O(n / 512).
    pub fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of the list in which an author is, or has to come.
    fn list(&self, id: AuthorId) -> usize {
        self.0.partition_point(|list| list[0].id <= id).saturating_sub(1)
    }
}

fn position(list: &[Author], id: AuthorId) -> Result<usize, usize> {
    list.binary_search_by_key(&id, |author| author.id)
}

impl PartialEq for Names {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().flatten().eq(other.0.iter().flatten())
    }
}

impl Eq for Names {}

impl Extend<Author> for Names {
    fn extend<I: IntoIterator<Item = Author>>(&mut self, authors: I) {
        authors.into_iter().for_each(|author| self.insert(author));
    }
}

impl FromIterator<Author> for Names {
    fn from_iter<I: IntoIterator<Item = Author>>(authors: I) -> Self {
        let mut names = Self::new();
        names.extend(authors);
        names
    }
}

impl IntoIterator for Names {
    type Item = Author;
    type IntoIter = std::iter::Flatten<std::vec::IntoIter<Vec<Author>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().flatten()
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

    /// A stranger made up 200 000 authors, and each new one moved half of those before it.
    #[test]
    fn a_new_author_moves_few_others() {
        let author = |n: u64| Author { id: AuthorId(n), name: AuthorName::generated(AuthorId(n)) };
        // Each number below 5000 once, in a wild order.
        let numbers = || (0..5000).map(|n| n * 2477 % 5000);
        let names: Names = numbers().map(author).collect();
        assert!(names.0.iter().all(|list| (1..=LIST_MAX).contains(&list.len())));
        assert_eq!(names.len(), 5000);
        assert!(numbers().all(|n| names.get(AuthorId(n)) == Some(&author(n).name)));
        assert_eq!(names.get(AuthorId(5000)), None);
        assert_eq!(names, (0..5000).map(author).collect(), "the lists differ, the names do not");
        assert!(names.into_iter().map(|author| author.id.0).eq(0..5000));
    }
}
