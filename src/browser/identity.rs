//! Who edits here. The author's secret and name live in the browser's profile; a replica's secret lives as long as the page, and with the
//! edits that it leaves.
//!
//! Where the browser keeps nothing for a page, its author is a new one at each visit.

use keybook_core::{AuthorName, Person, Secret};
use web_sys::Storage;

use super::window;

/// `{secret in 32 hexadecimal digits} {name}`
const STORAGE_KEY: &str = "keybook.author";
/// Is set once the person has read what does not work over plain HTTP.
const PLAIN_HTTP_KEY: &str = "keybook.plain-http";

/// The author of this profile, made and kept at the first call.
pub(super) fn author() -> Person {
    let known = storage().and_then(|storage| storage.get_item(STORAGE_KEY).ok()?).as_deref().and_then(parse);
    known.unwrap_or_else(|| {
        let author = Person::generated(secret());
        keep_author(&author);
        author
    })
}

/// Keeps an author as this profile's, if the browser keeps anything.
pub(super) fn keep_author(author: &Person) {
    if let Some(storage) = storage() {
        // A name that cannot be kept is asked for again; no edit depends on it.
        let _ =
            storage.set_item(STORAGE_KEY, &format!("{:032x} {}", u128::from_be_bytes(author.secret.0), author.name));
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

/// A new secret.
pub(super) fn secret() -> Secret {
    Secret(random_bytes())
}

/// A random number of 64 bits.
pub(super) fn random() -> u64 {
    u64::from_ne_bytes(random_bytes())
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let crypto = window().crypto().expect("every browser with WebAssembly has it");
    crypto.get_random_values_with_u8_array(&mut bytes).expect("a few bytes are not too many");
    bytes
}

fn parse(text: &str) -> Option<Person> {
    let (secret, name) = text.split_once(' ').filter(|(secret, _)| secret.len() == 32)?;
    let secret = Secret(u128::from_str_radix(secret, 16).ok()?.to_be_bytes());
    Some(Person { secret, name: AuthorName::new(name) })
}

/// None where the browser denies it.
fn storage() -> Option<Storage> {
    window().local_storage().ok().flatten()
}
