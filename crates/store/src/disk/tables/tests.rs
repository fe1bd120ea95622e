use keybook_core::{HybridTime, ReplicaId};

use super::*;

fn stamp(millis: u64) -> Stamp {
    Stamp::new(HybridTime::from_millis(millis), true, ReplicaId(0x0102_0304_0506_0708))
}

fn side(value: Option<&str>) -> Side {
    let value = value.map(|value| Value::parse(value).unwrap());
    Side { value, stamp: stamp(7), author: AuthorId(9) }
}

#[test]
fn rows_round_trip_and_a_cut_row_is_refused() {
    for value in [Some(r#"{"a":[1,2]}"#), None] {
        let Side { value, stamp, author } = side(value);
        let entry = Entry { value, stamp, seq: Seq(5), author };
        let recovered = Branch::new(vec![PastEpoch { epoch: Epoch(6), end: Seq(7) }]);
        let row = Row { entry, index: 3, recovered, is_proven: true, brought_back_by: Some(AuthorId(8)) };
        let bytes = encode_row(&row);
        assert_eq!(decode_row(&bytes), Ok(row));
        for length in 0..59 {
            assert_eq!(decode_row(&bytes[..length]), Err(Corrupt { table: "entries" }));
        }
    }
    let key = Key::parse("menü/1").unwrap();
    let id = ConflictId { key: key.clone(), loser: stamp(7) };
    assert_eq!(decode_conflict_key(&Number(3).conflict(&id)), Ok(id.clone()));
    for resolution in [Resolution::Open, Resolution::Dismissed, Resolution::Restored, Resolution::Archived] {
        let (winner, loser) = (Winner { stamp: stamp(8), author: AuthorId(2) }, side(Some("true")));
        let conflict = Conflict { key: key.clone(), loser, winner, seq: Seq(6), resolution };
        let row = ConflictRow { conflict, index: 4, maker: AuthorId(5), made_ms: 6, is_proven: true };
        let bytes = encode_conflict(&row);
        assert_eq!(decode_conflict(id.clone(), &bytes), Ok(row));
        for length in 0..59 {
            assert_eq!(decode_conflict(id.clone(), &bytes[..length]), Err(Corrupt { table: "conflicts" }));
        }
    }
    assert_eq!(decode_changed(&encode_changed_entry(&key)), Ok(Changed::Entry(key)));
    assert_eq!(decode_changed(&encode_changed_conflict(&id)), Ok(Changed::Conflict(id)));
    assert_eq!(decode_changed(&encode_changed_author(AuthorId(7))), Ok(Changed::Author(AuthorId(7))));
    let author = Author { id: AuthorId(7), name: AuthorName::new("Zoë") };
    let row = AuthorRow {
        contributor: Contributor { number: 3, author, made: Seq(4), seq: Seq(9) },
        made_index: 5,
        index: 6,
    };
    let bytes = encode_author(&row);
    assert_eq!(decode_author(AuthorId(7), &bytes), Ok(row));
    for length in 0..22 {
        assert_eq!(decode_author(AuthorId(7), &bytes[..length]), Err(Corrupt { table: "authors" }));
    }
    assert_eq!(decode_author_key(&Number(3).author(AuthorId(7))), Ok(AuthorId(7)));
    assert_eq!(decode_place_seq(&Number(3).place(Place { seq: Seq(5), index: 6 })), Ok(Seq(5)));
    assert_eq!(decode_changed(&[3]), Err(Corrupt { table: "by_seq" }));
    let horizon = Horizon { seq: Seq(1), time_ms: 2 };
    let digest = Digest::from_bytes([7; 16]);
    let counters = Counters {
        head: Seq(9),
        horizon,
        digest,
        live: 3,
        tombstones: 4,
        conflicts: 5,
        conflict_bytes: 6,
        untold: 7,
        bytes: 8,
        live_bytes: 9,
        version_bytes: 10,
        authors: 11,
    };
    assert_eq!(decode_counters(&encode_counters(&counters)), Ok(counters));
    let writes = [PastEpoch { epoch: Epoch(1), end: Seq(2) }, PastEpoch { epoch: Epoch(3), end: Seq(4) }];
    assert_eq!(decode_writes(&encode_past(&writes), Seq(4)).as_deref(), Ok(&writes[..]));
    assert_eq!(decode_writes(&encode_past(&writes), Seq(6)).unwrap()[1].end, Seq(6));
}

/// The bytes that docs/storage.md describes; a change of them is a new format and needs a migration.
#[test]
fn bytes_of_an_entry() {
    let number = Number(1);
    assert_eq!(number.entry("k"), [0, 0, 0, 1, b'k']);
    assert_eq!(number.place(Place { seq: Seq(2), index: 3 }), [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 3]);
    let id = VersionId { since: Seq(2), key: Key::parse("k").unwrap(), stamp: stamp(1) };
    let name = number.version(&id);
    assert_eq!(name[..14], [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, b'k', 0]);
    assert_eq!(name[14..], stamp(1).to_bytes());
    assert_eq!(decode_version_key(&name), Ok(id));
    let Side { value, stamp, author } = side(Some("1"));
    let entry = Entry { value, stamp, seq: Seq(5), author };
    let bytes = encode_row(&Row { entry, index: 3, recovered: None, is_proven: false, brought_back_by: None });
    assert_eq!(bytes[..16], [0, 0, 0, 0, 0, 7, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(bytes[16..], [0, 0, 0, 0, 0, 0, 0, 5, 0, 3, 0, 0, 0, 0, 0, 0, 0, 9, 0, b'1']);
}

#[test]
fn versions_and_histories_survive() {
    for (reason, value) in [(Reason::Replaced, Some("1")), (Reason::Lost, None), (Reason::Archived, Some("\"\""))] {
        let Side { value, author, .. } = side(value);
        for brought_back_by in [None, Some(AuthorId(8))] {
            let version = Version { accepted: Seq(7), reason, author, brought_back_by, value: value.clone() };
            let bytes = encode_version(&version);
            assert_eq!(decode_version(&bytes).as_ref(), Ok(&version));
            assert_eq!(decode_version(&bytes[..16]), Err(Corrupt { table: "versions" }));
        }
    }
    let history = History { complete_from: Seq(3), versions: vec![(Seq(4), stamp(1)), (Seq(5), stamp(0))] };
    let bytes = encode_history(&history);
    assert_eq!((bytes.len(), decode_history(&bytes)), (8 + 2 * 24, Ok(history)));
    assert_eq!(decode_history(&bytes[..40]), Err(Corrupt { table: "histories" }));
}
