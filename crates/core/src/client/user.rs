//! Who writes here, and what the server lets them.

use super::{Client, base::Base};
use crate::{
    Author, AuthorId, AuthorName, Authors, Entry, Key, Person, Secret, Value, ValueError, limits::Limits, wire::Role,
};

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
    secret: Secret,
    pub(super) author: Author,
    /// The name that the server was told last over this connection, beside that of Hello.
    told: Option<AuthorName>,
    /// The dictionary has had that name since.
    is_heard: bool,
    role: Role,
    limits: Limits,
}

impl User {
    /// A user of whom no server has said anything: everything is allowed that a server allows by default.
    pub(super) fn new(Person { secret, name }: Person) -> Self {
        Self {
            secret,
            author: Author { id: secret.author(), name },
            told: None,
            is_heard: false,
            role: Role::Writer,
            limits: Limits::default(),
        }
    }

    /// Hello says the author. Who has written nothing is known by that with the first write.
    pub(super) fn greet(&mut self) -> Person {
        self.told = None;
        self.person()
    }

    /// The user with the secret.
    pub(super) fn person(&self) -> Person {
        Person { secret: self.secret, name: self.author.name.clone() }
    }

    /// The name to tell, if the dictionary knows the author by another one. Once a connection: two pages of one author may disagree.
    pub(super) fn take_news(&mut self, authors: &Authors) -> Option<AuthorName> {
        let name = &self.author.name;
        let is_known = authors.get(self.author.id).is_none_or(|row| row.author.name == *name);
        self.is_heard |= is_known;
        if is_known || self.told.as_ref() == Some(name) {
            return None;
        }
        (self.told, self.is_heard) = (Some(name.clone()), false);
        self.told.clone()
    }

    /// The server has answered a push or a ping. If it has turned the name away for want of room, there may be some by now.
    pub(super) fn handle_answer(&mut self) {
        if !self.is_heard {
            self.told = None;
        }
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

    /// Whether a value is small enough, and whether there is room for it in a base: for a key that is or was there among the live
    /// entries, for another one among all.
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
        let (before, after) = (old.map_or(0, |old| old.live_bytes(key)), Entry::bytes_of(key, Some(value)));
        let taken = if old.is_some() { there.live_bytes() } else { base.bytes() };
        match () {
            () if there.live() + there.tombstones() >= entries && is_new() => Err(EditError::Full(entries)),
            () if after > before && taken - before + after > bytes => Err(EditError::FullBytes(bytes)),
            () => Ok(()),
        }
    }
}

/// Who writes, and what authors are called.
impl Client {
    /// The authors of the base.
    pub fn authors(&self) -> &Authors {
        self.base.authors()
    }

    /// What an author is called: a name made of the id while none is known.
    pub fn name(&self, author: AuthorId) -> AuthorName {
        if author == self.user.author.id {
            return self.user.author.name.clone();
        }
        self.base.name(author)
    }

    /// Who writes here.
    pub fn author(&self) -> &Author {
        &self.user.author
    }

    /// Who writes here, with the secret.
    pub fn person(&self) -> Person {
        self.user.person()
    }

    /// The user is called otherwise from now on, by everybody who hears of it.
    pub fn set_name(&mut self, name: AuthorName, now_ms: u64) {
        self.user.author.name = name;
        self.evaluate(now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::ENTRY_BYTES;

    #[test]
    fn what_a_server_allows() {
        let mut user = User::new(Person::generated(Secret([1; 16])));
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
