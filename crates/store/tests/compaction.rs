//! The data file is made shorter, and nothing of it is lost.

use std::{fs, path::Path};

use keybook_core::{
    Author, AuthorId, AuthorName, DictionaryName, Epoch, HybridTime, ReplicaId, Seq, Stamp,
    limits::{Limits, VERSIONS_MAX},
    server::{Actor, Command, Context, Record},
    wire::{Op, Role, snapshot::Snapshot},
};
use keybook_store::{
    Compacted, Engine, Folder, Store, Tables, Transaction,
    testing::power::{self, Disk},
    verify,
};

const MIB: u64 = 1024 * 1024;
/// Of the losses of power, each at another moment of a compaction.
const LOSSES: u64 = 40;

fn main() -> DictionaryName {
    DictionaryName::parse("main").unwrap()
}

/// One transaction: puts of so many bytes, and removes.
fn write(store: &Store, time: u64, keys: &[(String, Option<usize>)]) {
    let op = |(key, bytes): &(String, Option<usize>)| {
        let stamp = Stamp::new(HybridTime::from_millis(time), bytes.is_some(), ReplicaId(1));
        let value = bytes.map(|bytes| format!("\"{}\"", "x".repeat(bytes)));
        Op { key: key.clone(), value, stamp, seen: vec![Stamp::MAX], author: None, recovered: None }
    };
    let author = Author { id: AuthorId(1), name: AuthorName::new("Ada") };
    let context = Context {
        now_ms: time,
        limits: Limits::default(),
        actor: Actor { role: Role::Writer, author, replicas: Vec::new() },
    };
    let mut hub = store.summary(&main()).unwrap().into_hub();
    let command = Command::Push { ops: keys.iter().map(op).collect() };
    let record = Record { at: hub.counters().head.next(), room_bytes: u64::MAX, context, command };
    let mut transaction = store.begin().unwrap();
    {
        let mut tables = transaction.tables().unwrap();
        let mut rows = tables.rows(&main()).unwrap();
        assert_eq!(hub.apply(&mut rows, &record).unwrap().exceptions(), []);
        hub.finish(&mut rows).unwrap();
    }
    transaction.commit().unwrap();
}

/// Writes large values with one between them that stays, and then small ones over the large ones, until these are no versions any
/// more. What stays is all over the file, so that redb alone cannot make it much shorter.
fn fill(store: &Store, keys: usize, bytes: usize) {
    let versions = VERSIONS_MAX as u64;
    let all = |bytes| (0..keys).map(|key| (format!("key {key}"), Some(bytes))).collect::<Vec<_>>();
    for time in 1..versions {
        write(store, time, &all(bytes));
        write(store, time, &[(format!("stays {time}"), Some(3000))]);
    }
    for time in versions..2 * versions + 1 {
        write(store, time, &all(8));
    }
    write(store, 1000, &[("key 0".to_owned(), None)]);
}

/// What does not change when the store is opened again.
fn contents(store: &Store) -> (Seq, Vec<(String, String)>) {
    let (seq, bytes) = store.snapshot(&main()).unwrap();
    let Snapshot { base, .. } = Snapshot::decode(&bytes).unwrap();
    (seq, base.entries().map(|(key, entry)| (key.to_string(), format!("{entry:?}"))).collect())
}

fn length(folder: &Path) -> u64 {
    fs::metadata(folder.join("keybook.redb")).unwrap().len()
}

/// A file never became shorter: 1 MiB was live in 272 MiB.
#[test]
fn a_file_of_which_most_is_free_is_made_shorter() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), 1, Epoch(1)).unwrap();
    fill(&store, 8, 60_000);
    let expected = contents(&store);
    drop(store);
    let before = length(folder.path());
    assert!(before > 40 * MIB, "{before}");

    let store = Store::open(folder.path(), 1, Epoch(2)).unwrap();
    let compacted = store.compacted().expect("it was worth it");
    assert_eq!(contents(&store), expected);
    write(&store, 2000, &[("new".to_owned(), Some(100))]);
    drop(store);
    eprintln!("{compacted:?}, and {} when it is closed", length(folder.path()));
    assert!(compacted.before == before && compacted.after < 4 * MIB && length(folder.path()) < 4 * MIB);
    assert!(verify(folder.path()).unwrap().pages.is_ok());
    // It is not worth it again.
    assert_eq!(Store::open(folder.path(), 1, Epoch(3)).unwrap().compacted(), None);
}

/// By hand a little is worth it too.
#[test]
fn a_file_is_compacted_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), 1, Epoch(1)).unwrap();
    fill(&store, 2, 20_000);
    let expected = contents(&store);
    drop(store);
    let store = Store::open(folder.path(), 1, Epoch(2)).unwrap();
    assert_eq!(store.compacted(), None);
    assert!(Folder::take(folder.path()).is_err(), "a server has it");
    drop(store);
    let Compacted { before, after } = Folder::take(folder.path()).unwrap().compact().unwrap();
    assert!(after < before / 2, "{before} {after}");
    assert_eq!(after, length(folder.path()));
    assert!(verify(folder.path()).unwrap().pages.is_ok());
    assert_eq!(contents(&Store::open(folder.path(), 1, Epoch(3)).unwrap()), expected);
}

#[test]
fn a_loss_of_power_in_the_middle_takes_nothing() {
    let disk = Disk::new(Vec::new(), 1);
    let store = power::open(&disk, Epoch(1)).unwrap();
    fill(&store, 2, 20_000);
    let expected = contents(&store);
    drop(store);
    let file = disk.file();
    let whole = Disk::new(file.clone(), 2);
    power::compact(&whole).unwrap();
    let steps = whole.steps();
    assert!(whole.file().len() < file.len() / 2);
    for loss in 0..LOSSES {
        let disk = Disk::new(file.clone(), loss);
        disk.cut_after(loss * steps / LOSSES);
        // Done or not, the power is lost before the file is closed.
        let _ = power::compact(&disk);
        assert!(disk.is_cut());
        let (disk, _) = disk.restart();
        let store = power::open(&disk, Epoch(2)).unwrap();
        assert!(contents(&store) == expected, "after {} of {steps} steps", loss * steps / LOSSES);
        // And it goes on from there.
        drop(store);
        power::compact(&disk).unwrap();
        assert!(contents(&power::open(&disk, Epoch(3)).unwrap()) == expected);
    }
}
