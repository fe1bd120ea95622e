//! What a run has measured.

use std::{fmt, time::Duration};

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::Load;

/// What a worker counts, or all of them together.
#[derive(Debug)]
pub(super) struct Tally {
    /// Writes that were acknowledged.
    pub(super) writes: u64,
    /// Writes that were refused.
    pub(super) refused: u64,
    /// Entries of this run that were received and decoded.
    pub(super) deliveries: u64,
    /// When the last acknowledgement came, in microseconds since the start.
    pub(super) last_ack_us: u64,
    /// When the last delivery came.
    pub(super) last_delivery_us: u64,
    /// From when a write was to be made to its acknowledgement.
    pub(super) to_ack: Times,
    /// From when a write was to be made to its delivery.
    pub(super) to_receive: Times,
}

impl Default for Tally {
    fn default() -> Self {
        let (to_ack, to_receive) = (Times::new(), Times::new());
        Self { writes: 0, refused: 0, deliveries: 0, last_ack_us: 0, last_delivery_us: 0, to_ack, to_receive }
    }
}

impl Tally {
    pub(super) fn add(&mut self, other: &Tally) {
        self.writes += other.writes;
        self.refused += other.refused;
        self.deliveries += other.deliveries;
        self.last_ack_us = self.last_ack_us.max(other.last_ack_us);
        self.last_delivery_us = self.last_delivery_us.max(other.last_delivery_us);
        self.to_ack.add(&other.to_ack);
        self.to_receive.add(&other.to_receive);
    }
}

/// Many times, each to one part in a hundred.
#[derive(Debug)]
pub(super) struct Times(Histogram<u32>);

impl Times {
    fn new() -> Self {
        Self(Histogram::new(2).expect("two digits are possible"))
    }

    pub(super) fn record(&mut self, time_us: u64) {
        self.0.record(time_us).expect("it grows by itself");
    }

    fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("it grows by itself");
    }

    fn quantiles(&self) -> Quantiles {
        let ms = |quantile: f64| self.0.value_at_quantile(quantile) as f64 / 1e3;
        Quantiles { p50_ms: ms(0.5), p95_ms: ms(0.95), p99_ms: ms(0.99), max_ms: ms(1.0) }
    }
}

/// The figures of a run.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    connections: u32,
    writers: u32,
    writes: u64,
    writes_per_second: f64,
    deliveries: u64,
    deliveries_per_second: f64,
    /// Writes that a connection never saw because the key was written again before.
    skipped: u64,
    to_ack: Quantiles,
    to_receive: Quantiles,
    /// What this process itself used of the processors, while it wrote and received.
    processor_seconds: f64,
}

#[derive(Debug, Serialize)]
struct Quantiles {
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl Figures {
    pub(super) fn new(load: &Load, tally: &Tally, processor: Duration) -> Self {
        let per_second = |count: u64, us: u64| if us == 0 { 0.0 } else { count as f64 * 1e6 / us as f64 };
        Self {
            connections: load.connections,
            writers: load.writers,
            writes: tally.writes,
            writes_per_second: per_second(tally.writes, tally.last_ack_us),
            deliveries: tally.deliveries,
            deliveries_per_second: per_second(tally.deliveries, tally.last_delivery_us),
            skipped: (tally.writes * u64::from(load.connections)).saturating_sub(tally.deliveries),
            to_ack: tally.to_ack.quantiles(),
            to_receive: tally.to_receive.quantiles(),
            processor_seconds: processor.as_secs_f64(),
        }
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and names are JSON")
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "writes      {}, {:.0} a second, by {} writers",
            self.writes, self.writes_per_second, self.writers
        )?;
        writeln!(
            f,
            "deliveries  {}, {:.0} a second, to {} connections; {} skipped",
            self.deliveries, self.deliveries_per_second, self.connections, self.skipped
        )?;
        writeln!(f, "to ack      {}", self.to_ack)?;
        writeln!(f, "to receive  {}", self.to_receive)?;
        write!(f, "processor   {:.2} s of this load's own", self.processor_seconds)
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50_ms, p95_ms, p99_ms, max_ms } = self;
        write!(f, "p50 {p50_ms:.2} ms, p95 {p95_ms:.2} ms, p99 {p99_ms:.2} ms, longest {max_ms:.2} ms")
    }
}

/// What this process has used of the processors.
pub(super) fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
