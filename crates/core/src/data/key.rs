//! Names: the key of an entry and the name of a dictionary, checked once and then trusted.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use crate::limits::{KEY_BYTES_MAX, NAME_BYTES_MAX};

/// A key: 1 to 512 bytes of UTF-8 without control characters, neither `.` nor `..`. Cheap to clone.
///
/// Ordered by its bytes. Whoever takes a key from a person normalizes it to NFC first: the tables for that are in every
/// browser, and would double the size of the page if they were here.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// The first 8 bytes, big-endian, filled up with zeros, of which no key has one. If the heads of two keys differ, so do the
    /// texts, in the same order, and neither text's memory is read. A walk down a tree is mostly such reads.
    head: u64,
    text: Arc<str>,
}

/// Why a text is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No characters at all.
    #[error("key is empty")]
    Empty,
    /// More than [`KEY_BYTES_MAX`].
    #[error("key is {0} bytes, limit is {KEY_BYTES_MAX}")]
    TooLong(usize),
    /// A control character, at a byte position.
    #[error("key has the control character U+{1:04X} at byte {0}")]
    Control(usize, u32),
    /// `.` or `..`, which a URL would swallow.
    #[error("key is {0:?}, which cannot stand in a path")]
    Dots(String),
}

impl Key {
    /// Checks a text.
    ///
    /// # Errors
    /// When it is empty, too long, has control characters, or is `.` or `..`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        match text {
            "" => return Err(KeyError::Empty),
            "." | ".." => return Err(KeyError::Dots(text.to_owned())),
            _ if text.len() > KEY_BYTES_MAX => return Err(KeyError::TooLong(text.len())),
            _ => {}
        }
        match text.char_indices().find(|(_, c)| c.is_control()) {
            Some((at, c)) => Err(KeyError::Control(at, c.into())),
            None => Ok(Self { head: head(text), text: text.into() }),
        }
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn head(text: &str) -> u64 {
    let mut bytes = [0; 8];
    let length = text.len().min(8);
    bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
    u64::from_be_bytes(bytes)
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.head.cmp(&other.head).then_with(|| self.text.cmp(&other.text))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The hash of the `str`, by which a key can be looked up.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.text)
    }
}

impl<C> Encode<C> for Key {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.str(&self.text)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Key {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        Key::parse(d.str()?).map_err(|error| decode::Error::message(error).at(at))
    }
}

/// A dictionary's name: `[a-z0-9][a-z0-9._-]{0,63}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DictionaryName(Arc<str>);

/// Why a text is no dictionary's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no name of a dictionary: 1 to {NAME_BYTES_MAX} of a-z, 0-9, '.', '_' and '-', the first a letter or a digit"
)]
pub struct NameError(String);

impl DictionaryName {
    /// Checks a text.
    ///
    /// # Errors
    /// When it does not follow the pattern; the error shows at most 80 characters of it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let valid = text.len() <= NAME_BYTES_MAX
            && text.starts_with(plain)
            && text.chars().all(|c| plain(c) || matches!(c, '.' | '_' | '-'));
        if valid { Ok(Self(text.into())) } else { Err(NameError(text.chars().take(80).collect())) }
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DictionaryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let check = |text: &str, expected: Result<(), KeyError>| {
            assert_eq!(Key::parse(text).map(|key| assert_eq!(key.as_str(), text)), expected, "{text:?}");
        };
        check("a", Ok(()));
        check("…", Ok(()));
        check("menu/breakfast/7 ☕", Ok(()));
        check(&"k".repeat(512), Ok(()));
        check("", Err(KeyError::Empty));
        check("..", Err(KeyError::Dots("..".into())));
        check("...", Ok(()));
        check(&"k".repeat(513), Err(KeyError::TooLong(513)));
        check("a\nb", Err(KeyError::Control(1, 10)));
        check("a\u{85}", Err(KeyError::Control(1, 0x85)));
        assert_eq!(KeyError::TooLong(513).to_string(), "key is 513 bytes, limit is 512");
    }

    #[test]
    fn keys_order_as_their_bytes() {
        let rising =
            ["A", "AA", "AAAAAAA", "AAAAAAAA", "AAAAAAAAA", "AAAAAAAAB", "AAAAAAAB", "B", "é", "日本", "日本語の鍵"];
        let keys = rising.map(|text| Key::parse(text).unwrap());
        assert!(rising.is_sorted() && keys.is_sorted());
        let every_pair = || keys.iter().flat_map(|one| keys.iter().map(move |other| (one, other)));
        assert!(every_pair().all(|(one, other)| one.cmp(other) == one.as_str().cmp(other.as_str())));
    }

    #[test]
    fn names() {
        for good in ["a", "0", "main", "price-list_2026.11", &"a".repeat(64)] {
            assert!(DictionaryName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "-a", "Main", "a/b", "ä", "a b", &"a".repeat(65)] {
            assert!(DictionaryName::parse(bad).is_err(), "{bad}");
        }
    }
}
