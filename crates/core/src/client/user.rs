//! Who writes here, and what the server lets them.

use super::base::Base;
use crate::{Author, Entry, Key, Value, ValueError, limits::Limits, wire::Role};

/// Why an edit was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The value is over the server's limit.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The dictionary has as many keys as it may.
    #[error(
        "the dictionary has {0} keys with the removed ones, its limit: only keys that it has or had can be written"
    )]
    Full(u64),
    /// The entries take as many bytes as they may.
    #[error("the dictionary takes {0} bytes, its limit: removed entries and shorter values make room")]
    FullBytes(u64),
    /// This connection may not write.
    #[error("this dictionary is open for reading only")]
    ReadOnly,
}

/// The user of a client.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) author: Author,
    role: Role,
    limits: Limits,
}

impl User {
    /// A user of whom no server has said anything: everything is allowed that a server allows by default.
    pub(super) fn new(author: Author) -> Self {
        Self { author, role: Role::Writer, limits: Limits::default() }
    }

    /// The server has said what is allowed.
    pub(super) fn handle_welcome(&mut self, role: Role, limits: Limits) {
        (self.role, self.limits) = (role, limits);
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn is_writer(&self) -> bool {
        self.role == Role::Writer
    }

    /// Whether anything may be written.
    pub(super) fn check_role(&self) -> Result<(), EditError> {
        if self.is_writer() { Ok(()) } else { Err(EditError::ReadOnly) }
    }

    /// Whether a value is small enough, and whether there is room for it in a base: for its key among the entries and tombstones, and
    /// for its bytes.
    pub(super) fn check_put(
        &self,
        key: &Key,
        value: &Value,
        base: &Base,
        is_new: impl FnOnce() -> bool,
    ) -> Result<(), EditError> {
        value.check_size(self.limits.value_bytes)?;
        let Limits { entries, bytes, .. } = self.limits;
        let (there, old) = (base.entries(), base.entries().entry(key.as_str()));
        let (before, after) = (old.map_or(0, |old| old.bytes(key)), Entry::bytes_of(key, Some(value)));
        match () {
            () if there.live() + there.tombstones() >= entries && is_new() => Err(EditError::Full(entries)),
            () if after > before && base.bytes() - before + after > bytes => Err(EditError::FullBytes(bytes)),
            () => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AuthorId, AuthorName, limits::ENTRY_BYTES};

    #[test]
    fn what_a_server_allows() {
        let id = AuthorId(1);
        let mut user = User::new(Author { id, name: AuthorName::generated(id) });
        let (key, base) = (Key::parse("k").unwrap(), Base::new());
        let check = |user: &User, value: &str, is_new| user.check_put(&key, &Value::from_text(value), &base, || is_new);
        assert_eq!((user.check_role(), check(&user, "12345", true)), (Ok(()), Ok(())));
        let bytes = ENTRY_BYTES + 1 + 6;
        user.handle_welcome(Role::Reader, Limits { value_bytes: 7, entries: 1, bytes });
        assert_eq!(user.check_role(), Err(EditError::ReadOnly));
        assert_eq!(check(&user, "1234", true), Ok(()));
        assert!(matches!(check(&user, "123456", true), Err(EditError::Value(_))));
        assert_eq!(check(&user, "12345", true), Err(EditError::FullBytes(bytes)));
        user.handle_welcome(Role::Writer, Limits { value_bytes: 7, entries: 0, bytes });
        assert_eq!(check(&user, "1234", true), Err(EditError::Full(0)));
        assert_eq!(check(&user, "1234", false), Ok(()), "its key is there");
    }
}
