//! The simulator: many small worlds, each from a seed. `KEYBOOK_SEED=n` replays one; `KEYBOOK_SEEDS=n` runs that many.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use keybook_core::limits::Limits;
use support::world::{Plan, Tally, World};

const HOUR_MS: u64 = 3_600_000;
const YEAR_MS: u64 = 365 * 24 * HOUR_MS;

fn plan(seed: u64) -> Plan {
    Plan {
        clients: 2 + seed as usize % 4,
        keys: 1 + seed as usize % 12,
        steps: 1500,
        skew_ms: [0, 2000, 3 * HOUR_MS, YEAR_MS][seed as usize % 4],
        rollbacks: seed.is_multiple_of(3),
        limits: Limits { entries: if seed.is_multiple_of(7) { 5 } else { 1000 }, ..Limits::default() },
    }
}

fn run(seeds: impl Iterator<Item = u64>) -> Tally {
    let mut tally = Tally::default();
    for seed in seeds {
        match catch_unwind(AssertUnwindSafe(|| World::new(seed, plan(seed)).run())) {
            Ok(one) => tally.add(&one),
            Err(panic) => {
                eprintln!("failed; replay with KEYBOOK_SEED={seed}");
                resume_unwind(panic);
            }
        }
    }
    tally
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

#[test]
fn worlds_converge_and_lose_nothing() {
    if let Some(seed) = number("KEYBOOK_SEED") {
        eprintln!("{:#?}", run(std::iter::once(seed)));
        return;
    }
    let tally = run(0..number("KEYBOOK_SEEDS").unwrap_or(300));
    eprintln!("{tally:#?}");
    for kind in [
        "put",
        "remove",
        "resolve",
        "conflict",
        "conflict by the oracle",
        "connect",
        "cut",
        "half open",
        "client gave up a connection",
        "client crash",
        "server start",
        "server crash",
        "server stop",
        "crash before commit",
        "crash after commit",
        "rollback",
        "lagged",
        "page with more",
        "last page",
        "snapshot",
        "snapshot failed",
        "superseded",
        "duplicate",
        "clock ahead",
        "full",
        "put refused locally",
    ] {
        assert!(tally.0.get(kind).is_some_and(|&count| count > 0), "{kind:?} never happened");
    }
}
