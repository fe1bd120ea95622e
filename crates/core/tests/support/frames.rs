//! A sample of every frame, for the golden bytes and the round trips.

use keybook_core::{
    Author, AuthorId, AuthorName, AuthorNumbers, Branch, Conflict, ConflictId, Contributor, DictionaryId, Digest,
    Entry, Epoch, PastEpoch, ReplicaId, Resolution, Seq, Side, Stamp, Winner,
    limits::Limits,
    server::{Actor, Command, Context, Record},
    wire::{
        AckCode, AuthorTable, ByeCode, Change, Check, ClientFrame, Condition, Delta, Exception, Horizon, Mode, Op,
        Role, ServerFrame, VERSIONS, WireConflict,
    },
};
use keybook_store::Summary;

use super::{author, key, person, put_stamp, remove_stamp, secret, store::Store, value};

/// Every frame that a client sends.
pub fn client_frames() -> Vec<(&'static str, ClientFrame)> {
    let id = ConflictId { key: key("menu/☕"), loser: put_stamp(5, 6) };
    let mut authors = AuthorTable::default();
    let conflicts = vec![WireConflict::new(&conflict(), &mut |id| authors.position(id, &AuthorName::generated))];
    let recovered = Op {
        key: "menu/☕".into(),
        value: None,
        stamp: remove_stamp(3, 4),
        seen: vec![Stamp::ZERO],

        author: Some(author(3)),
        recovered: Branch::new(vec![
            PastEpoch { epoch: Epoch(3), end: Seq(9) },
            PastEpoch { epoch: Epoch(4), end: Seq(12) },
        ]),
    };
    let ops = ["a", "b"].map(|key| Op { key: key.into(), recovered: None, ..recovered.clone() }).into();
    let condition = |key: &str, stamp| Condition { key: key.into(), stamp };
    let conditions = vec![condition("a", Some(put_stamp(1, 2))), condition("c", None)];
    vec![
        ("hello", hello(3)),
        ("push", push(2, 2)),
        ("push-recovered", ClientFrame::Push { batch: 8, ops: vec![recovered] }),
        ("ping", ClientFrame::Ping { client_ms: 12 }),
        ("say-presence", presence(4)),
        ("resume", ClientFrame::Resume { epoch: Epoch(1), cursor: Seq(2) }),
        ("resolve", ClientFrame::Resolve { batch: 9, id, resolution: Resolution::Restored }),
        ("ask-check", ClientFrame::Check),
        ("recover", ClientFrame::Recover { batch: 10, conflicts, authors: authors.into_authors() }),
        ("group", ClientFrame::Group { batch: 11, ops, conditions }),
        ("name", ClientFrame::Name { name: AuthorName::new("Zoë") }),
        ("prove", ClientFrame::Prove { replicas: vec![secret(3)] }),
    ]
}

/// Every frame that a server sends.
pub fn server_frames() -> Vec<(&'static str, ServerFrame)> {
    let horizon = Horizon { seq: Seq(1), time_ms: 2 };
    let codes = [
        AckCode::Superseded,
        AckCode::Duplicate,
        AckCode::Busy,
        AckCode::ClockAhead,
        AckCode::Parked,
        AckCode::ReadOnly,
        AckCode::TooLarge,
        AckCode::BadKey,
        AckCode::Full,
        AckCode::BadValue,
        AckCode::NotAuthor,
        AckCode::ConditionFailed,
        AckCode::GroupRefused,
        AckCode::GroupTooLarge,
        AckCode::FullBytes,
    ];
    let exceptions = (0..).zip(codes).map(|(index, code)| Exception { index, code, data: 1 << 40 }).collect();
    let digest = Digest::from_bytes([7; 16]);
    vec![
        (
            "welcome",
            ServerFrame::Welcome {
                version: 1,
                role: Role::Writer,
                dictionary: DictionaryId(9),
                epoch: Epoch(8),
                lineage: past(2),
                head: Seq(7),
                horizon,
                server_ms: 6,
                mode: Mode::Snapshot,
                limits: Limits::default(),
            },
        ),
        ("delta", ServerFrame::Delta(delta())),
        ("ack", ServerFrame::Ack { batch: 1, seq: Seq(2), exceptions }),
        ("check", ServerFrame::Check(Check { seq: Seq(1), digest, live: 2, tombstones: 3, untold: 4 })),
        ("horizon-moved", ServerFrame::Horizon(horizon)),
        ("pong", ServerFrame::Pong { client_ms: 1, server_ms: 2 }),
        ("bye", ServerFrame::Bye { code: ByeCode::Shutdown, message: "bye".into(), retry_after_ms: 3 }),
        ("presence", ServerFrame::Presence { connection: 1, author: author(2), blob: Some(vec![3; 4].into()) }),
        ("presence-gone", ServerFrame::Presence { connection: 1, author: author(2), blob: None }),
    ]
}

fn delta() -> Delta {
    let entry = |json: Option<&str>, stamp, seq| {
        let value = json.map(value);
        Entry { value, stamp, seq: Seq(seq), author: AuthorId(1) }
    };
    let changes = [
        Change::Author(Seq(2), Contributor { number: 2, author: author(2), made: Seq(1), seq: Seq(2) }),
        Change::Entry(key("b"), entry(Some("true"), put_stamp(3, 3), 2)),
        Change::Entry(key("k"), entry(Some("2.50"), put_stamp(2, 2), 3)),
        Change::BroughtBack(key("k"), Seq(3), AuthorId(2)),
        Change::Entry(key("gone"), entry(None, remove_stamp(1, 1), 3)),
        Change::Conflict(conflict()),
    ];
    Delta::pack(&changes, Seq(1), Seq(3), true, &numbers(), 10_000).remove(0)
}

/// The authors 1 and 2 have their ids as numbers.
fn numbers() -> AuthorNumbers {
    let mut numbers = AuthorNumbers::default();
    (1..3).for_each(|number| numbers.insert(AuthorId(number.into()), number));
    numbers
}

fn conflict() -> Conflict {
    let loser = Side { value: Some(value("[1]")), stamp: put_stamp(1, 1), author: AuthorId(1) };
    let winner = Winner { stamp: put_stamp(2, 2), author: AuthorId(2) };
    Conflict { key: key("k"), loser, winner, seq: Seq(3), resolution: Resolution::Open }
}

/// A dictionary with an update, a remove and a conflict.
pub fn sample_store() -> Store {
    let mut store = Store::default();
    store.start(Epoch(1));
    store.start(Epoch(2));
    // An id that says nothing of how a store makes its ids.
    let mut hub = Summary { id: DictionaryId(77), ..store.summary() }.into_hub();
    let op = |name: &str, json: Option<&str>, n: u64| {
        let stamp = if json.is_some() { put_stamp(1000 + n, n) } else { remove_stamp(1000 + n, n) };
        let (key, value) = (name.to_owned(), json.map(str::to_owned));
        let op = Op { key, value, stamp, seen: vec![Stamp::ZERO], author: None, recovered: None };
        (author(n), Command::Push { ops: vec![op] })
    };
    let renamed = Author { name: AuthorName::new("Zoë"), ..author(2) };
    for commands in [
        vec![op("price/apple", Some("1.20"), 1), op("price/apricot", Some("{\"kg\":3}"), 2)],
        vec![op("price/apple", Some("1.30"), 3), op("price/apricot", None, 4), (renamed, Command::Name)],
    ] {
        let at = hub.counters().head.next();
        for (author, command) in commands {
            let actor = Actor { role: Role::Writer, author, replicas: vec![ReplicaId(1)] };
            let context = Context { now_ms: 5000, limits: Limits::default(), actor };
            let record = Record { at, room_bytes: u64::MAX, context, command };
            let Ok(_) = store.write(|rows| hub.apply(rows, &record));
        }
        let Ok(_) = store.write(|rows| hub.finish(rows));
    }
    store
}

pub fn past(count: usize) -> Vec<PastEpoch> {
    (0..count as u64).map(|n| PastEpoch { epoch: Epoch(u64::MAX - n), end: Seq(n) }).collect()
}

pub fn hello(lineage: usize) -> ClientFrame {
    ClientFrame::Hello {
        versions: VERSIONS,
        token: Some("secret".into()),
        replicas: vec![secret(1), secret(2)],
        dictionary: Some(DictionaryId(3)),
        epoch: Some(Epoch(4)),
        lineage: past(lineage),
        cursor: Seq(99),
        client_ms: 1_800_000_000_000,
        author: person(5),
        capabilities: 0,
        prefix: None,
    }
}

pub fn push(ops: usize, seen: usize) -> ClientFrame {
    let seen = vec![put_stamp(1, 1); seen];
    let (key, value, stamp) = ("k".to_owned(), Some("1".to_owned()), put_stamp(2, 2));
    let op = Op { key, value, stamp, seen, author: None, recovered: None };
    ClientFrame::Push { batch: 7, ops: vec![op; ops] }
}

pub fn presence(bytes: usize) -> ClientFrame {
    ClientFrame::Presence { blob: vec![1; bytes].into() }
}
