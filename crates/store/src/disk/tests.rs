//! The file system's side: what is opened, what is refused and left alone. What a store answers is in `tests/engines.rs`.

use std::{fs, path::Path};

use keybook_core::{
    Author, AuthorId, AuthorName, DictionaryName, HybridTime, ReplicaId, Stamp,
    limits::Limits,
    server::{Actor, Command, Context, Record},
    wire::{Op, Role},
};

use super::*;
use crate::{dictionary_id, engine::Engine as _, engine::Tables as _, engine::Transaction as _};

const ENTRIES: u64 = 100;

fn open(folder: &Path) -> Result<Store, OpenError> {
    Store::open(folder, 7, Epoch(9))
}

fn main() -> DictionaryName {
    DictionaryName::parse("main").unwrap()
}

/// Writes [`ENTRIES`] entries, as the writer does.
fn fill(store: &Store) {
    let put = |millis: u64| {
        let stamp = Stamp::new(HybridTime::from_millis(millis), true, ReplicaId(1));
        let (key, value) = (millis.to_string(), Some("[1,2,3]".to_owned()));
        Op { key, value, stamp, seen: vec![Stamp::ZERO], author: None, recovered: None }
    };
    let author = Author { id: AuthorId(3), name: AuthorName::new("Ada") };
    let context = Context { now_ms: 1_000_000, limits: Limits::default(), actor: Actor { role: Role::Writer, author } };
    let mut hub = store.summary(&main()).unwrap().into_hub();
    let command = Command::Push { ops: (1..=ENTRIES).map(put).collect() };
    let record = Record { at: hub.counters().head.next(), context, command };
    let mut transaction = store.begin().unwrap();
    {
        let mut tables = transaction.tables().unwrap();
        let mut rows = tables.rows(&main()).unwrap();
        assert_eq!(hub.apply(&mut rows, &record).unwrap().exceptions(), []);
        hub.finish(&mut rows).unwrap();
    }
    transaction.commit().unwrap();
}

/// The folder cannot be opened, the message has the text, and the file has not changed.
fn check_refused(folder: &Path, text: &str) {
    let path = folder.join("keybook.redb");
    let before = fs::read(&path).unwrap();
    let error = open(folder).unwrap_err().to_string();
    assert!(error.contains(text), "no {text:?} in {error:?}");
    assert!(error.contains(path.to_str().unwrap()), "{error}");
    assert!(fs::read(&path).unwrap() == before, "the file has changed: {error}");
    assert_eq!(fs::read_dir(folder).unwrap().count(), 1, "nothing else was made");
}

#[test]
fn a_file_that_is_not_whole_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fill(&open(folder.path()).unwrap());
    let path = folder.path().join("keybook.redb");
    let whole = fs::read(&path).unwrap();
    for length in [1, 8, 100, 4095, 4096, 4097, 8192, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        check_refused(folder.path(), "is damaged or no data file of keybook");
    }
    fs::write(&path, "key,value\na,1\n".repeat(1000)).unwrap();
    check_refused(folder.path(), "is damaged or no data file of keybook");
    fs::write(&path, &whole).unwrap();
    assert_eq!(open(folder.path()).unwrap().summary(&main()).unwrap().counters.live, ENTRIES);
}

#[test]
fn a_file_that_is_somebody_elses_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keybook.redb");
    let other: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("other");
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(other).unwrap().insert("a", 1).unwrap();
    transaction.commit().unwrap();
    drop(database);
    check_refused(folder.path(), "it has no format");
}

#[test]
fn a_newer_file_is_left_alone_even_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let transaction = begin(&store.database).unwrap();
    let newer = FORMAT + 1;
    transaction.open_table(tables::META).unwrap().insert(&b"format"[..], &newer.to_be_bytes()[..]).unwrap();
    transaction.commit().unwrap();
    // A copy of an open file is what a crash leaves: it has to be recovered, which only the newer program may do.
    let crashed = tempfile::tempdir().unwrap();
    fs::copy(folder.path().join("keybook.redb"), crashed.path().join("keybook.redb")).unwrap();
    drop(store);
    for folder in [folder, crashed] {
        check_refused(folder.path(), &format!("has format {newer}, this keybook reads up to {FORMAT}"));
    }
}

#[test]
fn a_locked_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let _store = open(folder.path()).unwrap();
    check_refused(folder.path(), "is locked: another keybook is serving it");
}

#[test]
fn a_crash_while_the_file_is_made_leaves_nothing_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("keybook.redb.new"), [0; 5000]).unwrap();
    drop(open(folder.path()).unwrap());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Neither on the second argument of a later opening, nor on what has been written since.
#[test]
fn the_stores_id_is_that_of_its_first_opening() {
    let folder = tempfile::tempdir().unwrap();
    drop(Store::open(folder.path(), 7, Epoch(1)).unwrap());
    let store = Store::open(folder.path(), 8, Epoch(2)).unwrap();
    assert_eq!(store.summary(&main()).unwrap().id, dictionary_id(7, &main(), 0));
    assert_ne!(dictionary_id(7, &main(), 0), dictionary_id(7, &main(), 1));
}
