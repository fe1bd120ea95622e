//! What the tests of the core share: a store in memory, and a simulated world of one server and its clients.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test binary uses its part")]

pub mod decisions;
pub mod frames;
pub mod fuzzed;
pub mod pair;
pub mod store;
pub mod world;

use keybook_core::{Author, AuthorId, AuthorName, HybridTime, Key, ReplicaId, Stamp, Value};

pub fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

pub fn value(json: &str) -> Value {
    Value::parse(json).unwrap()
}

pub fn author(id: u64) -> Author {
    Author { id: AuthorId(id), name: AuthorName::generated(AuthorId(id)) }
}

pub fn put_stamp(ms: u64, replica: u64) -> Stamp {
    Stamp::new(HybridTime::from_millis(ms), true, ReplicaId(replica))
}

pub fn remove_stamp(ms: u64, replica: u64) -> Stamp {
    Stamp::new(HybridTime::from_millis(ms), false, ReplicaId(replica))
}
