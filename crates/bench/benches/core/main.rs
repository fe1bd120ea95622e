//! The core beside a plain HashMap, which bounds what is possible, and beside the CRDT libraries that somebody would take
//! instead, in one process. `cargo bench -p keybook-bench --bench core`; `-- 1 Keybook HashMap` for one round of two subjects,
//! which prints and writes no page.
#![allow(clippy::print_stdout, reason = "a benchmark's output")]

mod workload;

mod subject;
mod tasks;

mod automerge;
mod hash_map;
mod keybook;
mod loro;
mod yrs;

use std::{collections::BTreeMap, env, time::Duration};

use keybook_bench::{
    report::{self, Table},
    samples::Samples,
};

use crate::{
    automerge::Automerge,
    hash_map::PlainMap,
    keybook::Keybook,
    loro::Loro,
    subject::Subject,
    tasks::{Measure, Outcome},
    workload::{ENTRIES, Workload},
    yrs::Yrs,
};

const ROUNDS: usize = 7;
const COMMAND: &str = "cargo bench -p keybook-bench --bench core";

/// A subject and its results.
struct Column {
    position: usize,
    name: &'static str,
    tasks: [fn(&Workload) -> Outcome; 4],
    times: BTreeMap<Measure, Samples>,
    state_bytes: usize,
    update_bytes: usize,
}

fn column<S: Subject>(position: usize) -> Column {
    let (name, tasks) = (S::NAME, tasks::tasks::<S>());
    Column { position, name, tasks, times: BTreeMap::new(), state_bytes: 0, update_bytes: 0 }
}

fn main() {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let rounds = arguments.first().map_or(ROUNDS, |rounds| rounds.parse().expect("first the number of rounds"));
    let columns = [column::<Keybook>, column::<PlainMap>, column::<Yrs>, column::<Loro>, column::<Automerge>];
    let mut columns: Vec<Column> = columns.iter().enumerate().map(|(position, column)| column(position)).collect();
    columns.retain(|column| arguments.len() < 2 || arguments[1..].iter().any(|name| column.name.starts_with(name)));

    let work = Workload::new();
    for round in 0..rounds {
        for task in 0..columns[0].tasks.len() {
            // Another one begins each round: what runs after what matters too.
            columns.rotate_left(1);
            columns.iter_mut().for_each(|column| column.run(task, &work));
        }
        println!("round {} of {rounds}", round + 1);
    }
    columns.sort_by_key(|column| column.position);

    let spread = keybook::spread_state_bytes(&work) as f64 / ENTRIES as f64;
    let body = format!("{}\n{}\n{}", introduction(rounds), tables(&columns), sizes_note(spread));
    println!("\n{body}");
    if arguments.is_empty() {
        let path = report::write_section("Core", COMMAND, &body).expect("docs/ can be written");
        println!("written to {}", path.display());
    }
}

impl Column {
    fn run(&mut self, task: usize, work: &Workload) {
        let outcome = self.tasks[task](work);
        for (measure, time) in outcome.times {
            self.times.entry(measure).or_default().push(time);
        }
        self.state_bytes = outcome.state_bytes.unwrap_or(self.state_bytes);
        self.update_bytes = outcome.update_bytes.unwrap_or(self.update_bytes);
    }
}

fn introduction(rounds: usize) -> String {
    format!(
        "100 000 entries of random keys (16 bytes) and values (32 bytes, a JSON string) from a fixed seed; {rounds} rounds in \
         which the\nsubjects alternate. The time is that of the thread on its processor. A put starts from plain texts, so \
         Keybook's includes the\nchecks of key and JSON. HashMap is last-write-wins on a plain `HashMap<String, (u128, \
         String)>`, without checks, order, digest,\nauthors or format: a bound. Against it the target is at most 3 for puts \
         and merges, against the others below 1. Merging, HashMap,\nKeybook and automerge read the other replica in memory; \
         yrs and loro have only updates to export and import.\nautomerge applies {} single updates, and its time is scaled \
         up, which flatters it.\n",
        Automerge::UPDATES
    )
}

fn sizes_note(spread: f64) -> String {
    format!(
        "Sizes are before compression, except that loro's format compresses by itself. Keybook's entries written by 1 000 \
         replicas of\n100 authors in random order over 30 days, a seq each: {spread:.1} bytes an entry; the target is at most \
         68.\n"
    )
}

fn tables(columns: &[Column]) -> String {
    let names = || columns.iter().map(|column| column.name);
    let measures = || columns[0].times.keys();
    let mut times = Table::new(["ms"].into_iter().chain(names()));
    for measure in measures() {
        let cells = columns.iter().map(|column| {
            let samples = &column.times[measure];
            let (shortest, longest) = samples.spread();
            format!("{} [{}, {}]", millis(samples.median()), millis(shortest), millis(longest))
        });
        times.row(&cells_of(measure.title(), cells));
    }
    let mut ratios = Table::new(["Keybook's time as a multiple of"].into_iter().chain(names().skip(1)));
    for measure in measures() {
        let median = |column: &Column| column.times[measure].median().as_secs_f64();
        let cells = columns[1..].iter().map(|column| format!("{:.2}", median(&columns[0]) / median(column)));
        ratios.row(&cells_of(measure.title(), cells));
    }
    let mut sizes = Table::new(["bytes"].into_iter().chain(names()));
    let state = columns.iter().map(|column| format!("{:.1}", column.state_bytes as f64 / ENTRIES as f64));
    sizes.row(&cells_of("state, an entry (48 are its key and value)", state));
    sizes.row(&cells_of("one update", columns.iter().map(|column| column.update_bytes.to_string())));
    [times, ratios, sizes].map(Table::into_text).join("\n")
}

fn cells_of(title: &str, cells: impl Iterator<Item = String>) -> Vec<String> {
    [title.to_owned()].into_iter().chain(cells).collect()
}

fn millis(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    if millis < 100.0 { format!("{millis:.1}") } else { format!("{millis:.0}") }
}
