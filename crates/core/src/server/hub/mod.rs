//! The server's end of a dictionary: it applies records to the rows, and says what changed.
//!
//! A hub works on the rows of one open transaction, through [`Rows`]. So it holds no entries itself, sees its own writes
//! of the same transaction, and what it decided becomes real with the commit or not at all. Whoever drives it
//!
//! 1. opens a transaction and calls [`Hub::apply`] for each record that waits,
//! 2. calls [`Hub::finish`], and commits durably,
//! 3. only then sends the [`Receipt`]s, and the [`Commit`] to everyone.
//!
//! If the commit fails, the hub must be dropped with the transaction: it is ahead of the store.
//!
//! What a record does depends on the rows and the record alone. Sending an operation twice is harmless. The decisions
//! about one operation are in [`decide`]; what is decided of several at once is in `group`, what becomes of conflict rows in
//! `conflicts`, of authors in `authors`, and what of replaced values in `history`.

mod authors;
mod conflicts;

mod group;

mod history;

use std::collections::BTreeMap;

use self::conflicts::Lost;
use super::{
    AuthorRow, Counters, Reason, Row, Rows, Version,
    decide::{self, admit, admit_growth, admit_new, is_known, latest_admitted, overlooks_purged, purged_side},
    record::{Command, Context, Outcome, Receipt, Record},
};
use crate::{
    Author, AuthorId, AuthorNumbers, Conflict, ConflictId, Contributor, DictionaryId, Entry, Key, Lineage, PastEpoch,
    Seq, Side, Value, Winner,
    limits::{LINEAGE_MAX, ROW_BYTES},
    mutants::mutant,
    wire::{AckCode, Change, Op},
};

/// What a commit changed, to be sent to everyone after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The head before it.
    pub prev: Seq,
    /// The head after it.
    pub to: Seq,
    /// What changed, by rising seq. What changed twice is there once, as it was last.
    pub changes: Vec<Change>,
    /// The numbers of the authors in it.
    pub numbers: AuthorNumbers,
}

/// The server's end of one dictionary.
#[derive(Debug)]
pub struct Hub {
    id: DictionaryId,
    lineage: Lineage,
    writes: Vec<PastEpoch>,
    counters: Counters,
    /// The authors that were met: at most all that have numbers.
    authors: BTreeMap<AuthorId, AuthorRow>,
    /// The seq that the open transaction writes at.
    batch: Option<Batch>,
    /// The head before the open transaction, and what the transaction has changed.
    prev: Seq,
    entries: BTreeMap<Key, Row>,
    conflicts: BTreeMap<ConflictId, Conflict>,
    contributors: BTreeMap<u16, Contributor>,
    /// The bytes of the open conflict rows of each maker, once they are needed.
    shares: Option<BTreeMap<AuthorId, u64>>,
}

impl Hub {
    /// A dictionary as the store has it. `writes` are the epochs in which it was written, with its head at the end of each;
    /// a new dictionary has none, and the default counters.
    pub fn new(id: DictionaryId, lineage: Lineage, writes: Vec<PastEpoch>, counters: Counters) -> Self {
        let (authors, entries, conflicts, contributors) = Default::default();
        let (batch, prev) = (None, counters.head);
        Self { id, lineage, writes, counters, authors, batch, prev, entries, conflicts, contributors, shares: None }
    }

    /// The counters, with what the open transaction did.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Applies a record, or the beginning of it: when its room is used up, what is left of the command belongs to the next one. O(operations × log entries).
    ///
    /// # Errors
    /// When the store fails; the hub must then be dropped.
    ///
    /// # Panics
    /// When the record's seq is neither above the head nor that of the record before it in this transaction.
    pub fn apply<R: Rows>(&mut self, rows: &mut R, record: &Record) -> Result<Receipt, R::Error> {
        let Record { at, room_bytes, context, command } = record;
        let head = self.counters.head;
        let mut batch = match self.batch.take() {
            Some(batch) if batch.seq == *at => batch,
            _ => Batch { seq: *at, index: 0, is_written: false, bytes: 0, room_bytes: 0 },
        };
        (batch.bytes, batch.room_bytes) = (0, *room_bytes);
        assert!(*at > head || batch.is_written, "a record at {} does not follow the head {}", at.0, head.0);
        let mut outcomes = Vec::new();
        match command {
            Command::Push { ops } => {
                for op in ops {
                    if batch.is_full() {
                        break;
                    }
                    outcomes.push(self.apply_op(rows, &mut batch, context, op)?);
                }
            }
            Command::Group { ops, conditions } => {
                outcomes = self.apply_group(rows, &mut batch, context, ops, conditions)?;
            }
            Command::Resolve { id, resolution } => {
                outcomes.push(self.resolve(rows, &mut batch, &context.actor, id, *resolution)?);
            }
            Command::Recover { conflicts, authors } => {
                for conflict in conflicts {
                    if batch.is_full() {
                        break;
                    }
                    outcomes.push(self.recover(rows, &mut batch, context, conflict, authors)?);
                }
            }
            Command::Name => outcomes.push(self.rename(rows, &mut batch, &context.actor)?),
            Command::Expire => self.expire(rows, &mut batch, context.now_ms)?,
        }
        if batch.is_written {
            self.counters.head = batch.seq;
        }
        let bytes = batch.bytes;
        self.batch = Some(batch);
        Ok(Receipt { seq: self.counters.head, outcomes, bytes })
    }

    /// Writes the counters and ends the batch of this transaction. `None` if nothing changed, and nothing need be committed.
    ///
    /// # Errors
    /// When the store fails; the hub must then be dropped.
    pub fn finish<R: Rows>(&mut self, rows: &mut R) -> Result<Option<Commit>, R::Error> {
        let (prev, to) = (self.prev, self.counters.head);
        self.batch = None;
        if prev == to {
            return Ok(None);
        }
        match self.writes.last_mut() {
            Some(last) if last.epoch == self.lineage.current => last.end = to,
            _ => {
                // Stored once an epoch: while it is the last, its end is the head in the counters.
                self.writes.push(PastEpoch { epoch: self.lineage.current, end: to });
                let excess = self.writes.len().saturating_sub(LINEAGE_MAX);
                self.writes.drain(..excess);
                rows.set_writes(&self.writes)?;
            }
        }
        rows.set_counters(self.id, &self.counters)?;
        self.prev = to;

        let entries = std::mem::take(&mut self.entries).into_iter();
        let entries = entries.flat_map(|(key, row)| row.into_changes(key)).flatten();
        let conflicts = std::mem::take(&mut self.conflicts).into_values().map(Change::Conflict);
        let contributors = std::mem::take(&mut self.contributors).into_values();
        // Who is new comes before what that one has written, so authors go first among what is of the same seq.
        let at = |contributor: &Contributor| Some(contributor.made).filter(|&made| made > prev);
        let contributors = contributors.map(|author| Change::Author(at(&author).unwrap_or(author.seq), author));
        let mut changes: Vec<Change> = contributors.chain(entries).chain(conflicts).collect();
        changes.sort_by_key(Change::seq);
        let mut numbers = AuthorNumbers::default();
        for id in changes.iter().flat_map(Change::authors) {
            if numbers.get(id).is_none()
                && let Some(row) = self.author(rows, id)?
            {
                numbers.insert(id, row.contributor.number);
            }
        }
        Ok(Some(Commit { prev, to, changes, numbers }))
    }

    fn apply_op<R: Rows>(
        &mut self,
        rows: &mut R,
        batch: &mut Batch,
        context: &Context,
        op: &Op,
    ) -> Result<Outcome, R::Error> {
        let mut idle_bytes = 0;
        let judged = self.judge(rows, &self.counters, context, batch.seq, op, &mut idle_bytes)?;
        batch.bytes += idle_bytes;
        match judged {
            Judged::Admitted(admitted) => self.write(rows, batch, context, op, admitted),
            Judged::Known => Ok(AckCode::Duplicate.into()),
            Judged::Refused(outcome) => Ok(outcome),
        }
    }

    /// Whether an operation is admitted where the dictionary has these counters. Changes nothing. `idle_bytes` grows by those of a value
    /// that was read, and is not replaced: others wait for that too.
    fn judge<R: Rows>(
        &self,
        rows: &mut R,
        counters: &Counters,
        context: &Context,
        seq: Seq,
        op: &Op,
        idle_bytes: &mut u64,
    ) -> Result<Judged, R::Error> {
        let Context { now_ms, limits, .. } = context;
        let (key, value) = match admit(context, op) {
            Ok(admitted) => admitted,
            Err(outcome) => return Ok(Judged::Refused(outcome)),
        };
        let fork = op.recovered.as_ref().and_then(|branch| branch.fork(&self.lineage));
        let new = Entry { value, stamp: op.stamp, seq, author: writer(op, context).id };
        let (old, is_proven) = (rows.entry(&key)?, context.actor.proves(op.stamp));
        let old_bytes = old.as_ref().map_or(0, Row::value_bytes);
        *idle_bytes += old_bytes;
        if let Some(row) = &old
            && is_known(rows, &key, row, &new, is_proven)?
        {
            return Ok(Judged::Known);
        }
        if op.stamp.time() > latest_admitted(*now_ms, old.as_ref(), fork) {
            return Ok(Judged::Refused(Outcome::Excepted { code: AckCode::ClockAhead, data: *now_ms }));
        }
        let (mut wins, mut conflicts) = (true, overlooks_purged(counters, op));
        match &old {
            None => {
                if let Err(outcome) = admit_new(counters, limits, op, &key, &new) {
                    return Ok(Judged::Refused(outcome));
                }
            }
            Some(row) => {
                wins = decide::wins(&new, row, is_proven);
                conflicts = decide::conflicts(op, row, &new, fork, is_proven);
            }
        }
        if !wins && !conflicts {
            return Ok(Judged::Refused(AckCode::Superseded.into()));
        }
        if let Some(row) = old.as_ref().filter(|_| wins)
            && let Err(outcome) = admit_growth(counters, limits, &key, &row.entry, &new)
        {
            return Ok(Judged::Refused(outcome));
        }
        if wins {
            *idle_bytes -= old_bytes;
        }
        Ok(Judged::Admitted(Admitted { key, new, old, is_recovered: fork.is_some(), wins, conflicts }))
    }

    fn write<R: Rows>(
        &mut self,
        rows: &mut R,
        batch: &mut Batch,
        context: &Context,
        op: &Op,
        admitted: Admitted,
    ) -> Result<Outcome, R::Error> {
        let Admitted { key, mut new, old, is_recovered, wins, conflicts } = admitted;
        let (author, actor) = (writer(op, context), &context.actor.author);
        new.author = self.sign(rows, batch, author)?;
        let brought_back_by = if author.id == actor.id { None } else { Some(self.sign(rows, batch, actor)?) };
        let recovered = op.recovered.clone().filter(|_| is_recovered);
        let is_proven = context.actor.proves(op.stamp);
        let Some(row) = old else {
            self.set_row(
                rows,
                batch,
                &key,
                Row { entry: new.clone(), index: 0, recovered, is_proven, brought_back_by },
                None,
            )?;
            if conflicts {
                let lost = Lost { key: &key, write: &purged_side(&self.counters), is_proven: false };
                self.add_conflict(rows, batch, context, lost, Winner::from(&new))?;
            }
            return Ok(Outcome::Applied);
        };

        let old = Side::from(row.entry.clone());
        let mut loser = if wins { &old } else { &Side::from(new.clone()) };
        let emptied;
        if mutant!("what is overwritten is kept empty") {
            emptied = Side { value: None, ..loser.clone() };
            loser = &emptied;
        }
        let Side { value, stamp, author } = loser.clone();
        let version = match wins {
            true => Version {
                accepted: row.entry.seq,
                reason: Reason::Replaced,
                author,
                brought_back_by: row.brought_back_by,
                value,
            },
            false => Version { accepted: batch.seq, reason: Reason::Lost, author, brought_back_by, value },
        };
        self.add_version(rows, batch, &key, stamp, &version)?;
        if wins {
            self.set_row(
                rows,
                batch,
                &key,
                Row { entry: new.clone(), index: 0, recovered, is_proven, brought_back_by },
                Some(&row),
            )?;
        }
        if conflicts {
            let winner = Winner::from(if wins { &new } else { &row.entry });
            let is_proven = if wins { row.is_proven } else { is_proven };
            self.add_conflict(rows, batch, context, Lost { key: &key, write: loser, is_proven }, winner)?;
        }
        Ok(if wins { Outcome::Applied } else { AckCode::Superseded.into() })
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
        self.counters.replace(key, old.map(|old| &old.entry), &row.entry);
        if let Some(old) = old
            && let Some(by) = old.brought_back_by
        {
            self.counters.digest.subtract_brought_back(key, &old.entry, by);
        }
        if let Some(by) = row.brought_back_by {
            self.counters.digest.add_brought_back(key, &row.entry, by);
        }
        row.index = batch.next_index();
        rows.set_entry(key, &row, old.map(Row::place))?;
        batch.add_bytes(key, row.entry.value.as_ref());
        self.entries.insert(key.clone(), row);
        Ok(())
    }
}

/// Who wrote: whoever asks, unless it comes back after a rollback.
fn writer<'a>(op: &'a Op, context: &'a Context) -> &'a Author {
    op.author.as_ref().filter(|_| op.recovered.is_some()).unwrap_or(&context.actor.author)
}

/// What becomes of an operation.
enum Judged {
    Admitted(Admitted),
    /// The server has this very write already.
    Known,
    /// It changes nothing.
    Refused(Outcome),
}

/// An operation that changes something, and what it meets.
struct Admitted {
    key: Key,
    new: Entry,
    old: Option<Row>,
    /// It comes back after a rollback.
    is_recovered: bool,
    /// Whether it takes the place of what is there.
    wins: bool,
    /// Whether what does not stay is told to who has lost it.
    conflicts: bool,
}

/// The seq that is being written at, and the number of its next change.
#[derive(Debug)]
struct Batch {
    seq: Seq,
    index: u16,
    /// Whether it has changed anything, at a place or without one.
    is_written: bool,
    /// What its last record has written, or read in vain, and how much it may.
    bytes: u64,
    room_bytes: u64,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.bytes > 0 && self.bytes >= self.room_bytes
    }

    /// A row was written.
    fn add_bytes(&mut self, key: &Key, value: Option<&Value>) {
        self.bytes += (key.as_str().len() + value.map_or(0, |value| value.as_str().len())) as u64 + ROW_BYTES;
    }

    fn next_index(&mut self) -> u16 {
        let index = self.index;
        self.is_written = true;
        self.index = index.checked_add(1).expect("the changes of a transaction are far fewer");
        index
    }
}
