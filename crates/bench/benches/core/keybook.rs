//! Keybook's own dictionary, snapshot and frames. An operation begins with plain texts, so it includes their checks.

use std::iter;

use keybook_core::{
    Author, AuthorId, AuthorName, AuthorNumbers, Authors, Clock, Contributor, Dictionary, DictionaryId, Entry, Epoch,
    HybridTime, Key, Lineage, ReplicaId, Seq, Stamp, Value,
    wire::{
        Change, Delta, Horizon, ServerFrame,
        snapshot::{self, Header, Snapshot},
    },
};

use crate::{subject::Subject, workload::Workload};

const AUTHOR: AuthorId = AuthorId(1);
/// An operation a millisecond since then.
const BEGIN_MS: u64 = 1_790_000_000_000;

pub(crate) struct Keybook {
    dictionary: Dictionary,
    authors: Authors,
    clock: Clock,
    seq: Seq,
}

impl Keybook {
    fn next(&mut self, key: &str, value: &str) -> (Key, Entry) {
        self.seq = self.seq.next();
        let stamp = self.clock.stamp(BEGIN_MS + self.seq.0, Stamp::ZERO, true);
        let key = Key::parse(key).expect("it is a key");
        let value = Value::from_peer(value).expect("it is compact JSON");
        (key, Entry { value: Some(value), stamp, seq: self.seq, author: AUTHOR })
    }
}

impl Subject for Keybook {
    const NAME: &'static str = "Keybook";

    fn new(replica: u8) -> Self {
        Self {
            dictionary: Dictionary::new(),
            authors: known([AUTHOR]),
            clock: Clock::new(ReplicaId(0x9e37_79b9_7f4a_7c15 ^ u64::from(replica))),
            seq: Seq(0),
        }
    }

    fn set(&mut self, key: &str, value: &str) {
        let (key, entry) = self.next(key, value);
        self.dictionary.merge_entry(key, entry);
    }

    fn set_to_update(&mut self, key: &str, value: &str) -> Vec<u8> {
        let prev = self.seq;
        let (key, entry) = self.next(key, value);
        self.dictionary.merge_entry(key.clone(), entry.clone());
        let change = [Change::Entry(key, entry)];
        let delta =
            Delta::pack(&change, prev, self.seq, false, &AuthorNumbers::from(&self.authors), usize::MAX).remove(0);
        ServerFrame::Delta(delta).encode()
    }

    fn apply(&mut self, update: &[u8]) {
        let Ok(ServerFrame::Delta(delta)) = ServerFrame::decode(update) else { panic!("it is a Delta") };
        for change in delta.into_changes(&mut self.authors).expect("its author is known") {
            let Change::Entry(key, entry) = change else { panic!("it has no conflicts") };
            self.dictionary.replace(key, entry);
        }
    }

    fn encode(&mut self) -> Vec<u8> {
        let header = Header {
            dictionary: DictionaryId(1),
            lineage: Lineage { past: Vec::new(), current: Epoch(1) },
            seq: self.seq,
            horizon: Horizon::default(),
            digest: self.dictionary.digest() + self.authors.digest(),
        };
        let (mut encoder, mut bytes) = snapshot::Encoder::new(&header, &self.authors);
        for (key, entry) in self.dictionary.entries() {
            if let Some(chunk) = encoder.entry(key, entry, None) {
                bytes.extend_from_slice(&chunk);
            }
        }
        bytes.extend(encoder.finish(iter::empty()));
        bytes
    }

    fn load(bytes: &[u8]) -> Self {
        let Snapshot { header, base, authors, .. } = Snapshot::decode(bytes).expect("it is a snapshot");
        Self { dictionary: base, authors, seq: header.seq, ..Self::new(0) }
    }

    fn read(&self, mut visit: impl FnMut(&str, &str)) {
        self.dictionary.iter().for_each(|(key, value)| visit(key.as_str(), value.as_str()));
    }

    fn merge(&mut self, other: &mut Self) {
        self.dictionary.merge(&other.dictionary);
    }
}

/// The state's size when its columns have little to share: many replicas and authors, times and seqs in no order.
pub(crate) fn spread_state_bytes(work: &Workload) -> usize {
    const MONTH_MS: u64 = 30 * 24 * 60 * 60 * 1000;
    let mut random = fastrand::Rng::with_seed(1);
    let replicas: Vec<u64> = (0..1000).map(|_| random.u64(..)).collect();
    let authors: Vec<AuthorId> = (0..100).map(|_| AuthorId(random.u64(..))).collect();
    let mut replica = Keybook::new(1);
    replica.authors = known(authors.iter().copied());
    for (key, value) in &work.first {
        let (key, entry) = replica.next(key, value);
        let time = HybridTime::new(BEGIN_MS + random.u64(..MONTH_MS), random.u16(..4));
        let writer = random.usize(..replicas.len());
        let stamp = Stamp::new(time, true, ReplicaId(replicas[writer]));
        replica.dictionary.replace(key, Entry { stamp, author: authors[writer % authors.len()], ..entry });
    }
    replica.encode().len()
}

/// Authors who wrote before all else.
fn known(ids: impl IntoIterator<Item = AuthorId>) -> Authors {
    let mut authors = Authors::default();
    for (number, id) in (1..).zip(ids) {
        let author = Author { id, name: AuthorName::generated(id) };
        authors.set(Contributor { number, author, made: Seq(0), seq: Seq(0) }).expect("they are numbered in turn");
    }
    authors
}
