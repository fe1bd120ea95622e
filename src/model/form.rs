//! The form that adds an entry or replaces one, and the editor in the grid: what is typed in them, and what they say about it.

use keybook_core::{Key, Stamp, Value};

/// The form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// The key, as it is typed.
    pub key: String,
    /// The value, as it is typed.
    pub value: String,
    /// What the form says below its fields.
    pub note: FormNote,
}

/// What the form says below its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FormNote {
    /// Nothing.
    #[default]
    Nothing,
    /// What would be replaced: the key that is typed has an entry.
    Replaces(String),
    /// Why Set wrote nothing.
    Refused(String),
}

/// An entry that is edited in place. What others write meanwhile changes nothing in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Editor {
    /// The entry's.
    pub key: Key,
    /// The value, as it is typed.
    pub text: String,
    /// Why what was typed was not taken.
    pub error: Option<String>,
    /// What the edit will have seen.
    pub(super) began: Stamp,
    /// The stamp that the row showed when editing began.
    pub(super) shown: Stamp,
    /// The value when editing began.
    pub(super) value: Value,
}

impl Form {
    /// The key and the value that are typed. `normalize` brings a text into Unicode's form NFC.
    pub(super) fn read(&self, normalize: fn(&str) -> String) -> Result<(Key, Value), String> {
        let key = self.read_key(normalize)?;
        let value = Value::from_input(&self.value).map_err(|error| error.to_string())?;
        Ok((key, value))
    }

    pub(super) fn read_key(&self, normalize: fn(&str) -> String) -> Result<Key, String> {
        // Space around a key is a slip of whoever pasted it.
        Key::parse(&normalize(self.key.trim())).map_err(|error| error.to_string())
    }
}
