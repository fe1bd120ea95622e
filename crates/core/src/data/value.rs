//! Values: JSON texts, carried byte for byte.
//!
//! A value is never parsed into a tree: merge does not look inside, and a number keeps the digits it was typed with.
//! What is checked is that the text is JSON, that it nests at most 64 deep, and that it has no
//! whitespace outside strings, so that equal texts are equal values.

use std::{fmt, sync::Arc};

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use crate::{
    data::json::{self, JsonError},
    limits::VALUE_DEPTH_MAX,
};

/// A JSON text without whitespace outside strings. Cheap to clone; ordered by its bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(Arc<str>);

/// Why a text is no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// Not JSON; where, and what could stand there.
    #[error("value is not JSON: {0}")]
    Syntax(String),
    /// Nested deeper than [`VALUE_DEPTH_MAX`].
    #[error("value is nested {0} deep, limit is {VALUE_DEPTH_MAX}")]
    TooDeep(u32),
    /// Longer than this server allows.
    #[error("value is {bytes} bytes, limit is {limit}")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// What is allowed.
        limit: u32,
    },
    /// Whitespace outside strings, from a peer that should have removed it.
    #[error("value has whitespace outside strings at byte {0}")]
    Whitespace(usize),
}

impl Value {
    /// Checks a JSON text and removes the whitespace outside its strings. Cost: one pass, two if there is any.
    ///
    /// # Errors
    /// When it is not JSON, or too deep. Its length is the caller's to check, see [`Value::check_size`].
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        if check(text)?.is_none() {
            return Ok(Self(text.into()));
        }
        let mut compact = String::with_capacity(text.len());
        let mut from = 0;
        for (at, byte) in Outside::new(text) {
            if json::is_whitespace(byte) {
                compact.push_str(&text[from..at]);
                from = at + 1;
            }
        }
        compact.push_str(&text[from..]);
        Ok(Self(compact.into()))
    }

    /// Checks a text that a peer sent, which must be compact already. Cost: one pass.
    ///
    /// # Errors
    /// As [`Value::parse`], and when there is whitespace outside strings.
    pub fn from_peer(text: &str) -> Result<Self, ValueError> {
        match check(text)? {
            Some(place) => Err(ValueError::Whitespace(place)),
            None => Ok(Self(text.into())),
        }
    }

    /// The JSON string that holds a plain text.
    pub fn from_text(text: &str) -> Self {
        Self(json::quote(text).into())
    }

    /// What a person typed: JSON where it is a number, `true`, `false`, `null`, an object, an array or a quoted string;
    /// else plain text, which becomes a JSON string (`007` is no JSON number, so it is text).
    ///
    /// # Errors
    /// Only for JSON that nests too deep.
    pub fn from_input(input: &str) -> Result<Self, ValueError> {
        match Self::parse(input) {
            Err(ValueError::Syntax(_)) => Ok(Self::from_text(input)),
            parsed => parsed,
        }
    }

    /// How a person would type it: the inverse of [`Value::from_input`]. A string that would not be read as JSON stands
    /// without its quotes.
    pub fn to_input(&self) -> String {
        if let Some(text) = json::unquote(&self.0)
            && Self::parse(&text).is_err()
        {
            return text;
        }
        self.0.to_string()
    }

    /// Checks the length against what a server allows.
    ///
    /// # Errors
    /// When it is longer.
    pub fn check_size(&self, limit: u32) -> Result<(), ValueError> {
        let bytes = self.0.len();
        if bytes > limit as usize { Err(ValueError::TooLarge { bytes, limit }) } else { Ok(()) }
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<C> Encode<C> for Value {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Value {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        Value::from_peer(d.str()?).map_err(|error| decode::Error::message(error).at(at))
    }
}

/// Returns where the first whitespace outside strings is.
fn check(text: &str) -> Result<Option<usize>, ValueError> {
    json::check(text, VALUE_DEPTH_MAX).map_err(|error| match error {
        JsonError::TooDeep => ValueError::TooDeep(depth(text)),
        JsonError::Syntax { .. } => ValueError::Syntax(error.to_string()),
    })
}

/// How deep a text nests, JSON or not.
fn depth(text: &str) -> u32 {
    let (mut depth, mut deepest) = (0_u32, 0);
    for (_, byte) in Outside::new(text) {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// The bytes of a JSON text outside its strings, and where they are; a string is its opening quote. Bytes will do for
/// characters: all that is looked for is ASCII, which no byte of a longer character is.
struct Outside<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Outside<'a> {
    fn new(text: &'a str) -> Self {
        Self { bytes: text.as_bytes(), at: 0 }
    }

    /// To behind the quote that ends the string, or the end of the text.
    fn skip_string(&mut self) {
        while let Some(length) = self.bytes[self.at..].iter().position(|byte| matches!(byte, b'"' | b'\\')) {
            let quote = self.bytes[self.at + length] == b'"';
            self.at = (self.at + length + if quote { 1 } else { 2 }).min(self.bytes.len());
            if quote {
                return;
            }
        }
        self.at = self.bytes.len();
    }
}

impl Iterator for Outside<'_> {
    type Item = (usize, u8);

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let byte = *self.bytes.get(at)?;
        self.at += 1;
        if byte == b'"' {
            self.skip_string();
        }
        Some((at, byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_removes_whitespace_outside_strings_only() {
        let check = |text: &str, expected: &str| assert_eq!(Value::parse(text).unwrap().as_str(), expected);
        check(" { \"a b\" : [ 1 , 2.50 ] }\n", "{\"a b\":[1,2.50]}");
        check("\"a\\\" b\"", "\"a\\\" b\"");
        check("[ \"\\\\\" , \"é \" ] ", "[\"\\\\\",\"é \"]");
        check("12345678901234567890.10e+0", "12345678901234567890.10e+0");
    }

    #[test]
    fn parse_refuses() {
        for text in ["", "007", "{", "[1,]", "nul", "'a'", "\"a\nb\"", "1 2"] {
            assert!(matches!(Value::parse(text), Err(ValueError::Syntax(_))), "{text:?}");
        }
        assert_eq!(Value::parse(&"[".repeat(100_000)), Err(ValueError::TooDeep(100_000)));
        let deep = |n| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(Value::parse(&deep(64)).is_ok());
        assert_eq!(Value::parse(&deep(65)), Err(ValueError::TooDeep(65)));
    }

    #[test]
    fn from_peer_takes_only_compact_texts() {
        assert!(Value::from_peer("{\"a b\":1}").is_ok());
        assert_eq!(Value::from_peer("{\"a\": 1}"), Err(ValueError::Whitespace(5)));
        assert_eq!(Value::from_peer("1 "), Err(ValueError::Whitespace(1)));
        assert_eq!(Value::from_peer(" 1"), Err(ValueError::Whitespace(0)));
    }

    #[test]
    fn input_is_json_where_it_parses_and_text_elsewhere() {
        let check = |input: &str, json: &str| {
            let value = Value::from_input(input).unwrap();
            assert_eq!(value.as_str(), json);
            assert_eq!(Value::from_input(&value.to_input()).unwrap(), value, "{input:?} must survive an edit");
        };
        check("hello", "\"hello\"");
        check("007", "\"007\"");
        check("7", "7");
        check("true", "true");
        check("\"7\"", "\"7\"");
        check("{\"a\": 1}", "{\"a\":1}");
        check("", "\"\"");
        check("two\nlines", "\"two\\nlines\"");
    }
}
