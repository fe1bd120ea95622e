//! The siblings: other clients of the same dictionary on the same device, such as the tabs of a browser.
//!
//! They tell each other what waits in their outboxes, so that they show the same without a server too. What a client hears is
//! kept beside its own outbox: shown, and named in `seen` by the writes that replace it, but never sent. Rows that wait
//! for their user are not shown, nor are recovered ones, which were the server's and not the sibling's. Likewise what a sibling has
//! decided about a conflict is decided here, and the sibling's to tell.
//!
//! A row or a decision leaves when its sibling says that it has left, **and** the base has reached the cursor that the sibling had
//! then, so that the shown state does not go back.
//!
//! The tabs of a device come back together. In the first [`SIBLINGS_FIRST_MS`] after its Welcome a client holds a write back if it
//! replaces a sibling's that has not arrived. Otherwise the later write may arrive first, and the earlier one is then a conflict
//! with it.
//!
//! Messages may be lost. Each is numbered, and says how many came before; who finds that it lacks one asks, and is told
//! everything. Only what is shown depends on any of it.

use std::{collections::BTreeSet, mem};

use minicbor::bytes::ByteVec;

use super::{Outbox, OutboxRow, PendingResolution, RowState, keeping::read_key};
use crate::{Conflict, DictionaryId, Epoch, Key, Lineage, ReplicaId, Seq, cbor_array, mutants::mutant};

/// For this long after a Welcome, writes of siblings go first.
pub(super) const SIBLINGS_FIRST_MS: u64 = 5000;

/// The siblings that have been heard of.
#[derive(Clone, Debug, Default)]
pub(super) struct Siblings {
    heard: Vec<Sibling>,
    /// How many changes this client has told.
    told: u64,
    /// Those that have ended. What they told may come late.
    gone: Vec<ReplicaId>,
    /// Something that one of them told is lacking here.
    asks: bool,
    /// What one that has asked is to be told.
    owes: Option<Answer>,
    /// Keys of which something else may be shown now.
    changed: BTreeSet<Key>,
    /// Whether other conflicts may be shown now.
    decides_otherwise: bool,
}

#[derive(Clone, Debug)]
struct Sibling {
    replica: ReplicaId,
    /// How many changes it had told when it last was understood.
    told: u64,
    /// The epoch of the cursors at which rows leave.
    epoch: Option<Epoch>,
    /// Those that wait are queued. Those that have left stay until the base has come as far as the sibling's.
    rows: Outbox,
    decisions: Vec<Decision>,
}

/// What a sibling has decided about a conflict.
#[derive(Clone, Debug)]
struct Decision {
    what: PendingResolution,
    /// Where the sibling was when it let go of it.
    left: Option<Seq>,
}

/// What a sibling that asks is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answer {
    /// That this client lives: the sibling knows the rest.
    Lives,
    /// All that waits here.
    Everything,
}

/// A message to all siblings.
pub(super) struct Told {
    pub(super) replica: ReplicaId,
    /// How many changes came before.
    pub(super) number: u64,
    pub(super) dictionary: Option<DictionaryId>,
    pub(super) epoch: Option<Epoch>,
    pub(super) cursor: Seq,
    /// The rows are all that there are.
    pub(super) is_whole: bool,
    pub(super) rows: Vec<ToldRows>,
    /// Siblings that have ended, whose rows the teller has taken over.
    pub(super) gone: Vec<ReplicaId>,
    /// Asks for an answer: what has been heard of whom.
    pub(super) asks: Option<Vec<Heard>>,
}

cbor_array!(Told { replica, number, dictionary, epoch, cursor, is_whole, rows, gone, asks });

/// A key's rows as a local store has them.
pub(super) struct ToldRows {
    key: Key,
    /// Empty if there are none.
    rows: ByteVec,
}

cbor_array!(ToldRows { key, rows });

/// What was understood of a sibling.
pub(super) struct Heard {
    replica: ReplicaId,
    told: u64,
}

cbor_array!(Heard { replica, told });

impl ToldRows {
    pub(super) fn new(key: Key, rows: Option<Vec<u8>>) -> Self {
        Self { key, rows: rows.unwrap_or_default().into() }
    }
}

impl Siblings {
    // What they have.

    /// The greatest of one's own row of a key and the siblings' that no other of them has replaced.
    pub(super) fn shown<'a>(&'a self, key: &Key, own: Option<&'a OutboxRow>) -> Option<&'a OutboxRow> {
        let rows = || own.into_iter().chain(self.heard.iter().filter_map(|sibling| sibling.rows.shown(key)));
        let is_replaced = |row: &OutboxRow| rows().any(|newer| newer.stamp != row.stamp && newer.replaces(row.stamp));
        rows().filter(|row| !is_replaced(row)).max_by(|a, b| a.rank().cmp(&b.rank()))
    }

    /// The rows of a key.
    pub(super) fn rows<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = &'a OutboxRow> {
        self.heard.iter().flat_map(|sibling| sibling.rows.rows(key))
    }

    /// The keys that have rows, in no order and some more than once.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.heard.iter().flat_map(|sibling| sibling.rows.keys())
    }

    /// How many edits wait for the server.
    pub(super) fn edits(&self) -> usize {
        self.heard.iter().map(|sibling| sibling.rows.active() - sibling.rows.acked()).sum()
    }

    /// Whether a write replaces one that waits with a sibling.
    pub(super) fn precede(&self, key: &Key, row: &OutboxRow) -> bool {
        let waits = |told: &OutboxRow| told.state == RowState::Queued && row.seen[1..].contains(&told.stamp);
        self.rows(key).any(waits)
    }

    /// The keys of which something else may be shown since these were last taken away.
    pub(super) fn changed(&mut self) -> &mut BTreeSet<Key> {
        &mut self.changed
    }

    /// Whether one of them has decided about a conflict.
    pub(super) fn is_decided(&self, conflict: &Conflict) -> bool {
        let mut decisions = self.heard.iter().flat_map(|sibling| &sibling.decisions);
        decisions.any(|decision| decision.what.is_about(conflict))
    }

    /// Whether other conflicts may be shown since this was last asked.
    pub(super) fn take_decides_otherwise(&mut self) -> bool {
        mem::take(&mut self.decides_otherwise)
    }

    // What is told.

    /// Counts a change that is told now.
    pub(super) fn handle_telling(&mut self) {
        self.told += 1;
    }

    /// How many changes have been told.
    pub(super) fn told(&self) -> u64 {
        self.told
    }

    /// Something may be lacking: all are to be asked.
    pub(super) fn ask(&mut self) {
        self.asks = true;
    }

    /// What is to be asked now, if anything: what has been heard of whom.
    pub(super) fn take_asks(&mut self) -> Option<Vec<Heard>> {
        let heard = |sibling: &Sibling| Heard { replica: sibling.replica, told: sibling.told };
        mem::take(&mut self.asks).then(|| self.heard.iter().map(heard).collect())
    }

    /// What is to be answered now, if anything.
    pub(super) fn take_owed(&mut self) -> Option<Answer> {
        self.owes.take()
    }

    /// Those that have ended.
    pub(super) fn gone(&self) -> &[ReplicaId] {
        &self.gone
    }

    // What happened.

    /// A message came for the client `own`, which has this dictionary. Returns whether it says anything: it does not if its teller
    /// has ended, or is this client itself.
    pub(super) fn handle_told(&mut self, told: Told, own: ReplicaId, dictionary: Option<DictionaryId>) -> bool {
        let replica = told.replica;
        if replica == own || self.gone.contains(&replica) {
            return false;
        }
        if let Some(heard) = &told.asks {
            let is_known = heard.iter().any(|heard| heard.replica == own && heard.told == self.told);
            self.owes = self.owes.max(Some(if is_known { Answer::Lives } else { Answer::Everything }));
        }
        let mut is_understood = told.is_whole || told.number == self.of(replica).told;
        if mutant!("what a sibling told in between is not missed") {
            is_understood = true;
        }
        if told.dictionary.zip(dictionary).is_some_and(|(its, own)| its != own) {
            // One of the two does not know yet that the dictionary is another one now.
            self.withdraw(replica);
        } else if is_understood {
            self.hear(told);
        } else {
            self.asks = true;
        }
        true
    }

    fn hear(&mut self, told: Told) {
        let is_change = !told.is_whole && (!told.rows.is_empty() || !told.gone.is_empty());
        let sibling = self.of(told.replica);
        let had_decided = !sibling.decisions.is_empty();
        if told.is_whole {
            let is_told = |key: &&Key| told.rows.binary_search_by(|rows| rows.key.cmp(key)).is_ok();
            let decided = sibling.decisions.iter().map(|decision| &decision.what.id.key);
            let left: Vec<Key> = sibling.rows.keys().chain(decided).filter(|key| !is_told(key)).cloned().collect();
            left.iter().for_each(|key| sibling.set(key, Vec::new(), Vec::new(), told.cursor));
        }
        for ToldRows { key, rows } in told.rows {
            let (rows, decided) =
                read_key(&rows).map_or_else(|_| Default::default(), |kept| (kept.rows, kept.resolutions));
            sibling.set(&key, rows, decided, told.cursor);
        }
        if told.epoch != sibling.epoch {
            // Its cursors of the epoch before may be above all that there is now.
            let has_left = |row: &OutboxRow| matches!(row.state, RowState::Left(_));
            sibling.rows.transition(&has_left, RowState::Left(told.cursor));
            sibling
                .decisions
                .iter_mut()
                .filter_map(|decision| decision.left.as_mut())
                .for_each(|left| *left = told.cursor);
        }
        (sibling.told, sibling.epoch) = (told.number + u64::from(is_change), told.epoch);
        let (changed, has_decided) = (sibling.rows.take_changed(), !sibling.decisions.is_empty());
        self.changed.extend(changed);
        self.decides_otherwise |= had_decided || has_decided;
        told.gone.into_iter().for_each(|gone| self.handle_gone(gone));
    }

    /// A sibling has ended. What it had, a client of the device has taken over by now, or nobody has it.
    pub(super) fn handle_gone(&mut self, replica: ReplicaId) {
        if !self.gone.contains(&replica) {
            self.gone.push(replica);
        }
        self.withdraw(replica);
    }

    /// The dictionary is another one now.
    pub(super) fn handle_other_dictionary(&mut self) {
        self.heard.clear();
    }

    /// The server says what its history is. An epoch that it does not know has got lost with all that was in it.
    pub(super) fn handle_lineage(&mut self, lineage: &Lineage) {
        for sibling in &mut self.heard {
            sibling.epoch = sibling.epoch.filter(|&epoch| lineage.end(epoch, Seq(0)).is_some());
        }
    }

    /// Lets the rows go that have left their siblings, and whose effect is in the base by now, which has come to `cursor`.
    pub(super) fn release(&mut self, lineage: Option<&Lineage>, cursor: Seq) {
        for sibling in &mut self.heard {
            let reached = match (sibling.epoch, lineage) {
                (Some(epoch), Some(lineage)) if epoch == lineage.current => cursor,
                // Of a past epoch there is nothing above its end: what the sibling had there may have got lost.
                (Some(epoch), Some(lineage)) => match lineage.end(epoch, cursor) {
                    Some(end) if end <= cursor => Seq(u64::MAX),
                    // Cursors of an epoch that this client has not heard of say nothing here.
                    _ => continue,
                },
                (Some(_), None) => continue,
                (None, _) => Seq(u64::MAX),
            };
            if !sibling.rows.release(reached, &|_| true).is_empty() {
                self.changed.extend(sibling.rows.take_changed());
            }
            let before = sibling.decisions.len();
            sibling.decisions.retain(|decision| decision.left.is_none_or(|left| left > reached));
            self.decides_otherwise |= sibling.decisions.len() < before;
        }
    }

    /// Shows what waits with a sibling no more.
    fn withdraw(&mut self, replica: ReplicaId) {
        let sibling = self.of(replica);
        sibling.rows.remove_all(&|row| !matches!(row.state, RowState::Left(_)));
        let had_decided = !sibling.decisions.is_empty();
        sibling.decisions.retain(|decision| decision.left.is_some());
        let changed = sibling.rows.take_changed();
        self.changed.extend(changed);
        self.decides_otherwise |= had_decided;
        self.heard
            .retain(|sibling| sibling.replica != replica || sibling.rows.active() > 0 || !sibling.decisions.is_empty());
    }

    fn of(&mut self, replica: ReplicaId) -> &mut Sibling {
        let position = self.heard.iter().position(|sibling| sibling.replica == replica).unwrap_or_else(|| {
            self.heard.push(Sibling { replica, told: 0, epoch: None, rows: Outbox::default(), decisions: Vec::new() });
            self.heard.len() - 1
        });
        &mut self.heard[position]
    }
}

impl Sibling {
    /// Takes the rows that the sibling has of a key now, and what it has decided about the key's conflicts; it has reached `cursor`.
    fn set(&mut self, key: &Key, rows: Vec<OutboxRow>, decided: Vec<PendingResolution>, cursor: Seq) {
        self.decisions.retain(|decision| !decided.iter().any(|what| what.id == decision.what.id));
        for decision in self.decisions.iter_mut().filter(|decision| decision.what.id.key == *key) {
            decision.left.get_or_insert(cursor);
        }
        self.decisions.extend(decided.into_iter().map(|what| Decision { what, left: None }));
        for old in self.rows.rows(key).to_vec() {
            let is_there = rows.iter().any(|row| row.stamp == old.stamp && is_shown(row));
            // Another of its own replica has taken its place, or it waits for its user.
            let replaces = |row: &OutboxRow| is_shown(row) && row.stamp.replica() == old.stamp.replica();
            let is_replaced = rows.iter().any(|row| replaces(row) || row.stamp == old.stamp && !row.state.is_active());
            if is_there || matches!(old.state, RowState::Left(_)) && !is_replaced {
                continue;
            }
            if is_replaced {
                self.rows.remove(key, old.stamp);
            } else {
                self.rows.set_state(key, old.stamp, RowState::Left(cursor));
            }
            if mutant!("a sibling's row leaves at once") {
                self.rows.remove(key, old.stamp);
            }
        }
        rows.into_iter().filter(is_shown).for_each(|row| self.rows.insert(key.clone(), row));
    }
}

fn is_shown(row: &OutboxRow) -> bool {
    row.state.is_active() && row.recovered.is_none()
}
