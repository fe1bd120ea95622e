//! What becomes of conflict rows: who makes one, how long it is open, and who may close it.
//!
//! An open row is never pushed out by another. There is room for so many bytes of them, and for a tenth of that from the
//! connections of one author. A losing value for which there is no room is in the history of its key, and is counted. So nobody
//! can flush what others have lost.
//!
//! The author of the losing write may let it go for everybody; somebody else's dismissal is their own affair, and no command.
//! Whoever says that the losing value was restored is right if the key has it. So the winner cannot silence the loser.
//!
//! A row has the name of the write that lost, whose stamp somebody may have guessed. So a row of a write that is not proven gives way to that
//! of one that is, even if it is closed. What a rollback took is another matter: of that a closed row says what has become of it.
//!
//! After a rollback clients bring rows back. Such a row is taken as it is and compared with no entry: the write that won comes
//! back too, and would find nothing to conflict with.

use std::collections::BTreeMap;

use super::{Batch, Hub};
use crate::{
    Author, AuthorId, AuthorName, Conflict, ConflictId, Key, Resolution, Side, Winner,
    limits::{CONFLICT_BYTES_MAX, CONFLICT_MS_MAX, CONFLICT_SHARE_BYTES_MAX, VALUE_BYTES_MAX},
    server::{
        ConflictRow, Outcome, Reason, Row, Rows, Version,
        record::{Actor, Context},
    },
    wire::{AckCode, Role},
};

/// A write that has lost.
#[derive(Clone, Copy)]
pub(super) struct Lost<'a> {
    pub(super) key: &'a Key,
    pub(super) write: &'a Side,
    /// Whether it is proven to be its replica's.
    pub(super) is_proven: bool,
}

impl Hub {
    /// A write has lost. It gets a row if there is room.
    pub(super) fn add_conflict<R: Rows>(
        &mut self,
        rows: &mut R,
        batch: &mut Batch,
        context: &Context,
        lost: Lost<'_>,
        winner: Winner,
    ) -> Result<(), R::Error> {
        let Lost { key, write, is_proven } = lost;
        let conflict =
            Conflict { key: key.clone(), loser: write.clone(), winner, seq: batch.seq, resolution: Resolution::Open };
        let there = rows.conflict(&conflict.id())?;
        if there.as_ref().is_none_or(|row| is_proven && !row.is_proven) {
            self.add_row(rows, batch, context, conflict, is_proven, there.as_ref())?;
        }
        Ok(())
    }

    /// Adds a row, in the place of the one that has its name. Returns whether there was room.
    fn add_row<R: Rows>(
        &mut self,
        rows: &mut R,
        batch: &mut Batch,
        context: &Context,
        conflict: Conflict,
        is_proven: bool,
        replaced: Option<&ConflictRow>,
    ) -> Result<bool, R::Error> {
        let (maker, made_ms) = (context.actor.author.id, context.now_ms);
        let mut row = ConflictRow { conflict, index: 0, maker, made_ms, is_proven };
        if let Some(replaced) = replaced {
            self.uncount(rows, replaced)?;
        }
        self.count(rows, &row)?;
        let share = self.shares(rows)?.get(&maker).copied().unwrap_or_default();
        if share > CONFLICT_SHARE_BYTES_MAX || self.counters.conflict_bytes > CONFLICT_BYTES_MAX {
            self.uncount(rows, &row)?;
            if let Some(replaced) = replaced {
                self.count(rows, replaced)?;
            }
            self.counters.untold += 1;
            batch.is_written = true;
            return Ok(false);
        }
        row.index = batch.next_index();
        rows.set_conflict(&row, replaced.map(ConflictRow::place))?;
        batch.bytes += row.conflict.bytes() as u64;
        self.conflicts.insert(row.conflict.id(), row.conflict);
        Ok(true)
    }

    /// A row is there: it takes room, and is in the digest.
    fn count<R: Rows>(&mut self, rows: &mut R, row: &ConflictRow) -> Result<(), R::Error> {
        let bytes = row.conflict.bytes() as u64;
        self.counters.bytes += bytes;
        if row.conflict.is_open() {
            *self.shares(rows)?.entry(row.maker).or_default() += bytes;
            self.counters.conflicts += 1;
            self.counters.conflict_bytes += bytes;
            self.counters.digest.add_conflict(&row.conflict);
        }
        Ok(())
    }

    /// It is there no more.
    fn uncount<R: Rows>(&mut self, rows: &mut R, row: &ConflictRow) -> Result<(), R::Error> {
        let bytes = row.conflict.bytes() as u64;
        self.counters.bytes -= bytes;
        if row.conflict.is_open() {
            *self.shares(rows)?.entry(row.maker).or_default() -= bytes;
            self.counters.conflicts -= 1;
            self.counters.conflict_bytes -= bytes;
            self.counters.digest.subtract_conflict(&row.conflict);
        }
        Ok(())
    }

    /// Closes a row that is open; of any other there is nothing to do.
    pub(super) fn resolve<R: Rows>(
        &mut self,
        rows: &mut R,
        batch: &mut Batch,
        actor: &Actor,
        id: &ConflictId,
        resolution: Resolution,
    ) -> Result<Outcome, R::Error> {
        if actor.role != Role::Writer {
            return Ok(AckCode::ReadOnly.into());
        }
        let Some(row) = rows.conflict(id)?.filter(|row| row.conflict.is_open()) else {
            return Ok(AckCode::Duplicate.into());
        };
        let is_author = actor.author.id == row.conflict.loser.author;
        match resolution {
            Resolution::Open | Resolution::Archived => return Ok(AckCode::Duplicate.into()),
            Resolution::Dismissed if !is_author => return Ok(AckCode::NotAuthor.into()),
            Resolution::Restored if !is_author && !has_value(rows, &row.conflict)? => {
                return Ok(AckCode::Superseded.into());
            }
            Resolution::Dismissed | Resolution::Restored => {}
        }
        self.close(rows, batch, row, resolution)?;
        Ok(Outcome::Applied)
    }

    /// Takes a row that the server has lost, unless it has one of that name.
    pub(super) fn recover<R: Rows>(
        &mut self,
        rows: &mut R,
        batch: &mut Batch,
        context: &Context,
        conflict: &Conflict,
        authors: &[Author],
    ) -> Result<Outcome, R::Error> {
        let (loser, winner) = (&conflict.loser, &conflict.winner);
        let bytes = loser.value.as_ref().map_or(0, |value| value.as_str().len());
        if context.actor.role != Role::Writer {
            return Ok(AckCode::ReadOnly.into());
        }
        if bytes > VALUE_BYTES_MAX as usize {
            return Ok(Outcome::Excepted { code: AckCode::TooLarge, data: bytes as u64 });
        }
        if !conflict.is_open() || loser.stamp > winner.stamp || loser.value.is_some() != loser.stamp.is_put() {
            return Ok(AckCode::BadValue.into());
        }
        let (is_proven, there) = (context.actor.proves(loser.stamp), rows.conflict(&conflict.id())?);
        let gives_way = |row: &ConflictRow| {
            is_proven && !row.is_proven && row.conflict.is_open() && row.conflict.loser != conflict.loser
        };
        if !there.as_ref().is_none_or(gives_way) {
            return Ok(AckCode::Duplicate.into());
        }
        let mut conflict = Conflict { seq: batch.seq, ..conflict.clone() };
        for id in [&mut conflict.loser.author, &mut conflict.winner.author] {
            let author = authors.iter().find(|author| author.id == *id).cloned();
            let author = author.unwrap_or_else(|| Author { id: *id, name: AuthorName::generated(*id) });
            *id = self.sign(rows, batch, &author)?;
        }
        self.archive(rows, batch, &conflict, is_proven)?;
        let has_room = self.add_row(rows, batch, context, conflict, is_proven, there.as_ref())?;
        Ok(if has_room { Outcome::Applied } else { AckCode::Superseded.into() })
    }

    /// Closes the rows that nobody has decided for long, until the record's room is used up.
    pub(super) fn expire<R: Rows>(&mut self, rows: &mut R, batch: &mut Batch, now_ms: u64) -> Result<(), R::Error> {
        for row in rows.open_conflicts()? {
            if row.made_ms.saturating_add(CONFLICT_MS_MAX) <= now_ms && !batch.is_full() {
                self.close(rows, batch, row, Resolution::Archived)?;
            }
        }
        Ok(())
    }

    fn close<R: Rows>(
        &mut self,
        rows: &mut R,
        batch: &mut Batch,
        mut row: ConflictRow,
        resolution: Resolution,
    ) -> Result<(), R::Error> {
        let place = row.place();
        self.uncount(rows, &row)?;
        self.archive(rows, batch, &row.conflict, row.is_proven)?;
        row.conflict.close(resolution, batch.seq);
        self.count(rows, &row)?;
        row.index = batch.next_index();
        rows.set_conflict(&row, Some(place))?;
        batch.bytes += row.conflict.bytes() as u64;
        self.conflicts.insert(row.conflict.id(), row.conflict);
        Ok(())
    }

    /// Makes a losing value a version, if it is none. Without an entry the key has no versions: the row alone has the value. That of a
    /// proven write takes the place of another one with its stamp.
    fn archive<R: Rows>(
        &mut self,
        rows: &mut R,
        batch: &mut Batch,
        conflict: &Conflict,
        is_proven: bool,
    ) -> Result<(), R::Error> {
        let Conflict { key, loser, seq, .. } = conflict;
        let is_entry = |row: Row| row.entry.stamp == loser.stamp;
        if rows.entry(key)?.is_none_or(is_entry) {
            return Ok(());
        }
        let is_it = |version: Version| !is_proven || version.value == loser.value;
        if let Some(id) = rows.history(key)?.id(key, loser.stamp)
            && rows.version(&id)?.is_some_and(is_it)
        {
            return Ok(());
        }
        let (accepted, author, value) = (*seq, loser.author, loser.value.clone());
        let version = Version { accepted, reason: Reason::Archived, author, brought_back_by: None, value };
        self.add_version(rows, batch, key, loser.stamp, &version)
    }

    fn shares<R: Rows>(&mut self, rows: &mut R) -> Result<&mut BTreeMap<AuthorId, u64>, R::Error> {
        if self.shares.is_none() {
            let mut shares: BTreeMap<AuthorId, u64> = BTreeMap::new();
            for row in rows.open_conflicts()? {
                *shares.entry(row.maker).or_default() += row.conflict.bytes() as u64;
            }
            self.shares = Some(shares);
        }
        Ok(self.shares.as_mut().expect("they were just counted"))
    }
}

/// Whether the key of a conflict has the value that lost.
fn has_value<R: Rows>(rows: &mut R, conflict: &Conflict) -> Result<bool, R::Error> {
    Ok(rows.entry(&conflict.key)?.and_then(|row| row.entry.value) == conflict.loser.value)
}
