//! The writer's transactions: what one takes, and what becomes of one that fails.

use std::sync::atomic::Ordering;

use keybook_core::{
    Author, AuthorId, AuthorName, HybridTime, ReplicaId, Seq, Stamp,
    wire::{Op, Role},
};
use keybook_store::testing::faulty;

use super::*;
use crate::feeds::News;

fn name(name: &str) -> DictionaryName {
    DictionaryName::parse(name).unwrap()
}

fn push(dictionary: &str, batch: u64, ops: usize, answers: &mpsc::Sender<Answer>) -> Order {
    let author = Author { id: AuthorId(1), name: AuthorName::new("Ada") };
    let actor = Actor { role: Role::Writer, author };
    let op = |number| {
        let stamp = Stamp::new(HybridTime::from_millis(1), true, ReplicaId(1));
        let (key, value) = (format!("{batch}-{number}"), Some("1".to_owned()));
        Op { key, value, stamp, seen: vec![Stamp::ZERO], author: None, recovered: None }
    };
    let (dictionary, command) = (name(dictionary), Command::Push { ops: (0..ops).map(op).collect() });
    Order::Write(Write { dictionary, actor, command, reply: Reply { batch, to: answers.clone() } })
}

/// The head after each commit that a follower has been told.
fn commits(subscription: &mut crate::feeds::Subscription) -> Vec<(Seq, Seq)> {
    std::iter::from_fn(|| subscription.try_next())
        .map(|news| match news {
            News::Event(Event::Commit(commit)) => (commit.prev, commit.to),
            other => panic!("no commit: {other:?}"),
        })
        .collect()
}

#[test]
fn what_waits_shares_a_transaction() {
    let store = Arc::new(faulty::store().0);
    let feeds = Arc::new(Feeds::new(16));
    let (mut main, mut other) = (feeds.subscribe(&name("main")), feeds.subscribe(&name("other")));
    let (commands, waiting) = mpsc::channel(16);
    let (answers_to, mut answers) = mpsc::channel(16);
    let (limits, hubs) = (Limits::default(), HashMap::new());
    let (disk_reserve_bytes, is_disk_full) = (0, false);
    let mut worker = Worker { store: store.clone(), feeds, limits, disk_reserve_bytes, is_disk_full, waiting, hubs };

    for (batch, dictionary) in [(1, "main"), (2, "main"), (3, "other"), (4, "main")] {
        commands.try_send(push(dictionary, batch, 1, &answers_to)).unwrap();
    }
    let first = worker.waiting.try_recv().unwrap();
    let (taken, stop) = worker.drain(first);
    assert_eq!((taken.len(), stop), (4, false));
    worker.write(taken).unwrap();
    let answered: Vec<_> =
        std::iter::from_fn(|| answers.try_recv().ok()).map(|answer| (answer.batch, answer.receipt.seq.0)).collect();
    assert_eq!(answered, [(1, 1), (2, 2), (3, 1), (4, 3)]);
    assert_eq!(commits(&mut main), [(Seq(0), Seq(3))], "one Delta for three batches");
    assert_eq!(commits(&mut other), [(Seq(0), Seq(1))]);
    assert_eq!(store.summary(&name("main")).unwrap().counters.live, 3);

    // No further command once there are 1024 operations; and what comes behind Stop waits for nobody.
    for batch in 5..10 {
        commands.try_send(push("main", batch, 300, &answers_to)).unwrap();
    }
    commands.try_send(Order::Stop).unwrap();
    let first = worker.waiting.try_recv().unwrap();
    let (taken, stop) = worker.drain(first);
    assert_eq!((taken.len(), stop), (4, false));
    let first = worker.waiting.try_recv().unwrap();
    let (taken, stop) = worker.drain(first);
    assert_eq!((taken.len(), stop), (1, true));
}

#[tokio::test]
async fn a_commit_that_fails_is_neither_answered_nor_shown_nor_tried_again() {
    let (store, fails) = faulty::store();
    let feeds = Arc::new(Feeds::new(16));
    let mut follower = feeds.subscribe(&name("main"));
    let (writer, thread) = Writer::start(Arc::new(store), feeds, Limits::default(), 0).unwrap();
    let (answers_to, mut answers) = mpsc::channel(16);
    writer.reserve().await.unwrap().send(push("main", 1, 1, &answers_to));
    assert_eq!(answers.recv().await.unwrap().batch, 1);
    assert!(matches!(follower.next().await, News::Event(Event::Commit(commit)) if commit.to == Seq(1)));
    assert!(writer.is_working());

    fails.store(true, Ordering::SeqCst);
    writer.reserve().await.unwrap().send(push("main", 2, 1, &answers_to));
    writer.failed().await;
    assert!(!writer.is_working());
    assert!(thread.join().unwrap_err().to_string().contains("the disk is broken"));
    drop(answers_to);
    assert!(answers.recv().await.is_none(), "no answer");
    assert_eq!(commits(&mut follower), []);
    assert!(writer.reserve().await.is_none(), "it takes nothing more");
}
