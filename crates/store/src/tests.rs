//! The store against the file system: what it opens, what it refuses and leaves alone, what it gives back.

use std::{fs, path::Path};

use keybook_core::{
    Author, AuthorId, AuthorName, HybridTime, ReplicaId, Seq, Stamp,
    limits::Limits,
    server::{Actor, Command, Context, Hub, Record},
    wire::{Change, Op, Role, snapshot::Snapshot},
};

use crate::*;

fn open(folder: &Path) -> Result<Store, OpenError> {
    Store::open(folder, 7, Epoch(9))
}

fn name(name: &str) -> DictionaryName {
    DictionaryName::parse(name).unwrap()
}

/// Each by a replica of its own.
fn op(millis: u64, key: &str, value: Option<&str>, seen: Stamp) -> Op {
    let stamp = Stamp::new(HybridTime::from_millis(millis), value.is_some(), ReplicaId(millis));
    let (key, value) = (key.to_owned(), value.map(str::to_owned));
    Op { key, value, stamp, seen: vec![seen], author: None, recovered: None }
}

/// Writes batches as the writer does, in one transaction.
fn write(store: &Store, dictionary: &DictionaryName, batches: &[&[Op]]) {
    let found = store.dictionary(dictionary).unwrap();
    let mut hub = Hub::new(found.id, found.lineage, found.writes, found.counters);
    let author = Author { id: AuthorId(3), name: AuthorName::new("Ada") };
    let actor = Actor { role: Role::Writer, author };
    let context = Context { now_ms: 1_000_000, limits: Limits::default(), actor };
    let transaction = store.begin().unwrap();
    {
        let mut tables = transaction.tables().unwrap();
        let mut rows = tables.rows(dictionary).unwrap();
        for ops in batches {
            let command = Command::Push { ops: ops.to_vec() };
            let record = Record { at: hub.counters().head.next(), context: context.clone(), command };
            assert_eq!(hub.apply(&mut rows, &record).unwrap().exceptions(), []);
        }
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
    let ops: Vec<_> = (1..101).map(|key| op(key, &format!("{key}"), Some("[1,2,3]"), Stamp::ZERO)).collect();
    write(&open(folder.path()).unwrap(), &name("main"), &[&ops]);
    let path = folder.path().join("keybook.redb");
    let whole = fs::read(&path).unwrap();
    for length in [1, 8, 100, 4095, 4096, 4097, 8192, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        check_refused(folder.path(), "is damaged or no data file of keybook");
    }
    fs::write(&path, "key,value\na,1\n".repeat(1000)).unwrap();
    check_refused(folder.path(), "is damaged or no data file of keybook");
    fs::write(&path, &whole).unwrap();
    assert_eq!(open(folder.path()).unwrap().dictionary(&name("main")).unwrap().counters.live, 100);
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
    transaction.open_table(tables::META).unwrap().insert(&b"format"[..], &2_u32.to_be_bytes()[..]).unwrap();
    transaction.commit().unwrap();
    // A copy of an open file is what a crash leaves: it has to be recovered, which only the newer program may do.
    let crashed = tempfile::tempdir().unwrap();
    fs::copy(folder.path().join("keybook.redb"), crashed.path().join("keybook.redb")).unwrap();
    drop(store);
    for folder in [folder, crashed] {
        check_refused(folder.path(), "has format 2, this keybook reads up to 1");
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

#[test]
fn each_opening_is_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let (main, other) = (name("main"), name("other"));
    for epoch in 1..=3 {
        let store = Store::open(folder.path(), 7, Epoch(epoch)).unwrap();
        if epoch == 2 {
            write(&store, &main, &[&[op(1, "a", Some("1"), Stamp::ZERO)], &[op(2, "b", Some("1"), Stamp::ZERO)]]);
        }
    }
    let store = Store::open(folder.path(), 8, Epoch(4)).unwrap();
    let past = |ends: [u64; 3]| -> Vec<_> {
        (1..).zip(ends).map(|(epoch, end)| keybook_core::PastEpoch { epoch: Epoch(epoch), end: Seq(end) }).collect()
    };
    let found = store.dictionary(&main).unwrap();
    assert_eq!(found.lineage, Lineage { past: past([0, 2, 2]), current: Epoch(4) });
    let new = store.dictionary(&other).unwrap();
    assert_eq!(new.lineage, Lineage { past: past([0, 0, 0]), current: Epoch(4) });
    // The id does not depend on whether the dictionary exists, nor on what the second argument would be today.
    assert_eq!(found.id, dictionary_id(7, &main, 0));
    assert_ne!(found.id, new.id);
    assert_ne!(found.id, dictionary_id(7, &main, 1));
}

#[test]
fn readers_see_what_is_committed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let main = name("main");
    let stamp = op(1, "b", Some("1"), Stamp::ZERO).stamp;
    write(&store, &main, &[&[op(1, "b", Some("1"), Stamp::ZERO), op(2, "a", Some("2"), Stamp::ZERO)]]);
    write(&store, &name("neighbour"), &[&[op(1, "z", Some("1"), Stamp::ZERO)]]);
    write(&store, &main, &[&[op(3, "b", None, stamp)], &[op(4, "b", Some("3"), Stamp::ZERO)]]);

    // The remove was not seen by the last writer: one conflict row.
    let page = store.page(&main, Seq(0), usize::MAX).unwrap();
    let seqs: Vec<_> = page.changes.iter().map(|change| change.seq().0).collect();
    assert_eq!((seqs, page.to, page.more), (vec![1, 3, 3], Seq(3), false));
    assert!(matches!(page.changes[2], Change::Conflict(_)));
    assert_eq!(page.names.get(AuthorId(3)).unwrap().as_str(), "Ada");

    let first = store.page(&main, Seq(0), 1).unwrap();
    assert_eq!((first.changes.len(), first.to, first.more), (1, Seq(1), true));
    let rest = store.page(&main, first.to, 1).unwrap();
    assert_eq!((rest.changes.len(), rest.to, rest.more), (2, Seq(3), false), "a batch is not divided");
    for after in [Seq(3), Seq(4), Seq(u64::MAX)] {
        let none = store.page(&main, after, 1).unwrap();
        assert_eq!((none.changes.len(), none.to, none.more), (0, Seq(3), false));
    }

    let FirstEntries { dictionary, entries } = store.first_entries(&main, 1).unwrap();
    assert_eq!((dictionary.counters.head, dictionary.counters.live), (Seq(3), 2));
    let found: Vec<_> = entries.iter().map(|(key, _, author)| (key.as_str(), author.as_str())).collect();
    assert_eq!(found, [("a", "Ada")]);

    let (seq, bytes) = store.snapshot(&main).unwrap();
    let snapshot = Snapshot::decode(&bytes).unwrap();
    assert_eq!((seq, snapshot.header.lineage.current), (Seq(3), Epoch(9)));
    assert_eq!((snapshot.base.live(), snapshot.conflicts.iter().count()), (2, 1));
    assert_eq!(snapshot.base.digest(), dictionary.counters.digest);
}
