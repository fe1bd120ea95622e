//! The writer: one thread that makes everything durable.
//!
//! It takes the first command that waits, and with it all that wait behind, up to a limit; applies them in their order in
//! one transaction over all dictionaries concerned; commits; and only then answers and tells the followers. So what anyone
//! has seen is on the disk, and the slower the disk, the more commands share one sync. There is no artificial delay.
//!
//! When a commit fails, what the disk holds is unknown. The writer ends, and the server with it: it never tries again.

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
    ConflictId, DictionaryName, Resolution, Seq,
    limits::Limits,
    server::{Broadcast, Commit, Hub, Origin, Pushed},
    wire::{AckCode, Exception, Op},
};
use keybook_store::{Store, StoreError};
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use super::{
    clock::now_ms,
    disk,
    feeds::{Event, Feeds},
};

/// Commands that wait. Who brings another one waits too, and does not read its socket meanwhile.
const QUEUE: usize = 256;
/// A transaction takes no further command when it has so many operations: it bounds how long the first one waits.
const TRANSACTION_OPS: usize = 1024;
/// Likewise, bytes of keys and values.
const TRANSACTION_BYTES: usize = 1024 * 1024;
/// Hubs that are kept between transactions.
const HUBS: usize = 256;
/// What a client whose write was refused for want of disk space waits before it tries again.
const DISK_RETRY_MS: u64 = 10_000;

/// What the writer does.
#[derive(Debug)]
pub(super) enum Command {
    /// Apply operations, and answer when they are on the disk.
    Push {
        dictionary: DictionaryName,
        origin: Origin,
        batch: u64,
        ops: Vec<Op>,
        /// Has room for an answer to each command that waits for one.
        answers: mpsc::Sender<Answer>,
    },
    /// Resolve a conflict; followers see it.
    Resolve { dictionary: DictionaryName, origin: Origin, id: ConflictId, resolution: Resolution },
    /// Do what came before, and end.
    Stop,
}

/// The answer to a push.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) batch: u64,
    pub(super) pushed: Pushed,
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
pub(super) struct Writer {
    commands: mpsc::Sender<Command>,
    health: watch::Receiver<Health>,
}

/// The writer's thread.
#[derive(Debug)]
pub(super) struct WriterThread(JoinHandle<Result<(), StoreError>>);

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(super) fn start(
        store: Arc<Store>,
        feeds: Arc<Feeds>,
        limits: Limits,
        disk_reserve_bytes: u64,
    ) -> io::Result<(Self, WriterThread)> {
        let (commands, waiting) = mpsc::channel(QUEUE);
        let (health, watched) = watch::channel(Health::Working);
        let hubs = HashMap::new();
        let worker = Worker { store, feeds, limits, disk_reserve_bytes, is_disk_full: false, waiting, hubs };
        let thread = thread::Builder::new().name("writer".to_owned()).spawn(move || {
            // Dropped without a word by a panic, which counts as failed.
            let ended = worker.run();
            health.send_replace(if ended.is_ok() { Health::Stopped } else { Health::Failed });
            ended
        })?;
        Ok((Self { commands, health: watched }, WriterThread(thread)))
    }

    /// Waits for room in the queue. Cancel safe. `None` when the writer has ended.
    pub(super) async fn reserve(&self) -> Option<mpsc::Permit<'_, Command>> {
        self.commands.reserve().await.ok()
    }

    /// Whether it still writes.
    pub(super) fn is_working(&self) -> bool {
        *self.health.borrow() == Health::Working && self.health.has_changed().is_ok()
    }

    /// Waits until it has failed.
    pub(super) async fn failed(&self) {
        let mut health = self.health.clone();
        // An error: the thread panicked.
        if health.wait_for(|&health| health != Health::Working).await.is_ok_and(|health| *health == Health::Stopped) {
            std::future::pending::<()>().await;
        }
    }

    /// Ends it after what waits has been done.
    pub(super) async fn stop(&self) {
        // It fails when the writer has ended already.
        let _ = self.commands.send(Command::Stop).await;
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
    pub(super) fn join(self) -> Result<(), StoreError> {
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
    waiting: mpsc::Receiver<Command>,
    /// The dictionaries that are being written.
    hubs: HashMap<DictionaryName, Hub>,
}

impl Worker {
    fn run(mut self) -> Result<(), StoreError> {
        while let Some(first) = self.waiting.blocking_recv() {
            let (commands, stop) = self.drain(first);
            if let Err(error) = self.write(commands) {
                error!("writing ends: {error}. What was acknowledged is on the disk.");
                return Err(error);
            }
            if stop {
                break;
            }
        }
        Ok(())
    }

    /// The commands of a transaction, and whether to end after it.
    fn drain(&mut self, first: Command) -> (Vec<Command>, bool) {
        let (mut commands, mut ops, mut bytes) = (Vec::new(), 0, 0);
        let mut next = Some(first);
        while let Some(command) = next {
            match &command {
                Command::Stop => return (commands, true),
                Command::Resolve { .. } => ops += 1,
                Command::Push { ops: more, .. } => {
                    ops += more.len();
                    bytes += more.iter().map(op_bytes).sum::<usize>();
                }
            }
            commands.push(command);
            let room = ops < TRANSACTION_OPS && bytes < TRANSACTION_BYTES;
            next = room.then(|| self.waiting.try_recv().ok()).flatten();
        }
        (commands, false)
    }

    /// One transaction.
    fn write(&mut self, commands: Vec<Command>) -> Result<(), StoreError> {
        if self.check_disk() {
            refuse(commands);
            return Ok(());
        }
        let now_ms = now_ms();
        let transaction = self.store.begin()?;
        let (mut answers, mut commits) = (Vec::new(), Vec::new());
        {
            let mut tables = transaction.tables()?;
            let mut concerned: Vec<DictionaryName> = Vec::new();
            for command in commands {
                let (Command::Push { dictionary, .. } | Command::Resolve { dictionary, .. }) = &command else {
                    continue;
                };
                let mut rows = tables.rows(dictionary)?;
                let hub = hub(&mut self.hubs, &self.store, dictionary, self.limits)?;
                if !concerned.contains(dictionary) {
                    concerned.push(dictionary.clone());
                }
                match command {
                    Command::Push { origin, batch, ops, answers: to, .. } => {
                        let pushed = hub.push(&mut rows, &origin, &ops, now_ms)?;
                        answers.push((to, Answer { batch, pushed }));
                    }
                    Command::Resolve { origin, id, resolution, .. } => {
                        hub.resolve(&mut rows, &origin, id, resolution)?;
                    }
                    Command::Stop => {}
                }
            }
            for dictionary in concerned {
                let hub = self.hubs.get_mut(&dictionary).expect("it was used above");
                if let Some(commit) = hub.finish(&mut tables.rows(&dictionary)?)? {
                    commits.push((dictionary, commit));
                }
            }
        }
        if !commits.is_empty() {
            transaction.commit()?;
        }
        for (to, answer) in answers {
            self::answer(&to, answer);
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

    /// A hub costs a few reads to make again.
    fn forget_idle_hubs(&mut self, written: &[(DictionaryName, Commit)]) {
        if self.hubs.len() > HUBS {
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
fn hub<'a>(
    hubs: &'a mut HashMap<DictionaryName, Hub>,
    store: &Store,
    name: &DictionaryName,
    limits: Limits,
) -> Result<&'a mut Hub, StoreError> {
    if !hubs.contains_key(name) {
        let found = store.dictionary(name)?;
        let hub = Hub::new(found.id, found.lineage, found.writes, found.counters, limits);
        hubs.insert(name.clone(), hub);
    }
    Ok(hubs.get_mut(name).expect("it has just been made"))
}

fn op_bytes(op: &Op) -> usize {
    op.key.len() + op.value.as_ref().map_or(0, String::len)
}

/// Answers every operation with Busy.
fn refuse(commands: Vec<Command>) {
    for command in commands {
        if let Command::Push { batch, ops, answers, .. } = command {
            let busy = |(index, _)| Exception { index, code: AckCode::Busy, data: DISK_RETRY_MS };
            let exceptions = (0..).zip(&ops).map(busy).collect();
            answer(&answers, Answer { batch, pushed: Pushed { seq: Seq(0), exceptions } });
        }
    }
}

fn answer(to: &mpsc::Sender<Answer>, answer: Answer) {
    match to.try_send(answer) {
        // Closed: who pushed has gone, and will find out when it is back.
        Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
        Err(mpsc::error::TrySendError::Full(answer)) => {
            unreachable!("a connection waits for more answers than it has room for: {answer:?}")
        }
    }
}
