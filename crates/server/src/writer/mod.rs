//! The writer: one thread that makes everything durable.
//!
//! It takes the write whose turn it is, and with it those that wait behind it, until they have written so many bytes. It applies
//! them in one transaction over all dictionaries concerned, and commits. Only then it answers, and tells the followers. So what
//! anyone has seen is on the disk, and the slower the disk is, the more writes share one sync. There is no artificial delay.
//!
//! A push that writes more than a transaction may goes on in the next one, behind a write of each other dictionary that waits. It is
//! answered once, when its last part is on the disk.
//!
//! Here each command becomes a [`Record`]: the writer gives it its seq, its time and its limits.
//!
//! When a commit fails, what the disk holds is unknown. The writer ends, and the server with it: it never tries again.

mod queue;

#[cfg(test)]
mod power_loss;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    io,
    sync::Arc,
    thread::{self, JoinHandle},
};

use keybook_core::{
    DictionaryName,
    limits::{COMMIT_BYTES_MAX, Limits},
    server::{Actor, Broadcast, Command, Commit, Context, Hub, Now, Receipt, Record},
    wire::AckCode,
};
use keybook_store::{Engine, Store, StoreError, Tables, Transaction};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tracing::{error, info, warn};

use self::queue::Queue;
use crate::{
    clock::now,
    disk,
    feeds::{Event, Feeds},
    limits::{DISK_RETRY_MS, EXPIRY_MS, IDLE_HUBS_MAX, TRANSACTION_OPS_MAX},
};

/// A command that waits for its turn.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) dictionary: DictionaryName,
    pub(crate) actor: Actor,
    /// What is left to do.
    pub(crate) command: Command,
    /// Where the answer goes.
    pub(crate) reply: Reply,
    /// What became of the parts that are on the disk.
    done: Receipt,
    /// What it takes of its connection's room until it has been applied.
    _room: Option<OwnedSemaphorePermit>,
}

impl Write {
    pub(crate) fn new(dictionary: DictionaryName, actor: Actor, command: Command, reply: Reply) -> Self {
        Self { dictionary, actor, command, reply, done: Receipt::default(), _room: None }
    }
}

/// Where an answer goes.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The number to repeat.
    pub(crate) batch: u64,
    /// Has room for an answer to each command that waits.
    pub(crate) to: mpsc::Sender<Answer>,
}

/// The answer to a command.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) batch: u64,
    pub(crate) receipt: Receipt,
}

/// How the writer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Working,
    Stopped,
    Failed,
}

/// The way to the writer. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    queue: Arc<Queue>,
    health: watch::Receiver<Health>,
}

/// The writer's thread.
#[derive(Debug)]
pub(crate) struct WriterThread(JoinHandle<Result<(), StoreError>>);

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(crate) fn start(
        store: Arc<Store>,
        feeds: Arc<Feeds>,
        limits: Limits,
        disk_reserve_bytes: u64,
    ) -> io::Result<(Self, WriterThread)> {
        let queue = Arc::new(Queue::default());
        let (health, watched) = watch::channel(Health::Working);
        let hubs = HashMap::new();
        let worker =
            Worker { store, feeds, limits, disk_reserve_bytes, is_disk_full: false, queue: queue.clone(), hubs };
        let waiting = queue.clone();
        let thread = thread::Builder::new().name("writer".to_owned()).spawn(move || {
            // Dropped without a word by a panic, which counts as failed.
            let ended = worker.run();
            waiting.end();
            health.send_replace(if ended.is_ok() { Health::Stopped } else { Health::Failed });
            ended
        })?;
        Ok((Self { queue, health: watched }, WriterThread(thread)))
    }

    /// Takes a write, which holds `room` until it has been applied. If the writer has ended, there is no answer.
    pub(crate) fn write(&self, write: Write, room: OwnedSemaphorePermit) {
        self.queue.push(Write { _room: Some(room), ..write });
    }

    /// Whether it still writes.
    pub(crate) fn is_working(&self) -> bool {
        *self.health.borrow() == Health::Working && self.health.has_changed().is_ok()
    }

    /// Waits until it has failed.
    pub(crate) async fn failed(&self) {
        let mut health = self.health.clone();
        // An error: the thread panicked.
        if health.wait_for(|&health| health != Health::Working).await.is_ok_and(|health| *health == Health::Stopped) {
            std::future::pending::<()>().await;
        }
    }

    /// Ends it after what waits has been done.
    pub(crate) fn stop(&self) {
        self.queue.stop();
    }
}

impl WriterThread {
    /// Waits for the end of the thread.
    ///
    /// # Errors
    /// When it failed.
    ///
    /// # Panics
    /// When it panicked.
    pub(crate) fn join(self) -> Result<(), StoreError> {
        self.0.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// What the thread owns.
struct Worker {
    store: Arc<Store>,
    feeds: Arc<Feeds>,
    limits: Limits,
    disk_reserve_bytes: u64,
    /// Said in the log once, not with each refusal.
    is_disk_full: bool,
    queue: Arc<Queue>,
    /// The dictionaries that are being written.
    hubs: HashMap<DictionaryName, OpenHub>,
}

/// A dictionary that is being written.
struct OpenHub {
    hub: Hub,
    /// When to look again whether conflict rows are too old, on the steady clock.
    expires_at_ms: u64,
}

impl OpenHub {
    /// The record that closes conflict rows that are too old, if it is time to look.
    fn take_expiry(&mut self, context: &Context, now: Now) -> Option<Record> {
        if self.hub.counters().conflicts == 0 || now.steady_ms < self.expires_at_ms {
            return None;
        }
        self.expires_at_ms = now.steady_ms + EXPIRY_MS;
        Some(self.record(COMMIT_BYTES_MAX, context.clone(), Command::Expire))
    }

    /// The next record.
    fn record(&self, room_bytes: u64, context: Context, command: Command) -> Record {
        Record { at: self.hub.counters().head.next(), room_bytes, context, command }
    }
}

impl Worker {
    fn run(mut self) -> Result<(), StoreError> {
        while let Some(first) = self.queue.take() {
            if let Err(error) = self.write(first) {
                error!("writing ends: {error}. What was acknowledged is on the disk.");
                return Err(error);
            }
        }
        Ok(())
    }

    /// One transaction, which begins with this write.
    fn write(&mut self, first: Write) -> Result<(), StoreError> {
        if self.check_disk() {
            turn_away(first);
            return Ok(());
        }
        let (now, limits) = (now(), self.limits);
        let mut transaction = self.store.begin()?;
        let (mut answers, mut commits) = (Vec::new(), Vec::new());
        {
            let mut tables = transaction.tables()?;
            let mut concerned: Vec<DictionaryName> = Vec::new();
            let (mut next, mut ops, mut bytes) = (Some(first), 0, 0);
            while let Some(mut write) = next {
                let open = open(&mut self.hubs, &self.store, &write.dictionary)?;
                let mut rows = tables.rows(&write.dictionary)?;
                let context = Context { now_ms: now.wall_ms, limits, actor: write.actor.clone() };
                if let Some(expiry) = open.take_expiry(&context, now) {
                    let expired = open.hub.apply(&mut rows, &expiry)?.bytes;
                    if expired >= COMMIT_BYTES_MAX {
                        open.expires_at_ms = now.steady_ms;
                    }
                    bytes += expired;
                }
                let record = open.record(COMMIT_BYTES_MAX.saturating_sub(bytes), context, write.command);
                let receipt = open.hub.apply(&mut rows, &record)?;
                if !concerned.contains(&write.dictionary) {
                    concerned.push(write.dictionary.clone());
                }
                let applied = receipt.outcomes.len();
                (ops, bytes) = (ops + applied, bytes + receipt.bytes);
                write.command = record.command;
                write.done.extend(receipt);
                if applied == write.command.operations() {
                    answers.push((write.reply, write.done));
                } else {
                    write.command.skip(applied);
                    self.queue.put_back(write);
                }
                let has_room = ops < TRANSACTION_OPS_MAX && bytes < COMMIT_BYTES_MAX;
                next = has_room.then(|| self.queue.try_take()).flatten();
            }
            for dictionary in concerned {
                let open = self.hubs.get_mut(&dictionary).expect("it was used above");
                if let Some(commit) = open.hub.finish(&mut tables.rows(&dictionary)?)? {
                    commits.push((dictionary, commit));
                }
            }
        }
        if !commits.is_empty() {
            transaction.commit()?;
        }
        for (reply, receipt) in answers {
            answer(&reply, receipt);
        }
        for (dictionary, commit) in &commits {
            self.publish(dictionary, commit);
        }
        self.forget_idle_hubs(&commits);
        Ok(())
    }

    fn publish(&self, dictionary: &DictionaryName, commit: &Commit) {
        self.feeds.publish(dictionary, || Event::Commit(Arc::new(Broadcast::new(commit, &self.limits))));
    }

    fn forget_idle_hubs(&mut self, written: &[(DictionaryName, Commit)]) {
        if self.hubs.len() > IDLE_HUBS_MAX {
            self.hubs.retain(|name, _| written.iter().any(|(written, _)| written == name));
        }
    }

    /// Whether the disk has less room than is kept in reserve.
    fn check_disk(&mut self) -> bool {
        let is_full = match disk::free_bytes(self.store.path()) {
            Ok(free) => free < self.disk_reserve_bytes,
            Err(error) => {
                // The commit will tell.
                warn!("cannot find out how much room the disk has: {error}");
                false
            }
        };
        if is_full != std::mem::replace(&mut self.is_disk_full, is_full) {
            let reserve = self.disk_reserve_bytes;
            match is_full {
                true => warn!("writes are refused: the disk has less than the reserve of {reserve} bytes left"),
                false => info!("writes are taken again: the disk has more than the reserve of {reserve} bytes left"),
            }
        }
        is_full
    }
}

/// The hub of a dictionary, made if there is none. The store's readers see what is committed, and this transaction has
/// not changed a dictionary without a hub.
fn open<'a>(
    hubs: &'a mut HashMap<DictionaryName, OpenHub>,
    store: &Store,
    name: &DictionaryName,
) -> Result<&'a mut OpenHub, StoreError> {
    if !hubs.contains_key(name) {
        hubs.insert(name.clone(), OpenHub { hub: store.summary(name)?.into_hub(), expires_at_ms: 0 });
    }
    Ok(hubs.get_mut(name).expect("it has just been made"))
}

/// Answers a write with Busy, or what is left of it.
fn turn_away(mut write: Write) {
    write.done.extend(Receipt::turned_away(&write.command, AckCode::Busy, DISK_RETRY_MS));
    answer(&write.reply, write.done);
}

fn answer(Reply { batch, to }: &Reply, receipt: Receipt) {
    match to.try_send(Answer { batch: *batch, receipt }) {
        // Closed: who asked has gone, and will find out when it is back.
        Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
        Err(mpsc::error::TrySendError::Full(answer)) => {
            unreachable!("a connection waits for more answers than it has room for: {answer:?}")
        }
    }
}
