//! Who may write as whom: a replica and an author are proven by secrets, and what is not proven hides nothing.

mod support;

use keybook_core::{
    Conflict, ConflictId, Key, ReplicaId, Resolution, Seq, Side, Stamp, Winner,
    client::Client,
    limits::{Limits, REPLICAS_MAX},
    server::{Actor, Command, Context, Hub, Outcome, Receipt, Record, Request, Session},
    wire::{AckCode, ClientFrame, Op, Role},
};
use support::{author, key, pair::Group, person, put_stamp, secret, store::Store, value};

/// A dictionary, to which several connections write.
struct Server {
    store: Store,
    hub: Hub,
}

/// The replica of the honest one.
const VICTIM: u64 = 1;
const MALLORY: u64 = 2;

impl Server {
    fn new() -> Self {
        let mut store = Store::default();
        store.start(keybook_core::Epoch(1));
        Self { hub: store.hub(), store }
    }

    /// A write over the connection of somebody, who has proven the replica of that number and no other.
    fn write(&mut self, by: u64, op: Op) -> Receipt {
        self.apply(by, Command::Push { ops: vec![op] })
    }

    fn apply(&mut self, by: u64, command: Command) -> Receipt {
        let actor = Actor { role: Role::Writer, author: author(by), replicas: vec![ReplicaId(by)] };
        let context = Context { now_ms: 1_000_000, limits: Limits::default(), actor };
        let record = Record { at: self.hub.counters().head.next(), room_bytes: u64::MAX, context, command };
        let Ok(receipt) = self.store.write(|rows| self.hub.apply(rows, &record));
        let Ok(_) = self.store.write(|rows| self.hub.finish(rows));
        self.store.contents().assert_consistent();
        receipt
    }

    fn value(&self) -> String {
        let contents = self.store.contents();
        contents.entries[&key("k")].entry.value.as_ref().map(|value| value.as_str().to_owned()).unwrap_or_default()
    }

    /// The values that lost, as the conflict rows have them.
    fn lost(&self) -> Vec<String> {
        let contents = self.store.contents();
        let values = contents.conflicts.values().filter_map(|row| row.conflict.loser.value.clone());
        values.map(|value| value.as_str().to_owned()).collect()
    }
}

fn put(json: &str, ms: u64, replica: u64, seen: Stamp) -> Op {
    let (key, value) = ("k".to_owned(), Some(json.to_owned()));
    Op { key, value, stamp: put_stamp(ms, replica), seen: vec![seen], author: None, recovered: None }
}

/// Mallory wrote under the replica of somebody else, without having seen that one's value, and it lost without row or version: it counted as
/// replaced by its own writer.
#[test]
fn a_blind_write_under_anothers_replica_is_a_conflict() {
    let mut server = Server::new();
    server.write(VICTIM, put("1", 10, VICTIM, Stamp::ZERO));
    server.write(MALLORY, put("2", 20, VICTIM, Stamp::ZERO));
    assert_eq!((server.value().as_str(), server.lost()), ("2", vec!["1".to_owned()]));

    // And what its own replica writes later, blind, over what Mallory wrote in its name.
    let mut server = Server::new();
    server.write(MALLORY, put("2", 20, VICTIM, Stamp::ZERO));
    let receipt = server.write(VICTIM, put("1", 10, VICTIM, Stamp::ZERO));
    assert_eq!(receipt.outcomes, [AckCode::Superseded.into()]);
    assert_eq!((server.value().as_str(), server.lost()), ("2", vec!["1".to_owned()]));
}

#[test]
fn proven_writes_of_a_replica_do_not_conflict() {
    let mut server = Server::new();
    server.write(VICTIM, put("2", 20, VICTIM, Stamp::ZERO));
    server.write(VICTIM, put("1", 10, VICTIM, Stamp::ZERO));
    server.write(VICTIM, put("3", 30, VICTIM, Stamp::ZERO));
    assert_eq!((server.value().as_str(), server.lost().len()), ("3", 0));
}

/// A page takes edits over whose secret got lost: they are nobody's own, but say what they have replaced.
#[test]
fn what_is_not_proven_says_what_it_has_seen() {
    let mut server = Server::new();
    let first = put("1", 10, VICTIM, Stamp::ZERO);
    server.write(VICTIM, first.clone());
    let mut second = put("2", 20, VICTIM, Stamp::ZERO);
    second.seen.push(first.stamp);
    server.write(MALLORY, second);
    assert_eq!((server.value().as_str(), server.lost().len()), ("2", 0));
}

/// Mallory guesses the stamp that a write of somebody else will have. That write came as known then, and was acknowledged, and gone.
#[test]
fn a_guessed_stamp_hides_no_write() {
    // It is the entry.
    let mut server = Server::new();
    server.write(MALLORY, put("9", 10, VICTIM, Stamp::ZERO));
    assert_eq!(server.write(VICTIM, put("1", 10, VICTIM, Stamp::ZERO)).outcomes, [Outcome::Applied]);
    assert_eq!(server.value(), "1");
    // Mallory's does not come back, however great its value.
    assert_eq!(server.write(MALLORY, put("9", 10, VICTIM, Stamp::ZERO)).outcomes, [AckCode::Duplicate.into()]);
    assert_eq!(server.value(), "1");

    // It has been replaced meanwhile.
    let mut server = Server::new();
    server.write(MALLORY, put("9", 10, VICTIM, Stamp::ZERO));
    server.write(MALLORY, put("5", 20, MALLORY, put_stamp(10, VICTIM)));
    let receipt = server.write(VICTIM, put("1", 10, VICTIM, Stamp::ZERO));
    assert_eq!(receipt.outcomes, [AckCode::Superseded.into()]);
    assert_eq!((server.value().as_str(), server.lost()), ("5", vec!["1".to_owned()]));
}

/// Mallory guesses the stamp that a write of somebody else will have, and loses with it. The conflict row of that name was taken then, and
/// the real write lost without one.
#[test]
fn a_guessed_stamp_takes_no_conflict_row() {
    let guessed = || put("9", 10, VICTIM, Stamp::ZERO);
    let id = || ConflictId { key: key("k"), loser: put_stamp(10, VICTIM) };
    let dismiss = || Command::Resolve { id: id(), resolution: Resolution::Dismissed };
    for is_closed in [false, true] {
        let mut server = Server::new();
        server.write(3, put("5", 20, 3, Stamp::ZERO));
        server.write(MALLORY, guessed());
        assert_eq!(server.lost(), ["9"]);
        if is_closed {
            assert_eq!(server.apply(MALLORY, dismiss()).outcomes, [Outcome::Applied]);
        }
        let receipt = server.write(VICTIM, put("1", 10, VICTIM, Stamp::ZERO));
        assert_eq!((receipt.outcomes, server.lost()), (vec![AckCode::Superseded.into()], vec!["1".to_owned()]));
        let row = server.store.contents().conflicts[&id()].clone();
        assert_eq!((row.conflict.loser.author, row.maker, row.is_proven), (author(VICTIM).id, author(VICTIM).id, true));
        assert_eq!((row.conflict.seq, row.conflict.is_open()), (receipt.seq, true), "everybody is told");
        // It gives way to nobody, and once is enough.
        for (by, op) in [(MALLORY, guessed()), (VICTIM, put("1", 10, VICTIM, Stamp::ZERO))] {
            assert_eq!(server.write(by, op).outcomes, [AckCode::Duplicate.into()]);
        }
        assert_eq!(server.apply(VICTIM, dismiss()).outcomes, [Outcome::Applied]);
        for (by, op) in [(MALLORY, guessed()), (VICTIM, put("1", 10, VICTIM, Stamp::ZERO))] {
            assert_eq!(server.write(by, op).outcomes, [AckCode::Duplicate.into()]);
        }
        assert_eq!(server.lost(), Vec::<String>::new());
        let contents = server.store.contents();
        let versions: Vec<_> =
            contents.versions.values().map(|version| (version.value.clone(), version.author)).collect();
        assert_eq!(versions, [(Some(value("1")), author(VICTIM).id)]);
    }
}

/// After a rollback Mallory brings a row "back" that was never there. Its own replica brings the real one.
#[test]
fn a_made_up_row_gives_way_to_the_one_that_was_lost() {
    let mut server = Server::new();
    server.write(3, put("5", 20, 3, Stamp::ZERO));
    let row = |json: &str, by: u64| {
        let loser = Side { value: Some(value(json)), stamp: put_stamp(10, VICTIM), author: author(by).id };
        let winner = Winner { stamp: put_stamp(20, 3), author: author(3).id };
        let conflict = Conflict { key: key("k"), loser, winner, seq: Seq(9), resolution: Resolution::Open };
        Command::Recover { conflicts: vec![conflict], authors: vec![author(by), author(3)] }
    };
    assert_eq!(server.apply(MALLORY, row("9", MALLORY)).outcomes, [Outcome::Applied]);
    assert_eq!(server.apply(VICTIM, row("1", VICTIM)).outcomes, [Outcome::Applied]);
    assert_eq!(server.lost(), ["1"]);
    for (by, row) in [(MALLORY, row("9", MALLORY)), (VICTIM, row("1", VICTIM)), (VICTIM, row("2", VICTIM))] {
        assert_eq!(server.apply(by, row).outcomes, [AckCode::Duplicate.into()]);
    }
    let contents = server.store.contents();
    let versions: Vec<_> = contents.versions.values().map(|version| version.value.clone()).collect();
    assert_eq!((server.lost(), versions), (vec!["1".to_owned()], vec![Some(value("1"))]));
}

/// A write that was taken already comes again over another connection, which proves nothing: it is the same write.
#[test]
fn a_resend_over_another_connection_is_known() {
    let mut server = Server::new();
    let first = put("1", 10, VICTIM, Stamp::ZERO);
    server.write(VICTIM, first.clone());
    for by in [VICTIM, MALLORY] {
        assert_eq!(server.write(by, first.clone()).outcomes, [AckCode::Duplicate.into()]);
    }
    server.write(MALLORY, put("2", 20, MALLORY, first.stamp));
    for by in [VICTIM, MALLORY] {
        assert_eq!(server.write(by, first.clone()).outcomes, [AckCode::Duplicate.into()]);
    }
    assert_eq!(server.lost(), Vec::<String>::new());
}

/// A connection proves what it has the secrets of, and nothing that it says.
#[test]
fn a_session_proves_by_secrets() {
    let mut store = Store::default();
    store.start(keybook_core::Epoch(1));
    let now = keybook_core::server::Now::both(0);
    let mut session = Session::new(Limits::default(), now);
    session.handle_message(&ClientFrame::hello(secret(1), person(7)).encode(), now);
    assert!(matches!(session.poll_request(), Some(Request::Open { .. })));
    session.handle_opened(store.opened(), now);
    let replicas = |session: &Session| session.actor().unwrap().replicas.clone();
    assert_eq!((replicas(&session), session.actor().unwrap().author.id), (vec![secret(1).replica()], author(7).id));
    for number in 2..100 {
        session.handle_message(&ClientFrame::Prove { replicas: vec![secret(number)] }.encode(), now);
    }
    let replicas = replicas(&session);
    assert_eq!((replicas.len(), replicas[0]), (REPLICAS_MAX, secret(1).replica()));
    assert_eq!(replicas.last(), Some(&secret(99).replica()));
    assert!(!session.is_closed());
}

/// A page ends with edits, and another page of the device takes them over. With the secret it writes as the page that has ended.
#[test]
fn who_takes_edits_over_takes_the_secret_over() {
    let mut group = Group::new(2, Limits::default());
    let now_ms = group.now_ms;
    group.put(0, "k", "1");
    group.settle();
    group.disconnect();
    // It sent the first of these and has lost the ack, as it were; the device has both.
    group.put(0, "k", "2");
    let rows = group.client(0).take_outbox_change();
    let rows: Vec<(Key, Vec<u8>)> = rows.into_iter().filter_map(|(key, rows)| Some((key, rows?))).collect();
    group.members[0].client = Client::new(secret(9), person(1), now_ms);
    group.client(0).adopt_rows(&rows, now_ms);
    group.connected = true;
    group.settle();
    group.pass(60_000);
    let proven: Vec<ReplicaId> = group.members[0]
        .sent
        .iter()
        .flat_map(|frame| match frame {
            ClientFrame::Hello { replicas, .. } | ClientFrame::Prove { replicas } => replicas.clone(),
            _ => Vec::new(),
        })
        .map(|secret| secret.replica())
        .collect();
    assert!(proven.contains(&secret(1).replica()));
    let contents = group.store.contents();
    let row = &contents.entries[&key("k")];
    assert_eq!((row.entry.value.clone(), row.entry.stamp.replica()), (Some(value("2")), secret(1).replica()));
    assert!(row.is_proven);
    assert_eq!(group.store.conflict_rows().iter().filter(|row| Conflict::is_open(row)).count(), 0);
    assert_eq!(row.entry.seq, Seq(2));
}
