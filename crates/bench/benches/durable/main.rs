//! Durable writes: Keybook over its sockets, beside redb alone making the same row changes, and beside one plain table.
//! `cargo bench -p keybook-bench --bench durable`, when the server has been built for release; `-- 1` for one round, which
//! prints and writes no page.
//!
//! The times are those of the clock on the wall: what is waited for is the disk.
#![allow(clippy::print_stdout, reason = "a benchmark's output")]

mod workload;

mod connection;
mod keybook;
mod rows;

mod bare;

use std::env;

use keybook_bench::{
    disk::{Disk, Syncs},
    report::{self, Table},
    samples::Spread,
};

use crate::{
    bare::Bare,
    connection::Outcome,
    keybook::{Cost, Keybook},
    rows::{FileRows, PLAIN_TABLE, TABLES},
    workload::Case,
};

const ROUNDS: usize = 7;
const COMMAND: &str = "cargo bench -p keybook-bench --bench durable";
const SUBJECTS: [&str; 3] = ["Keybook", "bare redb", "one plain table"];

/// A case and its rounds.
struct Line {
    case: Case,
    /// The server's, which are the others' too.
    transactions: usize,
    /// Of the subjects in their order, a round each.
    rounds: Vec<[Cost; 3]>,
}

fn main() -> Outcome<()> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let rounds = arguments.first().map_or(Ok(ROUNDS), |rounds| rounds.parse())?;
    let disk = Disk::new()?;
    let line = |case| Line { case, transactions: 0, rounds: Vec::new() };
    let mut lines: Vec<Line> = Case::all().into_iter().map(line).collect();

    let before = disk.probe()?;
    for round in 0..rounds {
        run(&disk, round, &mut lines)?;
        println!("round {} of {rounds}", round + 1);
    }
    let after = disk.probe()?;

    let body = format!("{}\n{}", introduction(rounds, &disk, before, after), tables(&lines));
    println!("\n{body}");
    if arguments.is_empty() {
        println!("written to {}", report::write_section("Durable writes", COMMAND, &body)?.display());
    }
    Ok(())
}

/// Every case once, by all subjects in turns, in files of their own.
fn run(disk: &Disk, round: usize, lines: &mut [Line]) -> Outcome<()> {
    let folder = disk.folder.path().join(round.to_string());
    let mut keybook = Keybook::new(&folder)?;
    let same = Bare::new(&folder.join("same.redb"), TABLES, &keybook.rows.changes())?;
    let plain = Bare::new(&folder.join("plain.redb"), PLAIN_TABLE, &[])?;
    for line in lines {
        // The others repeat what Keybook did, so it is the first; which of them is next changes.
        let (cost, transactions) = keybook.run(line.case)?;
        let run_same = || same.run(transactions.iter().map(|transaction| &transaction.rows[..]));
        let run_plain = || plain.run(transactions.iter().map(|transaction| &transaction.plain[..]));
        let (same, plain) = if round.is_multiple_of(2) {
            let same = run_same()?;
            (same, run_plain()?)
        } else {
            let plain = run_plain()?;
            (run_same()?, plain)
        };
        line.transactions += transactions.len();
        line.rounds.push([cost, same, plain]);
    }
    assert!(FileRows::read(&same.path)? == keybook.rows, "redb alone has the rows that Keybook has");
    Ok(std::fs::remove_dir_all(folder)?)
}

fn introduction(rounds: usize, disk: &Disk, before: Syncs, after: Syncs) -> String {
    format!(
        "{} {rounds} rounds in which the subjects alternate; the time is that of the clock.\n\nKeybook \
         is the server's release build, written over its WebSocket by connections that follow the dictionary and send\nfrom \
         one thread what was encoded before. A write counts when its Ack has come. A row of the table names the operations in \
         a\nPush, how many Pushes of a connection wait for their acks, and whether the entries are new. Bare redb makes the \
         same row\nchanges in the same tables and in the same transactions, read from Keybook's file, with quick repair and \
         immediate\ndurability, in one thread of one process; one plain table takes the same keys and values in as many \
         transactions. Against\nbare redb the target is at least 0.7.\n",
        disk.describe(before, after)
    )
}

fn tables(lines: &[Line]) -> String {
    let mut writes = Table::new(["writes/s"].into_iter().chain(SUBJECTS).chain(["operations a transaction"]));
    let mut ratios = Table::new(
        ["Keybook's writes/s as a multiple of", SUBJECTS[1], SUBJECTS[2]]
            .into_iter()
            .chain(["processor, ms for 1000 writes: Keybook", SUBJECTS[1]]),
    );
    for line in lines {
        let title = || [line.case.to_string()].into_iter();
        let speeds = (0..SUBJECTS.len()).map(|subject| line.speed(subject));
        let transaction = format!("{:.0}", line.operations() / line.transactions as f64);
        writes.row(&title().chain(speeds).chain([transaction]).collect::<Vec<_>>());
        let cells = [line.ratio(1), line.ratio(2), line.processor(0), line.processor(1)];
        ratios.row(&title().chain(cells).collect::<Vec<_>>());
    }
    [writes, ratios].map(Table::into_text).join("\n")
}

impl Line {
    /// In all rounds.
    fn operations(&self) -> f64 {
        (self.case.operations() * self.rounds.len()) as f64
    }

    /// A subject's writes a second.
    fn speed(&self, subject: usize) -> String {
        let speed = |round: &[Cost; 3]| self.case.operations() as f64 / round[subject].wall.as_secs_f64();
        Spread::of(self.rounds.iter().map(speed)).to_string()
    }

    /// Keybook's speed as a multiple of another's in the same round.
    fn ratio(&self, subject: usize) -> String {
        let ratio = |round: &[Cost; 3]| round[subject].wall.as_secs_f64() / round[0].wall.as_secs_f64();
        Spread::of(self.rounds.iter().map(ratio)).to_string()
    }

    /// Milliseconds of processor time for 1000 writes, over all rounds.
    fn processor(&self, subject: usize) -> String {
        let seconds: f64 = self.rounds.iter().map(|round| round[subject].processor.as_secs_f64()).sum();
        format!("{:.1}", seconds * 1e6 / self.operations())
    }
}
