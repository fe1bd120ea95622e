//! The base by itself.

use super::*;
use crate::{
    AuthorId, AuthorName, Contributor, HybridTime, ReplicaId, Stamp, Value,
    wire::{WireChange, WireChanges, WireEntry},
};

const DICTIONARY: DictionaryId = DictionaryId(7);

fn lineage(epoch: u64) -> Lineage {
    Lineage { past: Vec::new(), current: Epoch(epoch) }
}

fn entry(seq: u64) -> Entry {
    let stamp = Stamp::new(HybridTime::from_millis(seq), true, ReplicaId(1));
    Entry { value: Some(Value::from_text("x")), stamp, seq: Seq(seq), author: AuthorId(1) }
}

/// A Delta with one entry at `to`, and its author, who was new at 2.
fn delta(prev: u64, to: u64, more: bool) -> Delta {
    let Entry { value, stamp, .. } = entry(to);
    let author = Author { id: AuthorId(1), name: AuthorName::new("Ada") };
    let author = Contributor { number: 1, author, made: Seq(2), seq: Seq(2) };
    let row = WireEntry { key: Key::parse(&format!("k{to}")).unwrap(), value, stamp, author: 1, back: None };
    let changes = WireChanges(vec![WireChange::Author(author), WireChange::Entry(row)]);
    Delta { to: Seq(to), advance: to - prev, changes, more: more.then_some(true) }
}

fn follow(base: &mut Base, prev: u64, to: u64, more: bool) -> Followed {
    base.handle_delta(delta(prev, to, more), b"frame", &mut |_, _, _| ()).unwrap()
}

/// A base that is settled at 2.
fn settled() -> Base {
    let mut base = Base::new();
    base.follow(DICTIONARY, lineage(1), Horizon::default(), Seq(2));
    assert!(matches!(follow(&mut base, 0, 2, false), Followed::Applied { .. }));
    assert!(base.is_settled());
    base
}

#[test]
fn it_is_settled_when_it_has_come_to_what_the_server_had() {
    let mut base = Base::new();
    base.follow(DICTIONARY, lineage(1), Horizon::default(), Seq(5));
    assert!(!base.is_settled(), "Deltas are to come");
    follow(&mut base, 0, 3, true);
    assert_eq!((base.is_settled(), base.cursor()), (false, Seq(0)), "it is of no moment");
    follow(&mut base, 3, 5, false);
    assert_eq!((base.is_settled(), base.cursor()), (true, Seq(5)));
    base.handle_disconnected();
    assert!(!base.is_settled());
    base.follow(DICTIONARY, lineage(1), Horizon::default(), Seq(5));
    assert!(base.is_settled(), "nothing has changed meanwhile");
}

#[test]
fn a_delta_continues_what_was_applied() {
    let mut base = settled();
    assert_eq!(follow(&mut base, 3, 4, false), Followed::Gap);
    base.handle_resume();
    assert_eq!(follow(&mut base, 4, 5, false), Followed::Known, "it was on its way before the Resume");
    assert!(matches!(follow(&mut base, 2, 5, false), Followed::Applied { .. }));
    assert_eq!(follow(&mut base, 2, 4, false), Followed::Known);
}

#[test]
fn a_cut_catch_up_begins_again_at_the_cursor() {
    let mut base = settled();
    follow(&mut base, 2, 4, true);
    base.handle_disconnected();
    assert_eq!(base.take_change(), None);
    base.follow(DICTIONARY, lineage(1), Horizon::default(), Seq(6));
    assert!(matches!(follow(&mut base, 2, 6, false), Followed::Applied { .. }));
}

/// A page was cut in the middle of a catch-up, and kept what it had as the state of the moment before it.
#[test]
fn what_a_cut_catch_up_has_left_is_of_no_moment_over_the_next_connection_either() {
    let mut base = settled();
    base.handle_stored(&Stored::default()).unwrap();
    base.take_change().unwrap();
    follow(&mut base, 2, 4, true);
    base.handle_disconnected();
    let server = Lineage { past: vec![crate::PastEpoch { epoch: Epoch(1), end: Seq(5) }], current: Epoch(2) };
    assert_eq!(base.join(DICTIONARY, &server, Seq(6)), Joined::Forked(Some(Seq(4))));
    assert_eq!(base.step_back(Seq(4)), []);
    base.follow(DICTIONARY, server.clone(), Horizon::default(), Seq(6));
    base.keep_whole();
    assert_eq!(base.take_change(), None, "it has been at 4 and not at 3");
    // Nor is it known what has come, once more.
    base.handle_disconnected();
    assert_eq!(base.join(DICTIONARY, &Lineage { current: Epoch(3), ..server }, Seq(6)), Joined::Forked(Some(Seq(4))));
    assert!(matches!(follow(&mut base, 2, 6, false), Followed::Applied { .. }));
    assert_eq!(base.take_change().map(|change| change.after), Some(Seq(2)));
}

#[test]
fn what_is_above_a_fork_is_taken_back() {
    let mut base = settled();
    follow(&mut base, 2, 3, false);
    let server = Lineage { past: vec![crate::PastEpoch { epoch: Epoch(1), end: Seq(2) }], current: Epoch(2) };
    assert_eq!(base.join(DICTIONARY, &server, Seq(2)), Joined::Forked(Some(Seq(2))));
    assert_eq!(base.join(DICTIONARY, &lineage(9), Seq(2)), Joined::Forked(None));
    assert_eq!(base.join(DictionaryId(8), &server, Seq(2)), Joined::Other);
    let key = Key::parse("k3").unwrap();
    assert_eq!(base.step_back(Seq(2)), [(key.clone(), entry(3))]);
    assert_eq!((base.cursor(), base.lacks(&key)), (Seq(2), true));
    assert!(base.lacks_any(|_| true));
    assert!(!base.lacks_any(|_| false) && !base.lacks(&key));
}

#[test]
fn only_a_snapshot_completes_it() {
    let mut base = settled();
    base.handle_incomplete();
    base.handle_disconnected();
    base.follow(DICTIONARY, lineage(1), Horizon::default(), Seq(2));
    assert!(base.is_incomplete());
    let header = Header {
        dictionary: DICTIONARY,
        lineage: lineage(1),
        seq: Seq(9),
        horizon: Horizon::default(),
        digest: Digest::default(),
    };
    let (authors, conflicts) = (Authors::default(), Conflicts::default());
    let snapshot = Snapshot { header, base: Dictionary::new(), authors, conflicts };
    base.handle_snapshot(snapshot, &mut |_, _, _| ());
    assert!(!base.is_settled());
    follow(&mut base, 9, 10, false);
    assert_eq!((base.is_settled(), base.cursor()), (true, Seq(10)));
}

#[test]
fn what_a_store_has_kept_is_checked() {
    let mut base = settled();
    base.handle_stored(&Stored::default()).unwrap();
    let change = base.take_change().unwrap();
    let mut stored = Stored { header: change.header, snapshot: change.snapshot.unwrap(), ..Stored::default() };
    let mut read = Base::new();
    read.handle_stored(&stored).unwrap();
    assert_eq!((read.cursor(), read.entries()), (Seq(2), base.entries()));
    assert_eq!(read.take_change(), None, "the store has it");
    stored.deltas.push(ServerFrame::Delta(delta(2, 3, false)).encode());
    let mut read = Base::new();
    assert!(matches!(read.handle_stored(&stored), Err(StoredError::Digest)));
    assert_eq!((read.cursor(), read.entries().live()), (Seq(0), 0));
    stored.deltas = vec![ServerFrame::Horizon(Horizon::default()).encode()];
    assert!(matches!(Base::new().handle_stored(&stored), Err(StoredError::NoDelta)));
}

/// An author above a fork has a number that the server may have given to somebody else; a name that changed there, only the server
/// knows as it was before.
#[test]
fn authors_above_a_fork_are_forgotten() {
    let author = |number: u16, made: u64, seq: u64| {
        let author = Author { id: AuthorId(number.into()), name: AuthorName::new(&format!("Author {number}")) };
        Contributor { number, author, made: Seq(made), seq: Seq(seq) }
    };
    let mut base = settled();
    let changes = WireChanges(vec![WireChange::Author(author(2, 3, 3))]);
    let delta = Delta { to: Seq(3), advance: 1, changes, more: None };
    base.handle_delta(delta, b"frame", &mut |_, _, _| ()).unwrap();
    base.take_authors(Seq(2));
    assert_eq!((base.authors().number(AuthorId(1)), base.authors().number(AuthorId(2))), (1, 0));
    assert_eq!(base.name(AuthorId(2)).as_str(), "Author 2", "what comes back is shown with it");
    assert!(!base.is_incomplete());

    let changes = WireChanges(vec![WireChange::Author(author(1, 2, 4))]);
    let delta = Delta { to: Seq(4), advance: 1, changes, more: None };
    let followed = base.handle_delta(delta, b"frame", &mut |_, _, _| ()).unwrap();
    assert_eq!(followed, Followed::Applied { has_conflicts: false, has_names: true });
    base.take_authors(Seq(3));
    assert!(base.is_incomplete());
}
