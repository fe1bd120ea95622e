//! The wire: every frame survives the way, what is no frame is refused with a reason, and nothing makes the decoder panic.

mod support;

use std::collections::BTreeSet;

use keybook_core::{
    Author, AuthorId, AuthorName, AuthorNumbers, Authors, Branch, Conflict, Contributor, Entry, Epoch, HybridTime, Key,
    PastEpoch, ReplicaId, Resolution, Seq, Side, Stamp, Value, Winner,
    limits::{
        GROUP_BYTES_MAX, GROUP_OPS_MAX, LINEAGE_MAX, Limits, PRESENCE_BYTES_MAX, PUSH_BYTES_MAX, PUSH_OPS_MAX, SEEN_MAX,
    },
    wire::{AckCode, Change, ClientFrame, Condition, Delta, Exception, Op, ServerFrame, WireError, snapshot::Snapshot},
};
use proptest::{collection::vec, option, prelude::*};
use support::{
    author,
    frames::{client_frames, hello, presence, push, sample_store, server_frames},
    key, put_stamp, value,
};

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
        author: AuthorId(u64::from(id) + 1),
    })
}

/// Changes by rising seq, a few to a batch.
fn changes() -> impl Strategy<Value = Vec<Change>> {
    let entry = (any_key(), option::of(any_value()), stamp(), any::<u8>()).prop_map(|(key, value, stamp, id)| {
        Change::Entry(key, Entry { value, stamp, seq: Seq(0), author: AuthorId(u64::from(id) + 1) })
    });
    let conflict = (any_key(), side(), stamp(), any::<u8>()).prop_map(|(key, loser, stamp, id)| {
        let winner = Winner { stamp, author: AuthorId(u64::from(id) + 1) };
        Change::Conflict(Conflict { key, loser, winner, seq: Seq(0), resolution: Resolution::Open })
    });
    let brought_back =
        (any_key(), any::<u8>()).prop_map(|(key, id)| Change::BroughtBack(key, Seq(0), AuthorId(u64::from(id) + 1)));
    vec((prop_oneof![3 => entry, 1 => conflict, 1 => brought_back], 0..2_u64), 0..30).prop_map(|changes| {
        let mut seq = Seq(1);
        let number = |(change, step): (Change, u64)| {
            seq = Seq(seq.0 + step);
            match change {
                Change::Entry(key, entry) => Change::Entry(key, Entry { seq, ..entry }),
                Change::BroughtBack(key, _, by) => Change::BroughtBack(key, seq, by),
                Change::Conflict(conflict) => Change::Conflict(Conflict { seq, ..conflict }),
                Change::Author(..) => unreachable!("there are none"),
            }
        };
        changes.into_iter().map(number).collect()
    })
}

/// 256 authors, whose numbers are their ids.
fn known() -> Authors {
    let mut authors = Authors::default();
    for number in 1..=256 {
        let author = Author { id: AuthorId(number.into()), name: AuthorName::new("Ada") };
        authors.set(Contributor { number, author, made: Seq(1), seq: Seq(1) }).unwrap();
    }
    authors
}

fn op() -> impl Strategy<Value = Op> {
    let seen = vec(stamp(), 0..SEEN_MAX);
    (any::<String>(), option::of(any::<String>()), stamp(), seen, option::of(any::<u64>())).prop_map(
        |(key, value, stamp, seen, fork)| Op {
            key,
            value,
            stamp,
            seen,
            author: fork.map(author),
            recovered: fork.and_then(|seq| Branch::new(vec![PastEpoch { epoch: Epoch(seq), end: Seq(seq) }])),
        },
    )
}

fn check_client(frame: &ClientFrame) {
    assert_eq!(&ClientFrame::decode(&frame.encode()).unwrap(), frame);
    assert!(matches!(ServerFrame::decode(&frame.encode()), Err(WireError::UnknownFrame(0..=10))));
}

fn check_server(frame: &ServerFrame) {
    assert_eq!(&ServerFrame::decode(&frame.encode()).unwrap(), frame);
    assert!(matches!(ClientFrame::decode(&frame.encode()), Err(WireError::UnknownFrame(16..=24))));
}

#[test]
fn every_frame_survives() {
    client_frames().iter().for_each(|(_, frame)| check_client(frame));
    server_frames().iter().for_each(|(_, frame)| check_server(frame));
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
    check(&push(1, SEEN_MAX + 1).encode(), "seen has 65 elements, limit is 64");
    check(&presence(PRESENCE_BYTES_MAX + 1).encode(), "presence is 257 bytes, limit is 256");
    check(&hello(LINEAGE_MAX + 1).encode(), "lineage has 1025 elements, limit is 1024");
    // It claims four thousand million operations and has none: nothing is allocated for them.
    check(b"\x83\x01\x00\x9a\xff\xff\xff\xff", "end of input");
}

/// One decoder took a list of no told length, another refused it: whoever wrote one learnt it from the server's version.
#[test]
fn no_length_is_told_afterwards() {
    let check = |bytes: &[u8]| {
        let error = ClientFrame::decode(bytes).unwrap_err().to_string();
        assert!(error.contains("a length that is not told in advance"), "{error}");
    };
    check(b"\x9f\x06\xff");
    check(b"\x83\x01\x07\x9f\xff");
    check(b"\x82\x03\x5f\x41\x01\xff");
    check(b"\x83\x02\x0c\x9f\xff");
    check(b"\x83\x02\x0c\x7f\x61x\xff");
    check(b"\x83\x02\x0c\xbf\xff");
    assert!(Snapshot::decode(b"\x9f\xff").unwrap_err().to_string().contains("not told in advance"));
    // The same bytes in a text or a number are nothing special.
    let ping = ClientFrame::Ping { client_ms: 0x9f_9f_bf_ff };
    assert_eq!(ClientFrame::decode(&ping.encode()).unwrap(), ping);
    let blob = ClientFrame::Presence { blob: vec![0x9f, 0xff, 0x5f].into() };
    assert_eq!(ClientFrame::decode(&blob.encode()).unwrap(), blob);
}

/// What docs/protocol.md says of the width of numbers is what is read.
#[test]
fn numbers_have_widths() {
    let exceptions = vec![Exception { index: u32::MAX, code: AckCode::Busy, data: 1 }];
    let bytes = ServerFrame::Ack { batch: 1, seq: Seq(2), exceptions }.encode();
    let narrow = b"\x1a\xff\xff\xff\xff";
    let at = bytes.windows(narrow.len()).position(|window| window == narrow).expect("the number is there");
    let too_wide = [&bytes[..at], b"\x1b\x00\x00\x00\x01\x00\x00\x00\x00", &bytes[at + narrow.len()..]].concat();
    assert!(matches!(ServerFrame::decode(&too_wide), Err(WireError::Malformed(_))));
    let ping = ClientFrame::Ping { client_ms: u64::MAX };
    assert_eq!(ClientFrame::decode(&ping.encode()).unwrap(), ping);
}

/// Several operations fit a push of 192 KiB, to the byte; one alone may be longer.
#[test]
fn a_push_has_a_limit_of_bytes() {
    let long = |bytes: usize, count: usize| {
        let ClientFrame::Push { batch, mut ops } = push(count, 1) else { panic!("a push") };
        ops[0].value = Some(String::new());
        let rest = ClientFrame::Push { batch, ops: ops.clone() }.encode().len() + 4;
        ops[0].value = Some("1".repeat(bytes - rest));
        ClientFrame::Push { batch, ops }.encode()
    };
    assert_eq!(long(PUSH_BYTES_MAX, 2).len(), PUSH_BYTES_MAX);
    ClientFrame::decode(&long(PUSH_BYTES_MAX, 2)).unwrap();
    ClientFrame::decode(&long(PUSH_BYTES_MAX + 1, 1)).unwrap();
    let error = ClientFrame::decode(&long(PUSH_BYTES_MAX + 1, 2)).unwrap_err().to_string();
    assert_eq!(error, "a push of several operations is 196609 bytes, limit is 196608");
}

#[test]
fn a_group_has_a_limit_of_operations_and_bytes() {
    let group = |ops: usize, conditions: usize, bytes: usize| {
        let ClientFrame::Push { batch, mut ops } = push(ops, 1) else { panic!("a push") };
        ops[0].value = Some("1".repeat(bytes));
        let condition = Condition { key: "k".into(), stamp: None };
        ClientFrame::Group { batch, ops, conditions: vec![condition; conditions] }.encode()
    };
    ClientFrame::decode(&group(GROUP_OPS_MAX, GROUP_OPS_MAX, 1)).unwrap();
    let rest = group(1, 0, 1 << 18).len() - (1 << 18);
    let largest = group(1, 0, GROUP_BYTES_MAX - rest);
    assert_eq!(
        (largest.len(), Limits::default().frame_bytes()),
        (GROUP_BYTES_MAX, GROUP_BYTES_MAX),
        "a frame holds it"
    );
    ClientFrame::decode(&largest).unwrap();
    let check = |bytes: &[u8], reason: &str| assert_eq!(ClientFrame::decode(bytes).unwrap_err().to_string(), reason);
    check(&group(1, 0, GROUP_BYTES_MAX - rest + 1), "a group is 524289 bytes, limit is 524288");
    check(&group(GROUP_OPS_MAX + 1, 0, 1), "group has 1025 elements, limit is 1024");
    check(&group(1, GROUP_OPS_MAX + 1, 1), "conditions of a group has 1025 elements, limit is 1024");
}

/// Of the writes of one replica an operation names the newest alone, behind what was shown; else one could claim to have seen whatever
/// another's replica will ever write.
#[test]
fn one_write_of_a_replica_is_named_as_seen() {
    let decode = |seen: &[(u64, u64)]| {
        let ClientFrame::Push { batch, mut ops } = push(2, 1) else { panic!("a push") };
        ops[1].seen = seen.iter().map(|&(ms, replica)| put_stamp(ms, replica)).collect();
        let push = ClientFrame::decode(&ClientFrame::Push { batch, ops: ops.clone() }.encode()).map(drop);
        let group = ClientFrame::decode(&ClientFrame::Group { batch, ops, conditions: Vec::new() }.encode()).map(drop);
        assert_eq!(push.as_ref().err().map(ToString::to_string), group.err().map(|error| error.to_string()));
        push.map_err(|error| error.to_string())
    };
    assert_eq!(decode(&[]), Ok(()));
    assert_eq!(decode(&[(1, 1), (2, 1)]), Ok(()), "what was shown may be of any replica");
    assert_eq!(decode(&[(1, 1), (2, 1), (2, 2), (2, 3)]), Ok(()));
    let refused = Err("seen of a replica has 2 elements, limit is 1".to_owned());
    assert_eq!(decode(&[(1, 1), (2, 2), (2, 3), (3, 2)]), refused);
    assert_eq!(decode(&[(1, 1), (2, 2), (2, 2)]), refused);
}

/// A later version may append fields; this one skips them, however they nest.
#[test]
fn unknown_fields_are_skipped() {
    let frame = ClientFrame::decode(b"\x84\x02\x0c\xa1\x61x\x82\x01\x80\xf6").unwrap();
    assert_eq!(frame, ClientFrame::Ping { client_ms: 12 });
}

/// A later version may have further kinds of changes; this one skips them, whatever their bodies are.
#[test]
fn unknown_kinds_of_changes_are_skipped() {
    let entry = Entry { value: Some(value("1")), stamp: put_stamp(1, 1), seq: Seq(1), author: AuthorId(1) };
    let changes = [Change::Entry(key("a"), entry.clone()), Change::Entry(key("b"), entry)];
    let delta = Delta::pack(&changes, Seq(0), Seq(1), false, &AuthorNumbers::default(), 1000).remove(0);
    let bytes = ServerFrame::Delta(delta.clone()).encode();
    // [17, to, advance, [entry, entry]]: another kind goes between the two entries.
    let from = bytes.windows(2).position(|bytes| bytes == b"\x82\x84").expect("two elements, an array of four");
    let second = bytes.windows(3).rposition(|bytes| bytes == b"\x84\x61b").expect("an array of four, a key");
    let mut newer = bytes.clone();
    newer[from] = 0x83;
    newer.splice(second..second, *b"\x82\x18\x2a\xa1\x61x\x82\x01\x80");
    assert_eq!(ServerFrame::decode(&newer).unwrap(), ServerFrame::Delta(delta));

    newer[from] = 0x84;
    assert!(ServerFrame::decode(&newer).is_err());
}

/// An update of 16 bytes of a key and 32 of a value was 111 bytes on the wire, because each frame said who wrote, with the name. Yjs,
/// which does not say that, needs 63.
#[test]
fn an_update_is_small() {
    let text = value(&format!("\"{}\"", "v".repeat(30)));
    let stamp = Stamp::new(HybridTime::from_millis(1_790_000_000_000), true, ReplicaId(u64::MAX));
    let (head, mut numbers) = (Seq(1_000_000), AuthorNumbers::default());
    numbers.insert(AuthorId(u64::MAX), 20);
    let entry = Entry { value: Some(text), stamp, seq: head.next(), author: AuthorId(u64::MAX) };
    let changes = [Change::Entry(key(&"k".repeat(16)), entry)];
    let delta = Delta::pack(&changes, head, head.next(), false, &numbers, 1000).remove(0);
    let bytes = ServerFrame::Delta(delta).encode().len();
    assert!(bytes < 80, "{bytes} bytes");
}

/// The largest value that there may be, in a conflict, still fits the largest frame.
#[test]
fn a_conflict_of_a_large_value_fits_a_frame() {
    for value_bytes in [64 * 1024, 1024 * 1024] {
        let limits = Limits { value_bytes, ..Limits::default() };
        let text = Value::from_text(&"x".repeat(value_bytes as usize - 2));
        let loser = Side { value: Some(text), stamp: Stamp::MAX, author: AuthorId(1) };
        let winner = Winner { stamp: Stamp::MAX, author: AuthorId(2) };
        let (key, seq) = (key(&"k".repeat(512)), Seq(u64::MAX));
        let conflict = Conflict { key, loser, winner, seq, resolution: Resolution::Open };
        let changes = [Change::Conflict(conflict)];
        let frames = Delta::pack(&changes, Seq(0), Seq(1), false, &AuthorNumbers::from(&known()), limits.delta_bytes());
        assert_eq!(frames.len(), 1);
        assert!(ServerFrame::Delta(frames[0].clone()).encode().len() <= limits.delta_bytes());
    }
}

proptest! {
    #[test]
    fn ops_survive(ops in vec(op(), 0..5)) {
        check_client(&ClientFrame::Push { batch: u64::MAX, ops });
    }

    #[test]
    fn deltas_carry_all_changes_in_frames_that_fit(changes in changes(), frame_bytes in 200..2000_usize) {
        let (mut authors, to) = (known(), changes.last().map_or(Seq(0), Change::seq));
        let numbers = AuthorNumbers::from(&authors);
        let frames = Delta::pack(&changes, Seq(0), to, false, &numbers, frame_bytes);
        let (mut cursor, mut unpacked) = (Seq(0), Vec::new());
        for (position, frame) in frames.iter().enumerate() {
            prop_assert_eq!(frame.prev(), Some(cursor));
            prop_assert_eq!(frame.has_more(), position + 1 < frames.len());
            let rows = frame.changes.0.len();
            let bytes = ServerFrame::Delta(frame.clone()).encode();
            prop_assert!(bytes.len() <= frame_bytes || rows == 1);
            cursor = frame.to;
            let ServerFrame::Delta(decoded) = ServerFrame::decode(&bytes).unwrap() else { panic!("a Delta") };
            let rows = decoded.into_changes(&mut authors).unwrap();
            let above: BTreeSet<Seq> = rows.iter().map(Change::seq).filter(|&seq| seq > frame.to).collect();
            prop_assert!(above.len() <= 1, "a frame ends within one batch at most");
            unpacked.extend(rows);
        }
        prop_assert_eq!(cursor, to);
        prop_assert_eq!(unpacked, changes);
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..200), frame in 0..7_u8, flip in any::<prop::sample::Index>()) {
        let _ = (ClientFrame::decode(&bytes), ServerFrame::decode(&bytes), Snapshot::decode(&bytes));
        let mut frame = match frame {
            0 => hello(3).encode(),
            1 => presence(9).encode(),
            2 => sample_store().snapshot(),
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
    let frames = Delta::pack(&changes, Seq(0), Seq(1), false, &AuthorNumbers::default(), 1000);
    let bytes = ServerFrame::Delta(frames[0].clone()).encode();
    assert!(bytes.windows(text.len()).any(|window| window == text.as_bytes()));
}
