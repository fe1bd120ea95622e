//! What a row of the grid shows.

use keybook_core::{AuthorName, Key, Stamp, Value, cbor_array};

/// Characters of a value that a row shows; a line of a wide window holds fewer.
const TEXT_CHARS_MAX: usize = 300;
/// A longer value is cut before it is read, since a row shows its beginning only.
const READ_BYTES_MAX: usize = 4096;

/// An entry as a row shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: Key,
    /// The value's beginning.
    pub value: ValueText,
    /// When and by which replica it was written.
    pub stamp: Stamp,
    /// The name of who wrote it.
    pub author: String,
    /// Whether it is saved.
    pub state: EntryState,
    /// Whether another value of it has lost, and nobody has decided about that.
    pub is_in_conflict: bool,
}

/// Who wrote an entry, and who has brought it back after the server had lost it.
pub(super) fn author_text(author: &AuthorName, brought_back_by: Option<&AuthorName>) -> String {
    match brought_back_by {
        Some(by) => format!("{author}, brought back by {by}"),
        None => author.as_str().to_owned(),
    }
}

/// How far an entry's last write has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryState {
    /// The server has it on disk.
    Saved,
    /// On its way.
    Saving,
    /// To be sent when there is a connection, and kept on this device until then.
    OnDevice,
    /// To be sent when there is a connection, and lost with the page.
    NotSaved,
    /// A later edit of this page was refused, for this reason.
    Held(String),
}

/// A value as a person reads it: what a text says, without its quotes, or JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueText {
    /// What to show, at most 300 characters.
    pub text: String,
    /// Whether the value is plain text, not JSON.
    pub is_plain: bool,
    /// Whether this is all of it.
    pub is_complete: bool,
}

cbor_array!(ValueText { text, is_plain, is_complete });

impl ValueText {
    /// The beginning of a value. Cost does not grow with values above 4 KiB.
    pub fn new(value: &Value) -> Self {
        let json = value.as_str();
        let is_read = json.len() <= READ_BYTES_MAX;
        let all = if is_read { value.to_input() } else { json[..json.floor_char_boundary(READ_BYTES_MAX)].to_owned() };
        let is_plain = if is_read { all != json } else { json.starts_with('"') };
        let text = all.char_indices().nth(TEXT_CHARS_MAX).map_or(&*all, |(end, _)| &all[..end]);
        let is_complete = is_read && text.len() == all.len();
        let text = if is_read || !is_plain { text } else { &text[1..] };
        Self { text: text.to_owned(), is_plain, is_complete }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_as_it_would_be_typed() {
        let check = |json: &str, text: &str, is_plain: bool| {
            let expected = ValueText { text: text.to_owned(), is_plain, is_complete: true };
            assert_eq!(ValueText::new(&Value::parse(json).unwrap()), expected);
        };
        check("\"blue\"", "blue", true);
        check("\"7\"", "\"7\"", false);
        check("7.50", "7.50", false);
        check("{\"a\":[1]}", "{\"a\":[1]}", false);
        check("\"two\\nlines\"", "two\nlines", true);
    }

    #[test]
    fn a_long_value_is_cut_at_a_character() {
        for length in [301, 5000] {
            let shown = ValueText::new(&Value::from_text(&"é".repeat(length)));
            assert!(!shown.is_complete && shown.is_plain, "{length}");
            assert!(shown.text.chars().all(|c| c == 'é'), "{length}: {}", shown.text);
            assert!((299..=300).contains(&shown.text.chars().count()), "{length}");
        }
    }
}
