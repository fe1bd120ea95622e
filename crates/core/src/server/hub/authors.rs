//! The authors of a dictionary: who gets a number, and whose name changes.
//!
//! An author has a number from the first write on. There are so many numbers; who comes later writes as somebody. A name changes when
//! its own author says so, and in this dictionary alone.
//!
//! The place of the first write stays in `by_seq`, so who reads from any cursor on meets an author before what that one has written. A
//! change of the name has another place.

use super::{Batch, Hub};
use crate::{
    Author, AuthorId, Contributor,
    limits::{AUTHOR_BYTES_MAX, AUTHORS_MAX, ROW_BYTES},
    server::{AuthorRow, Outcome, Place, Rows, record::Actor},
    wire::{AckCode, Role},
};

impl Hub {
    /// As whom the author's writes count: as the author's own, with a number from now on, or as somebody's.
    pub(super) fn sign<R: Rows>(
        &mut self,
        rows: &mut R,
        batch: &mut Batch,
        author: &Author,
    ) -> Result<AuthorId, R::Error> {
        if self.author(rows, author.id)?.is_some() {
            return Ok(author.id);
        }
        if author.id == AuthorId::SOMEBODY || self.counters.authors >= AUTHORS_MAX {
            return Ok(AuthorId::SOMEBODY);
        }
        self.counters.authors += 1;
        let (number, seq, index) = (self.counters.authors, batch.seq, batch.next_index());
        let contributor = Contributor { number, author: author.clone(), made: seq, seq };
        self.set_author(rows, batch, AuthorRow { contributor, made_index: index, index }, None)?;
        Ok(author.id)
    }

    /// Gives the author who asks the name that they say, if they have another one here.
    pub(super) fn rename<R: Rows>(
        &mut self,
        rows: &mut R,
        batch: &mut Batch,
        actor: &Actor,
    ) -> Result<Outcome, R::Error> {
        if actor.role != Role::Writer {
            return Ok(AckCode::ReadOnly.into());
        }
        let Some(row) = self.author(rows, actor.author.id)?.filter(|row| row.contributor.author != actor.author) else {
            return Ok(AckCode::Duplicate.into());
        };
        let (mut row, replaced) = (row.clone(), row.renamed());
        self.counters.digest.subtract_author(&row.contributor);
        row.contributor.author = actor.author.clone();
        (row.contributor.seq, row.index) = (batch.seq, batch.next_index());
        self.set_author(rows, batch, row, replaced)?;
        Ok(Outcome::Applied)
    }

    fn set_author<R: Rows>(
        &mut self,
        rows: &mut R,
        batch: &mut Batch,
        row: AuthorRow,
        replaced: Option<Place>,
    ) -> Result<(), R::Error> {
        self.counters.digest.add_author(&row.contributor);
        rows.set_author(&row, replaced)?;
        batch.bytes += AUTHOR_BYTES_MAX as u64 + ROW_BYTES;
        self.contributors.insert(row.contributor.number, row.contributor.clone());
        self.authors.insert(row.contributor.author.id, row);
        Ok(())
    }

    /// An author who has a number.
    pub(super) fn author<R: Rows>(&mut self, rows: &mut R, id: AuthorId) -> Result<Option<&AuthorRow>, R::Error> {
        if !self.authors.contains_key(&id)
            && let Some(row) = rows.author(id)?
        {
            self.authors.insert(id, row);
        }
        Ok(self.authors.get(&id))
    }
}
