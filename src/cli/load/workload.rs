//! What is written, and when.

use std::time::Duration;

use keybook_core::limits::{PUSH_BYTES_MAX, PUSH_OPS_MAX};
use tokio::time::Instant;

use super::Load;

/// The workload of a run, which all workers share.
pub(super) struct Workload {
    start: Instant,
    /// Begins the keys of this run, and hardly of another: 24 bits.
    run: u32,
    writers: u32,
    rate: Option<u32>,
    /// Writes of one writer that may wait for their acknowledgement.
    pub(super) window: usize,
    /// Writes in one Push at most.
    pub(super) batch: usize,
    value_bytes: usize,
    keys: Option<u32>,
}

impl Workload {
    pub(super) fn new(load: &Load, start: Instant) -> Self {
        let batch = load.batch.map_or((load.window as usize).div_ceil(2), |batch| batch as usize);
        // Beside its value an operation has a key, two stamps and the lengths of all that, well below this.
        let fit = (PUSH_BYTES_MAX / (load.value_bytes as usize + 128)).max(1);
        Self {
            start,
            run: getrandom::u32().expect("every system that runs this has random numbers") >> 8,
            writers: load.writers,
            rate: load.rate,
            window: load.window as usize,
            batch: batch.min(PUSH_OPS_MAX).min(fit),
            value_bytes: load.value_bytes as usize,
            keys: load.keys,
        }
    }

    /// Microseconds since the start.
    pub(super) fn elapsed_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// When a writer's write of this number is to be made: the writers take turns. None without a rate: at once.
    pub(super) fn due_us(&self, writer: u32, number: u64) -> Option<u64> {
        let turn = number * u64::from(self.writers) + u64::from(writer);
        self.rate.map(|rate| turn * 1_000_000 / u64::from(rate))
    }

    /// The moment of [`Workload::due_us`].
    pub(super) fn instant(&self, at_us: u64) -> Instant {
        self.start + Duration::from_micros(at_us)
    }

    /// The key of a writer's write: 16 bytes.
    pub(super) fn key(&self, writer: u32, number: u64) -> String {
        let share = self.keys.map(|keys| u64::from(keys / self.writers));
        let number = share.map_or(number, |share| number % share);
        format!("{:06x}{writer:04x}{number:06x}", self.run)
    }

    /// Whether a key is of this run.
    pub(super) fn owns(&self, key: &str) -> bool {
        key.get(..6).is_some_and(|run| u32::from_str_radix(run, 16) == Ok(self.run))
    }

    /// The value of a write: says when it was made.
    pub(super) fn value(&self, at_us: u64) -> String {
        format!("\"{at_us:0>width$}\"", width = self.value_bytes - 2)
    }
}

/// When a value was made.
pub(super) fn made_us(value: &str) -> Option<u64> {
    value.get(1..value.len().checked_sub(1)?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        load: Load,
    }

    fn workload(arguments: &[&str]) -> Workload {
        let line = ["load"].iter().chain(arguments).copied();
        Workload::new(&Line::parse_from(line).load, Instant::now())
    }

    #[test]
    fn a_value_says_when_it_was_made() {
        let workload = workload(&["--value-bytes", "32"]);
        let value = workload.value(1_234_567);
        assert_eq!((value.len(), made_us(&value)), (32, Some(1_234_567)));
        for other in ["", "1", "\"\"", "\"x\"", "null"] {
            assert_eq!(made_us(other), None, "{other}");
        }
    }

    #[test]
    fn writers_take_turns() {
        let workload = workload(&["--rate", "20", "--writers", "2"]);
        let due: Vec<_> =
            [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(writer, number)| workload.due_us(writer, number)).into();
        assert_eq!(due, [0, 50_000, 100_000, 150_000].map(Some));
    }

    #[test]
    fn keys_are_of_one_run_and_one_writer() {
        let (one, other) = (workload(&["--keys", "20", "--writers", "10"]), workload(&[]));
        assert_eq!(one.key(1, 0), one.key(1, 2), "its share is two keys");
        assert_ne!(one.key(1, 0), one.key(2, 0));
        assert_ne!(other.key(1, 0), other.key(1, 2));
        assert!(one.owns(&one.key(9, 1)) && !other.owns(&one.key(9, 1)));
    }
}
