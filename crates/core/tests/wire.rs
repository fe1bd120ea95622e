//! The wire: every frame survives the way, what is no frame is refused with a reason, and nothing makes the decoder panic.

mod support;

use std::collections::BTreeSet;

use keybook_core::{
    author::{AuthorId, Names},
    conflict::{Conflict, ConflictId, Resolution, Side},
    digest::Digest,
    entry::{Entry, Seq},
    key::Key,
    limits::{LINEAGE_MAX, Limits, PRESENCE_BYTES_MAX, PUSH_OPS_MAX, SEEN_MAX},
    lineage::{Epoch, PastEpoch},
    snapshot::Snapshot,
    stamp::{ReplicaId, Stamp},
    value::Value,
    wire::{
        AckCode, ByeCode, Change, Check, ClientFrame, Delta, DictionaryId, Exception, Horizon, Mode, Op, Role,
        ServerFrame, WireError,
    },
};
use proptest::{collection::vec, option, prelude::*};
use support::{author, key, put_stamp, store::Store, value};

fn stamp() -> impl Strategy<Value = Stamp> {
    any::<[u8; 16]>().prop_map(Stamp::from_bytes)
}

fn any_key() -> impl Strategy<Value = Key> {
    "[a-zA-Z/ ☕é]{1,20}".prop_map(|text| key(&text))
}

fn any_value() -> impl Strategy<Value = Value> {
    ".{0,20}".prop_map(|text| Value::from_text(&text))
}

fn side() -> impl Strategy<Value = Side> {
    (option::of(any_value()), stamp(), any::<u8>()).prop_map(|(value, stamp, id)| Side {
        value,
        stamp,
        author: AuthorId(id.into()),
    })
}

/// Changes by rising seq, a few to a batch.
fn changes() -> impl Strategy<Value = Vec<Change>> {
    let entry = (any_key(), option::of(any_value()), stamp(), any::<u8>()).prop_map(|(key, value, stamp, id)| {
        Change::Entry(key, Entry { value, stamp, seq: Seq(0), author: AuthorId(id.into()) })
    });
    let conflict = (any_key(), side(), side()).prop_map(|(key, winner, loser)| {
        let id = ConflictId { seq: Seq(0), index: 0 };
        Change::Conflict(Conflict { id, seq: Seq(0), key, winner, loser, resolution: Resolution::Open })
    });
    vec((prop_oneof![3 => entry, 1 => conflict], 0..2_u64), 0..30).prop_map(|changes| {
        let mut seq = Seq(1);
        let number = |(change, step): (Change, u64)| {
            seq = Seq(seq.0 + step);
            match change {
                Change::Entry(key, entry) => Change::Entry(key, Entry { seq, ..entry }),
                Change::Conflict(conflict) => Change::Conflict(Conflict { seq, ..conflict }),
            }
        };
        changes.into_iter().map(number).collect()
    })
}

fn op() -> impl Strategy<Value = Op> {
    let seen = vec(stamp(), 0..SEEN_MAX);
    (any::<String>(), option::of(any::<String>()), stamp(), seen, any::<u32>(), option::of(any::<u64>())).prop_map(
        |(key, value, stamp, seen, flags, fork)| Op {
            key,
            value,
            stamp,
            seen,
            flags,
            author: fork.map(author),
            recovered: fork.map(Seq),
        },
    )
}

fn check_client(frame: &ClientFrame) {
    assert_eq!(&ClientFrame::decode(&frame.encode()).unwrap(), frame);
    assert!(matches!(ServerFrame::decode(&frame.encode()), Err(WireError::UnknownFrame(0..=6))));
}

fn check_server(frame: &ServerFrame) {
    assert_eq!(&ServerFrame::decode(&frame.encode()).unwrap(), frame);
    assert!(matches!(ClientFrame::decode(&frame.encode()), Err(WireError::UnknownFrame(16..=24))));
}

fn past(count: usize) -> Vec<PastEpoch> {
    (0..count as u64).map(|n| PastEpoch { epoch: Epoch(u64::MAX - n), end: Seq(n) }).collect()
}

fn hello(lineage: usize) -> ClientFrame {
    ClientFrame::Hello {
        version: 1,
        token: Some("secret".into()),
        replica: ReplicaId(u64::MAX),
        dictionary: Some(DictionaryId(3)),
        epoch: Some(Epoch(4)),
        lineage: past(lineage),
        cursor: Seq(99),
        client_ms: 1_800_000_000_000,
        author: author(5),
        capabilities: 0,
    }
}

fn push(ops: usize, seen: usize) -> ClientFrame {
    let seen = vec![put_stamp(1, 1); seen];
    let (key, value, stamp) = ("k".to_owned(), Some("1".to_owned()), put_stamp(2, 2));
    let op = Op { key, value, stamp, seen, flags: Op::ADOPTED, author: None, recovered: None };
    ClientFrame::Push { batch: 7, ops: vec![op; ops] }
}

fn presence(bytes: usize) -> ClientFrame {
    ClientFrame::Presence { blob: vec![1; bytes].into() }
}

#[test]
fn every_client_frame_survives() {
    check_client(&hello(3));
    check_client(&push(3, 2));
    check_client(&ClientFrame::Ping { client_ms: 12 });
    check_client(&presence(256));
    check_client(&ClientFrame::Resume { epoch: Epoch(1), cursor: Seq(2) });
    check_client(&ClientFrame::Resolve { id: ConflictId { seq: Seq(5), index: 6 }, resolution: Resolution::Restored });
    check_client(&ClientFrame::Check);
}

#[test]
fn every_server_frame_survives() {
    let horizon = Horizon { seq: Seq(1), time_ms: 2 };
    check_server(&ServerFrame::Welcome {
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
    });
    check_server(&ServerFrame::Delta(Delta { prev: Seq(1), to: Seq(2), more: true, ..Delta::default() }));
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
    ];
    let exceptions = (0..).zip(codes).map(|(index, code)| Exception { index, code, data: 1 << 40 }).collect();
    check_server(&ServerFrame::Ack { batch: 1, seq: Seq(2), exceptions });
    let digest = Digest::from_bytes([7; 16]);
    check_server(&ServerFrame::Check(Check { seq: Seq(1), digest, live: 2, tombstones: 3 }));
    check_server(&ServerFrame::Horizon(horizon));
    check_server(&ServerFrame::Pong { client_ms: 1, server_ms: 2 });
    check_server(&ServerFrame::Bye { code: ByeCode::Shutdown, message: "bye".into(), retry_after_ms: 3 });
    check_server(&ServerFrame::Presence { connection: 1, author: author(2), blob: Some(vec![3; 256].into()) });
}

#[test]
fn bad_frames_are_refused_with_a_reason() {
    let check = |bytes: &[u8], reason: &str| {
        let error = ClientFrame::decode(bytes).unwrap_err().to_string();
        assert!(error.contains(reason), "{error:?} must say {reason:?}");
    };
    check(&[], "end of input");
    check(b"\x82\x18\x63\x00", "unknown frame 99");
    check(b"\x01", "does not decode");
    check(b"\x81\x02", "does not decode");
    check(b"hello", "does not decode");
    check(&[ClientFrame::Check.encode(), vec![0]].concat(), "ends at byte 2 of 3");
    check(&push(PUSH_OPS_MAX + 1, 0).encode(), "push has 513 elements, limit is 512");
    check(&push(1, SEEN_MAX + 1).encode(), "seen has 9 elements, limit is 8");
    check(&presence(PRESENCE_BYTES_MAX + 1).encode(), "presence has 257 elements, limit is 256");
    check(&hello(LINEAGE_MAX + 1).encode(), "lineage has 1025 elements, limit is 1024");
    // It claims four thousand million operations and has none: nothing is allocated for them.
    check(b"\x83\x01\x00\x9a\xff\xff\xff\xff", "end of input");
}

/// A later version may append fields; this one skips them, however they nest.
#[test]
fn unknown_fields_are_skipped() {
    let frame = ClientFrame::decode(b"\x84\x02\x0c\xa1\x61x\x82\x01\x80\xf6").unwrap();
    assert_eq!(frame, ClientFrame::Ping { client_ms: 12 });
}

/// The largest values that there may be, in a conflict, still fit the largest frame.
#[test]
fn a_conflict_of_two_large_values_fits_a_frame() {
    for value_bytes in [64 * 1024, 1024 * 1024] {
        let limits = Limits { value_bytes, ..Limits::default() };
        let text = Value::from_text(&"x".repeat(value_bytes as usize - 2));
        let side = Side { value: Some(text), stamp: Stamp::MAX, author: AuthorId(1) };
        let id = ConflictId { seq: Seq(1), index: u16::MAX };
        let (winner, loser, key) = (side.clone(), side, key(&"k".repeat(512)));
        let conflict = Conflict { id, seq: Seq(u64::MAX), key, winner, loser, resolution: Resolution::Open };
        let changes = [Change::Conflict(conflict)];
        let frames = Delta::pack(&changes, Seq(0), Seq(1), false, &Names::new(), limits.frame_bytes());
        assert_eq!(frames.len(), 1);
        assert!(ServerFrame::Delta(frames[0].clone()).encode().len() <= limits.frame_bytes());
    }
}

proptest! {
    #[test]
    fn ops_survive(ops in vec(op(), 0..5)) {
        check_client(&ClientFrame::Push { batch: u64::MAX, ops });
    }

    #[test]
    fn deltas_carry_all_changes_in_frames_that_fit(changes in changes(), frame_bytes in 200..2000_usize) {
        let names = Names::new();
        let to = changes.last().map_or(Seq(0), Change::seq);
        let frames = Delta::pack(&changes, Seq(0), to, false, &names, frame_bytes);
        let (mut cursor, mut unpacked) = (Seq(0), Vec::new());
        for (position, frame) in frames.iter().enumerate() {
            prop_assert_eq!(frame.prev, cursor);
            prop_assert_eq!(frame.more, position + 1 < frames.len());
            let rows = frame.entries.len() + frame.conflicts.len();
            let bytes = ServerFrame::Delta(frame.clone()).encode();
            prop_assert!(bytes.len() <= frame_bytes || rows == 1);
            cursor = frame.to;
            let ServerFrame::Delta(decoded) = ServerFrame::decode(&bytes).unwrap() else { panic!("a Delta") };
            let above: BTreeSet<Seq> = decoded.entries.iter().map(|entry| entry.seq).filter(|&seq| seq > frame.to).collect();
            prop_assert!(above.len() <= 1, "a frame ends within one batch at most");
            unpacked.extend(decoded.into_changes().unwrap());
        }
        prop_assert_eq!(cursor, to);
        // Within a frame the entries come before the conflict rows.
        let mut expected = changes.clone();
        for list in [&mut unpacked, &mut expected] {
            list.sort_by_key(|change| (change.seq(), matches!(change, Change::Conflict(_))));
        }
        prop_assert_eq!(unpacked, expected);
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..200), frame in 0..7_u8, flip in any::<prop::sample::Index>()) {
        let _ = (ClientFrame::decode(&bytes), ServerFrame::decode(&bytes), Snapshot::decode(&bytes));
        let mut frame = match frame {
            0 => hello(3).encode(),
            1 => presence(9).encode(),
            2 => Store::default().snapshot(),
            _ => push(3, 2).encode(),
        };
        let at = flip.index(frame.len());
        frame[at] ^= bytes.first().copied().unwrap_or(0x80);
        let _ = (ClientFrame::decode(&frame), ServerFrame::decode(&frame), Snapshot::decode(&frame));
        frame.truncate(at);
        let _ = (ClientFrame::decode(&frame), ServerFrame::decode(&frame), Snapshot::decode(&frame));
    }
}

/// Two values that differ only in a digit's place are two values, all the way.
#[test]
fn numbers_keep_their_digits() {
    let text = "12345678901234567890.1000";
    let entry = Entry { value: Some(value(text)), stamp: put_stamp(1, 1), seq: Seq(1), author: AuthorId(1) };
    let changes = [Change::Entry(key("k"), entry)];
    let frames = Delta::pack(&changes, Seq(0), Seq(1), false, &Names::new(), 1000);
    let bytes = ServerFrame::Delta(frames[0].clone()).encode();
    assert!(bytes.windows(text.len()).any(|window| window == text.as_bytes()));
}
