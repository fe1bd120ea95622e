//! The server beside a bare broadcaster, both loaded by `keybook load`: what is delivered, how long that takes, and what it
//! costs. `cargo bench -p keybook-bench --bench fan_out`, when the server has been built for release; `-- 1` for one round,
//! which prints and writes no page; `-- bare` is the broadcaster.
#![allow(clippy::print_stdout, reason = "a benchmark's output")]

mod bare;
mod load;

mod tables;

use std::{env, error::Error, process::Command};

use keybook_bench::{
    disk::{Disk, Syncs},
    report,
    server::Server,
};

use crate::load::{Load, Run};

const ROUNDS: usize = 5;
const COMMAND: &str = "cargo bench -p keybook-bench --bench fan_out";

/// More connections take longer, so their writers have less on the way.
const FLOODS: [Load; 3] = [flood(10, 512), flood(100, 128), flood(1000, 32)];
const STEADY: [Load; 2] = [steady(100), steady(1000)];

/// The benchmark ends with whatever fails.
type Outcome<T> = Result<T, Box<dyn Error>>;

const fn flood(connections: u32, window: u32) -> Load {
    Load { connections, window, rate: None, seconds: 4 }
}

const fn steady(connections: u32) -> Load {
    Load { connections, window: 64, rate: Some(20), seconds: 8 }
}

/// What was measured of a server in one round.
struct Round {
    idle_bytes: u64,
    /// In the order of [`STEADY`].
    steady: Vec<Run>,
    /// In the order of [`FLOODS`].
    floods: Vec<Run>,
    /// The broadcaster's, when its writers pack their writes as Keybook's do.
    packed: Vec<Run>,
}

fn main() -> Outcome<()> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let rounds = match arguments.first().map(String::as_str) {
        Some("bare") => return bare::run(),
        Some(rounds) => rounds.parse()?,
        None => ROUNDS,
    };
    let disk = Disk::new()?;
    let before = disk.probe()?;
    // Of each round Keybook's, and the broadcaster's.
    let mut pairs = Vec::new();
    for round in 0..rounds {
        // Another one begins each round.
        pairs.push(if round.is_multiple_of(2) {
            let keybook = keybook(&disk)?;
            [keybook, bare()?]
        } else {
            let bare = bare()?;
            [keybook(&disk)?, bare]
        });
        println!("round {} of {rounds}", round + 1);
    }
    let body = format!("{}\n{}", introduction(rounds, &disk, before, disk.probe()?), tables::all(&pairs));
    println!("\n{body}");
    if arguments.is_empty() {
        println!("written to {}", report::write_section("Fan-out", COMMAND, &body)?.display());
    }
    Ok(())
}

fn keybook(disk: &Disk) -> Outcome<Round> {
    let data = disk.folder.path().join("data");
    let server = Server::start(&data)?;
    let idle_bytes = server.resident_bytes()?;
    let round = Round {
        idle_bytes,
        steady: run(&server, "steady", &STEADY, None)?,
        floods: run(&server, "flood", &FLOODS, None)?,
        packed: Vec::new(),
    };
    server.stop()?;
    std::fs::remove_dir_all(data)?;
    Ok(round)
}

fn bare() -> Outcome<Round> {
    let server = Server::spawn(Command::new(env::current_exe()?).arg("bare"))?;
    Ok(Round {
        idle_bytes: server.resident_bytes()?,
        steady: run(&server, "steady", &STEADY, None)?,
        floods: run(&server, "flood", &FLOODS, Some(1))?,
        packed: run(&server, "packed", &FLOODS, None)?,
    })
}

/// Loads a server, each time in another dictionary. What it has in memory is measured in the first loads.
fn run(server: &Server, name: &str, loads: &[Load], batch: Option<u32>) -> Outcome<Vec<Run>> {
    let run = |load: &Load| {
        let run = load.run(server, &format!("{name}-{}", load.connections), batch)?;
        assert_eq!(run.figures.skipped, 0, "each write has a key of its own, so none takes another's place");
        Ok(run)
    };
    loads.iter().map(run).collect()
}

fn introduction(rounds: usize, disk: &Disk, before: Syncs, after: Syncs) -> String {
    format!(
        "Keybook acknowledges and sends what is on the disk. The bare broadcaster packs all that waits into one frame, sends \
         it to\nall, acknowledges, and does nothing else: it does not read, check, merge or persist what it passes on. Both \
         are loaded by\n`keybook load` with ten writers, values of 32 bytes and a new key of 16 bytes for each write, on the \
         same cores. A writer has\nso many writes on the way (the window); Keybook's packs those that wait into a Push, as \
         its clients do; the broadcaster's sends\neach as a message, and, as an upper bound, packs them too. A delivery is \
         one entry decoded by one connection, and each write\nreaches all connections. {} {rounds} rounds in which the two \
         alternate: medians, in brackets the\nleast and the most; a ratio is of the same round.\n",
        disk.describe(before, after),
    )
}
