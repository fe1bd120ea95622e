//! How often each kind of event happened.

use std::collections::BTreeMap;

/// How often each kind of event happened, over all runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(pub BTreeMap<&'static str, u64>);

impl Tally {
    pub fn count(&mut self, kind: &'static str) {
        *self.0.entry(kind).or_default() += 1;
    }

    pub fn count_some(&mut self, kind: &'static str, number: usize) {
        if number > 0 {
            *self.0.entry(kind).or_default() += number as u64;
        }
    }

    pub fn of(&self, kind: &str) -> u64 {
        self.0.get(kind).copied().unwrap_or_default()
    }

    /// At least 99 of 100 conflict rows are conflicts by the oracle's account too.
    pub fn assert_precision(&self) {
        let (unknown, known) = (self.of("conflict unknown to the oracle"), self.of("conflict by the oracle"));
        assert!(unknown * 100 <= known, "{unknown} conflict rows that are none, beside {known} that are");
    }

    pub fn add(&mut self, other: &Tally) {
        for (kind, count) in &other.0 {
            *self.0.entry(kind).or_default() += count;
        }
    }
}
