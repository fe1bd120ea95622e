//! One suite for every engine: each test runs on the disk and in memory. And both, given the same commands, answer alike.

use std::fmt::Debug;

use fastrand::Rng;
use keybook_core::{
    Author, AuthorId, AuthorName, Branch, ConflictId, DictionaryName, Epoch, HybridTime, Key, Lineage, PastEpoch,
    ReplicaId, Resolution, Seq, Stamp,
    limits::{Limits, VERSIONS_MAX},
    server::{
        Actor, AuthorRow, Command, ConflictRow, Context, History, Outcome, Reason, Record, Row, Rows, Version,
        VersionId,
    },
    wire::{Change, Condition, Op, Role, snapshot::Snapshot},
};
use keybook_store::{
    Engine, FirstEntries, Tables, Transaction, disk, memory,
    testing::power::{self, Disk},
};

/// The id of each store here: that of a store on a test's disk.
const STORE_ID: u64 = 1;

/// An engine and what it needs to be started again.
trait Subject {
    type Engine: Engine<Error: Debug>;

    /// A store without a dictionary, in its first epoch.
    fn new() -> Self;
    /// Closes the store, opens it again and begins the epoch.
    fn restart(&mut self, epoch: Epoch);
    fn engine(&self) -> &Self::Engine;
}

/// On a disk that is no file, so that a commit waits for no sync.
struct OnDisk {
    disk: Disk,
    store: Option<disk::Store>,
}

impl Subject for OnDisk {
    type Engine = disk::Store;

    fn new() -> Self {
        let mut subject = Self { disk: Disk::new(Vec::new(), 0), store: None };
        subject.restart(Epoch(1));
        subject
    }

    fn restart(&mut self, epoch: Epoch) {
        // Two have never the same file open.
        self.store = None;
        self.store = Some(power::open(&self.disk, epoch).unwrap());
    }

    fn engine(&self) -> &disk::Store {
        self.store.as_ref().expect("it is open between two calls")
    }
}

struct InMemory(memory::Store);

impl Subject for InMemory {
    type Engine = memory::Store;

    fn new() -> Self {
        let mut subject = Self(memory::Store::new(STORE_ID));
        subject.restart(Epoch(1));
        subject
    }

    fn restart(&mut self, epoch: Epoch) {
        self.0.start(epoch);
    }

    fn engine(&self) -> &memory::Store {
        &self.0
    }
}

macro_rules! on_each_engine {
    ($($test:ident,)*) => {
        mod on_disk {
            $(#[test] fn $test() { super::$test::<super::OnDisk>(); })*
        }
        mod in_memory {
            $(#[test] fn $test() { super::$test::<super::InMemory>(); })*
        }
    };
}

on_each_engine! {
    each_start_is_an_epoch,
    readers_see_what_is_committed,
    a_dictionary_without_a_write_does_not_exist,
    dictionaries_share_no_row,
    an_author_stays_where_he_wrote_first_and_moves_with_his_name,
    a_full_key_forgets_its_oldest_version,
    open_conflicts_are_listed_and_closed_ones_keep_their_names,
}

fn name(name: &str) -> DictionaryName {
    DictionaryName::parse(name).unwrap()
}

fn key(key: &str) -> Key {
    Key::parse(key).unwrap()
}

/// Each by a replica of its own.
fn op(millis: u64, key: &str, value: Option<&str>, seen: Stamp) -> Op {
    let stamp = Stamp::new(HybridTime::from_millis(millis), value.is_some(), ReplicaId(millis));
    let (key, value) = (key.to_owned(), value.map(str::to_owned));
    Op { key, value, stamp, seen: vec![seen], author: None, recovered: None }
}

fn context() -> Context {
    let author = Author { id: AuthorId(3), name: AuthorName::new("Ada") };
    Context {
        now_ms: 1_000_000,
        limits: Limits::default(),
        actor: Actor { role: Role::Writer, author, replicas: vec![ReplicaId(1)] },
    }
}

/// Writes as the server does, in one transaction. Returns what became of the commands.
fn write<E: Engine<Error: Debug>>(
    engine: &E,
    dictionary: &DictionaryName,
    commands: &[Command],
    is_committed: bool,
) -> Vec<Outcome> {
    let mut hub = engine.summary(dictionary).unwrap().into_hub();
    let mut transaction = engine.begin().unwrap();
    let mut outcomes = Vec::new();
    {
        let mut tables = transaction.tables().unwrap();
        let mut rows = tables.rows(dictionary).unwrap();
        for command in commands {
            let at = hub.counters().head.next();
            let record = Record { at, room_bytes: u64::MAX, context: context(), command: command.clone() };
            outcomes.extend(hub.apply(&mut rows, &record).unwrap().outcomes);
        }
        hub.finish(&mut rows).unwrap();
    }
    if is_committed {
        transaction.commit().unwrap();
    }
    outcomes
}

fn push(engine: &impl Engine<Error: Debug>, dictionary: &DictionaryName, ops: Vec<Op>) {
    let applied = write(engine, dictionary, &[Command::Push { ops }], true);
    assert!(applied.iter().all(|outcome| *outcome == Outcome::Applied), "{applied:?}");
}

fn each_start_is_an_epoch<S: Subject>() {
    let (main, other) = (name("main"), name("other"));
    let mut subject = S::new();
    subject.restart(Epoch(2));
    push(subject.engine(), &main, vec![op(1, "a", Some("1"), Stamp::ZERO)]);
    push(subject.engine(), &main, vec![op(2, "b", Some("1"), Stamp::ZERO)]);
    subject.restart(Epoch(3));
    subject.restart(Epoch(4));
    let past = |ends: [u64; 2]| -> Vec<PastEpoch> {
        (1..).zip(ends).map(|(epoch, end)| PastEpoch { epoch: Epoch(epoch), end: Seq(end) }).collect()
    };
    let found = subject.engine().summary(&main).unwrap();
    // The first stays without a write, the third does not.
    assert_eq!(found.lineage, Lineage { past: past([0, 2]), current: Epoch(4) });
    assert_eq!(found.writes, [PastEpoch { epoch: Epoch(2), end: Seq(2) }], "the end is the head");
    let new = subject.engine().summary(&other).unwrap();
    assert_eq!(new.lineage, Lineage { past: past([0, 0]), current: Epoch(4) });
    assert_ne!(found.id, new.id);
}

fn readers_see_what_is_committed<S: Subject>() {
    let subject = S::new();
    let (engine, main) = (subject.engine(), name("main"));
    let first = op(1, "b", Some("1"), Stamp::ZERO);
    let stamp = first.stamp;
    push(engine, &main, vec![first, op(2, "a", Some("2"), Stamp::ZERO)]);
    let batches = [op(3, "b", None, stamp), op(4, "b", Some("3"), Stamp::ZERO)];
    let commands = batches.map(|op| Command::Push { ops: vec![op] });
    write(engine, &main, &commands, false);
    assert_eq!(engine.summary(&main).unwrap().counters.head, Seq(1), "what is not committed is gone");
    write(engine, &main, &commands, true);

    // The remove was not seen by the last writer: one conflict row.
    let page = engine.catch_up(&main, Seq(0), usize::MAX).unwrap();
    let seqs: Vec<_> = page.changes.iter().map(|change| change.seq().0).collect();
    assert_eq!((seqs, page.to, page.more), (vec![1, 1, 3, 3], Seq(3), false));
    assert!(matches!(&page.changes[0], Change::Author(Seq(1), row) if row.author == context().actor.author));
    assert!(matches!(page.changes[3], Change::Conflict(_)));
    assert_eq!(page.numbers.get(AuthorId(3)), Some(1));

    let first = engine.catch_up(&main, Seq(0), 1).unwrap();
    assert_eq!((first.changes.len(), first.to, first.more), (2, Seq(1), true));
    let rest = engine.catch_up(&main, first.to, 1).unwrap();
    assert_eq!((rest.changes.len(), rest.to, rest.more), (2, Seq(3), false), "a batch is not divided");
    for after in [Seq(3), Seq(4), Seq(u64::MAX)] {
        let none = engine.catch_up(&main, after, 1).unwrap();
        assert_eq!((none.changes.len(), none.to, none.more), (0, Seq(3), false));
    }

    let FirstEntries { summary, entries } = engine.first_entries(&main, 1).unwrap();
    assert_eq!((summary.counters.head, summary.counters.live), (Seq(3), 2));
    let found: Vec<_> = entries.iter().map(|first| (first.key.as_str(), first.author.as_str())).collect();
    assert_eq!(found, [("a", "Ada")]);

    let (seq, bytes) = engine.snapshot(&main).unwrap();
    let snapshot = Snapshot::decode(&bytes).unwrap();
    assert_eq!((seq, snapshot.header.lineage.current), (Seq(3), Epoch(1)));
    assert_eq!((snapshot.base.live(), snapshot.conflicts.iter().count()), (2, 1));
    let digest = snapshot.base.digest() + snapshot.conflicts.digest() + snapshot.authors.digest();
    assert_eq!(digest, summary.counters.digest);
}

fn an_author_stays_where_he_wrote_first_and_moves_with_his_name<S: Subject>() {
    let subject = S::new();
    let (engine, main, other) = (subject.engine(), name("main"), name("other"));
    push(engine, &main, vec![op(1, "a", Some("1"), Stamp::ZERO)]);
    push(engine, &other, vec![op(1, "a", Some("1"), Stamp::ZERO)]);
    push(engine, &main, vec![op(2, "b", Some("1"), Stamp::ZERO)]);
    for text in ["Eve", "Bo"] {
        let mut hub = engine.summary(&main).unwrap().into_hub();
        let mut transaction = engine.begin().unwrap();
        let mut context = context();
        context.actor.author.name = AuthorName::new(text);
        {
            let mut tables = transaction.tables().unwrap();
            let mut rows = tables.rows(&main).unwrap();
            let record =
                Record { at: hub.counters().head.next(), room_bytes: u64::MAX, context, command: Command::Name };
            hub.apply(&mut rows, &record).unwrap();
            hub.finish(&mut rows).unwrap();
        }
        transaction.commit().unwrap();
    }
    let authors = |after| {
        let found = engine.catch_up(&main, Seq(after), usize::MAX).unwrap().changes.into_iter();
        let authors = found.filter_map(|change| match change {
            Change::Author(at, row) => Some((at.0, row.made.0, row.seq.0, row.author.name.as_str().to_owned())),
            _ => None,
        });
        authors.collect::<Vec<_>>()
    };
    let (first, renamed) = ((1, 1, 4, "Bo".to_owned()), (4, 1, 4, "Bo".to_owned()));
    assert_eq!((authors(0), authors(2)), (vec![first, renamed.clone()], vec![renamed]));
    let named = |dictionary| engine.first_entries(dictionary, 1).unwrap().entries.remove(0).author;
    assert_eq!((named(&main), named(&other)), (AuthorName::new("Bo"), AuthorName::new("Ada")));
}

fn a_dictionary_without_a_write_does_not_exist<S: Subject>() {
    let mut subject = S::new();
    let main = name("main");
    let before = subject.engine().summary(&main).unwrap();
    let remove = op(1, "a", None, Stamp::ZERO);
    write(subject.engine(), &main, &[Command::Push { ops: vec![remove] }], true);
    assert_eq!(subject.engine().summary(&main).unwrap(), before, "a remove of nothing is no write");
    assert_eq!(subject.engine().catch_up(&main, Seq(0), 1).unwrap().changes, []);
    push(subject.engine(), &main, vec![op(2, "a", Some("1"), Stamp::ZERO)]);
    subject.restart(Epoch(2));
    let after = subject.engine().summary(&main).unwrap();
    assert_eq!(after.id, before.id, "its identity was known before its first write");
    assert_eq!(after.counters.live, 1);
}

fn dictionaries_share_no_row<S: Subject>() {
    let subject = S::new();
    // Neighbours in the order of names and in the order of their making; one is a prefix of the next.
    let names = ["main", "mai", "main2"].map(name);
    for (live, dictionary) in (1..).zip(&names) {
        let ops = (0..live).map(|key| op(1 + key, &format!("{key}"), Some("1"), Stamp::ZERO)).collect();
        push(subject.engine(), dictionary, ops);
    }
    for (live, dictionary) in (1..).zip(&names) {
        assert_eq!(subject.engine().summary(dictionary).unwrap().counters.live, live);
        assert_eq!(subject.engine().first_entries(dictionary, 10).unwrap().entries.len() as u64, live);
        let (_, bytes) = subject.engine().snapshot(dictionary).unwrap();
        assert_eq!(Snapshot::decode(&bytes).unwrap().base.live(), live);
        assert_eq!(subject.engine().catch_up(dictionary, Seq(0), 1 << 20).unwrap().changes.len() as u64, live + 1);
    }
}

fn a_full_key_forgets_its_oldest_version<S: Subject>() {
    let subject = S::new();
    let (engine, main) = (subject.engine(), name("main"));
    // Of a neighbour of the key: it has to stay.
    push(engine, &main, vec![op(1, "j", Some("1"), Stamp::ZERO)]);
    push(engine, &main, vec![op(2, "j", Some("2"), Stamp::MAX)]);
    let writes = VERSIONS_MAX as u64 + 2;
    let ops: Vec<Op> = (10..10 + writes).map(|millis| op(millis, "k", Some("1"), Stamp::MAX)).collect();
    let stamps: Vec<Stamp> = ops.iter().map(|op| op.stamp).collect();
    for op in ops {
        push(engine, &main, vec![op]);
    }
    let mut transaction = engine.begin().unwrap();
    let mut tables = transaction.tables().unwrap();
    let mut rows = tables.rows(&main).unwrap();
    let history = rows.history(&key("k")).unwrap();
    let kept: Vec<Stamp> = history.versions.iter().map(|&(_, stamp)| stamp).collect();
    assert_eq!(kept, stamps[1..=VERSIONS_MAX], "the oldest has left, and the last is the entry's");
    assert_eq!(history.complete_from, Seq(4));
    let (since, stamp) = history.versions[0];
    let id = VersionId { since, key: key("k"), stamp };
    let version = rows.take_version(&id).unwrap().unwrap();
    assert_eq!((version.accepted, version.reason, version.author), (Seq(4), Reason::Replaced, AuthorId(3)));
    assert_eq!(rows.take_version(&id).unwrap(), None);
    let neighbour = rows.oldest_version().unwrap().unwrap();
    assert_eq!((neighbour.since, &neighbour.key), (Seq(2), &key("j")));
    assert!(rows.take_version(&neighbour).unwrap().is_some());
    assert_eq!(rows.oldest_version().unwrap().unwrap().since, Seq(6));
}

fn open_conflicts_are_listed_and_closed_ones_keep_their_names<S: Subject>() {
    let subject = S::new();
    let (engine, main) = (subject.engine(), name("main"));
    // The first write conflicts with nothing; nobody sees anybody.
    push(engine, &main, (1..4).map(|at| op(at, "k", Some(&at.to_string()), Stamp::ZERO)).collect());
    let ids = [1, 2].map(|at| ConflictId { key: key("k"), loser: op(at, "k", Some("0"), Stamp::ZERO).stamp });
    let dismiss = Command::Resolve { id: ids[0].clone(), resolution: Resolution::Restored };
    write(engine, &main, &[dismiss], true);
    let mut transaction = engine.begin().unwrap();
    let mut tables = transaction.tables().unwrap();
    let mut rows = tables.rows(&main).unwrap();
    let open: Vec<ConflictId> = rows.open_conflicts().unwrap().iter().map(|row| row.conflict.id()).collect();
    assert_eq!(open, ids[1..]);
    let closed = rows.conflict(&ids[0]).unwrap().unwrap().conflict;
    assert_eq!((closed.resolution, closed.loser.value), (Resolution::Restored, None));
    let listed = engine.catch_up(&main, Seq(0), usize::MAX).unwrap().changes;
    assert_eq!(listed.len(), 4, "each row has one place, and so has their author");
}

const SEEDS: u64 = 24;
const STEPS: usize = 25;
const DICTIONARIES: [&str; 2] = ["main", "other"];
const KEYS: [&str; 5] = ["a", "aa", "b", "menü", "z/1"];

/// `KEYBOOK_SEED=n` replays one seed.
#[test]
fn the_engines_answer_alike() {
    let replayed = std::env::var("KEYBOOK_SEED").ok().map(|seed| seed.parse().expect("KEYBOOK_SEED is a number"));
    let mut conflicts = 0;
    for seed in replayed.map_or(0..SEEDS, |seed: u64| seed..seed + 1) {
        eprintln!("replay with KEYBOOK_SEED={seed}");
        conflicts += answer_alike(&mut Rng::with_seed(seed));
    }
    assert!(replayed.is_some() || conflicts > SEEDS, "{conflicts} conflicts");
}

/// Gives both engines the same random transactions and compares all that they answer. Returns how many conflicts there
/// were at the end.
fn answer_alike(rng: &mut Rng) -> u64 {
    let (mut on_disk, mut in_memory) = (OnDisk::new(), InMemory::new());
    let mut stamps = vec![Stamp::ZERO];
    for _ in 0..STEPS {
        let dictionary = name(rng.choice(&DICTIONARIES).expect("there are some"));
        let commands: Vec<Command> = (0..rng.usize(1..4)).map(|_| random_command(rng, &mut stamps)).collect();
        let is_committed = rng.u8(..8) > 0;
        let first = write(on_disk.engine(), &dictionary, &commands, is_committed);
        let second = write(in_memory.engine(), &dictionary, &commands, is_committed);
        assert_eq!(first, second);
        if rng.u8(..10) == 0 {
            let epoch = Epoch(rng.u64(..));
            on_disk.restart(epoch);
            in_memory.restart(epoch);
        }
        for dictionary in DICTIONARIES.map(name) {
            compare(on_disk.engine(), in_memory.engine(), &dictionary, rng);
        }
    }
    DICTIONARIES.map(|dictionary| on_disk.engine().summary(&name(dictionary)).unwrap().counters.conflicts).iter().sum()
}

fn random_command(rng: &mut Rng, stamps: &mut Vec<Stamp>) -> Command {
    if rng.u8(..6) == 0 {
        let id = ConflictId {
            key: key(rng.choice(&KEYS).expect("there are some")),
            loser: *rng.choice(&stamps[..]).expect("there is one"),
        };
        let resolution = *rng.choice(&[Resolution::Dismissed, Resolution::Restored]).expect("there are two");
        return Command::Resolve { id, resolution };
    }
    let branch =
        |epoch, end| Branch::new(vec![PastEpoch { epoch: Epoch(epoch), end: Seq(end) }]).expect("it has an epoch");
    let mut random_op = || {
        let key = (*rng.choice(&KEYS).expect("there are some")).to_owned();
        let value = (rng.u8(..4) > 0).then(|| format!("\"{}\"", "x".repeat(rng.usize(..40))));
        let time = HybridTime::from_millis(rng.u64(1..1000));
        let stamp = Stamp::new(time, value.is_some(), ReplicaId(rng.u64(1..4)));
        let seen = vec![*rng.choice(&*stamps).expect("zero is there")];
        let id = AuthorId(rng.u64(1..4));
        let author = rng.bool().then(|| Author { id, name: AuthorName::new(&format!("Author {}", rng.u8(..3))) });
        let recovered = (rng.u8(..8) == 0).then(|| branch(rng.u64(1..4), rng.u64(..20)));
        stamps.push(stamp);
        Op { key, value, stamp, seen, author, recovered }
    };
    let ops: Vec<Op> = (0..5).map(|_| random_op()).collect();
    if rng.u8(..4) > 0 {
        return Command::Push { ops };
    }
    let condition = |op: &Op| Condition { key: op.key.clone(), stamp: None };
    let conditions = ops.iter().take(rng.usize(..2)).map(condition).collect();
    // Of one key at most one is taken.
    Command::Group { ops: ops.into_iter().take(2).collect(), conditions }
}

fn compare<A: Engine<Error: Debug>, B: Engine<Error: Debug>>(
    first: &A,
    second: &B,
    dictionary: &DictionaryName,
    rng: &mut Rng,
) {
    let summary = first.summary(dictionary).unwrap();
    assert_eq!(summary, second.summary(dictionary).unwrap());
    let count = rng.usize(..KEYS.len() + 1);
    assert_eq!(first.first_entries(dictionary, count).unwrap(), second.first_entries(dictionary, count).unwrap());
    let (after, bytes) = (Seq(rng.u64(..summary.counters.head.0 + 3)), rng.usize(..2000));
    let (page, other) =
        (first.catch_up(dictionary, after, bytes).unwrap(), second.catch_up(dictionary, after, bytes).unwrap());
    assert_eq!((page.after, page.to, page.more), (other.after, other.to, other.more));
    assert_eq!((&page.changes, &page.numbers), (&other.changes, &other.numbers));
    let snapshot = first.snapshot(dictionary).unwrap();
    assert!(snapshot == second.snapshot(dictionary).unwrap(), "the snapshots differ");
    let Snapshot { base, conflicts, authors, .. } = Snapshot::decode(&snapshot.1).unwrap();
    assert_eq!(base.recompute_digest() + conflicts.digest() + authors.digest(), summary.counters.digest);
    assert_eq!(rows(first, dictionary), rows(second, dictionary));
}

/// The rows that a hub can ask for.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    entries: Vec<Option<Row>>,
    histories: Vec<History>,
    /// All of them, oldest first.
    versions: Vec<(VersionId, Option<Version>)>,
    authors: Vec<Option<AuthorRow>>,
    open_conflicts: Vec<ConflictRow>,
}

/// The rows of a dictionary.
fn rows<E: Engine<Error: Debug>>(engine: &E, dictionary: &DictionaryName) -> Found {
    let mut transaction = engine.begin().unwrap();
    let mut tables = transaction.tables().unwrap();
    let mut rows = tables.rows(dictionary).unwrap();
    let entries = KEYS.iter().map(|name| rows.entry(&key(name)).unwrap()).collect();
    let histories = KEYS.iter().map(|name| rows.history(&key(name)).unwrap()).collect();
    let mut versions = Vec::new();
    // The transaction is not committed.
    while let Some(id) = rows.oldest_version().unwrap() {
        let version = rows.take_version(&id).unwrap();
        versions.push((id, version));
    }
    let authors = (1..5).map(|id| rows.author(AuthorId(id)).unwrap()).collect();
    let open_conflicts = rows.open_conflicts().unwrap();
    Found { entries, histories, versions, authors, open_conflicts }
}
