//! A stand-in for `keybook_core::DictionaryName`, with its signature: once core provides it, delete this file and let
//! document.rs and errors.rs import that one.

/// The name of a dictionary: `[a-z0-9][a-z0-9._-]{0,63}`.
#[derive(Clone, Debug)]
pub(super) struct DictionaryName(String);

impl DictionaryName {
    pub(super) fn parse(name: &str) -> Result<Self, NameError> {
        let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        match name.as_bytes() {
            [first, rest @ ..]
                if alphanumeric(*first)
                    && rest.len() < 64
                    && rest.iter().all(|&byte| alphanumeric(byte) || b"._-".contains(&byte)) =>
            {
                Ok(Self(name.to_owned()))
            }
            _ => Err(NameError { name: name.to_owned() }),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not the name of a dictionary.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "“{name}” is not a dictionary's name: those have 1 to 64 characters, lower-case letters, digits, dots, hyphens and \
     underscores, the first a letter or a digit"
)]
pub(super) struct NameError {
    name: String,
}
