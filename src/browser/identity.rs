//! Who edits here. The author's secret and name live in the browser's profile; a replica's secret lives as long as the page, and with the
//! edits that it leaves.
//!
//! An author is kept twice, by the same text. A page reads localStorage at once, but Chromium writes that to the disk some seconds late.
//! Where it has none, the database `keybook` of IndexedDB decides, whose writes are on the disk before anybody is told of an author; so
//! two tabs at a first visit agree too. A database that does not answer is not waited for. A name that was changed in the last seconds
//! before a browser was killed may be the old one again.
//!
//! Where the browser keeps nothing for a page, its author is a new one at each visit.

use std::{cell::Cell, rc::Rc, time::Duration};

use keybook_core::{AuthorName, Person, Secret};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;
use web_sys::Storage;

use super::{
    database::{self, Write, done},
    timer::Timeout,
    window,
};

/// `{secret in 32 hexadecimal digits} {name}`
const STORAGE_KEY: &str = "keybook.author";
/// No dictionary's database has that name.
const DATABASE: &str = "keybook";
/// The object store, and the key of its only row.
const AUTHOR: &str = "author";
/// How long a page waits for the database: some browsers' opens now and then never end.
const PATIENCE: Duration = Duration::from_secs(2);
/// Is set once the person has read what does not work over plain HTTP.
const PLAIN_HTTP_KEY: &str = "keybook.plain-http";

/// Goes on with this profile's author, who is made and kept at a first visit.
pub(super) fn know(go_on: Box<dyn FnOnce(Person)>) {
    match storage().and_then(|storage| storage.get_item(STORAGE_KEY).ok()?).as_deref().and_then(parse) {
        Some(author) => go_on(author),
        None => settle(text(&Person::generated(secret())), false, go_on),
    }
}

/// Keeps this profile's author under another name, if the browser keeps anything. A name that cannot be kept is asked for again; no
/// edit depends on it.
pub(super) fn rename(author: &Person) {
    in_storage(&text(author));
    settle(text(author), true, Box::new(|_| ()));
}

fn in_storage(author: &str) {
    if let Some(storage) = storage() {
        // The database has it.
        let _ = storage.set_item(STORAGE_KEY, author);
    }
}

/// Keeps an author in both places, and goes on with whom they have then; without the database if that takes too long.
fn settle(author: String, is_renamed: bool, go_on: Box<dyn FnOnce(Person)>) {
    let go_on = Rc::new(Cell::new(Some(go_on)));
    let settled = move |author: &str| {
        if let Some(go_on) = go_on.take() {
            in_storage(author);
            go_on(parse(author).expect("it is made by `text`, or was read before"));
        }
    };
    let (late, made) = (settled.clone(), author.clone());
    let patience = Timeout::new(PATIENCE, move || late(&made));
    spawn_local(async move {
        let kept = in_database(&author, is_renamed).await.unwrap_or(author);
        drop(patience);
        settled(&kept);
    });
}

/// Whom the database has in the end: who it had, unless that one is renamed or there was none.
async fn in_database(author: &str, is_renamed: bool) -> Result<String, JsValue> {
    let database = database::open(DATABASE, &[AUTHOR]).await?;
    let write = Write::begin(&database, &AUTHOR.into())?;
    // Once that is written.
    database.close();
    let store = write.object_store(AUTHOR)?;
    let known = done(&store.get(&AUTHOR.into())?).await?.as_string();
    let known = known.filter(|known| !is_renamed && parse(known).is_some());
    if known.is_none() {
        store.put_with_key(&author.into(), &AUTHOR.into())?;
    }
    write.end(true).await?;
    Ok(known.unwrap_or_else(|| author.to_owned()))
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

fn text(author: &Person) -> String {
    format!("{:032x} {}", u128::from_be_bytes(author.secret.0), author.name)
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
