//! JSON texts (RFC 8259): whether a text is one, and what its strings say.
//!
//! Nothing is parsed into a tree, and no number into a float. A library that does both, with tables for the floats, would
//! make the page a tenth larger. The tests compare this one with serde_json.

/// Why a text is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonError {
    /// Where it stops being JSON, and what could stand there.
    #[error("byte {at} must be {expected}")]
    Syntax { at: usize, expected: &'static str },
    /// Arrays and objects nest deeper than is allowed.
    #[error("nested too deep")]
    TooDeep,
}

/// Checks a text that may nest `depth_max` deep, which bounds the recursion. Returns where the first whitespace outside
/// its strings is. O(bytes).
pub(crate) fn check(text: &str, depth_max: u32) -> Result<Option<usize>, JsonError> {
    let mut reader = Reader { bytes: text.as_bytes(), at: 0, depth_left: depth_max, whitespace: None };
    reader.value()?;
    if reader.at < text.len() { Err(reader.expected("the end")) } else { Ok(reader.whitespace) }
}

/// The whitespace that may stand outside strings.
pub(crate) fn is_whitespace(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The JSON string that says a text.
pub(crate) fn quote(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            '\0'..='\u{1f}' => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                json.push_str(if c < '\u{10}' { "\\u000" } else { "\\u001" });
                json.push(DIGITS[c as usize % 16].into());
            }
            _ => json.push(c),
        }
    }
    json.push('"');
    json
}

/// What a JSON string says; none if the text is no JSON string, or says what is no Unicode (half a surrogate pair).
pub(crate) fn unquote(json: &str) -> Option<String> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        text.push(match chars.next()? {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => {
                let (unit, rest) = code_unit(chars.as_str())?;
                chars = rest.chars();
                if (0xd800..0xdc00).contains(&unit) {
                    let (low, rest) = code_unit(rest.strip_prefix("\\u")?)?;
                    chars = rest.chars();
                    char::decode_utf16([unit, low]).next()?.ok()?
                } else {
                    char::from_u32(unit.into())?
                }
            }
            literal => literal,
        });
    }
    Some(text)
}

/// Four hexadecimal digits, and what follows them.
fn code_unit(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    Some((u16::from_str_radix(digits, 16).ok()?, rest))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth_left: u32,
    whitespace: Option<usize>,
}

impl Reader<'_> {
    /// A value and the whitespace around it.
    fn value(&mut self) -> Result<(), JsonError> {
        self.space();
        match self.peek() {
            Some(b'{') => self.list(b'}', "',' or '}'", |reader| {
                reader.space();
                reader.string()?;
                reader.space();
                if reader.take(b':') { reader.value() } else { Err(reader.expected("':'")) }
            })?,
            Some(b'[') => self.list(b']', "',' or ']'", Self::value)?,
            Some(b'"') => self.string()?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.word()?,
        }
        self.space();
        Ok(())
    }

    fn list(
        &mut self,
        end: u8,
        expected: &'static str,
        item: impl Fn(&mut Self) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.at += 1;
        self.depth_left = self.depth_left.checked_sub(1).ok_or(JsonError::TooDeep)?;
        self.space();
        let mut is_over = self.take(end);
        while !is_over {
            item(self)?;
            self.space();
            is_over = self.take(end);
            if !is_over && !self.take(b',') {
                return Err(self.expected(expected));
            }
        }
        self.depth_left += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<(), JsonError> {
        if !self.take(b'"') {
            return Err(self.expected("'\"'"));
        }
        loop {
            match self.next() {
                Some(b'"') => return Ok(()),
                Some(b'\\') => match self.next() {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {}
                    Some(b'u') => {
                        for _ in 0..4 {
                            if !self.next().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                                return Err(self.expected_before("a hexadecimal digit"));
                            }
                        }
                    }
                    _ => return Err(self.expected_before("one of \"\\/bfnrtu")),
                },
                Some(0x20..) => {}
                _ => return Err(self.expected_before("part of a string, or its end")),
            }
        }
    }

    fn number(&mut self) -> Result<(), JsonError> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _has_sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == from { Err(self.expected("a digit")) } else { Ok(()) }
    }

    fn word(&mut self) -> Result<(), JsonError> {
        let rest = &self.bytes[self.at..];
        let word = ["true", "false", "null"].into_iter().find(|word| rest.starts_with(word.as_bytes()));
        self.at += word.ok_or_else(|| self.expected("a value"))?.len();
        Ok(())
    }

    fn space(&mut self) {
        while self.peek().is_some_and(is_whitespace) {
            self.whitespace.get_or_insert(self.at);
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn expected(&self, expected: &'static str) -> JsonError {
        JsonError::Syntax { at: self.at, expected }
    }

    /// About the byte that was read last.
    fn expected_before(&self, expected: &'static str) -> JsonError {
        JsonError::Syntax { at: self.at.saturating_sub(1), expected }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    fn compare(text: &str) {
        assert_eq!(check(text, 64).is_ok(), serde_json::from_str::<IgnoredAny>(text).is_ok(), "{text:?}");
        if check(text, 64).is_ok() {
            assert_eq!(unquote(text.trim()), serde_json::from_str::<String>(text).ok(), "{text:?}");
        }
    }

    #[test]
    fn edges_are_those_of_serde_json() {
        for text in [
            "",
            "0",
            "-0",
            "00",
            "01",
            "-",
            "1.",
            ".5",
            "1.5e",
            "1e5",
            "1E+5",
            "1e-",
            "1e400",
            "+1",
            "--1",
            "0x1",
            "true",
            "tru",
            "truE",
            "nul",
            "null ",
            "[]",
            "[ ]",
            "[,]",
            "[1,]",
            "[1 2]",
            "[1,2",
            "{}",
            "{ }",
            "{\"a\":1}",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{\"a\":1,}",
            "{\"a\":1 \"b\":2}",
            "\"",
            "\"\\",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\\u00e9\"",
            "\"\\ud83d\\ude00\"",
            "\"\\ud83d\"",
            "\"\\ude00\"",
            "\"\\ud83d\\u0041\"",
            "\"\t\"",
            "\"\u{7f}\"",
            "\"\\/\\b\\f\"",
            "1 2",
            "\u{a0}1",
            "\"a\" x",
        ] {
            compare(text);
        }
    }

    proptest! {
        #[test]
        fn what_is_json_is_what_serde_json_takes(text in r#"[\[\]{},:"\\ \ttruefalsn0-9.eE+\-ud8]{0,24}"#) {
            compare(&text);
        }

        #[test]
        fn strings_are_those_of_serde_json(text in any::<String>()) {
            let json = quote(&text);
            prop_assert_eq!(&json, &serde_json::Value::from(&*text).to_string());
            prop_assert_eq!(unquote(&json), Some(text));
        }
    }
}
