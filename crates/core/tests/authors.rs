//! Authors: who wrote what, what they are called, and how many a dictionary knows.

mod support;

use keybook_core::{
    Author, AuthorId, AuthorName, Branch, Epoch, PastEpoch, Seq,
    client::Event,
    limits::{AUTHORS_MAX, Limits},
    server::{Actor, Command, Context, Hub, Outcome, Receipt, Record},
    wire::{AckCode, Change, ClientFrame, Op, Role},
};
use support::{author, key, pair::Group, put_stamp, store::Store};

fn named(id: u64, name: &str) -> Author {
    Author { id: AuthorId(id), name: AuthorName::new(name) }
}

fn put(name: &str, ms: u64) -> Op {
    let (key, value) = (name.to_owned(), Some(ms.to_string()));
    Op { key, value, stamp: put_stamp(ms, ms), seen: vec![put_stamp(ms - 1, ms - 1)], author: None, recovered: None }
}

/// A dictionary, and who writes to it.
struct Server {
    store: Store,
    hub: Hub,
}

impl Server {
    fn new() -> Self {
        let mut store = Store::default();
        store.start(Epoch(1));
        Self { hub: store.hub(), store }
    }

    fn apply(&mut self, role: Role, author: Author, command: Command) -> Receipt {
        let actor = Actor { role, author, replicas: Vec::new() };
        let context = Context { now_ms: 1_000_000, limits: Limits::default(), actor };
        let record = Record { at: self.hub.counters().head.next(), room_bytes: u64::MAX, context, command };
        let Ok(receipt) = self.store.write(|rows| self.hub.apply(rows, &record));
        receipt
    }

    fn write(&mut self, author: Author, op: Op) {
        let receipt = self.apply(Role::Writer, author, Command::Push { ops: vec![op] });
        assert_eq!(receipt.outcomes, [Outcome::Applied]);
    }

    fn finish(&mut self) -> Vec<Change> {
        let Ok(commit) = self.store.write(|rows| self.hub.finish(rows));
        self.store.contents().assert_consistent();
        commit.map_or(Vec::new(), |commit| commit.changes)
    }

    fn names(&self) -> Vec<String> {
        self.store.contents().known_authors().iter().map(|row| row.author.name.as_str().to_owned()).collect()
    }
}

/// Each write carried its author's id and name, and so any write renamed any author, for everybody and in all dictionaries.
#[test]
fn nobody_renames_another() {
    let mut server = Server::new();
    server.write(named(1, "Ada"), put("a", 1));
    let forged = Op { author: Some(named(1, "Mallory's fool")), ..put("b", 2) };
    server.write(named(2, "Mallory"), forged.clone());
    server.finish();
    assert_eq!(server.names(), ["Ada", "Mallory"]);
    assert_eq!(server.store.contents().entries[&key("b")].entry.author, AuthorId(2), "it counts as who sent it");

    // What comes back keeps its author, but not the name that it brings.
    let branch = Branch::new(vec![PastEpoch { epoch: Epoch(9), end: Seq(9) }]);
    server.write(named(2, "Mallory"), Op { key: "c".to_owned(), stamp: put_stamp(3, 3), recovered: branch, ..forged });
    server.finish();
    assert_eq!(server.names(), ["Ada", "Mallory"]);
    assert_eq!(server.store.contents().entries[&key("c")].entry.author, AuthorId(1));
}

#[test]
fn a_name_changes_by_its_author_alone() {
    let mut server = Server::new();
    let rename = |server: &mut Server, role, author| server.apply(role, author, Command::Name).outcomes[0];
    assert_eq!(rename(&mut server, Role::Writer, named(1, "Ada")), AckCode::Duplicate.into(), "nobody has written");
    assert_eq!(server.finish(), []);
    server.write(named(1, "Ada"), put("a", 1));
    server.write(named(2, "Bo"), put("a", 2));
    server.finish();
    assert_eq!(rename(&mut server, Role::Reader, named(1, "Eve")), AckCode::ReadOnly.into());
    assert_eq!(rename(&mut server, Role::Writer, named(1, "Ada")), AckCode::Duplicate.into());
    assert_eq!(rename(&mut server, Role::Writer, named(1, "Eve")), Outcome::Applied);
    let changes = server.finish();
    assert!(
        matches!(&changes[..], [Change::Author(Seq(3), row)] if row.author == named(1, "Eve") && row.made == Seq(1))
    );
    assert_eq!(server.names(), ["Eve", "Bo"]);
    // Who reads from the beginning meets an author before what that one has written.
    let changes = server.store.catch_up(Seq(0), usize::MAX).changes;
    let seqs: Vec<_> = changes.iter().map(|change| (change.seq().0, matches!(change, Change::Author(..)))).collect();
    assert_eq!(seqs, [(1, true), (2, true), (2, false), (3, true)]);
}

/// New and renamed in one transaction: the author still comes before the first write.
#[test]
fn who_is_new_comes_first() {
    let mut server = Server::new();
    server.write(named(1, "Ada"), put("a", 1));
    server.apply(Role::Writer, named(1, "Eve"), Command::Name);
    let changes = server.finish();
    assert!(matches!(&changes[..], [Change::Author(Seq(1), row), Change::Entry(..)] if row.seq == Seq(2)));
}

/// A stranger makes up a million authors. A dictionary knows so many, and the others are somebody.
#[test]
fn authors_are_bounded() {
    let mut server = Server::new();
    for n in 1..=u64::from(AUTHORS_MAX) + 3 {
        server.write(author(n), put("k", n));
    }
    server.finish();
    assert_eq!(server.hub.counters().authors, AUTHORS_MAX);
    assert_eq!(server.store.contents().entries[&key("k")].entry.author, AuthorId::SOMEBODY);
    server.write(author(7), put("k", 100_000));
    server.finish();
    assert_eq!(server.store.contents().entries[&key("k")].entry.author, author(7).id, "who is known stays known");
    assert!(server.store.snapshot().len() < 1_000_000, "of so many a snapshot is a megabyte");
}

#[test]
fn a_person_who_takes_another_name_is_called_so_by_all() {
    let mut group = Group::new(3, Limits::default());
    group.put(0, "k", "1");
    group.settle();
    let now_ms = group.now_ms;
    group.members[1].events.clear();
    group.client(0).set_name(AuthorName::new("Eve"), now_ms);
    group.settle();
    assert_eq!(group.client(1).name(author(1).id).as_str(), "Eve");
    assert!(group.members[1].events.contains(&Event::Names));

    // While there is no connection, the next Hello tells it; and who writes nothing leaves nothing.
    group.disconnect();
    group.client(0).set_name(AuthorName::new("Zoë"), now_ms);
    group.client(2).set_name(AuthorName::new("Nobody"), now_ms);
    let head = group.store.contents().counters.head;
    group.connected = true;
    group.pass(60_000);
    assert_eq!(group.client(1).name(author(1).id).as_str(), "Zoë");
    assert_eq!((group.client(1).authors().iter().count(), group.store.contents().counters.head), (1, head.next()));
    assert!(
        !group.members[0].sent.iter().any(|frame| {
            matches!(frame, ClientFrame::Push { ops, .. } if ops.iter().any(|op| op.author.is_some()))
        })
    );
}

/// A name that the server had turned away, as its disk had no room, was told again over the next connection alone.
#[test]
fn a_name_that_was_turned_away_is_told_again_with_the_next_write() {
    let mut group = Group::new(2, Limits::default());
    group.put(0, "k", "1");
    group.settle();
    let now_ms = group.now_ms;
    group.takes_names = false;
    group.client(0).set_name(AuthorName::new("Eve"), now_ms);
    group.settle();
    let called = |group: &mut Group| group.client(1).name(author(1).id).as_str().to_owned();
    assert_ne!(called(&mut group), "Eve");
    group.takes_names = true;
    group.put(0, "k", "2");
    group.settle();
    assert_eq!(called(&mut group), "Eve");
    let sent =
        |group: &Group| group.members[0].sent.iter().filter(|frame| matches!(frame, ClientFrame::Name { .. })).count();
    assert_eq!(sent(&group), 2);

    group.put(0, "k", "3");
    group.settle();
    assert_eq!(sent(&group), 2, "what the server has is not told again");
}

/// A server is set back to before an author's first write, and another author's first write gets the same number.
#[test]
fn a_number_may_be_given_again_after_a_rollback() {
    let mut group = Group::new(3, Limits::default());
    group.put(0, "a", "1");
    group.settle();
    let (backup, now_ms) = (group.store.clone(), group.now_ms);
    let mut third = group.members.remove(2);
    third.client.handle_disconnected(now_ms, 0);
    third.session = None;
    group.put(1, "b", "2");
    group.settle();
    assert_eq!(group.client(0).authors().number(author(2).id), 2);
    group.restart(backup, 2);
    // The third one comes before those who bring the lost write back.
    let others = std::mem::replace(&mut group.members, vec![third]);
    group.put(0, "c", "3");
    group.pass(60_000);
    group.members.splice(0..0, others);
    group.pass(60_000);
    for index in 0..3 {
        let client = &group.members[index].client;
        assert_eq!([1, 2, 3].map(|id| client.authors().number(author(id).id)), [1, 3, 2], "client {index}");
        let by = |name: &str| client.shown(&key(name)).map(|shown| shown.author);
        assert_eq!([by("a"), by("b"), by("c")], [1, 2, 3].map(|id| Some(author(id).id)));
        assert_eq!((client.verified(), client.divergences()), (Some(client.cursor()), 0));
        assert_eq!(group.members[index].fetches, 0, "nobody fetches all");
    }
}
