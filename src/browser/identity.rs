//! Who edits here. The author's id and name live in the browser's profile; a replica's id lives as long as the page.
//!
//! Where the browser keeps nothing for a page, its author is a new one at each visit.

use keybook_core::{Author, AuthorId, AuthorName, ReplicaId};
use web_sys::Storage;

use super::window;

/// `{id in 16 hexadecimal digits} {name}`
const STORAGE_KEY: &str = "keybook.author";
/// Is set once the person has read what does not work over plain HTTP.
const PLAIN_HTTP_KEY: &str = "keybook.plain-http";

/// The author of this profile, made and kept at the first call.
pub(super) fn author() -> Author {
    let known = storage().and_then(|storage| storage.get_item(STORAGE_KEY).ok()?).as_deref().and_then(parse);
    known.unwrap_or_else(|| {
        let id = AuthorId(random());
        let author = Author { id, name: AuthorName::generated(id) };
        keep_author(&author);
        author
    })
}

/// Keeps an author as this profile's, if the browser keeps anything.
pub(super) fn keep_author(author: &Author) {
    if let Some(storage) = storage() {
        // A name that cannot be kept is asked for again; no edit depends on it.
        let _ = storage.set_item(STORAGE_KEY, &format!("{:016x} {}", author.id.0, author.name));
    }
}

/// Whether the browser lets this page do less, and its person has not been told.
pub(super) fn is_plain_http() -> bool {
    let is_read = || storage().is_some_and(|storage| storage.get_item(PLAIN_HTTP_KEY).is_ok_and(|item| item.is_some()));
    !window().is_secure_context() && !is_read()
}

/// The person has read that, in every tab and at every visit.
pub(super) fn accept_plain_http() {
    if let Some(storage) = storage() {
        // If it cannot be kept, it is said again at the next visit.
        let _ = storage.set_item(PLAIN_HTTP_KEY, "read");
    }
}

/// A replica of a new number.
pub(super) fn replica() -> ReplicaId {
    ReplicaId(random())
}

/// A random number of 64 bits.
pub(super) fn random() -> u64 {
    let mut bytes = [0; 8];
    let crypto = window().crypto().expect("every browser with WebAssembly has it");
    crypto.get_random_values_with_u8_array(&mut bytes).expect("8 bytes are not too many");
    u64::from_ne_bytes(bytes)
}

fn parse(text: &str) -> Option<Author> {
    let (id, name) = text.split_once(' ')?;
    let id = AuthorId(u64::from_str_radix(id, 16).ok()?);
    Some(Author { id, name: AuthorName::new(name) })
}

/// None where the browser denies it.
fn storage() -> Option<Storage> {
    window().local_storage().ok().flatten()
}
