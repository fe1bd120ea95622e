//! The figures of all rounds as tables.

use keybook_bench::{report::Table, samples::Spread};

use crate::{FLOODS, Round, STEADY, load::Run};

/// Of each round Keybook's figures, and the broadcaster's.
type Pairs<'a> = &'a [[Round; 2]];

/// All tables.
pub(crate) fn all(pairs: Pairs<'_>) -> String {
    [deliveries(pairs), costs(pairs), latencies(pairs), memory(pairs)].map(Table::into_text).join("\n")
}

/// A figure in all rounds.
fn over(pairs: Pairs<'_>, figure: impl Fn(&Round, &Round) -> f64) -> String {
    Spread::of(pairs.iter().map(|[keybook, bare]| figure(keybook, bare))).to_string()
}

fn speed(run: &Run) -> f64 {
    run.figures.deliveries_per_second
}

fn deliveries(pairs: Pairs<'_>) -> Table {
    let mut table = Table::new(
        [
            "flood: connections, window",
            "deliveries/s: Keybook",
            "bare, a message a write",
            "bare, packed",
            "Keybook as a multiple of the first (target: at least 0.7)",
            "of the second",
            "skipped",
        ]
        .into_iter(),
    );
    for (n, load) in FLOODS.iter().enumerate() {
        let skipped: u64 = pairs.iter().map(|[keybook, _]| keybook.floods[n].figures.skipped).sum();
        table.row(&[
            format!("{}, {}", load.connections, load.window),
            over(pairs, |keybook, _| speed(&keybook.floods[n])),
            over(pairs, |_, bare| speed(&bare.floods[n])),
            over(pairs, |_, bare| speed(&bare.packed[n])),
            over(pairs, |keybook, bare| speed(&keybook.floods[n]) / speed(&bare.floods[n])),
            over(pairs, |keybook, bare| speed(&keybook.floods[n]) / speed(&bare.packed[n])),
            skipped.to_string(),
        ]);
    }
    table
}

fn costs(pairs: Pairs<'_>) -> Table {
    let mut table = Table::new(
        [
            "flood: connections",
            "writes/s: Keybook",
            "server's processor, ms for 1000 deliveries: Keybook",
            "bare, a message a write",
            "bare, packed",
            "the load's own",
        ]
        .into_iter(),
    );
    let server = |run: &Run| run.processor.as_secs_f64() * 1e6 / run.figures.deliveries as f64;
    for (n, load) in FLOODS.iter().enumerate() {
        table.row(&[
            load.connections.to_string(),
            over(pairs, |keybook, _| keybook.floods[n].figures.writes_per_second),
            over(pairs, |keybook, _| server(&keybook.floods[n])),
            over(pairs, |_, bare| server(&bare.floods[n])),
            over(pairs, |_, bare| server(&bare.packed[n])),
            over(pairs, |keybook, _| {
                let figures = &keybook.floods[n].figures;
                figures.processor_seconds * 1e6 / figures.deliveries as f64
            }),
        ]);
    }
    table
}

fn latencies(pairs: Pairs<'_>) -> Table {
    let mut table = Table::new(
        [
            "20 writes/s in all, ms from when a write is due: connections",
            "to receive, p50: Keybook",
            "bare",
            "p99: Keybook",
            "bare",
            "p99 above twice bare's (target: at most one sync)",
            "to ack, p50: Keybook",
            "p99: Keybook",
        ]
        .into_iter(),
    );
    let p99 = |run: &Run| run.figures.to_receive.p99_ms;
    for (n, load) in STEADY.iter().enumerate() {
        table.row(&[
            load.connections.to_string(),
            over(pairs, |keybook, _| keybook.steady[n].figures.to_receive.p50_ms),
            over(pairs, |_, bare| bare.steady[n].figures.to_receive.p50_ms),
            over(pairs, |keybook, _| p99(&keybook.steady[n])),
            over(pairs, |_, bare| p99(&bare.steady[n])),
            over(pairs, |keybook, bare| p99(&keybook.steady[n]) - 2.0 * p99(&bare.steady[n])),
            over(pairs, |keybook, _| keybook.steady[n].figures.to_ack.p50_ms),
            over(pairs, |keybook, _| keybook.steady[n].figures.to_ack.p99_ms),
        ]);
    }
    table
}

fn memory(pairs: Pairs<'_>) -> Table {
    let mut table = Table::new(["resident memory", "Keybook", "bare"].into_iter());
    let idle = |round: &Round| round.idle_bytes as f64 / f64::from(1 << 20);
    table.row(&[
        "idle, MiB (target: under 20)".to_owned(),
        over(pairs, |keybook, _| idle(keybook)),
        over(pairs, |_, bare| idle(bare)),
    ]);
    let connection = |round: &Round| {
        let bytes = |n: usize| round.steady[n].resident_bytes as f64;
        (bytes(1) - bytes(0)) / f64::from(STEADY[1].connections - STEADY[0].connections) / 1024.0
    };
    table.row(&[
        "a connection that receives 20 writes/s, KiB (target: at most 16)".to_owned(),
        over(pairs, |keybook, _| connection(keybook)),
        over(pairs, |_, bare| connection(bare)),
    ]);
    table
}
