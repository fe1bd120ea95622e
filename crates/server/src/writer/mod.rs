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
//! When a commit fails, what the disk holds is unknown. The writer ends, and the server with it: it never tries again. When a
//! dictionary turns out to be damaged before, nothing of the transaction remains, and the others begin a new one.

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
    server::{Actor, Broadcast, Command, Commit, Context, Hub, Now, Outcome, Receipt, Record},
    wire::AckCode,
};
use keybook_store::{Engine, Store, StoreError, Tables, Transaction};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tracing::{error, info, warn};

use self::queue::Queue;
use crate::{
    clock::now,
    damage::Damage,
    disk::{Disk, Room},
    feeds::{Event, Feeds},
    limits::{DISK_RETRY_MS, IDLE_HUBS_MAX, TRANSACTION_OPS_MAX},
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
    /// The operations for which there was no room, by their positions in the whole.
    left_out: Vec<usize>,
    /// What it takes of its connection's room until it has been applied.
    _room: Option<OwnedSemaphorePermit>,
}

impl Write {
    pub(crate) fn new(dictionary: DictionaryName, actor: Actor, command: Command, reply: Reply) -> Self {
        Self { dictionary, actor, command, reply, done: Receipt::default(), left_out: Vec::new(), _room: None }
    }

    /// Holds `room` until it has been applied.
    pub(crate) fn with_room(self, room: OwnedSemaphorePermit) -> Self {
        Self { _room: Some(room), ..self }
    }

    /// Leaves out that for which there is no room. Returns whether anything is left.
    fn fit(&mut self, room: Room) -> bool {
        match (&mut self.command, room) {
            (_, Room::Everything) | (Command::Resolve { .. } | Command::Expire, Room::Removes) => true,
            (Command::Push { ops }, Room::Removes) => {
                // Where any was left out before, all of them were.
                let first = self.done.outcomes.len();
                self.left_out.extend((0..ops.len()).filter(|&at| ops[at].value.is_some()).map(|at| first + at));
                ops.retain(|op| op.value.is_none());
                !ops.is_empty()
            }
            // All of it or nothing.
            (Command::Group { ops, .. }, Room::Removes) => ops.iter().all(|op| op.value.is_none()),
            (Command::Recover { .. } | Command::Name, Room::Removes) | (_, Room::Nothing) => false,
        }
    }
}

/// Where an answer goes.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The number to repeat.
    pub(crate) batch: Option<u64>,
    /// Has room for an answer to each command that waits.
    pub(crate) to: mpsc::Sender<Answer>,
}

/// The answer to a command.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) batch: Option<u64>,
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
        damage: Arc<Damage>,
        feeds: Arc<Feeds>,
        limits: Limits,
        disk: Disk,
    ) -> io::Result<(Self, WriterThread)> {
        let queue = Arc::new(Queue::default());
        let (health, watched) = watch::channel(Health::Working);
        let hubs = HashMap::new();
        let worker = Worker { store, damage, feeds, limits, disk, room: Room::Everything, queue: queue.clone(), hubs };
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

    /// Takes a write. If the writer has ended, there is no answer.
    pub(crate) fn write(&self, write: Write) {
        self.queue.push(write);
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
    damage: Arc<Damage>,
    feeds: Arc<Feeds>,
    limits: Limits,
    disk: Disk,
    /// What there is room for in this transaction. It is said in the log when it changes, not with each refusal.
    room: Room,
    queue: Arc<Queue>,
    /// The dictionaries that are being written.
    hubs: HashMap<DictionaryName, Hub>,
}

/// A write in a transaction. It stays as it is until the transaction is committed.
struct Turn {
    write: Write,
    /// What becomes of the part of it that is applied.
    receipt: Receipt,
}

/// Why a transaction was not committed.
enum Broken {
    /// A dictionary is damaged, which has been noted.
    Damaged,
    Failed(StoreError),
}

impl Turn {
    fn new(write: Write) -> Self {
        Self { write, receipt: Receipt::default() }
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
        self.look_at_disk();
        let mut turns: Vec<_> = self.admit(first).map(Turn::new).into_iter().collect();
        if turns.is_empty() {
            return Ok(());
        }
        match self.transact(&mut turns, now()) {
            Ok(commits) => {
                turns.into_iter().for_each(|turn| self.finish(turn));
                for (dictionary, commit) in &commits {
                    self.publish(dictionary, commit);
                }
                self.forget_idle_hubs(&commits);
                Ok(())
            }
            Err(Broken::Damaged) => {
                // What these count was never committed.
                self.hubs.clear();
                turns.into_iter().rev().for_each(|turn| self.queue.put_back(turn.write));
                Ok(())
            }
            Err(Broken::Failed(error)) => Err(error),
        }
    }

    /// Applies the first write and what else waits, as far as there is room, and commits.
    fn transact(&mut self, turns: &mut Vec<Turn>, now: Now) -> Result<Vec<(DictionaryName, Commit)>, Broken> {
        let (store, damage) = (self.store.clone(), self.damage.clone());
        let broken = |name: &DictionaryName, error: StoreError| {
            if damage.note(name, &error) { Broken::Damaged } else { Broken::Failed(error) }
        };
        // Where the tables of the file cannot be opened, each dictionary that is to be written counts as damaged.
        let first = turns[0].write.dictionary.clone();
        let mut transaction = store.begin().map_err(|error| broken(&first, error))?;
        let mut commits = Vec::new();
        {
            let mut tables = transaction.tables().map_err(|error| broken(&first, error))?;
            let mut concerned: Vec<DictionaryName> = Vec::new();
            let (mut ops, mut bytes) = (0, 0);
            loop {
                let turn = turns.last_mut().expect("there is a first");
                let dictionary = turn.write.dictionary.clone();
                let room_bytes = COMMIT_BYTES_MAX.saturating_sub(bytes);
                let applied = self.apply(&mut tables, turn, room_bytes, now);
                bytes += applied.map_err(|error| broken(&dictionary, error))?;
                ops += turn.receipt.outcomes.len();
                if !concerned.contains(&dictionary) {
                    concerned.push(dictionary);
                }
                let has_room = ops < TRANSACTION_OPS_MAX && bytes < COMMIT_BYTES_MAX;
                let Some(next) = has_room.then(|| self.take_admitted()).flatten() else { break };
                turns.push(Turn::new(next));
            }
            for dictionary in concerned {
                let hub = self.hubs.get_mut(&dictionary).expect("it was used above");
                let finished = tables.rows(&dictionary).and_then(|mut rows| hub.finish(&mut rows));
                if let Some(commit) = finished.map_err(|error| broken(&dictionary, error))? {
                    commits.push((dictionary, commit));
                }
            }
        }
        if !commits.is_empty() {
            transaction.commit().map_err(Broken::Failed)?;
        }
        Ok(commits)
    }

    /// Applies a write, or the beginning of it. Returns the bytes that this writes.
    fn apply(
        &mut self,
        tables: &mut impl Tables<Error = StoreError>,
        Turn { write, receipt }: &mut Turn,
        room_bytes: u64,
        now: Now,
    ) -> Result<u64, StoreError> {
        let hub = open(&mut self.hubs, &self.store, &write.dictionary)?;
        let mut rows = tables.rows(&write.dictionary)?;
        let context = Context { now_ms: now.wall_ms, limits: self.limits, actor: write.actor.clone() };
        let command = std::mem::replace(&mut write.command, Command::Name);
        let record = Record { at: hub.counters().head.next(), room_bytes, context, command };
        let applied = hub.apply(&mut rows, &record);
        write.command = record.command;
        *receipt = applied?;
        Ok(receipt.bytes)
    }

    /// Answers a write that is on the disk, or lets the rest of it wait for its next turn.
    fn finish(&self, Turn { mut write, receipt }: Turn) {
        let applied = receipt.outcomes.len();
        write.done.extend(receipt);
        if applied == write.command.operations() {
            answer(write);
        } else {
            write.command.skip(applied);
            self.queue.put_back(write);
        }
    }

    /// The next write that waits and can be applied.
    fn take_admitted(&self) -> Option<Write> {
        std::iter::from_fn(|| self.queue.try_take()).find_map(|write| self.admit(write))
    }

    /// What of a write can be applied. If that is nothing, it is turned away: its client keeps it, and where the dictionary is damaged
    /// is told so by Bye.
    fn admit(&self, mut write: Write) -> Option<Write> {
        if self.damage.check(&write.dictionary).is_ok() && write.fit(self.room) {
            return Some(write);
        }
        turn_away(write);
        None
    }

    fn publish(&self, dictionary: &DictionaryName, commit: &Commit) {
        self.feeds.publish(dictionary, || Event::Commit(Arc::new(Broadcast::new(commit, &self.limits))));
    }

    fn forget_idle_hubs(&mut self, written: &[(DictionaryName, Commit)]) {
        if self.hubs.len() > IDLE_HUBS_MAX {
            self.hubs.retain(|name, _| written.iter().any(|(written, _)| written == name));
        }
    }

    /// What the disk has room for now.
    fn look_at_disk(&mut self) {
        let room = self.disk.room();
        if room != std::mem::replace(&mut self.room, room) {
            match room.trouble() {
                Some(trouble) => warn!("{trouble}"),
                None => info!("the disk has room again: everything can be edited"),
            }
        }
    }
}

/// The hub of a dictionary, made if there is none. The store's readers see what is committed, and this transaction has
/// not changed a dictionary without a hub.
fn open<'a>(
    hubs: &'a mut HashMap<DictionaryName, Hub>,
    store: &Store,
    name: &DictionaryName,
) -> Result<&'a mut Hub, StoreError> {
    if !hubs.contains_key(name) {
        hubs.insert(name.clone(), store.summary(name)?.into_hub());
    }
    Ok(hubs.get_mut(name).expect("it has just been made"))
}

/// Answers a write with Busy, or what is left of it.
fn turn_away(mut write: Write) {
    write.done.extend(Receipt::turned_away(&write.command, AckCode::Busy, DISK_RETRY_MS));
    answer(write);
}

fn answer(Write { reply: Reply { batch, to }, mut done, left_out, .. }: Write) {
    // By rising positions, so that each is right when its turn comes.
    for at in left_out {
        done.outcomes.insert(at, Outcome::Excepted { code: AckCode::Busy, data: DISK_RETRY_MS });
    }
    match to.try_send(Answer { batch, receipt: done }) {
        // Closed: who asked has gone, and will find out when it is back.
        Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
        Err(mpsc::error::TrySendError::Full(answer)) => {
            unreachable!("a connection waits for more answers than it has room for: {answer:?}")
        }
    }
}
