//! The server's end of a dictionary: admits operations, decides what each does, and says what changed.
//!
//! A hub works on the rows of one open transaction, through [`Rows`]. So it holds no entries itself, sees its own writes
//! of the same transaction, and what it decided becomes real with the commit or not at all. Whoever drives it
//!
//! 1. opens a transaction and calls [`Hub::push`] and [`Hub::resolve`] for what is waiting,
//! 2. calls [`Hub::finish`], and commits durably,
//! 3. only then sends the acks, and the [`Commit`] to everyone.
//!
//! If the commit fails, the hub must be dropped with the transaction: it is ahead of the store.
//!
//! What an operation does depends on the rows, the operation and the time argument alone. Sending one twice is harmless.

use std::collections::BTreeMap;

use super::{Counters, Row, Rows};
use crate::{
    Author, AuthorId, Conflict, ConflictId, DictionaryId, Entry, HybridTime, Key, Lineage, Names, PastEpoch, ReplicaId,
    Resolution, Seq, Side, Stamp, Value, ValueError,
    limits::{CLOCK_AHEAD_MS_MAX, CONFLICTS_MAX, LINEAGE_MAX, Limits, VERSIONS_MAX},
    mutants::mutant,
    wire::{AckCode, Change, Exception, Op, Role},
};

/// Names of authors that a hub keeps in memory: more people than write at a time. A peer can make up any number.
const NAMES_MAX: usize = 10_000;

/// Who pushes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// What it may do.
    pub role: Role,
    /// The author of operations that name none.
    pub author: Author,
}

/// The answer to a push, to be sent after the commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// When a cursor has reached it, the effects are in its base.
    pub seq: Seq,
    /// The operations that were not simply applied, by rising index.
    pub exceptions: Vec<Exception>,
}

/// What a commit changed, to be sent to everyone after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The head before it.
    pub prev: Seq,
    /// The head after it.
    pub to: Seq,
    /// What changed, by rising seq; of a key or conflict that changed twice the last.
    pub changes: Vec<Change>,
    /// The names of the authors in it.
    pub names: Names,
}

/// The server's end of one dictionary.
#[derive(Debug)]
pub struct Hub {
    id: DictionaryId,
    lineage: Lineage,
    writes: Vec<PastEpoch>,
    limits: Limits,
    state: Counters,
    names: Names,
    /// The head before the open transaction, and what the transaction has changed.
    prev: Seq,
    entries: BTreeMap<Key, Entry>,
    conflicts: BTreeMap<ConflictId, Conflict>,
}

impl Hub {
    /// A dictionary as the store has it. `writes` are the epochs in which it was written, with its head at the end of each;
    /// a new dictionary has none and the default state.
    pub fn new(id: DictionaryId, lineage: Lineage, writes: Vec<PastEpoch>, state: Counters, limits: Limits) -> Self {
        let (entries, conflicts) = Default::default();
        Self { id, lineage, writes, limits, state, names: Names::new(), prev: state.head, entries, conflicts }
    }

    /// The counters, with what the open transaction did.
    pub fn state(&self) -> &Counters {
        &self.state
    }

    /// Applies a batch of operations in their order. O(operations × log entries).
    ///
    /// # Errors
    /// When the store fails; the hub must then be dropped.
    pub fn push<R: Rows>(&mut self, rows: &mut R, from: &Origin, ops: &[Op], now_ms: u64) -> Result<Pushed, R::Error> {
        debug_assert!(ops.len() <= usize::from(u16::MAX / 2), "an operation takes two places of a batch at most");
        let mut batch = Batch { seq: self.state.head.next(), index: 0 };
        let mut exceptions = Vec::new();
        for (index, op) in (0..).zip(ops) {
            if let Err(refused) = self.apply(rows, &mut batch, from, op, now_ms)? {
                exceptions.push(Exception { index, code: refused.code, data: refused.data });
            }
        }
        if batch.index > 0 {
            self.state.head = batch.seq;
        }
        Ok(Pushed { seq: self.state.head, exceptions })
    }

    /// Resolves a conflict. Returns whether it was open, and so changed.
    ///
    /// # Errors
    /// When the store fails; the hub must then be dropped.
    pub fn resolve<R: Rows>(
        &mut self,
        rows: &mut R,
        from: &Origin,
        id: ConflictId,
        resolution: Resolution,
    ) -> Result<bool, R::Error> {
        let Some(mut conflict) = rows.conflict(id)? else { return Ok(false) };
        if conflict.resolution != Resolution::Open || resolution == Resolution::Open || from.role != Role::Writer {
            return Ok(false);
        }
        let replaced = conflict.place();
        self.state.head = self.state.head.next();
        conflict.seq = self.state.head;
        conflict.resolution = resolution;
        rows.set_conflict(&conflict, Some(replaced))?;
        for side in [&conflict.winner, &conflict.loser] {
            self.learn_name(rows, side.author)?;
        }
        self.conflicts.insert(id, conflict);
        Ok(true)
    }

    /// Writes the counters and ends the batch of this transaction. `None` if nothing changed, and nothing need be committed.
    ///
    /// # Errors
    /// When the store fails; the hub must then be dropped.
    pub fn finish<R: Rows>(&mut self, rows: &mut R) -> Result<Option<Commit>, R::Error> {
        let (prev, to) = (self.prev, self.state.head);
        if prev == to {
            return Ok(None);
        }
        match self.writes.last_mut() {
            Some(last) if last.epoch == self.lineage.current => last.end = to,
            _ => {
                // Stored once an epoch: while it is the last, its end is the head in the state.
                self.writes.push(PastEpoch { epoch: self.lineage.current, end: to });
                let excess = self.writes.len().saturating_sub(LINEAGE_MAX);
                self.writes.drain(..excess);
                rows.set_writes(&self.writes)?;
            }
        }
        rows.set_state(self.id, &self.state)?;
        self.prev = to;

        let entries = std::mem::take(&mut self.entries).into_iter().map(|(key, entry)| Change::Entry(key, entry));
        let conflicts = std::mem::take(&mut self.conflicts).into_values().map(Change::Conflict);
        let mut changes: Vec<Change> = entries.chain(conflicts).collect();
        changes.sort_by_key(Change::seq);
        let authors = changes.iter().flat_map(Change::authors);
        let names = authors.filter_map(|id| Some(Author { id, name: self.names.get(id)?.clone() })).collect();
        if self.names.len() > NAMES_MAX {
            // The store has them all.
            self.names = Names::new();
        }
        Ok(Some(Commit { prev, to, changes, names }))
    }

    fn apply<R: Rows>(
        &mut self,
        rows: &mut R,
        batch: &mut Batch,
        from: &Origin,
        op: &Op,
        now_ms: u64,
    ) -> Result<Result<(), Refused>, R::Error> {
        let (key, value) = match self.admit(from.role, op) {
            Ok(admitted) => admitted,
            Err(refused) => return Ok(Err(refused)),
        };
        let author = op.author.as_ref().unwrap_or(&from.author);
        let recovered = op.recovered.is_some();
        let new = Entry { value, stamp: op.stamp, seq: batch.seq, author: author.id };
        let row = rows.entry(&key)?;
        if let Some(row) = &row
            && is_known(rows, &key, row, &new)?
        {
            return Ok(Err(AckCode::Duplicate.into()));
        }
        if op.stamp.time() > latest_admitted(now_ms, row.as_ref()) {
            return Ok(Err(Refused { code: AckCode::ClockAhead, data: now_ms }));
        }
        let Some(row) = row else {
            if let Err(refused) = self.admit_new(op, &new) {
                return Ok(Err(refused));
            }
            self.set_name(rows, author)?;
            let conflict = (self.horizon_deleted(op)).then(|| self.purged_side());
            self.set_row(rows, batch, &key, Row { entry: new.clone(), index: 0, recovered, versions: 0 }, None)?;
            if let Some(loser) = conflict {
                self.add_conflict(rows, batch, &key, new.into(), loser)?;
            }
            return Ok(Ok(()));
        };

        let wins = new.beats(&row.entry) || mutant!("the last to come wins");
        let conflicts = conflicts(op, &row, &new) && (wins || !mutant!("who loses is not told"));
        if !wins && !conflicts {
            return Ok(Err(AckCode::Superseded.into()));
        }
        self.set_name(rows, author)?;
        let old = Side::from(row.entry.clone());
        let loser = if wins { &old } else { &Side::from(new.clone()) };
        // Of several values with one stamp, which only a broken clock makes, the last is kept.
        let is_tie = loser.stamp == new.stamp && wins && rows.has_version(&key, loser.stamp)?;
        rows.add_version(&key, loser, row.versions == VERSIONS_MAX && !is_tie)?;
        let versions = (row.versions + u8::from(!is_tie)).min(VERSIONS_MAX);
        if wins {
            self.set_row(rows, batch, &key, Row { entry: new.clone(), index: 0, recovered, versions }, Some(&row))?;
        } else {
            rows.set_entry(&key, &Row { versions, ..row.clone() }, Some(row.place()))?;
        }
        if conflicts {
            let winner = if wins { new.into() } else { old.clone() };
            self.add_conflict(rows, batch, &key, winner, loser.clone())?;
        }
        Ok(if wins { Ok(()) } else { Err(AckCode::Superseded.into()) })
    }

    /// What can be judged of an operation without the rows.
    fn admit(&self, role: Role, op: &Op) -> Result<(Key, Option<Value>), Refused> {
        if role != Role::Writer {
            return Err(AckCode::ReadOnly.into());
        }
        let key = Key::parse(&op.key).map_err(|_| Refused { code: AckCode::BadKey, data: op.key.len() as u64 })?;
        let bad = Refused { code: AckCode::BadValue, data: 0 };
        let value = match &op.value {
            None => None,
            Some(text) if text.len() > self.limits.value_bytes as usize => {
                return Err(Refused { code: AckCode::TooLarge, data: text.len() as u64 });
            }
            Some(text) => Some(Value::from_peer(text).map_err(|_: ValueError| bad)?),
        };
        if value.is_some() == op.stamp.is_put() { Ok((key, value)) } else { Err(bad) }
    }

    /// Whether a key without an entry may get this one.
    fn admit_new(&self, op: &Op, new: &Entry) -> Result<(), Refused> {
        let Counters { horizon, live, tombstones, .. } = self.state;
        let purged = new.stamp.millis() <= horizon.time_ms;
        let full = live + tombstones >= self.limits.entries;
        if new.is_live() {
            return match () {
                () if purged => Err(AckCode::Parked.into()),
                () if full => Err(Refused { code: AckCode::Full, data: self.limits.entries }),
                () => Ok(()),
            };
        }
        // A remove of nothing leaves nothing. But if its writer had seen an entry, the server has lost that with a rollback,
        // and who still has it will bring it back: the tombstone must be there first.
        let had_entry = op.recovered.is_some() || op.seen.iter().any(|&stamp| stamp != Stamp::ZERO);
        let leaves_tombstone = had_entry && !mutant!("a lost entry's remove leaves nothing");
        if leaves_tombstone && !purged && !full { Ok(()) } else { Err(AckCode::Duplicate.into()) }
    }

    /// Whether an operation on a key without an entry had seen one, whose tombstone has been purged since.
    fn horizon_deleted(&self, op: &Op) -> bool {
        let purges = self.state.horizon.seq > Seq(0);
        purges && op.value.is_some() && first_seen(op) != Stamp::ZERO && op.recovered.is_none()
    }

    /// The remove whose tombstone is gone: when and by whom is not known any more.
    fn purged_side(&self) -> Side {
        let time = HybridTime::from_millis(self.state.horizon.time_ms);
        Side { value: None, stamp: Stamp::new(time, false, ReplicaId(0)), author: AuthorId(0) }
    }

    /// Sets the row of a key at the batch's next place.
    fn set_row<R: Rows>(
        &mut self,
        rows: &mut R,
        batch: &mut Batch,
        key: &Key,
        mut row: Row,
        old: Option<&Row>,
    ) -> Result<(), R::Error> {
        if let Some(old) = old {
            self.state.digest.subtract(key, &old.entry);
            self.count(&old.entry, |n| n - 1);
        }
        self.state.digest.add(key, &row.entry);
        self.count(&row.entry, |n| n + 1);
        row.index = batch.next_index();
        rows.set_entry(key, &row, old.map(Row::place))?;
        self.entries.insert(key.clone(), row.entry);
        Ok(())
    }

    fn count(&mut self, entry: &Entry, change: impl Fn(u64) -> u64) {
        let count = if entry.is_live() { &mut self.state.live } else { &mut self.state.tombstones };
        *count = change(*count);
    }

    fn add_conflict<R: Rows>(
        &mut self,
        rows: &mut R,
        batch: &mut Batch,
        key: &Key,
        winner: Side,
        loser: Side,
    ) -> Result<(), R::Error> {
        for side in [&winner, &loser] {
            self.learn_name(rows, side.author)?;
        }
        let id = ConflictId { seq: batch.seq, index: batch.next_index() };
        let conflict = Conflict { id, seq: id.seq, key: key.clone(), winner, loser, resolution: Resolution::Open };
        rows.set_conflict(&conflict, None)?;
        if self.state.conflicts == CONFLICTS_MAX {
            rows.drop_oldest_conflict()?;
        } else {
            self.state.conflicts += 1;
        }
        self.conflicts.insert(id, conflict);
        Ok(())
    }

    fn set_name<R: Rows>(&mut self, rows: &mut R, author: &Author) -> Result<(), R::Error> {
        self.learn_name(rows, author.id)?;
        if self.names.get(author.id) != Some(&author.name) {
            rows.set_name(author)?;
            self.names.insert(author.clone());
        }
        Ok(())
    }

    fn learn_name<R: Rows>(&mut self, rows: &mut R, id: AuthorId) -> Result<(), R::Error> {
        if self.names.get(id).is_none()
            && let Some(name) = rows.name(id)?
        {
            self.names.insert(Author { id, name });
        }
        Ok(())
    }
}

/// Whether the server has this very write already: a resend.
fn is_known<R: Rows>(rows: &mut R, key: &Key, row: &Row, new: &Entry) -> Result<bool, R::Error> {
    match new.stamp.cmp(&row.entry.stamp) {
        std::cmp::Ordering::Equal => Ok(!new.beats(&row.entry)),
        // A version is always below the entry.
        std::cmp::Ordering::Less if mutant!("a resend is new") => Ok(false),
        std::cmp::Ordering::Less => rows.has_version(key, new.stamp),
        std::cmp::Ordering::Greater => Ok(false),
    }
}

/// How far ahead a stamp may be. One step above the entry is always admitted, so a wrong clock poisons no key.
fn latest_admitted(now_ms: u64, row: Option<&Row>) -> HybridTime {
    let by_clock = HybridTime::from_millis(now_ms.saturating_add(CLOCK_AHEAD_MS_MAX));
    row.map_or(by_clock, |row| by_clock.max(row.entry.stamp.time().plus_millis(1)))
}

/// The stamp of the confirmed entry that was shown when editing began; zero if there was none.
fn first_seen(op: &Op) -> Stamp {
    op.seen.first().copied().unwrap_or_default()
}

/// Whether the writer of `op` had not seen what is there, and wrote something else. A replica has seen what it wrote, also
/// when its older write comes after its newer one, over a connection that it has given up.
fn conflicts(op: &Op, row: &Row, new: &Entry) -> bool {
    let there = &row.entry;
    let is_own = there.stamp.replica() == op.stamp.replica() || op.seen.contains(&there.stamp);
    let own = is_own && !mutant!("one conflicts with oneself");
    let seen = there.stamp <= first_seen(op) || own;
    let comes_back = mutant!("what comes back conflicts with nothing");
    let one_history = op.recovered.is_some_and(|fork| row.recovered || there.seq <= fork || comes_back);
    !seen && !one_history && there.value != new.value && there.stamp != new.stamp
}

impl From<Entry> for Side {
    fn from(entry: Entry) -> Self {
        Self { value: entry.value, stamp: entry.stamp, author: entry.author }
    }
}

impl Change {
    /// The authors that the change names.
    pub fn authors(&self) -> impl Iterator<Item = AuthorId> + use<> {
        let (first, second) = match self {
            Self::Entry(_, entry) => (entry.author, None),
            Self::Conflict(conflict) => (conflict.winner.author, Some(conflict.loser.author)),
        };
        std::iter::once(first).chain(second)
    }
}

/// A batch that is being applied: its seq, and the number of its next change.
struct Batch {
    seq: Seq,
    index: u16,
}

impl Batch {
    fn next_index(&mut self) -> u16 {
        self.index += 1;
        self.index - 1
    }
}

/// Why an operation was not simply applied.
#[derive(Clone, Copy)]
struct Refused {
    code: AckCode,
    data: u64,
}

impl From<AckCode> for Refused {
    fn from(code: AckCode) -> Self {
        Self { code, data: 0 }
    }
}
