//! `keybook load`: measures a server by loading it, and says what that cost this end.

mod deliveries;
mod figures;
mod workload;

mod worker;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use clap::{Args, value_parser};
use futures_util::{StreamExt, TryStreamExt, stream};
use keybook_client::Address;
use keybook_core::Seq;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, timeout_at},
};

use self::{
    figures::{Figures, Tally, processor_time},
    worker::{Joined, Worker},
    workload::Workload,
};
use super::print;

/// Connections that are made at the same time: fewer than a listener's backlog.
const CONNECTING: usize = 64;
/// When writing has ended, what was acknowledged has this long to arrive everywhere.
const DRAIN: Duration = Duration::from_secs(60);

/// The options of `keybook load`.
#[derive(Args)]
pub(super) struct Load {
    /// The dictionary, as the address of its page; what is written stays there
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:3000/d/load")]
    url: String,

    /// Connections, each of which receives everything
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = value_parser!(u32).range(1..=10_000))]
    connections: u32,

    /// How many of the connections write
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = value_parser!(u32).range(1..=10_000))]
    writers: u32,

    /// Writes a second of all writers together [default: as many as are acknowledged]
    #[arg(long, value_name = "NUMBER", value_parser = value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,

    /// Writes of one writer that may wait for their acknowledgement
    #[arg(long, value_name = "NUMBER", default_value_t = 64, value_parser = value_parser!(u32).range(1..=4096))]
    window: u32,

    /// Writes in one message at most [default: half the window, so that the server never waits for a round trip]
    #[arg(long, value_name = "NUMBER", value_parser = value_parser!(u32).range(1..=512))]
    batch: Option<u32>,

    /// Seconds for which it writes
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = value_parser!(u32).range(1..=3600))]
    seconds: u32,

    /// Bytes of a value, which is a JSON string
    #[arg(long, value_name = "NUMBER", default_value_t = 32, value_parser = value_parser!(u32).range(24..=65_536))]
    value_bytes: u32,

    /// Write each writer's share of so many keys over and over [default: each write has a key of its own]
    #[arg(long, value_name = "NUMBER", value_parser = value_parser!(u32).range(1..=1_000_000))]
    keys: Option<u32>,

    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

impl Load {
    /// Refuses what cannot be meant.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.writers > self.connections {
            return Err(format!("{} writers, but only {} connections", self.writers, self.connections));
        }
        match self.keys {
            Some(keys) if keys < self.writers => {
                Err(format!("{keys} keys are not enough for {} writers", self.writers))
            }
            _ => Ok(()),
        }
    }

    /// Loads the server, and prints the figures.
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let address = Address::parse(&self.url)?;
        let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
        let figures = runtime.block_on(self.measure(address))?;
        print(&if self.json { figures.to_json() } else { figures.to_string() });
        Ok(())
    }

    async fn measure(&self, address: Address) -> anyhow::Result<Figures> {
        let joined: Vec<Joined> = stream::iter(0..self.connections)
            .map(|_| Joined::connect(&address))
            .buffer_unordered(CONNECTING)
            .try_collect()
            .await?;
        let (processor, start) = (processor_time(), Instant::now());
        let until = start + Duration::from_secs(self.seconds.into());
        let workload = Arc::new(Workload::new(self, start));
        let (written, mut ends) = mpsc::channel(self.writers as usize);
        let (target, aimed) = watch::channel(None);
        let mut workers = JoinSet::new();
        for (index, joined) in (0..).zip(joined) {
            let writes = (index < self.writers).then(|| written.clone());
            let worker = Worker::new(workload.clone(), joined, index, until, writes, aimed.clone());
            workers.spawn(worker.run());
        }
        drop(written);
        let ends = async {
            let mut last = Seq(0);
            while let Some(seq) = ends.recv().await {
                last = last.max(seq);
            }
            target.send_replace(Some(last));
            anyhow::Ok(())
        };
        let tallies = async {
            let mut sum = Tally::default();
            while let Some(tally) = workers.join_next().await {
                sum.add(&tally.expect("a worker does not panic, and is not cancelled")?);
            }
            anyhow::Ok(sum)
        };
        let ended = async { tokio::try_join!(ends, tallies) };
        let ((), tally) = timeout_at(until + DRAIN, ended).await.with_context(|| {
            format!("what was written has not arrived everywhere {} s after the last write", DRAIN.as_secs())
        })??;
        ensure!(tally.refused == 0, "the server refused {} of {} writes", tally.refused, tally.refused + tally.writes);
        Ok(Figures::new(self, &tally, processor_time() - processor))
    }
}
