//! What is written: the cases, and their pushes as bytes, so that the loader does nothing but send them.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use keybook_core::{
    Clock, ReplicaId, Stamp,
    limits::PUSHES_IN_FLIGHT_MAX,
    wire::{ClientFrame, Op},
};

const SEED: u64 = 0x6b65_7962_6f6f_6b32;

/// A way to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    /// Operations in a Push.
    pub(crate) ops: usize,
    /// Pushes of one connection that wait for their acks.
    pub(crate) in_flight: usize,
    pub(crate) connections: usize,
    /// Pushes of one connection in all.
    pub(crate) pushes: usize,
    /// Of entries that exist, each once; else of new ones.
    pub(crate) overwrites: bool,
}

impl Case {
    /// All of them, in their order: the first makes enough entries for the others to overwrite.
    pub(crate) fn all() -> Vec<Self> {
        let several = PUSHES_IN_FLIGHT_MAX;
        let shapes = [
            (512, several, 1, 40),
            (512, 1, 1, 20),
            (100, several, 1, 120),
            (100, 1, 1, 60),
            (10, several, 1, 400),
            (10, 1, 1, 200),
            (1, several, 8, 400),
            (1, several, 1, 1200),
            (1, 1, 1, 300),
        ];
        let cases = shapes.map(|(ops, in_flight, connections, pushes)| {
            [false, true].map(|overwrites| Self { ops, in_flight, connections, pushes, overwrites })
        });
        cases.into_iter().flatten().collect()
    }

    /// Operations in all.
    pub(crate) fn operations(self) -> usize {
        self.ops * self.pushes * self.connections
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ops, in_flight, connections, overwrites, .. } = self;
        let what = if *overwrites { "overwrites" } else { "new" };
        match connections {
            1 => write!(f, "{ops}, {in_flight} in flight, {what}"),
            _ => write!(f, "{ops}, {connections} × {in_flight} in flight, {what}"),
        }
    }
}

/// Makes pushes, and remembers what they leave.
#[derive(Debug)]
pub(crate) struct Workload {
    random: fastrand::Rng,
    clock: Clock,
    /// The keys, each with the stamp of its last write.
    entries: Vec<(String, Stamp)>,
}

impl Workload {
    pub(crate) fn new() -> Self {
        let random = fastrand::Rng::with_seed(SEED);
        Self { random, clock: Clock::new(ReplicaId(SEED)), entries: Vec::new() }
    }

    /// The frames of a case, for each of its connections.
    pub(crate) fn pushes(&mut self, case: Case) -> Vec<Vec<Bytes>> {
        if case.overwrites {
            self.random.shuffle(&mut self.entries);
        }
        let first = if case.overwrites { 0 } else { self.entries.len() };
        let mut numbers = first..first + case.operations();
        let mut connection = || {
            let push = |batch| {
                let ops = numbers.by_ref().take(case.ops).map(|number| self.op(number)).collect();
                Bytes::from(ClientFrame::Push { batch, ops }.encode())
            };
            (1..=case.pushes as u64).map(push).collect()
        };
        (0..case.connections).map(|_| connection()).collect()
    }

    /// Writes an entry that there is, or the next one.
    fn op(&mut self, number: usize) -> Op {
        if number == self.entries.len() {
            let key = (0..16).map(|_| self.random.alphanumeric()).collect();
            self.entries.push((key, Stamp::ZERO));
        }
        let text: String = (0..30).map(|_| self.random.alphanumeric()).collect();
        let (key, stamp) = &mut self.entries[number];
        let seen = *stamp;
        *stamp = self.clock.stamp(now_ms(), seen, true);
        let value = Some(format!("\"{text}\""));
        Op { key: key.clone(), value, stamp: *stamp, seen: vec![seen], author: None, recovered: None }
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis() as u64
}
