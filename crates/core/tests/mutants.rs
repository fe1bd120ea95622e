//! Tests the simulator: with each planted fault some world must fail. Needs `RUSTFLAGS='--cfg keybook_mutants'`. Faults of the
//! device are tried on its stories too, and a few on these alone: see `src/device/stories.rs`.
#![cfg(keybook_mutants)]

mod support;

use std::panic::{self, AssertUnwindSafe};

use keybook_core::mutants::turn_on;
use support::{
    decisions::Decisions,
    world::{Plan, Tally, World},
};

const SEEDS: u64 = 1000;

const MUTANTS: [&str; 34] = [
    "a cut forgets what was sent",
    "acks outlive their epoch",
    "a lost entry's remove leaves nothing",
    "a page is a moment",
    "a row leaves with its ack",
    "a wrong clock goes on",
    "who loses is not told",
    "a resend is new",
    "one conflicts with oneself",
    "the first page is the last",
    "a clock ignores what it replaces",
    "the fork is where the client is",
    "snapshots have no tombstones",
    "a refused write is done",
    "a refused write is tried again",
    "a new stamp has seen what is there",
    "what comes back conflicts with nothing",
    "the last to come wins",
    "a local store forgets nothing",
    "a local store keeps half a catch-up",
    "a sibling's row leaves at once",
    "what a sibling told in between is not missed",
    "a cut forgets what was decided",
    "a tab is told before it is kept",
    "what was not taken is dropped",
    "what was not taken is overtaken",
    "room for the base is tried for ever",
    "a refused store goes on",
    "what was left is deleted unread",
    "everybody who asks takes over",
    "forks are not lowered",
    "strangers are told everything",
    "each change has a frame of its own",
    "what is overwritten is kept empty",
];

/// The first seed whose world fails, and how.
fn caught(mutant: &'static str) -> Result<(u64, String), &'static str> {
    turn_on(Some(mutant));
    let mut tally = Tally::default();
    for seed in 0..SEEDS {
        let world = AssertUnwindSafe(|| {
            tally.add(&World::new(Decisions::of_seed(seed), Plan::of(seed)).run());
            if seed + 1 == SEEDS {
                tally.assert_precision();
            }
        });
        if let Err(panic) = panic::catch_unwind(world) {
            let message = panic.downcast_ref::<String>().map_or("a panic", String::as_str);
            return Ok((seed, message.chars().take(100).collect()));
        }
    }
    Err(mutant)
}

#[test]
fn each_mutant_is_caught() {
    panic::set_hook(Box::new(|_| {}));
    let results = MUTANTS.map(|mutant| (mutant, caught(mutant)));
    let _ = panic::take_hook();
    for (mutant, result) in &results {
        match result {
            Ok((seed, message)) => eprintln!("{mutant:44} caught by seed {seed:3}: {message}"),
            Err(_) => eprintln!("{mutant:44} NOT CAUGHT by {SEEDS} seeds"),
        }
    }
    let missed: Vec<_> = results.iter().filter_map(|(_, result)| result.as_ref().err()).collect();
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
