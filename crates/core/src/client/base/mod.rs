//! The base: what the server has confirmed, as of the cursor, and where that stands.
//!
//! Deltas replace its entries, they do not merge. So the settled base equals the server's rows of the cursor's moment, or the
//! digest says otherwise. It knows nothing of what was written here, but for the keys whose entries were taken back.
//!
//! After a fork of history, what the base has above the fork is no longer the server's. It goes back to the outbox and is sent
//! again. The base lacks it until the server has said what it has of these keys. Until then the digests are not compared, and the
//! base is not kept, and what else is acknowledged stays in the outbox. Conflict rows go the same way. Of one that was closed above the fork the base has no value any more, which only a
//! snapshot brings.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use super::{
    Stored,
    journal::{BaseChange, Journal, StoredError},
};
use crate::{
    Author, AuthorId, AuthorName, Authors, Conflict, Conflicts, Dictionary, DictionaryId, Digest, Entry, Epoch, Key,
    Lineage, Seq,
    mutants::mutant,
    wire::{
        Change, Delta, Horizon, ServerFrame, WireError,
        snapshot::{Header, Snapshot, encode_all},
    },
};

/// Is shown each entry that comes, with what was confirmed before it came.
pub(super) type Observer<'a> = &'a mut dyn FnMut(&Dictionary, &Key, &Entry);

/// Where the base stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// What came after the cursor is not here: there is no connection, or Deltas are to come.
    Behind,
    /// The same, and the server was asked for all after the cursor. What does not continue the cursor was on its way before.
    Resuming,
    /// In the middle of a catch-up. The base is of no single moment: it lacks what changed up to `applied` and again later. The
    /// next Delta continues `applied`.
    CatchingUp { applied: Seq },
    /// The server's state of the cursor's moment, and the Deltas follow.
    Settled,
    /// It lacks, or has wrong, what only a snapshot brings.
    Incomplete,
}

/// What a Welcome has made of the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joined {
    /// The server goes on in the epoch that is known here, or nothing was known.
    Same,
    /// The server goes on in an epoch after this fork; none if no history is shared.
    Forked(Option<Seq>),
    /// It is another dictionary.
    Other,
}

/// What a Delta has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Followed {
    /// What the observer was shown, and perhaps conflict rows, or names of authors.
    Applied { has_conflicts: bool, has_names: bool },
    /// Nothing: something is lacking before it.
    Gap,
    /// Nothing: it was known.
    Known,
}

/// What the server has confirmed.
#[derive(Clone, Debug)]
pub(super) struct Base {
    dictionary: Option<DictionaryId>,
    lineage: Option<Lineage>,
    horizon: Horizon,
    /// The last seq at which the base was the server's state of one moment.
    cursor: Seq,
    standing: Standing,
    /// Up to where a catch-up had come that was cut: until the cursor is there, the base is of no single moment.
    torn: Seq,
    entries: Dictionary,
    /// Keys whose entries were taken back at a fork, until the server has said what it has of them.
    taken_back: BTreeSet<Key>,
    authors: Authors,
    /// Authors that are met elsewhere: of what the server has lost, and of what the device has kept.
    learned: Vec<Author>,
    conflicts: Conflicts,
    /// What a local store has not been told, if there is one.
    journal: Option<Journal>,
}

impl Base {
    /// A base that has nothing, of no dictionary yet.
    pub(super) fn new() -> Self {
        Self {
            dictionary: None,
            lineage: None,
            horizon: Horizon::default(),
            cursor: Seq(0),
            standing: Standing::Behind,
            torn: Seq(0),
            entries: Dictionary::new(),
            taken_back: BTreeSet::new(),
            authors: Authors::default(),
            learned: Vec::new(),
            conflicts: Conflicts::default(),
            journal: None,
        }
    }

    // What it holds.

    pub(super) fn dictionary(&self) -> Option<DictionaryId> {
        self.dictionary
    }

    pub(super) fn lineage(&self) -> Option<&Lineage> {
        self.lineage.as_ref()
    }

    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.lineage.as_ref().map(|lineage| lineage.current)
    }

    pub(super) fn cursor(&self) -> Seq {
        self.cursor
    }

    pub(super) fn entries(&self) -> &Dictionary {
        &self.entries
    }

    pub(super) fn authors(&self) -> &Authors {
        &self.authors
    }

    /// What an author is called: a name made of the id while none is known.
    pub(super) fn name(&self, id: AuthorId) -> AuthorName {
        let learned = || self.learned.iter().find(|author| author.id == id);
        let author = self.authors.get(id).map(|row| &row.author).or_else(learned);
        author.map_or_else(|| AuthorName::generated(id), |author| author.name.clone())
    }

    /// These authors are known from elsewhere.
    pub(super) fn learn(&mut self, authors: impl IntoIterator<Item = Author>) {
        for author in authors {
            self.learned.retain(|known| known.id != author.id);
            self.learned.push(author);
        }
    }

    /// What the next Delta continues.
    fn expected(&self) -> Seq {
        match self.standing {
            Standing::CatchingUp { applied } => applied,
            _ => self.cursor,
        }
    }

    /// Up to where it has what the server has sent, be it of no single moment.
    fn applied(&self) -> Seq {
        self.expected().max(self.torn)
    }

    /// The digest of the entries, the conflict rows and the authors.
    pub(super) fn digest(&self) -> Digest {
        self.entries.digest() + self.conflicts.digest() + self.authors.digest()
    }

    /// What it takes of the room of its dictionary.
    pub(super) fn bytes(&self) -> u64 {
        self.entries().bytes() + self.conflicts().bytes()
    }

    pub(super) fn conflicts(&self) -> &Conflicts {
        &self.conflicts
    }

    pub(super) fn is_settled(&self) -> bool {
        self.standing == Standing::Settled
    }

    pub(super) fn is_incomplete(&self) -> bool {
        self.standing == Standing::Incomplete
    }

    /// Whether the entry of a key was taken back, and the server has not said what it has.
    pub(super) fn lacks(&self, key: &Key) -> bool {
        self.taken_back.contains(key)
    }

    /// Whether entries were taken back of which the server has not said what it has. Those of keys that wait no more are here by
    /// now. O(1) while the first of them waits.
    pub(super) fn lacks_any(&mut self, waits: impl Fn(&Key) -> bool) -> bool {
        while self.taken_back.first().is_some_and(|key| !waits(key)) {
            self.taken_back.pop_first();
        }
        !self.taken_back.is_empty()
    }

    // What happens to it.

    /// There is no connection any more.
    pub(super) fn handle_disconnected(&mut self) {
        if matches!(self.standing, Standing::Resuming | Standing::Settled) {
            self.standing = Standing::Behind;
        }
    }

    /// Finds the last point of history that is shared with the server. Then come [`Base::start_over`] or [`Base::step_back`],
    /// if need be, and [`Base::follow`].
    pub(super) fn join(&self, dictionary: DictionaryId, server: &Lineage, head: Seq) -> Joined {
        if self.dictionary.is_some_and(|known| known != dictionary) {
            return Joined::Other;
        }
        match &self.lineage {
            Some(known) if known.current != server.current => Joined::Forked(known.fork(self.applied(), server, head)),
            _ => Joined::Same,
        }
    }

    /// Goes on with a server that has come to `head`.
    pub(super) fn follow(&mut self, dictionary: DictionaryId, lineage: Lineage, horizon: Horizon, head: Seq) {
        (self.dictionary, self.lineage, self.horizon) = (Some(dictionary), Some(lineage), horizon);
        if self.standing != Standing::Incomplete {
            self.torn = self.applied();
            self.standing = if self.cursor == head { Standing::Settled } else { Standing::Behind };
        }
    }

    /// Goes back to a fork. Returns what the base had above it, which the server may have lost.
    pub(super) fn step_back(&mut self, fork: Seq) -> Vec<(Key, Entry)> {
        let is_lost = |(_, entry): &(&Key, &Entry)| entry.seq > fork;
        let keys: Vec<Key> = self.entries.entries().filter(is_lost).map(|(key, _)| key.clone()).collect();
        let lost: Vec<_> = keys.into_iter().filter_map(|key| Some((key.clone(), self.entries.forget(&key)?))).collect();
        (self.cursor, self.torn) = (self.cursor.min(fork), self.applied().min(fork));
        if let Standing::CatchingUp { applied } = &mut self.standing {
            *applied = fork.min(*applied);
        }
        if !lost.is_empty() {
            self.keep_whole();
            self.taken_back.extend(lost.iter().map(|(key, _)| key.clone()));
        }
        lost
    }

    /// Takes out the authors that were new above a fork, whose numbers others may have now. If a name changed there, only a snapshot
    /// brings the one before.
    pub(super) fn take_authors(&mut self, fork: Seq) {
        let lost = self.authors.take_above(fork);
        if !lost.is_empty() {
            self.keep_whole();
        }
        self.learn(lost.into_iter().map(|row| row.author));
        if self.authors.iter().any(|row| row.seq > fork) {
            self.handle_incomplete();
        }
    }

    /// Takes out the conflict rows that changed above a fork.
    pub(super) fn take_conflicts(&mut self, fork: Seq) -> Vec<Conflict> {
        let lost = self.conflicts.take_above(fork);
        if !lost.is_empty() {
            self.keep_whole();
        }
        lost
    }

    /// Nothing of it is of any use.
    pub(super) fn start_over(&mut self) {
        self.entries = Dictionary::new();
        self.taken_back.clear();
        self.conflicts = Conflicts::default();
        self.take_authors(Seq(0));
        (self.cursor, self.torn, self.standing) = (Seq(0), Seq(0), Standing::Behind);
        self.keep_whole();
    }

    /// From now on only a snapshot helps.
    pub(super) fn handle_incomplete(&mut self) {
        self.torn = self.applied();
        self.standing = Standing::Incomplete;
    }

    pub(super) fn handle_horizon(&mut self, horizon: Horizon) {
        self.horizon = horizon;
    }

    /// A snapshot takes the place of all. What came after it is to be asked for.
    pub(super) fn handle_snapshot(&mut self, snapshot: Snapshot, observe: Observer<'_>) {
        let Snapshot { header, base, authors, conflicts } = snapshot;
        base.entries().for_each(|(key, entry)| observe(&self.entries, key, entry));
        (self.entries, self.authors, self.conflicts) = (base, authors, conflicts);
        self.taken_back.clear();
        (self.cursor, self.torn, self.horizon) = (header.seq, header.seq, header.horizon);
        self.standing = Standing::Resuming;
        self.keep_whole();
    }

    /// The server is asked for all after the cursor.
    pub(super) fn handle_resume(&mut self) {
        self.torn = self.applied();
        self.standing = Standing::Resuming;
    }

    /// A Delta has come, in this frame.
    pub(super) fn handle_delta(
        &mut self,
        delta: Delta,
        frame: &[u8],
        observe: Observer<'_>,
    ) -> Result<Followed, WireError> {
        let applied = self.expected();
        let (to, mut is_moment) = (delta.to, !delta.has_more());
        if delta.prev() != Some(applied) {
            let is_gap = to > applied && self.standing != Standing::Resuming;
            return Ok(if is_gap { Followed::Gap } else { Followed::Known });
        }
        let followed = self.apply(delta, observe)?;
        if let Some(journal) = &mut self.journal {
            journal.handle_delta(frame);
        }
        if mutant!("a page is a moment") {
            is_moment = true;
        }
        if is_moment {
            (self.cursor, self.standing) = (to, Standing::Settled);
        } else {
            self.standing = Standing::CatchingUp { applied: to };
        }
        Ok(followed)
    }

    /// Brings changes in.
    fn apply(&mut self, delta: Delta, observe: Observer<'_>) -> Result<Followed, WireError> {
        let (mut has_conflicts, mut has_names) = (false, false);
        for change in delta.into_changes(&mut self.authors)? {
            match change {
                Change::Entry(key, entry) => {
                    observe(&self.entries, &key, &entry);
                    self.entries.replace(key, entry);
                }
                Change::BroughtBack(key, _, by) => {
                    has_names = true;
                    self.entries.bring_back(&key, by);
                }
                Change::Conflict(conflict) => {
                    has_conflicts = true;
                    self.conflicts.set(conflict);
                }
                Change::Author(_, author) => has_names |= author.seq > author.made,
            }
        }
        Ok(Followed::Applied { has_conflicts, has_names })
    }

    // What a local store keeps of it.

    /// Goes on with what a local store has kept. From now on it is told what changes.
    ///
    /// # Errors
    /// When that cannot be read. Then the base has nothing, and the store will be told all of it.
    pub(super) fn handle_stored(&mut self, stored: &Stored) -> Result<(), StoredError> {
        // Without a base, or after it has been fetched already, all of it is news to the store.
        self.journal = Some(Journal::whole());
        if stored.header.is_empty() || self.dictionary.is_some() {
            return Ok(());
        }
        let read = self.read(stored);
        if read.is_err() {
            self.start_over();
        } else {
            let deltas_bytes = stored.deltas.iter().map(Vec::len).sum();
            self.journal = Some(Journal::of_stored(self.cursor, stored.snapshot.len(), deltas_bytes));
        }
        read
    }

    fn read(&mut self, stored: &Stored) -> Result<(), StoredError> {
        let Header { dictionary, lineage, seq, horizon, digest } = Header::decode(&stored.header)?;
        let Snapshot { base, authors, conflicts, .. } = Snapshot::decode(&stored.snapshot)?;
        (self.entries, self.authors, self.conflicts) = (base, authors, conflicts);
        for frame in &stored.deltas {
            let ServerFrame::Delta(delta) = ServerFrame::decode(frame)? else { return Err(StoredError::NoDelta) };
            self.apply(delta, &mut |_, _, _| ())?;
        }
        if self.digest() != digest {
            return Err(StoredError::Digest);
        }
        (self.dictionary, self.lineage, self.horizon) = (Some(dictionary), Some(lineage), horizon);
        self.cursor = seq;
        Ok(())
    }

    /// Whether there is a local store.
    pub(super) fn is_kept(&self) -> bool {
        self.journal.is_some()
    }

    /// The local store lacks some of the base, or has lost it.
    pub(super) fn keep_whole(&mut self) {
        if let Some(journal) = &mut self.journal {
            journal.handle_whole();
        }
    }

    /// The local store has no room for the base.
    pub(super) fn keep_nothing(&mut self) {
        if let Some(journal) = &mut self.journal {
            journal.handle_no_room();
        }
    }

    /// What the local store has to keep, since the last call. In the middle of a catch-up that is nothing: the change would have
    /// the cursor before it, and a store leaves what it has already. Nor is it anything before a first catch-up: that the
    /// dictionary is empty is news only if the server says so.
    pub(super) fn take_change(&mut self) -> Option<BaseChange> {
        let mut is_moment = match self.standing {
            Standing::CatchingUp { .. } | Standing::Incomplete => false,
            Standing::Behind | Standing::Resuming => self.cursor > Seq(0) && self.cursor >= self.torn,
            Standing::Settled => self.cursor >= self.torn,
        };
        if mutant!("a local store keeps half a catch-up") {
            is_moment = self.standing != Standing::Incomplete;
        }
        if !is_moment || !self.taken_back.is_empty() {
            return None;
        }
        let (dictionary, lineage) = (self.dictionary?, self.lineage.clone()?);
        let digest = self.digest();
        let Self { cursor: seq, horizon, entries, authors, conflicts, .. } = self;
        let header = Header { dictionary, lineage, seq: *seq, horizon: *horizon, digest };
        let rows = entries.entries().map(|(key, entry)| (key, entry, entries.brought_back_by(key)));
        let encode = || encode_all(&header, authors, rows, conflicts.iter());
        self.journal.as_mut()?.take_change(&header, encode)
    }
}
