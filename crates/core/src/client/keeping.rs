//! What a local store keeps of a client, and what its siblings are told. Of the outbox both get the same: the rows of each
//! key, with what the server is to be told about the conflicts of that key.
//!
//! A store writes a [`LocalChange`] in one transaction, and the changes in their order. A crash may take the last of them. What is
//! left is still a client's state of some moment: a row that has left the outbox is in the base.

use std::collections::BTreeSet;

use minicbor::Decoder;

use super::{
    Client, Event, OutboxRow, PendingResolution, RowState,
    decisions::{KeptConflicts, Lost},
    journal::BaseChange,
    siblings::{Answer, Told, ToldRows},
};
use crate::{
    Author, Branch, Key, ReplicaId, Secret, Stamp, Value, cbor_array,
    mutants::mutant,
    wire::{AckCode, WireError, encode},
};

/// What a store has kept of a client. Empty where there is nothing.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// Of the base.
    pub header: Vec<u8>,
    /// Of the base, at some earlier moment.
    pub snapshot: Vec<u8>,
    /// What came after it, in order.
    pub deltas: Vec<Vec<u8>>,
    /// The outbox's rows of each key.
    pub outbox: Vec<(Key, Vec<u8>)>,
}

/// What a store has to keep, in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalChange {
    /// The rows of these keys, in place of those that it has; none means that nothing waits any more.
    pub outbox: Vec<(Key, Option<Vec<u8>>)>,
    /// The base.
    pub base: Option<BaseChange>,
    /// What can be undone and redone, in place of what it has; empty if nothing. None means no change.
    pub steps: Option<Vec<u8>>,
}

impl LocalChange {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.outbox.is_empty() && self.base.is_none() && self.steps.is_none()
    }
}

/// What a local store keeps, and what it had kept.
impl Client {
    /// What a local store has kept is here, or what could be read of it. The client connects now.
    ///
    /// A base that cannot be read is fetched anew, and no row of the outbox is given up for another's sake.
    pub fn handle_stored(&mut self, stored: &Stored, now_ms: u64) {
        self.take_over(&stored.outbox);
        if let Err(error) = self.base.handle_stored(stored) {
            self.output.say(Event::Damaged(format!("the entries ({error})")));
        }
        self.output.reset();
        self.link.handle_online(&mut self.timers, now_ms);
        self.evaluate(now_ms);
    }

    /// Takes over the outbox of a page that is gone: its rows of each key.
    pub fn adopt_rows(&mut self, outbox: &[(Key, Vec<u8>)], now_ms: u64) {
        self.take_over(outbox);
        self.evaluate(now_ms);
    }

    fn take_over(&mut self, outbox: &[(Key, Vec<u8>)]) {
        let (mut unreadable, mut are_decided) = (0, false);
        for (key, rows) in outbox {
            match read_key(rows) {
                Ok(kept) => {
                    kept.proofs.into_iter().for_each(|secret| self.proofs.add(secret));
                    kept.rows.into_iter().for_each(|row| self.sender.outbox_mut().adopt(key.clone(), row));
                    kept.resolutions.into_iter().for_each(|pending| are_decided |= self.decisions.add(pending));
                    kept.lost.into_iter().for_each(|lost| are_decided |= self.decisions.add_lost(lost));
                    self.base.learn(kept.authors);
                }
                Err(_) => unreadable += 1,
            }
            self.output.changed(key.clone());
        }
        if self.link.is_welcome() {
            self.orphan_strangers();
        }
        if unreadable > 0 {
            self.output.say(Event::Damaged(format!("the edits of {unreadable} keys")));
        }
        if are_decided {
            self.output.say(Event::Conflicts);
        }
    }

    /// Takes over the steps of a page that is gone, as a store has kept them.
    pub fn adopt_steps(&mut self, steps: &[u8], now_ms: u64) {
        if !steps.is_empty() && self.steps.adopt(steps).is_err() {
            self.output.say(Event::Damaged("what can be undone".to_owned()));
        }
        self.evaluate(now_ms);
    }

    /// The local store lacks some of the base, or has lost it.
    pub fn keep_whole(&mut self) {
        self.base.keep_whole();
    }

    /// The local store has no room for the base: from now on it keeps the outbox alone.
    pub fn keep_no_base(&mut self) {
        self.base.keep_nothing();
    }

    /// What the local store has to keep since the last call; call it after every step. Nothing without a store.
    pub fn take_local_change(&mut self) -> LocalChange {
        if !self.base.is_kept() {
            return LocalChange::default();
        }
        let (outbox, base) = (self.take_outbox_change(), self.base.take_change());
        LocalChange { outbox, base, steps: self.steps.take_change() }
    }

    /// How the outbox has changed since the last call. To be called in place of [`Client::take_local_change`] where nothing is
    /// kept, and only siblings are told.
    pub fn take_outbox_change(&mut self) -> Vec<(Key, Option<Vec<u8>>)> {
        let mut changed = self.sender.outbox_mut().take_changed();
        changed.extend(self.decisions.take_changed());
        if mutant!("a local store forgets nothing") {
            changed.retain(|key| self.key_bytes(key).is_some());
        }
        changed.into_iter().map(|key| (key.clone(), self.key_bytes(&key))).collect()
    }

    /// What is kept of a key, and told to siblings; none if that is nothing.
    fn key_bytes(&self, key: &Key) -> Option<Vec<u8>> {
        let row = |row: &OutboxRow| WireRow::new(row, self.proofs.get(row.stamp.replica()));
        let rows: Vec<WireRow> = self.outbox().rows(key).iter().map(row).collect();
        let resolutions = self.decisions.of_key(key);
        let lost = self.decisions.lost_of_key(key, &|id| self.base.name(id));
        if rows.is_empty() && resolutions.is_empty() && lost.is_none() {
            return None;
        }
        let mut bytes = encode(&rows);
        if !resolutions.is_empty() || lost.is_some() {
            bytes.extend(encode(&resolutions));
        }
        bytes.extend(lost.iter().flat_map(encode));
        Some(bytes)
    }
}

/// What siblings are told, and what they tell.
impl Client {
    /// A message for all siblings: what of the outbox has changed, as [`Client::take_local_change`] has it, once the store has
    /// kept it; and the siblings that have ended, whose rows are among that.
    pub fn tell(&mut self, outbox: Vec<(Key, Option<Vec<u8>>)>, gone: Vec<ReplicaId>) -> Vec<u8> {
        let rows = outbox.into_iter().map(|(key, rows)| ToldRows::new(key, rows)).collect();
        let told = Told { rows, gone, ..self.told() };
        self.siblings.handle_telling();
        encode(&told)
    }

    /// Asks all siblings what they have, and whether they live.
    pub fn ask_siblings(&mut self) {
        self.siblings.ask();
    }

    /// The next message for all siblings, if there is something to ask or to answer. To be called while the store has kept and
    /// told all that there is.
    pub fn poll_told(&mut self) -> Option<Vec<u8>> {
        if let Some(asks) = self.siblings.take_asks() {
            return Some(encode(&Told { asks: Some(asks), ..self.told() }));
        }
        Some(encode(&match self.siblings.take_owed()? {
            Answer::Lives => self.told(),
            Answer::Everything => {
                // Put in one by one: the code of the set's own way would be a fiftieth of the page.
                let mut keys = BTreeSet::new();
                self.outbox().keys().chain(self.decisions.keys()).for_each(|key| _ = keys.insert(key.clone()));
                let rows = keys.iter().map(|key| ToldRows::new(key.clone(), self.key_bytes(key))).collect();
                Told { is_whole: true, rows, gone: self.siblings.gone().to_vec(), ..self.told() }
            }
        }))
    }

    fn told(&self) -> Told {
        Told {
            replica: self.replica(),
            number: self.siblings.told(),
            dictionary: self.base.dictionary(),
            epoch: self.base.epoch(),
            cursor: self.base.cursor(),
            is_whole: false,
            rows: Vec::new(),
            gone: Vec::new(),
            asks: None,
        }
    }

    /// A sibling's message came. Returns who it is. A message that cannot be read comes from another version of this program, and
    /// is not heard.
    pub fn handle_told(&mut self, message: &[u8], now_ms: u64) -> Option<ReplicaId> {
        let told: Told = minicbor::decode(message).ok()?;
        let (replica, own) = (told.replica, self.replica());
        let says_something = self.siblings.handle_told(told, own, self.base.dictionary());
        self.evaluate(now_ms);
        says_something.then_some(replica)
    }

    /// A sibling has ended. What it had, a client of the device has taken over by now, or nobody has it.
    pub fn forget_sibling(&mut self, replica: ReplicaId, now_ms: u64) {
        self.siblings.handle_gone(replica);
        self.evaluate(now_ms);
    }
}

/// What is kept of a key.
pub(super) struct KeptKey {
    /// The secrets of the replicas that wrote them, as far as they are known.
    proofs: Vec<Secret>,
    /// Its rows in the outbox.
    pub(super) rows: Vec<OutboxRow>,
    /// What was decided about its conflicts.
    pub(super) resolutions: Vec<PendingResolution>,
    /// Its conflict rows that the server has lost.
    pub(super) lost: Vec<Lost>,
    /// The names of the authors in those.
    pub(super) authors: Vec<Author>,
}

pub(super) fn read_key(bytes: &[u8]) -> Result<KeptKey, WireError> {
    let mut decoder = Decoder::new(bytes);
    let rows: Vec<WireRow> = decoder.decode()?;
    let resolutions = if decoder.position() < bytes.len() { decoder.decode()? } else { Vec::new() };
    let lost = if decoder.position() < bytes.len() { decoder.decode()? } else { KeptConflicts::default() };
    let (lost, authors) = lost.into_rows()?;
    let proofs = rows.iter().filter_map(|row| row.proof).collect();
    Ok(KeptKey { proofs, rows: rows.into_iter().map(OutboxRow::from).collect(), resolutions, lost, authors })
}

/// A row of the outbox as a store keeps it.
struct WireRow {
    value: Option<Value>,
    stamp: Stamp,
    seen: Vec<Stamp>,
    author: Author,
    recovered: Option<Branch>,
    held: Option<(AckCode, u64)>,
    is_orphaned: bool,
    /// The secret of the replica that wrote it: whoever takes it over proves it to be its own.
    proof: Option<Secret>,
}

cbor_array!(WireRow { value, stamp, seen, author, recovered, held, is_orphaned, proof });

impl WireRow {
    fn new(row: &OutboxRow, proof: Option<Secret>) -> Self {
        let held = match row.state {
            RowState::Held { code, data } => Some((code, data)),
            _ => None,
        };
        Self {
            value: row.value.clone(),
            stamp: row.stamp,
            seen: row.seen.clone(),
            author: row.author.clone(),
            recovered: row.recovered.clone(),
            held,
            is_orphaned: row.state == RowState::Orphaned,
            proof,
        }
    }
}

impl From<WireRow> for OutboxRow {
    fn from(row: WireRow) -> Self {
        let WireRow { value, stamp, mut seen, author, recovered, held, is_orphaned, proof: _ } = row;
        if seen.is_empty() {
            seen.push(Stamp::ZERO);
        }
        let state = match held {
            Some((code, data)) => RowState::Held { code, data },
            None if is_orphaned => RowState::Orphaned,
            // Its ack may have come; sending it again is harmless.
            None => RowState::Queued,
        };
        Self { value, stamp, seen, author, recovered, sent: true, state }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AuthorId, AuthorName, Epoch, HybridTime, PastEpoch, Seq};

    /// A device that forgot where a write had been confirmed brought it back as a new one.
    #[test]
    fn a_row_is_what_it_was() {
        let row = OutboxRow {
            value: None,
            stamp: Stamp::new(HybridTime::from_millis(5), false, ReplicaId(1)),
            seen: vec![Stamp::ZERO],
            author: Author { id: AuthorId(1), name: AuthorName::new("Ada") },
            recovered: Branch::new(vec![PastEpoch { epoch: Epoch(1), end: Seq(2) }]),
            sent: true,
            state: RowState::Queued,
        };
        for state in [RowState::Queued, RowState::Orphaned, RowState::Held { code: AckCode::Full, data: 3 }] {
            let row = OutboxRow { state, ..row.clone() };
            assert_eq!(OutboxRow::from(WireRow::new(&row, None)), row);
        }
    }
}
