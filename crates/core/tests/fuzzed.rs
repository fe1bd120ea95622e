//! The bodies of the fuzz targets (`fuzz/`), on bytes of seeds. `KEYBOOK_SEED=n` replays one.

mod support;

use std::panic::{catch_unwind, resume_unwind};

use support::fuzzed::{decode, message, peers};

/// Runs a body on up to `bytes_max` random bytes of each seed.
fn check(seeds: u64, bytes_max: usize, body: fn(&[u8])) {
    let one: Option<u64> = std::env::var("KEYBOOK_SEED").ok().map(|seed| seed.parse().unwrap());
    for seed in one.map_or(0..seeds, |seed| seed..seed + 1) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut bytes = vec![0; rng.usize(0..bytes_max)];
        rng.fill(&mut bytes);
        if let Err(panic) = catch_unwind(|| body(&bytes)) {
            eprintln!("failed; replay with KEYBOOK_SEED={seed}");
            resume_unwind(panic);
        }
    }
}

#[test]
fn decoders_take_any_bytes() {
    check(5000, 40, |bytes| {
        // Few bytes, and most of them choose a sample, so that much of it stays whole.
        let sample = bytes.first().map_or(0, |first| first % 24);
        decode(&message(&[&[sample], bytes].concat()));
        decode(bytes);
    });
}

#[test]
fn two_peers_come_to_equality() {
    check(200, 4000, peers);
}
