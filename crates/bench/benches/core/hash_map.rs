//! The bound: a plain map that does last-write-wins, without checks, order, digest, authors or a format.

use std::collections::HashMap;

use crate::{subject::Subject, workload::ENTRIES};

pub(crate) struct PlainMap {
    map: HashMap<String, (u128, String)>,
    replica: u8,
    time: u128,
}

impl PlainMap {
    fn stamp(&mut self) -> u128 {
        self.time += 1;
        self.time << 8 | u128::from(self.replica)
    }

    fn write(&mut self, key: &str, stamp: u128, value: &str) {
        match self.map.get_mut(key) {
            Some(old) if stamp > old.0 => *old = (stamp, value.to_owned()),
            Some(_) => {}
            None => _ = self.map.insert(key.to_owned(), (stamp, value.to_owned())),
        }
    }
}

impl Subject for PlainMap {
    const NAME: &'static str = "HashMap";

    fn new(replica: u8) -> Self {
        Self { map: HashMap::new(), replica, time: 0 }
    }

    fn set(&mut self, key: &str, value: &str) {
        let stamp = self.stamp();
        self.write(key, stamp, value);
    }

    fn set_to_update(&mut self, key: &str, value: &str) -> Vec<u8> {
        let stamp = self.stamp();
        self.write(key, stamp, value);
        let mut update = Vec::with_capacity(18 + key.len() + value.len());
        write_entry(&mut update, key, stamp, value);
        update
    }

    fn apply(&mut self, update: &[u8]) {
        let mut rest = update;
        let (key, stamp, value) = read_entry(&mut rest);
        self.write(key, stamp, value);
    }

    fn encode(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.map.iter().for_each(|(key, (stamp, value))| write_entry(&mut bytes, key, *stamp, value));
        bytes
    }

    fn load(bytes: &[u8]) -> Self {
        let mut map = HashMap::with_capacity(ENTRIES);
        let mut rest = bytes;
        while !rest.is_empty() {
            let (key, stamp, value) = read_entry(&mut rest);
            map.insert(key.to_owned(), (stamp, value.to_owned()));
        }
        Self { map, replica: 0, time: 0 }
    }

    fn read(&self, mut visit: impl FnMut(&str, &str)) {
        self.map.iter().for_each(|(key, (_, value))| visit(key, value));
    }

    fn merge(&mut self, other: &mut Self) {
        other.map.iter().for_each(|(key, (stamp, value))| self.write(key, *stamp, value));
    }
}

/// Key and value with a byte of length before each, and the stamp between.
fn write_entry(bytes: &mut Vec<u8>, key: &str, stamp: u128, value: &str) {
    bytes.push(key.len() as u8);
    bytes.extend(key.as_bytes());
    bytes.extend(stamp.to_be_bytes());
    bytes.push(value.len() as u8);
    bytes.extend(value.as_bytes());
}

fn read_entry<'a>(rest: &mut &'a [u8]) -> (&'a str, u128, &'a str) {
    let mut take = |length: usize| {
        let (taken, after) = rest.split_at(length);
        *rest = after;
        taken
    };
    let text = |bytes| std::str::from_utf8(bytes).expect("it was text");
    let length = take(1)[0].into();
    let key = take(length);
    let stamp = u128::from_be_bytes(take(16).try_into().expect("it is 16 bytes"));
    let length = take(1)[0].into();
    (text(key), stamp, text(take(length)))
}
