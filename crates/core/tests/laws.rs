//! The laws of the dictionary: merge is commutative, associative and idempotent, and decides by a total order.

mod support;

use keybook_core::{AuthorId, Clock, Dictionary, Entry, HybridTime, Key, ReplicaId, Seq, Stamp, Value};
use proptest::{collection::vec, option, prelude::*};
use support::{key, put_stamp, remove_stamp, value};

/// Few keys, times and replicas, so that writes meet, at equal stamps too.
fn writes(count: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<(Key, Entry)>> {
    let write = ("[a-d]", option::of(0..3_u8), 0..4_u64, 0..3_u64).prop_map(|(name, put, ms, replica)| {
        let stamp = Stamp::new(HybridTime::from_millis(ms), put.is_some(), ReplicaId(replica));
        let value = put.map(|n| value(&n.to_string()));
        (key(&name), Entry { value, stamp, seq: Seq(0), author: AuthorId(replica) })
    });
    // Two authors never share a replica, so equal writes are equal in all that merge keeps.
    vec(write, count)
}

fn dictionary(writes: &[(Key, Entry)]) -> Dictionary {
    let mut dictionary = Dictionary::new();
    for (key, entry) in writes {
        dictionary.merge_entry(key.clone(), entry.clone());
    }
    dictionary
}

fn merged(a: &Dictionary, b: &Dictionary) -> Dictionary {
    let mut merged = a.clone();
    merged.merge(b);
    merged
}

proptest! {
    #[test]
    fn merge_is_commutative(a in writes(0..20), b in writes(0..20)) {
        let (a, b) = (dictionary(&a), dictionary(&b));
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
    }

    #[test]
    fn merge_is_associative(a in writes(0..20), b in writes(0..20), c in writes(0..20)) {
        let (a, b, c) = (dictionary(&a), dictionary(&b), dictionary(&c));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
    }

    #[test]
    fn merge_is_idempotent(a in writes(0..20), b in writes(0..20)) {
        let once = merged(&dictionary(&a), &dictionary(&b));
        prop_assert_eq!(merged(&once, &dictionary(&b)), once);
    }

    #[test]
    fn merging_is_applying(a in writes(0..20), b in writes(0..20)) {
        let all: Vec<_> = a.iter().chain(&b).cloned().collect();
        prop_assert_eq!(merged(&dictionary(&a), &dictionary(&b)), dictionary(&all));
    }

    #[test]
    fn beats_is_a_strict_total_order(a in writes(3)) {
        let [(_, a), (_, b), (_, c)] = a.try_into().unwrap();
        prop_assert!(!a.beats(&a));
        prop_assert_eq!(a.beats(&b) || b.beats(&a), a.rank() != b.rank());
        prop_assert!(!(a.beats(&b) && b.beats(&a)));
        prop_assert!(!(a.beats(&b) && b.beats(&c)) || a.beats(&c));
    }

    #[test]
    fn every_permutation_of_concurrent_writes_converges(writes in writes(1..=5)) {
        let expected = dictionary(&writes);
        for_each_permutation(&mut writes.clone(), 0, &mut |order| assert_eq!(dictionary(order), expected));
    }

    #[test]
    fn digest_and_counts_are_those_of_the_entries(writes in writes(0..40), forgotten in "[a-d]") {
        let mut dictionary = dictionary(&writes);
        dictionary.forget(&key(&forgotten));
        prop_assert_eq!(dictionary.digest(), dictionary.recompute_digest());
        prop_assert_eq!(dictionary.live() as usize, dictionary.iter().count());
        prop_assert_eq!((dictionary.live() + dictionary.tombstones()) as usize, dictionary.entries().count());
    }

    #[test]
    fn iteration_is_in_key_order_and_by_prefix(names in vec("[a-c]{1,4}", 0..30), prefix in "[a-c]{0,2}") {
        let mut dictionary = Dictionary::new();
        for name in &names {
            dictionary.put(key(name), value("1"), put_stamp(1, 1), AuthorId(1));
        }
        prop_assert!(dictionary.iter().map(|(key, _)| key).is_sorted());
        let by_prefix: Vec<_> = dictionary.prefix(&prefix).map(|(key, _)| key.as_str()).collect();
        let filtered: Vec<_> = dictionary.iter().map(|(k, _)| k.as_str()).filter(|k| k.starts_with(&prefix)).collect();
        prop_assert_eq!(by_prefix, filtered);
    }

    #[test]
    fn a_clock_rises_above_all_it_met(steps in vec((0..100_u64, 0..100_u64, any::<bool>()), 1..50)) {
        let mut clock = Clock::new(ReplicaId(1));
        let mut last = Stamp::ZERO;
        for (now_ms, replaced_ms, put) in steps {
            let replaced = put_stamp(replaced_ms, 9);
            let stamp = clock.stamp(now_ms, replaced, put);
            prop_assert!(stamp > last && stamp > replaced);
            last = stamp;
        }
    }

    #[test]
    fn a_value_keeps_every_byte_outside_whitespace(json in json()) {
        let compact = Value::parse(&json).unwrap();
        prop_assert_eq!(Value::from_peer(compact.as_str()).unwrap(), compact.clone());
        let tree = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        prop_assert_eq!(tree(compact.as_str()), tree(&json));
        prop_assert_eq!(Value::from_input(&compact.to_input()).unwrap(), compact);
    }
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        (-1000..1000_i32).prop_map(|n| format!(" {n}.50 ")),
        ".{0,8}".prop_map(|text| serde_json::Value::from(text).to_string()),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[ {} ]", items.join(" ,\n"))),
            vec(inner, 0..4).prop_map(|items| {
                let fields: Vec<_> = items.iter().enumerate().map(|(n, item)| format!("\"k {n}\" : {item}")).collect();
                format!("{{{}}}", fields.join(" , "))
            }),
        ]
    })
}

fn for_each_permutation(items: &mut [(Key, Entry)], fixed: usize, check: &mut impl FnMut(&[(Key, Entry)])) {
    if fixed == items.len() {
        return check(items);
    }
    for next in fixed..items.len() {
        items.swap(fixed, next);
        for_each_permutation(items, fixed + 1, check);
        items.swap(fixed, next);
    }
}

/// The demo that Keybook replaces kept two sets and compared with `>`: two puts with equal timestamps each stayed where they
/// were made, for ever.
#[test]
fn two_puts_with_equal_stamps_converge() {
    let stamp = put_stamp(1000, 1);
    let replica = |json: &str| {
        let mut dictionary = Dictionary::new();
        dictionary.put(key("k"), value(json), stamp, AuthorId(1));
        dictionary
    };
    let (a, b) = (replica("\"a\""), replica("\"b\""));
    assert_ne!(a, b);
    assert_eq!(merged(&a, &b), merged(&b, &a));
    assert_eq!(merged(&a, &b).get("k"), Some(&value("\"b\"")));
}

#[test]
fn at_equal_times_a_put_beats_a_remove() {
    let mut dictionary = Dictionary::new();
    assert!(dictionary.remove(key("k"), remove_stamp(1000, 9), AuthorId(9)));
    assert!(dictionary.put(key("k"), value("1"), put_stamp(1000, 1), AuthorId(1)));
    assert!(!dictionary.remove(key("k"), remove_stamp(1000, 9), AuthorId(9)));
    assert_eq!((dictionary.live(), dictionary.tombstones()), (1, 0));
}
