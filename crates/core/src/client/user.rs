//! Who writes here, and what the server lets them.

use crate::{Author, Value, ValueError, limits::Limits, wire::Role};

/// Why an edit was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The value is over the server's limit.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The dictionary is full.
    #[error("the dictionary has {0} entries, which is its limit")]
    Full(u64),
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

    /// Whether a value is small enough, and whether there is room for its key among `entries`, tombstones included.
    pub(super) fn check_put(
        &self,
        value: &Value,
        entries: u64,
        is_new: impl FnOnce() -> bool,
    ) -> Result<(), EditError> {
        value.check_size(self.limits.value_bytes)?;
        let is_full = entries >= self.limits.entries && is_new();
        if is_full { Err(EditError::Full(self.limits.entries)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AuthorId, AuthorName};

    #[test]
    fn what_a_server_allows() {
        let id = AuthorId(1);
        let mut user = User::new(Author { id, name: AuthorName::generated(id) });
        let value = Value::from_text("12345");
        assert_eq!((user.check_role(), user.check_put(&value, 100, || true)), (Ok(()), Ok(())));
        user.handle_welcome(Role::Reader, Limits { value_bytes: 7, entries: 100 });
        assert_eq!(user.check_role(), Err(EditError::ReadOnly));
        assert_eq!(user.check_put(&value, 99, || true), Ok(()));
        assert_eq!(user.check_put(&value, 100, || true), Err(EditError::Full(100)));
        assert_eq!(user.check_put(&value, 100, || false), Ok(()), "its key is there");
        assert!(matches!(user.check_put(&Value::from_text("123456"), 0, || true), Err(EditError::Value(_))));
    }
}
