//! What the tests of the core share: a store in memory, and a simulated world of one server and its clients.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test binary uses its part")]

pub mod decisions;
pub mod device;
pub mod frames;
pub mod fuzzed;
pub mod hub;
pub mod pair;
pub mod store;
pub mod world;

use keybook_core::{Author, HybridTime, Key, Person, ReplicaId, Secret, Stamp, Value};

pub fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

pub fn value(json: &str) -> Value {
    Value::parse(json).unwrap()
}

/// The secret of this number.
pub fn secret(number: u64) -> Secret {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    Secret(bytes)
}

pub fn replica(number: u64) -> ReplicaId {
    secret(number).replica()
}

pub fn person(number: u64) -> Person {
    Person::generated(secret(number))
}

pub fn author(number: u64) -> Author {
    person(number).author()
}

pub fn put_stamp(ms: u64, replica: u64) -> Stamp {
    Stamp::new(HybridTime::from_millis(ms), true, ReplicaId(replica))
}

pub fn remove_stamp(ms: u64, replica: u64) -> Stamp {
    Stamp::new(HybridTime::from_millis(ms), false, ReplicaId(replica))
}
