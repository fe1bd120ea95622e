//! The form that adds an entry or replaces one: what is typed in it, and what it says about that.

use keybook_core::{Key, Value};

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
