//! The simulator: many small worlds, each from a seed. `KEYBOOK_SEED=n` replays one; `KEYBOOK_SEEDS=n` runs that many
//! instead of 2000. Some more have never been run before; what they were is printed.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use support::{
    decisions::Decisions,
    world::{Plan, Tally, World},
};

/// Seeds that are other ones each time.
const FRESH: u64 = 20;

/// What must happen in some world; a kind that never does is not tested.
const KINDS: [&str; 92] = [
    "put",
    "put refused locally",
    "remove",
    "renamed",
    "conflict dismissed",
    "conflict restored",
    "conflict brought back",
    "brought back by another",
    "restored value replaced meanwhile",
    "connect",
    "cut",
    "frame lost",
    "half open",
    "revived",
    "revived too late",
    "client gave up a connection",
    "frame of a given up connection",
    "push after a newer connection's",
    "write on two connections",
    "lagged",
    "page with more",
    "last page",
    "snapshot",
    "snapshot kept from before",
    "snapshot failed",
    "superseded",
    "duplicate",
    "command in several commits",
    "clock ahead",
    "stamped anew",
    "full",
    "group",
    "group refused",
    "full of bytes",
    "too large",
    "read only",
    "role changed",
    "held write discarded",
    "held write written again",
    "held write refused again",
    "conflict",
    "conflict by the oracle",
    "conflict by the oracle after a rollback",
    "rollback",
    "client crash while offline",
    "client crash before a welcome",
    "client crash before a snapshot",
    "client crash in the middle of a catch-up",
    "client crash before an ack",
    "client crash before a delta",
    "client crash at rest",
    "device lost a transaction",
    "device opened",
    "device lacks what came before",
    "tab message lost",
    "tab message after its end",
    "tab adopted nothing",
    "tab adopted edits",
    "tab adopted decisions",
    "tabs agree offline",
    "sibling's edit shown",
    "browser killed with several tabs",
    "device opened late",
    "device asked to keep what is there",
    "no room for the base",
    "no room for edits",
    "transaction broken off",
    "edit kept after all",
    "store never opened",
    "store closed",
    "store closed while keeping",
    "store closed while without room",
    "store deleted",
    "store refused in the middle",
    "tab adopted where asked",
    "server with a wrong clock",
    "no room on the server's disk",
    "no common history",
    "hundreds of starts",
    "no room for a conflict row",
    "another dictionary",
    "server start",
    "server stop",
    "server crash before a request is answered",
    "server crash with a push queued",
    "server crash before commit",
    "server crash after commit",
    "server crash before a welcome leaves",
    "server crash before an ack leaves",
    "server crash before a delta leaves",
    "server crash in the middle of a catch-up",
    "server crash before another frame leaves",
];

fn run(seeds: impl Iterator<Item = u64>) -> Tally {
    let mut tally = Tally::default();
    for seed in seeds {
        match catch_unwind(AssertUnwindSafe(|| World::new(Decisions::of_seed(seed), Plan::of(seed)).run())) {
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
    let fresh = fastrand::u64(1 << 32..1 << 52);
    eprintln!("fresh seeds: {fresh} to {}", fresh + FRESH - 1);
    let tally = run((0..number("KEYBOOK_SEEDS").unwrap_or(2000)).chain(fresh..fresh + FRESH));
    eprintln!("{tally:#?}");
    tally.assert_precision();
    for kind in KINDS {
        assert!(tally.0.get(kind).is_some_and(|&count| count > 0), "{kind:?} never happened");
    }
}
