//! `keybook load` in a process of its own, and what the server takes meanwhile.

use std::{
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use keybook_bench::server::{Server, program};
use keybook_core::paths;
use serde::Deserialize;

use crate::Outcome;

/// What `keybook load` is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) connections: u32,
    /// Writes of each of the ten writers that may wait for their acknowledgement.
    pub(crate) window: u32,
    /// Writes a second; none is as many as are acknowledged.
    pub(crate) rate: Option<u32>,
    pub(crate) seconds: u32,
}

/// What it measured, and what the server took.
pub(crate) struct Run {
    pub(crate) figures: Figures,
    /// The server's.
    pub(crate) processor: Duration,
    /// The server's, a second before writing ended.
    pub(crate) resident_bytes: u64,
}

/// What `keybook load --json` prints.
#[derive(Deserialize)]
pub(crate) struct Figures {
    pub(crate) writes_per_second: f64,
    pub(crate) deliveries: u64,
    pub(crate) deliveries_per_second: f64,
    pub(crate) skipped: u64,
    pub(crate) to_ack: Quantiles,
    pub(crate) to_receive: Quantiles,
    pub(crate) processor_seconds: f64,
}

#[derive(Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Load {
    /// Loads a dictionary of the server's, with at most `batch` writes in a message.
    pub(crate) fn run(&self, server: &Server, dictionary: &str, batch: Option<u32>) -> Outcome<Run> {
        let before = server.processor_time()?;
        let mut command = Command::new(program()?);
        command.arg("load").arg(format!("{}{}", server.url, paths::page(dictionary))).args([
            "--json",
            "--writers",
            "10",
        ]);
        let numbers = [("--connections", self.connections), ("--window", self.window), ("--seconds", self.seconds)];
        for (option, number) in numbers
            .into_iter()
            .chain(self.rate.map(|rate| ("--rate", rate)))
            .chain(batch.map(|batch| ("--batch", batch)))
        {
            command.args([option, &number.to_string()]);
        }
        let load = command.stdout(Stdio::piped()).spawn()?;
        thread::sleep(Duration::from_secs(u64::from(self.seconds) - 1));
        let resident_bytes = server.resident_bytes()?;
        let output = load.wait_with_output()?;
        if !output.status.success() {
            return Err(format!("{command:?} ended with {}", output.status).into());
        }
        let figures = serde_json::from_slice(&output.stdout)?;
        Ok(Run { figures, processor: server.processor_time()? - before, resident_bytes })
    }
}
