//! One connection of a load: receives everything, and writes if it is a writer.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use keybook_client::{Address, Connection, Step};
use keybook_core::{
    AuthorName, Clock, Person, ReplicaId, Secret, Seq, Stamp,
    wire::{ClientFrame, Op, ServerFrame},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{
    deliveries,
    figures::Tally,
    workload::{Workload, made_us},
};

/// The server closes what is silent for longer than this three times over.
const PING: Duration = Duration::from_secs(25);

/// A connection that follows its dictionary from now on.
pub(super) struct Joined {
    connection: Connection,
    replica: ReplicaId,
    server_ms: u64,
    joined: Instant,
}

impl Joined {
    /// Connects, and skips what the dictionary holds already.
    pub(super) async fn connect(address: &Address) -> anyhow::Result<Self> {
        let mut connection = Connection::open(address).await.with_context(|| format!("cannot connect to {address}"))?;
        let mut secret = Secret([0; 16]);
        getrandom::fill(&mut secret.0).expect("every system that runs this has random numbers");
        let author = Person { secret, name: AuthorName::new("load") };
        connection.send(ClientFrame::hello(secret, author).encode());
        let replica = secret.replica();
        let (epoch, head, server_ms) = loop {
            if let Step::Received(bytes) = connection.step().await? {
                match ServerFrame::decode(&bytes)? {
                    ServerFrame::Welcome { epoch, head, server_ms, .. } => break (epoch, head, server_ms),
                    other => bail!("the server answers Hello with {other:?}"),
                }
            }
        };
        connection.send(ClientFrame::Resume { epoch, cursor: head }.encode());
        // The server follows the cursor once it has answered.
        loop {
            if let Step::Received(bytes) = connection.step().await?
                && let Some(Some(_)) = deliveries::read(&bytes, |_, _| ())?
            {
                return Ok(Self { connection, replica, server_ms, joined: Instant::now() });
            }
        }
    }
}

/// A connection at work.
pub(super) struct Worker {
    workload: Arc<Workload>,
    connection: Connection,
    tally: Tally,
    /// What has been received.
    cursor: Seq,
    ping_at: Instant,
    writer: Option<Writer>,
    /// Where to end, once all writers have.
    target: watch::Receiver<Option<Seq>>,
}

impl Worker {
    /// A worker that ends with what all writers wrote until `until`. If it writes, it says at the end where its writes are.
    pub(super) fn new(
        workload: Arc<Workload>,
        joined: Joined,
        index: u32,
        until: Instant,
        written: Option<mpsc::Sender<Seq>>,
        target: watch::Receiver<Option<Seq>>,
    ) -> Self {
        let Joined { connection, replica, server_ms, joined } = joined;
        let writer = written.map(|written| Writer {
            index,
            clock: Clock::new(replica),
            server_ms,
            joined,
            until,
            made: 0,
            next_batch: 0,
            in_flight: VecDeque::new(),
            last: Seq(0),
            written,
        });
        let (tally, ping_at) = (Tally::default(), Instant::now() + PING);
        Self { workload, connection, tally, cursor: Seq(0), ping_at, writer, target }
    }

    /// Works until everything has arrived.
    pub(super) async fn run(mut self) -> anyhow::Result<Tally> {
        loop {
            if self.connection.has_room()
                && let Some(frame) = self.next_frame()
            {
                self.connection.send(frame);
            }
            if self.writer.as_ref().is_some_and(Writer::has_ended) {
                let writer = self.writer.take().expect("it was just seen");
                // It fails when the load has been given up.
                let _ = writer.written.send(writer.last).await;
            }
            let target = *self.target.borrow_and_update();
            if target.is_some_and(|target| self.cursor >= target) {
                self.connection.close();
                return Ok(self.tally);
            }
            let alarm = self.writer.as_ref().and_then(|writer| writer.alarm(&self.workload));
            let alarm = alarm.map_or(self.ping_at, |alarm| alarm.min(self.ping_at));
            tokio::select! {
                step = self.connection.step() => {
                    if let Step::Received(bytes) = step? {
                        self.receive(&bytes)?;
                    }
                }
                Ok(()) = self.target.changed() => {}
                () = sleep_until(alarm) => {}
            }
        }
    }

    fn next_frame(&mut self) -> Option<Vec<u8>> {
        if Instant::now() >= self.ping_at {
            self.ping_at = Instant::now() + PING;
            return Some(ClientFrame::Ping { client_ms: 0 }.encode());
        }
        self.writer.as_mut()?.next_push(&self.workload)
    }

    fn receive(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let Self { workload, tally, .. } = self;
        let now_us = workload.elapsed_us();
        let delta = deliveries::read(bytes, |key, value| {
            if let Some(made_us) = value.and_then(made_us).filter(|_| workload.owns(key)) {
                tally.deliveries += 1;
                tally.last_delivery_us = now_us;
                tally.to_receive.record(now_us.saturating_sub(made_us));
            }
        })?;
        match delta {
            Some(settled) => self.cursor = settled.unwrap_or(self.cursor),
            None => match (ServerFrame::decode(bytes)?, &mut self.writer) {
                (ServerFrame::Ack { batch, seq, exceptions }, Some(writer)) => {
                    let made_us = writer.acknowledge(batch, seq).context("an Ack of no Push")?;
                    tally.refused += exceptions.len() as u64;
                    tally.writes += (made_us.len() - exceptions.len()) as u64;
                    tally.last_ack_us = now_us;
                    made_us.iter().for_each(|made_us| tally.to_ack.record(now_us.saturating_sub(*made_us)));
                }
                (ServerFrame::Bye { message, .. }, _) => bail!("the server ends the connection: {message}"),
                _ => {}
            },
        }
        Ok(())
    }
}

/// The writing half of a worker.
struct Writer {
    index: u32,
    clock: Clock,
    /// The server's clock when it joined.
    server_ms: u64,
    joined: Instant,
    until: Instant,
    made: u64,
    next_batch: u64,
    /// The pushes that have no Ack, and when their writes were made, in microseconds since the start.
    in_flight: VecDeque<(u64, Vec<u64>)>,
    /// The highest seq of an Ack.
    last: Seq,
    written: mpsc::Sender<Seq>,
}

impl Writer {
    /// The time is over, and everything is acknowledged.
    fn has_ended(&self) -> bool {
        self.in_flight.is_empty() && Instant::now() >= self.until
    }

    /// When to look again without having received anything.
    fn alarm(&self, workload: &Workload) -> Option<Instant> {
        let due = workload.due_us(self.index, self.made).map(|due_us| workload.instant(due_us));
        // What is due already waits for an Ack.
        due.into_iter().chain([self.until]).filter(|&alarm| alarm > Instant::now()).min()
    }

    /// The writes that are due and fit the window. A server that has enough of them unanswered reads no more.
    fn next_push(&mut self, workload: &Workload) -> Option<Vec<u8>> {
        if Instant::now() >= self.until {
            return None;
        }
        let in_flight: usize = self.in_flight.iter().map(|(_, made_us)| made_us.len()).sum();
        let room = workload.window.saturating_sub(in_flight).min(workload.batch);
        let now_us = workload.elapsed_us();
        let mut made_us = Vec::new();
        while made_us.len() < room {
            // A write that had to wait for the window counts from when it was due.
            let due_us = workload.due_us(self.index, self.made + made_us.len() as u64).unwrap_or(now_us);
            if due_us > now_us {
                break;
            }
            made_us.push(due_us);
        }
        if made_us.is_empty() {
            return None;
        }
        let now_ms = self.server_ms + self.joined.elapsed().as_millis() as u64;
        let ops = (self.made..).zip(&made_us).map(|(number, &made_us)| Op {
            key: workload.key(self.index, number),
            value: Some(workload.value(made_us)),
            stamp: self.clock.stamp(now_ms, Stamp::ZERO, true),
            seen: vec![Stamp::ZERO],

            author: None,
            recovered: None,
        });
        let batch = self.next_batch;
        let frame = ClientFrame::Push { batch, ops: ops.collect() }.encode();
        self.made += made_us.len() as u64;
        self.next_batch += 1;
        self.in_flight.push_back((batch, made_us));
        Some(frame)
    }

    /// When the writes of an acknowledged push were made.
    fn acknowledge(&mut self, batch: u64, seq: Seq) -> Option<Vec<u64>> {
        let position = self.in_flight.iter().position(|(number, _)| *number == batch)?;
        self.last = self.last.max(seq);
        self.in_flight.remove(position).map(|(_, made_us)| made_us)
    }
}
