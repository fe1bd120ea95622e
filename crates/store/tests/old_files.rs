//! A file of each published format keeps opening, and holds what it held.
//!
//! `files/format_N.sectors` is the data file that format N's program left after [`write_sample`]: the length of the file (8
//! bytes, big-endian), and each sector of 512 bytes that is not zero, behind its number (4 bytes, big-endian). A program with a
//! new format adds its file with `KEYBOOK_NEW_FILE=tests/files/format_N.sectors cargo test -p keybook-store`.

use std::{fs, path::Path};

use keybook_core::{
    Author, AuthorId, AuthorName, ConflictId, Conflicts, Dictionary, DictionaryName, Epoch, HybridTime, Key, ReplicaId,
    Resolution, Seq, Stamp,
    limits::Limits,
    server::{Actor, Command, Context, Record},
    wire::{Change, Op, Role, snapshot::Snapshot},
};
use keybook_store::{Engine, FORMAT, Store, Tables, Transaction, memory};

const SECTOR: usize = 512;
/// Of the store that wrote the files.
const STORE_ID: u64 = 77;
const WRITTEN_IN: Epoch = Epoch(5);
const OPENED_IN: Epoch = Epoch(6);

fn name(name: &str) -> DictionaryName {
    DictionaryName::parse(name).unwrap()
}

/// Two dictionaries with all kinds of rows: entries, tombstones, versions, conflicts that are open and resolved, and names.
fn write_sample<E: Engine<Error: std::fmt::Debug>>(engine: &E) {
    let op = |millis: u64, key: &str, value: Option<&str>| {
        let stamp = Stamp::new(HybridTime::from_millis(millis), value.is_some(), ReplicaId(millis));
        let (key, value) = (key.to_owned(), value.map(str::to_owned));
        let op = Op { key, value, stamp, seen: vec![Stamp::ZERO], author: None, recovered: None };
        (millis, Command::Push { ops: vec![op] })
    };
    let stamp = Stamp::new(HybridTime::from_millis(1), true, ReplicaId(1));
    let lost = ConflictId { key: Key::parse("apple").unwrap(), loser: stamp };
    // What is of one batch, and by whom.
    let main = [
        vec![op(1, "apple", Some("1.20")), op(2, "menü/1", Some(r#"{"kg":[1,2]}"#)), op(3, "empty", Some("\"\""))],
        vec![op(4, "apple", Some("1.30")), op(5, "empty", None)],
        vec![op(6, "apple", Some("1.40"))],
        vec![(1, Command::Resolve { id: lost, resolution: Resolution::Dismissed })],
    ];
    let other = [(10..60).map(|millis| op(millis, &format!("key {millis}"), Some("null"))).collect()];
    for (dictionary, batches) in [("main", &main[..]), ("other", &other[..])] {
        let dictionary = name(dictionary);
        let mut hub = engine.summary(&dictionary).unwrap().into_hub();
        let mut transaction = engine.begin().unwrap();
        {
            let mut tables = transaction.tables().unwrap();
            let mut rows = tables.rows(&dictionary).unwrap();
            let mut at = hub.counters().head;
            for (begins, (author, command)) in batches.iter().flat_map(|batch| (0..).zip(batch)) {
                if begins == 0 {
                    at = at.next();
                }
                let author = Author { id: AuthorId(*author), name: AuthorName::new(&format!("Author {author}")) };
                let actor = Actor { role: Role::Writer, author, replicas: Vec::new() };
                let context = Context { now_ms: 1_000_000, limits: Limits::default(), actor };
                hub.apply(&mut rows, &Record { at, room_bytes: u64::MAX, context, command: command.clone() }).unwrap();
            }
            hub.finish(&mut rows).unwrap();
        }
        transaction.commit().unwrap();
    }
}

fn pack(file: &[u8]) -> Vec<u8> {
    let mut packed = (file.len() as u64).to_be_bytes().to_vec();
    for (number, sector) in (0_u32..).zip(file.chunks(SECTOR)) {
        if sector.iter().any(|&byte| byte != 0) {
            packed.extend(number.to_be_bytes());
            packed.extend(sector);
        }
    }
    packed
}

fn unpack(packed: &[u8]) -> Vec<u8> {
    let (length, sectors) = packed.split_first_chunk().unwrap();
    let mut file = vec![0; u64::from_be_bytes(*length) as usize];
    for sector in sectors.chunks(4 + SECTOR) {
        let (number, bytes) = sector.split_first_chunk().unwrap();
        let start = u32::from_be_bytes(*number) as usize * SECTOR;
        file[start..start + bytes.len()].copy_from_slice(bytes);
    }
    file
}

/// What a snapshot holds. When an author wrote first, format 1 did not say.
fn contents((seq, bytes): &(Seq, Vec<u8>)) -> (Seq, Dictionary, Conflicts, Vec<(u16, Author)>) {
    let Snapshot { base, conflicts, authors, .. } = Snapshot::decode(bytes).unwrap();
    let authors = authors.iter().map(|row| (row.number, row.author.clone()));
    (*seq, base, conflicts, authors.collect())
}

fn without_authors(changes: &[Change]) -> Vec<&Change> {
    changes.iter().filter(|change| !matches!(change, Change::Author(..))).collect()
}

#[test]
fn files_of_each_format_keep_opening() {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files");
    let mut expected = memory::Store::new(STORE_ID);
    expected.start(WRITTEN_IN);
    write_sample(&expected);
    expected.start(OPENED_IN);
    for format in 1..=FORMAT {
        let folder = tempfile::tempdir().unwrap();
        let packed = fs::read(files.join(format!("format_{format}.sectors"))).unwrap();
        fs::write(folder.path().join("keybook.redb"), unpack(&packed)).unwrap();
        let store = Store::open(folder.path(), 0, OPENED_IN).unwrap();
        for dictionary in ["main", "other", "new"].map(name) {
            let Ok(summary) = expected.summary(&dictionary);
            assert_eq!(store.summary(&dictionary).unwrap(), summary, "format {format}");
            store.check(&dictionary).unwrap();
            let Ok(snapshot) = expected.snapshot(&dictionary);
            assert_eq!(contents(&store.snapshot(&dictionary).unwrap()), contents(&snapshot), "format {format}");
            let Ok(changed) = expected.catch_up(&dictionary, Seq(0), usize::MAX);
            let found = store.catch_up(&dictionary, Seq(0), usize::MAX).unwrap();
            assert_eq!(without_authors(&found.changes), without_authors(&changed.changes));
            assert_eq!(found.changes.len(), changed.changes.len());
        }
    }
}

/// What the files were made by still works; `KEYBOOK_NEW_FILE` keeps what it makes.
#[test]
fn a_new_file_is_packed_and_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), STORE_ID, WRITTEN_IN).unwrap();
    write_sample(&store);
    drop(store);
    let file = fs::read(folder.path().join("keybook.redb")).unwrap();
    let packed = pack(&file);
    assert!(unpack(&packed) == file);
    if let Some(path) = std::env::var_os("KEYBOOK_NEW_FILE") {
        fs::write(path, packed).unwrap();
    }
}
