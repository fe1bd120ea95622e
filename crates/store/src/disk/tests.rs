//! The file system's side: what is opened, what is refused and left alone. What a store answers is in `tests/engines.rs`.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path, sync::Barrier, thread};

use keybook_core::{
    Author, AuthorId, AuthorName, DictionaryName, HybridTime, ReplicaId, Seq, Stamp,
    limits::Limits,
    server::{Actor, Command, Context, Record},
    wire::{Change, Op, Role},
};

use super::*;
use crate::{
    dictionary_id,
    engine::{Engine as _, FirstEntries, Summary, Tables as _, Transaction as _},
};

const ENTRIES: u64 = 100;
/// Damages that are made to one file, one after the other.
const DAMAGES: usize = 300;

fn open(folder: &Path) -> Result<Store, OpenError> {
    Store::open(folder, 7, Epoch(9))
}

fn main() -> DictionaryName {
    DictionaryName::parse("main").unwrap()
}

/// Writes [`ENTRIES`] entries, as the writer does.
fn fill(store: &Store, name: &DictionaryName) {
    let put = |millis: u64| {
        let stamp = Stamp::new(HybridTime::from_millis(millis), true, ReplicaId(1));
        let (key, value) = (millis.to_string(), Some(format!(r#"["{}"]"#, name.as_str())));
        Op { key, value, stamp, seen: vec![Stamp::ZERO], author: None, recovered: None }
    };
    let author = Author { id: AuthorId(3), name: AuthorName::new("Ada") };
    let context = Context {
        now_ms: 1_000_000,
        limits: Limits::default(),
        actor: Actor { role: Role::Writer, author, replicas: Vec::new() },
    };
    let mut hub = store.summary(name).unwrap().into_hub();
    let command = Command::Push { ops: (1..=ENTRIES).map(put).collect() };
    let record = Record { at: hub.counters().head.next(), room_bytes: u64::MAX, context, command };
    let mut transaction = store.begin().unwrap();
    {
        let mut tables = transaction.tables().unwrap();
        let mut rows = tables.rows(name).unwrap();
        assert_eq!(hub.apply(&mut rows, &record).unwrap().exceptions(), []);
        hub.finish(&mut rows).unwrap();
    }
    transaction.commit().unwrap();
}

/// The names of what is in a folder.
fn files(folder: &Path) -> Vec<String> {
    let name = |file: io::Result<fs::DirEntry>| file.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(name).collect();
    names.sort();
    names
}

/// The folder cannot be opened, the message has the text, and the file has not changed.
fn check_refused(folder: &Path, text: &str) {
    let path = folder.join("keybook.redb");
    let before = fs::read(&path).unwrap();
    let error = open(folder).unwrap_err().to_string();
    assert!(error.contains(text), "no {text:?} in {error:?}");
    assert!(error.contains(path.to_str().unwrap()), "{error}");
    assert!(fs::read(&path).unwrap() == before, "the file has changed: {error}");
    assert_eq!(files(folder), ["keybook.lock", "keybook.redb"], "nothing else was made");
}

#[test]
fn a_file_that_is_not_whole_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fill(&open(folder.path()).unwrap(), &main());
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
    transaction.open_table(tables::META.bare()).unwrap().insert(&b"format"[..], &newer.to_be_bytes()[..]).unwrap();
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

/// Two servers were started on one fresh folder. Each found no file and made one; the one that was renamed last replaced the
/// other, whose server went on, acknowledged, and served a file that had no name any more. After a restart those writes were gone.
#[test]
fn of_two_that_open_a_fresh_folder_one_has_it_and_the_other_hears_who() {
    for _ in 0..20 {
        let (folder, both) = (tempfile::tempdir().unwrap(), Barrier::new(2));
        let start = || {
            both.wait();
            let opened = open(folder.path());
            // Whoever has it keeps it until the other one has tried.
            both.wait();
            opened
        };
        let opened = thread::scope(|scope| [scope.spawn(start), scope.spawn(start)].map(|start| start.join().unwrap()));
        let refused: Vec<_> = opened.iter().filter_map(|opened| opened.as_ref().err()).collect();
        assert_eq!(refused.len(), 1, "both have it");
        assert!(matches!(refused[0], OpenError::Locked { .. }), "{}", refused[0]);
    }
}

/// The same, in the moment that counted: the first one is making its file, and the second one looks.
#[test]
fn a_folder_in_which_a_file_is_being_made_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Lock::take(folder.path()).unwrap();
    fs::write(folder.path().join("keybook.redb.new"), "half").unwrap();
    let error = open(folder.path()).unwrap_err().to_string();
    let holder = format!("is locked: another keybook is serving it (process {} on ", std::process::id());
    assert!(error.contains(&holder), "no {holder:?} in {error:?}");
    assert_eq!(fs::read(folder.path().join("keybook.redb.new")).unwrap(), b"half");
    assert_eq!(files(folder.path()), ["keybook.lock", "keybook.redb.new"]);
}

/// Whoever had an account on the machine could read every dictionary.
#[test]
fn nobody_else_may_read_what_is_made() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let _store = open(&folder).unwrap();
    for (path, mode) in
        [(folder.clone(), 0o700), (folder.join("keybook.redb"), 0o600), (folder.join("keybook.lock"), 0o600)]
    {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
    }
}

/// A full disk, a missing right and a folder in the file's place were all called "damaged or no data file", in two ways at once.
#[test]
fn what_the_system_says_is_said_as_it_is_and_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("keybook.redb")).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot use {}: is a directory", folder.path().join("keybook.redb").display())
    );
    assert!(std::error::Error::source(&error).is_none(), "whoever prints the sources too would print it twice");

    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = open(&file.join("data")).unwrap_err().to_string();
    assert_eq!(error, format!("cannot use {}: Not a directory (os error 20)", file.join("data").display()));

    // As root one is refused nothing, and no disk is full.
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::PermissionDenied] {
        let error = open::in_store(Path::new("a/file"), redb::StorageError::Io(kind.into()).into());
        assert_eq!(error.to_string(), format!("cannot use a/file: {}", io::Error::from(kind)));
    }
}

#[test]
fn a_crash_while_the_file_is_made_leaves_nothing_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("keybook.redb.new"), [0; 5000]).unwrap();
    drop(open(folder.path()).unwrap());
    assert_eq!(files(folder.path()), ["keybook.lock", "keybook.redb"]);
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

/// Flips a bit of each value of a dictionary that [`fill`] has filled.
fn damage(path: &Path, name: &str) {
    let mut file = fs::read(path).unwrap();
    let text = format!(r#"["{name}"]"#);
    let found: Vec<_> = (0..file.len() - text.len()).filter(|&at| file[at..].starts_with(text.as_bytes())).collect();
    assert!(!found.is_empty());
    for at in found {
        file[at + 2] ^= 1;
    }
    fs::write(path, file).unwrap();
}

/// The damage above was served: each value was still a value.
#[test]
fn verify_names_what_is_damaged_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keybook.redb");
    let names = ["main", "other"].map(|name| DictionaryName::parse(name).unwrap());
    let store = open(folder.path()).unwrap();
    names.iter().for_each(|name| fill(&store, name));
    assert!(matches!(verify(folder.path()), Err(OpenError::Locked { .. })), "a server has it");
    let expected = names.each_ref().map(|name| (name.clone(), store.summary(name).unwrap()));
    drop(store);
    let before = fs::read(&path).unwrap();
    let Verified { pages, dictionaries } = verify(folder.path()).unwrap();
    assert!(pages.is_ok(), "{pages:?}");
    let found: Vec<_> = dictionaries.into_iter().map(|(name, summary)| (name, summary.unwrap())).collect();
    assert_eq!(found, expected);
    assert!(fs::read(&path).unwrap() == before);

    damage(&path, "other");
    let before = fs::read(&path).unwrap();
    let Verified { pages, dictionaries } = verify(folder.path()).unwrap();
    assert!(matches!(pages, Err(StoreError::Pages | StoreError::Corrupt(_))), "{pages:?}");
    assert_eq!(dictionaries[0].1.as_ref().unwrap(), &expected[0].1);
    assert_eq!(dictionaries[1].0, names[1]);
    let error = dictionaries[1].1.as_ref().unwrap_err().to_string();
    assert_eq!(error, "the data file is damaged: a row of the table entries is not what was written");
    assert!(fs::read(&path).unwrap() == before);

    let store = open(folder.path()).unwrap();
    assert_eq!(store.snapshot(&names[0]).unwrap().0, expected[0].1.counters.head);
    assert!(matches!(store.snapshot(&names[1]), Err(StoreError::Corrupt(Corrupt { table: "entries" }))));
}

/// What a store says of a dictionary, in all ways in which it can be asked.
#[derive(Debug, PartialEq)]
struct Answers(Result<Summary, ()>, Result<Vec<Change>, ()>, Result<FirstEntries, ()>, Result<(Seq, Vec<u8>), ()>);

fn ask(store: &Store, name: &DictionaryName) -> Answers {
    fn told<T>(answer: Result<T, StoreError>) -> Result<T, ()> {
        answer.map_err(|error| assert!(matches!(error, StoreError::Corrupt(_)), "not the dictionary's fault: {error}"))
    }
    let first = told(store.first_entries(name, 10));
    let changes = store.catch_up(name, Seq(0), usize::MAX).map(|caught_up| caught_up.changes);
    Answers(told(store.summary(name)), told(changes), first, told(store.snapshot(name)))
}

/// A bit of the file flipped, and the server served what it made of it. Other damages made redb panic, or give up the file for all.
#[test]
fn what_is_read_of_a_damaged_file_is_what_was_written_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["main", "other", "third"].map(|name| DictionaryName::parse(name).unwrap());
    let store = open(folder.path()).unwrap();
    names.iter().for_each(|name| fill(&store, name));
    drop(store);
    let path = folder.path().join("keybook.redb");
    let whole = fs::read(&path).unwrap();
    let store = open::resume(&path).unwrap();
    let healthy = names.each_ref().map(|name| ask(&store, name));
    drop(store);
    let Answers(summary, changes, first, snapshot) = &healthy[0];
    assert!(summary.is_ok() && changes.is_ok() && first.is_ok() && snapshot.is_ok());

    let mut rng = fastrand::Rng::with_seed(18);
    let used: Vec<_> =
        (0..whole.len() / 512).filter(|at| whole[at * 512..][..512].iter().any(|&byte| byte != 0)).collect();
    let (mut refused, mut damaged, mut served) = (0, 0, 0);
    for round in 0..DAMAGES {
        let mut file = whole.clone();
        let at = used[rng.usize(..used.len())] * 512 + rng.usize(..512);
        match round % 3 {
            0 => file[at] ^= 1 << rng.u8(..8),
            1 => file[at..(at + 64).min(whole.len())].fill(rng.u8(..)),
            _ => {
                let from = used[rng.usize(..used.len())] * 512;
                file.copy_within(from..from + 512, at / 512 * 512);
            }
        }
        fs::write(&path, file).unwrap();
        // Only to read: where redb notes which pages are free is no matter of rows, and `verify` looks at it.
        let opened =
            open::check(&path).and_then(|()| open::resume(&path).map_err(|error| open::in_store(&path, error)));
        let store = match opened {
            Ok(store) => store,
            Err(error) => {
                let known =
                    matches!(error, OpenError::Unreadable { .. } | OpenError::Store { .. } | OpenError::Newer { .. });
                assert!(known, "round {round}: {error}");
                refused += 1;
                continue;
            }
        };
        for (name, Answers(summary, changes, _, snapshot)) in names.iter().zip(&healthy) {
            let found = ask(&store, name);
            // Rows may be missing from a part, since nothing says how many it has. Of the whole the counters and the digest do.
            let Ok(all) = changes else { unreachable!("the file was whole") };
            let is_first = |FirstEntries { entries, .. }: &FirstEntries| {
                entries.iter().all(|first| all.contains(&Change::Entry(first.key.clone(), first.entry.clone())))
            };
            let is_right = [
                found.0.is_err() || found.0 == *summary,
                found.1.as_ref().map_or(true, |found| found.iter().all(|change| all.contains(change))),
                found.2.as_ref().map_or(true, is_first),
                found.3.is_err() || found.3 == *snapshot,
            ];
            assert_eq!(is_right, [true; 4], "round {round}, {name:?}");
            let is_whole = found.0.is_ok() && found.1.is_ok() && found.2.is_ok() && found.3.is_ok();
            *(if is_whole { &mut served } else { &mut damaged }) += 1;
        }
    }
    eprintln!("{refused} refused, {damaged} dictionaries damaged, {served} served");
    assert!(refused > 0 && damaged > 0 && served > 0, "some kind of damage was never made");
}
