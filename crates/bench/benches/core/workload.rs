//! What the subjects are given: the same keys and values to each, from a fixed seed.

/// Entries of a dictionary.
pub(crate) const ENTRIES: usize = 100_000;
const SEED: u64 = 0x6b65_7962_6f6f_6b31;

/// A write: a key of 16 bytes and a value of 32, which is a JSON string.
pub(crate) type Write = (String, String);

/// The writes of the tasks.
pub(crate) struct Workload {
    /// To different keys.
    pub(crate) first: Vec<Write>,
    /// To the same keys in another order, with other values.
    pub(crate) again: Vec<Write>,
    /// What a second replica holds: other values of the keys in the second half of `first`, and as many keys of its own.
    pub(crate) other: Vec<Write>,
}

impl Workload {
    pub(crate) fn new() -> Self {
        let mut random = fastrand::Rng::with_seed(SEED);
        let first: Vec<Write> = (0..ENTRIES).map(|_| (key(&mut random), value(&mut random))).collect();
        let mut again: Vec<Write> = first.iter().map(|(key, _)| (key.clone(), value(&mut random))).collect();
        random.shuffle(&mut again);
        let conflicting = first[ENTRIES / 2..].iter().map(|(key, _)| (key.clone(), value(&mut random)));
        let mut other: Vec<Write> = conflicting.collect();
        other.extend((other.len()..ENTRIES).map(|_| (key(&mut random), value(&mut random))));
        random.shuffle(&mut other);
        Self { first, again, other }
    }
}

fn key(random: &mut fastrand::Rng) -> String {
    (0..16).map(|_| random.alphanumeric()).collect()
}

fn value(random: &mut fastrand::Rng) -> String {
    let text: String = (0..30).map(|_| random.alphanumeric()).collect();
    format!("\"{text}\"")
}
