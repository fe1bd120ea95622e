//! The writer's transactions: what one takes, and what becomes of one that fails.

use std::sync::atomic::Ordering;

use keybook_core::{
    Author, AuthorId, AuthorName, ConflictId, Epoch, HybridTime, Key, ReplicaId, Resolution, Seq, Stamp,
    wire::{Op, Role},
};
use keybook_store::testing::faulty;
use tokio::sync::Semaphore;

use super::*;
use crate::{Config, feeds::News};

fn name(name: &str) -> DictionaryName {
    DictionaryName::parse(name).unwrap()
}

/// Of a disk that is never full.
fn endless() -> Config {
    let mut config = Config::new(std::env::temp_dir());
    (config.disk_reserve_bytes, config.disk_last_reserve_bytes) = (0, 0);
    config
}

/// A worker that takes its turns when a test says so.
pub(super) fn worker(store: Arc<Store>, feeds: Arc<Feeds>) -> Worker {
    let (damage, limits, queue, hubs) = (Arc::default(), Limits::default(), Arc::default(), HashMap::new());
    let (disk, room) = (Disk::new(&endless()), Room::Everything);
    Worker { store, damage, feeds, limits, disk, room, queue, hubs }
}

/// One transaction.
fn turn(worker: &mut Worker) {
    let first = worker.queue.try_take().expect("something waits");
    worker.write(first).unwrap();
}

fn write(dictionary: &str, batch: u64, ops: Vec<Op>, answers: &mpsc::Sender<Answer>) -> Write {
    let author = Author { id: AuthorId(1), name: AuthorName::new("Ada") };
    let actor = Actor { role: Role::Writer, author, replicas: Vec::new() };
    Write::new(name(dictionary), actor, Command::Push { ops }, Reply { batch: Some(batch), to: answers.clone() })
}

/// As many operations of different keys.
fn push(dictionary: &str, batch: u64, ops: usize, answers: &mpsc::Sender<Answer>) -> Write {
    write(dictionary, batch, (0..ops).map(|number| op(&format!("{batch}-{number}"), 1, "1")).collect(), answers)
}

/// Nobody sees anybody.
fn op(key: &str, millis: u64, json: &str) -> Op {
    let stamp = Stamp::new(HybridTime::from_millis(millis), true, ReplicaId(millis));
    Op {
        key: key.to_owned(),
        value: Some(json.to_owned()),
        stamp,
        seen: vec![Stamp::ZERO],
        author: None,
        recovered: None,
    }
}

/// (batch, seq, outcomes)
fn answered(answers: &mut mpsc::Receiver<Answer>) -> Vec<(u64, u64, usize)> {
    let all = std::iter::from_fn(|| answers.try_recv().ok());
    all.map(|answer| (answer.batch.unwrap(), answer.receipt.seq.0, answer.receipt.outcomes.len())).collect()
}

/// The heads before and after each commit that a follower has been told.
fn commits(subscription: &mut crate::feeds::Subscription) -> Vec<(Seq, Seq)> {
    told(subscription).iter().map(|commit| (commit.prev, commit.to)).collect()
}

fn told(subscription: &mut crate::feeds::Subscription) -> Vec<Arc<Broadcast>> {
    std::iter::from_fn(|| subscription.try_next())
        .map(|news| match news {
            News::Event(Event::Commit(commit)) => commit,
            other => panic!("no commit: {other:?}"),
        })
        .collect()
}

#[test]
fn what_waits_shares_a_transaction() {
    let store = Arc::new(faulty::store().0);
    let feeds = Arc::new(Feeds::new(16));
    let (mut main, mut other) = (feeds.subscribe(&name("main")), feeds.subscribe(&name("other")));
    let (answers_to, mut answers) = mpsc::channel(16);
    let mut worker = worker(store.clone(), feeds);

    for (batch, dictionary) in [(1, "main"), (2, "main"), (3, "other"), (4, "main")] {
        worker.queue.push(push(dictionary, batch, 1, &answers_to));
    }
    turn(&mut worker);
    assert_eq!(answered(&mut answers), [(1, 1, 1), (3, 1, 1), (2, 2, 1), (4, 3, 1)], "dictionaries take turns");
    assert_eq!(commits(&mut main), [(Seq(0), Seq(3))], "one Delta for three batches");
    assert_eq!(commits(&mut other), [(Seq(0), Seq(1))]);
    assert_eq!(store.summary(&name("main")).unwrap().counters.live, 3);

    // No further command once there are 1024 operations.
    for batch in 5..10 {
        worker.queue.push(push("main", batch, 300, &answers_to));
    }
    turn(&mut worker);
    assert_eq!(answered(&mut answers).len(), 4);
    turn(&mut worker);
    assert_eq!(answered(&mut answers).len(), 1);

    worker.queue.push(push("main", 10, 1, &answers_to));
    worker.queue.stop();
    worker.run().unwrap();
    assert_eq!(answered(&mut answers).len(), 1, "what waited is written before the end");
}

/// 512 times `1` over values of 64 KiB made a commit of 32 MiB, and what waited in other dictionaries waited for it.
#[test]
fn a_commit_is_bounded_in_what_it_writes_and_no_dictionary_waits_for_another() {
    let store = Arc::new(faulty::store().0);
    let feeds = Arc::new(Feeds::new(1 << 10));
    let mut main = feeds.subscribe(&name("main"));
    let (answers_to, mut answers) = mpsc::channel(1 << 10);
    let mut worker = worker(store.clone(), feeds);
    let (keys, value) = (64, format!("\"{}\"", "x".repeat(65_000)));
    for number in 0..keys {
        worker.queue.push(write("main", number, vec![op(&format!("k{number}"), 1, &value)], &answers_to));
    }
    while let Some(first) = worker.queue.try_take() {
        worker.write(first).unwrap();
    }
    let head = store.summary(&name("main")).unwrap().counters.head.0;
    answered(&mut answers);
    told(&mut main);

    // A flood in one dictionary, and then a write in another.
    let pushes = 20;
    for batch in 0..pushes {
        let ops = (0..keys).map(|number| op(&format!("k{number}"), 2 + batch, &batch.to_string()));
        worker.queue.push(write("main", batch, ops.collect(), &answers_to));
    }
    turn(&mut worker);
    assert_eq!(answered(&mut answers), [], "one push is more than a commit");
    worker.queue.push(push("other", 99, 1, &answers_to));
    turn(&mut worker);
    turn(&mut worker);
    assert_eq!(answered(&mut answers), [(99, 1, 1)], "after one more commit of the other");

    let mut transactions = 3;
    while let Some(first) = worker.queue.try_take() {
        worker.write(first).unwrap();
        transactions += 1;
    }
    let answered = answered(&mut answers);
    assert_eq!(answered.len() as u64, pushes);
    assert!(answered.is_sorted() && answered.iter().all(|&(_, _, outcomes)| outcomes as u64 == keys));
    // Each of the first push replaces a value, which is kept and shown to who has lost; while there is room.
    let written = u64::from(u16::MAX) * keys;
    assert!(transactions >= written / COMMIT_BYTES_MAX && transactions < 60, "{transactions}");
    for commit in told(&mut main) {
        let bytes: usize = commit.frames.iter().map(bytes::Bytes::len).sum();
        assert!(bytes as u64 <= COMMIT_BYTES_MAX + 3 * value.len() as u64, "{bytes}");
    }
    assert!(answered[0].1 > head + 4, "the ack names the last seq: {answered:?}");
    assert_eq!(store.summary(&name("main")).unwrap().counters.live, keys);
}

/// 512 times `1` that lost against values of 64 KiB wrote little, and read 32 MiB in one commit.
#[test]
fn a_commit_is_bounded_in_what_it_reads() {
    let store = Arc::new(faulty::store().0);
    let (answers_to, mut answers) = mpsc::channel(1 << 10);
    let mut worker = worker(store, Arc::new(Feeds::new(1 << 10)));
    let (keys, value) = (64, format!("\"{}\"", "x".repeat(65_000)));
    for number in 0..keys {
        worker.queue.push(write("main", number, vec![op(&format!("k{number}"), 1000, &value)], &answers_to));
    }
    while let Some(first) = worker.queue.try_take() {
        worker.write(first).unwrap();
    }
    answered(&mut answers);

    let lesser = |batch| (0..keys).map(|number| op(&format!("k{number}"), batch, "1")).collect();
    let same = (0..keys).map(|number| op(&format!("k{number}"), 1000, &value)).collect();
    for (batch, ops) in [(1, lesser(1)), (2, lesser(1)), (3, same)] {
        worker.queue.push(write("main", batch, ops, &answers_to));
        turn(&mut worker);
        assert_eq!(answered(&mut answers), [], "push {batch} is more than a commit");
        worker.queue.push(push("other", 99, 1, &answers_to));
        turn(&mut worker);
        turn(&mut worker);
        assert_eq!(
            answered(&mut answers).first().map(|answer| answer.0),
            Some(99),
            "after one more commit of the other"
        );
        let mut turns = 3;
        while let Some(first) = worker.queue.try_take() {
            worker.write(first).unwrap();
            turns += 1;
        }
        assert_eq!(answered(&mut answers).last().map(|&(batch, _, outcomes)| (batch, outcomes)), Some((batch, 64)));
        assert!(turns < 10, "{turns}");
    }
}

fn send(writer: &Writer, write: Write) {
    writer.write(write.with_room(Arc::new(Semaphore::new(1)).try_acquire_owned().expect("it is free")));
}

/// One damaged row ended the writer, and the server for everybody.
#[test]
fn a_damaged_dictionary_is_turned_away_and_the_others_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let open = |epoch| {
        let store = Arc::new(Store::open(folder.path(), 1, Epoch(epoch)).unwrap());
        worker(store, Arc::new(Feeds::new(16)))
    };
    let (answers_to, mut answers) = mpsc::channel(16);
    let ask = |worker: &Worker, batch, dictionary: &str, millis| {
        let op = op("k", millis, &format!("\"{dictionary}\""));
        worker.queue.push(write(dictionary, batch, vec![op], &answers_to));
    };
    let mut before = open(1);
    ask(&before, 1, "main", 1);
    ask(&before, 2, "other", 1);
    turn(&mut before);
    assert_eq!(answered(&mut answers).len(), 2);
    drop(before);
    let path = folder.path().join("keybook.redb");
    let mut file = std::fs::read(&path).unwrap();
    let value = br#""other""#;
    let found: Vec<_> = (0..file.len() - value.len()).filter(|&at| file[at..].starts_with(value)).collect();
    assert!(!found.is_empty());
    for at in found {
        file[at + 1] ^= 1;
    }
    std::fs::write(&path, file).unwrap();

    let mut worker = open(2);
    // The damaged one is met behind one that has been applied, and before one that has not.
    for (batch, dictionary) in [(3, "main"), (4, "other"), (5, "third"), (6, "main")] {
        ask(&worker, batch, dictionary, batch);
    }
    turn(&mut worker);
    assert_eq!(answered(&mut answers), [], "nothing of it remains");
    assert_eq!(worker.damage.found().keys().collect::<Vec<_>>(), [&name("other")]);
    turn(&mut worker);
    let mut receipts: Vec<_> = std::iter::from_fn(|| answers.try_recv().ok()).collect();
    receipts.sort_by_key(|answer| answer.batch);
    let busy = Outcome::Excepted { code: AckCode::Busy, data: DISK_RETRY_MS };
    let found: Vec<_> = receipts
        .iter()
        .map(|answer| (answer.batch.unwrap(), answer.receipt.seq.0, answer.receipt.outcomes[0]))
        .collect();
    let applied = Outcome::Applied;
    assert_eq!(found, [(3, 2, applied), (4, 0, busy), (5, 1, applied), (6, 3, applied)]);
    assert_eq!(worker.store.summary(&name("third")).unwrap().counters.live, 1);
    ask(&worker, 7, "other", 7);
    turn(&mut worker);
    assert_eq!(answers.try_recv().unwrap().receipt.outcomes, [busy], "and from then on at once");
}

/// On a full disk nothing could be removed, which is what people do then. And a Resolve was dropped without a word, and stayed on its way
/// until its client came back.
#[test]
fn on_a_full_disk_removes_go_on_for_a_while() {
    let mut worker = worker(Arc::new(faulty::store().0), Arc::new(Feeds::new(16)));
    let (answers_to, mut answers) = mpsc::channel(16);
    let mut ask = |worker: &mut Worker, command| {
        let Write { dictionary, actor, reply, .. } = write("main", 1, Vec::new(), &answers_to);
        worker.queue.push(Write::new(dictionary, actor, command, reply));
        turn(worker);
        answers.try_recv().unwrap().receipt.outcomes
    };
    let put = |key: &str, millis| op(key, millis, "1");
    let remove = |key: &str, millis| {
        let stamp = Stamp::new(HybridTime::from_millis(millis), false, ReplicaId(millis));
        Op { value: None, stamp, ..op(key, millis, "1") }
    };
    let writes = |millis| Command::Push {
        ops: vec![put("c", millis), remove("a", millis), put("d", millis), remove("b", millis)],
    };
    let id = ConflictId { key: Key::parse("a").unwrap(), loser: put("a", 1).stamp };
    let resolve = Command::Resolve { id, resolution: Resolution::Restored };
    let (applied, busy) = (Outcome::Applied, Outcome::Excepted { code: AckCode::Busy, data: DISK_RETRY_MS });
    assert_eq!(ask(&mut worker, Command::Push { ops: vec![put("a", 1), put("b", 1)] }), [applied; 2]);

    let mut config = endless();
    config.disk_reserve_bytes = u64::MAX;
    worker.disk = Disk::new(&config);
    assert_eq!(ask(&mut worker, writes(2)), [busy, applied, busy, applied]);
    assert_eq!(ask(&mut worker, Command::Push { ops: vec![put("e", 3)] }), [busy]);
    let group = |ops| Command::Group { ops, conditions: Vec::new() };
    assert_eq!(ask(&mut worker, group(vec![put("f", 3), remove("a", 3)])), [busy; 2], "all or none");
    assert_eq!(ask(&mut worker, group(vec![remove("a", 3)])).len(), 1);
    assert_eq!(ask(&mut worker, resolve.clone()).len(), 1);
    assert_ne!(ask(&mut worker, resolve.clone()), [busy]);

    config.disk_last_reserve_bytes = u64::MAX;
    worker.disk = Disk::new(&config);
    assert_eq!(ask(&mut worker, resolve), [busy]);
    assert_eq!(ask(&mut worker, writes(4)), [busy; 4]);

    worker.disk = Disk::new(&endless());
    assert_eq!(ask(&mut worker, Command::Push { ops: vec![put("a", 5)] }), [applied]);
    let counters = worker.store.summary(&name("main")).unwrap().counters;
    assert_eq!((counters.live, counters.tombstones), (1, 1));
}

#[tokio::test]
async fn a_commit_that_fails_is_neither_answered_nor_shown_nor_tried_again() {
    let (store, fails) = faulty::store();
    let feeds = Arc::new(Feeds::new(16));
    let mut follower = feeds.subscribe(&name("main"));
    let (writer, thread) =
        Writer::start(Arc::new(store), Arc::default(), feeds, Limits::default(), Disk::new(&endless())).unwrap();
    let (answers_to, mut answers) = mpsc::channel(16);
    send(&writer, push("main", 1, 1, &answers_to));
    assert_eq!(answers.recv().await.unwrap().batch, Some(1));
    assert!(matches!(follower.next().await, News::Event(Event::Commit(commit)) if commit.to == Seq(1)));
    assert!(writer.is_working());

    fails.store(true, Ordering::SeqCst);
    send(&writer, push("main", 2, 1, &answers_to));
    writer.failed().await;
    assert!(!writer.is_working());
    assert!(thread.join().unwrap_err().to_string().contains("the disk is broken"));
    drop(answers_to);
    assert!(answers.recv().await.is_none(), "no answer");
    assert_eq!(commits(&mut follower), []);
    let (answers_to, mut answers) = mpsc::channel(16);
    send(&writer, push("main", 3, 1, &answers_to));
    drop(answers_to);
    assert!(answers.recv().await.is_none(), "it takes nothing more");
}
