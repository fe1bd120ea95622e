//! Where a world's decisions come from: a seed, or bytes that a fuzzer mutates.

use std::{collections::VecDeque, ops::Range};

/// Draws what happens next.
pub struct Decisions {
    /// What a fuzzer has decided; none in a world of a seed.
    bytes: Option<VecDeque<u8>>,
    rng: fastrand::Rng,
}

impl Decisions {
    pub fn of_seed(seed: u64) -> Self {
        Self { bytes: None, rng: fastrand::Rng::with_seed(seed) }
    }

    /// The bytes' decisions, and when they are used up always the same ones.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self { bytes: Some(bytes.iter().copied().collect()), rng: fastrand::Rng::with_seed(0) }
    }

    /// Whether the bytes are used up. A seed never is.
    pub fn are_over(&self) -> bool {
        self.bytes.as_ref().is_some_and(VecDeque::is_empty)
    }

    /// A number below a bound. It takes as few bytes as hold the bound, so that a changed byte changes one decision.
    pub fn below(&mut self, bound: u64) -> u64 {
        let Some(bytes) = self.bytes.as_mut().filter(|bytes| !bytes.is_empty()) else { return self.rng.u64(0..bound) };
        let width = (u64::BITS - (bound - 1).leading_zeros()).div_ceil(8) as usize;
        let taken = bytes.drain(..width.min(bytes.len()));
        taken.fold(0, |number, byte| number << 8 | u64::from(byte)) % bound
    }

    pub fn index(&mut self, range: Range<usize>) -> usize {
        range.start + self.below((range.end - range.start) as u64) as usize
    }

    pub fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    pub fn choice<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        if of.is_empty() { None } else { Some(of[self.index(0..of.len())]) }
    }

    /// From minus to plus the bound.
    pub fn around_zero(&mut self, bound: u64) -> i64 {
        self.below(2 * bound + 1) as i64 - bound as i64
    }

    /// A random number whose value says nothing, such as an id.
    pub fn number(&mut self) -> u64 {
        self.rng.u64(..)
    }
}
