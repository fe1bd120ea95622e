//! The siblings: other clients of the same dictionary on the same device, such as the tabs of a browser.
//!
//! They tell each other what waits in their outboxes, so that they show the same without a server too. What a client hears is
//! an overlay beside its own outbox: shown, and named in `seen` by the writes that replace it, but never sent. Rows that wait
//! for their user are not shown, nor are recovered ones, which were the server's and not the sibling's.
//!
//! A row leaves the overlay when its sibling says that it has left, **and** the base has reached the cursor that the sibling had
//! then, so that the shown state does not go back.
//!
//! Messages may be lost. Each is numbered, and says how many came before; who finds that it lacks one asks, and is told
//! the whole. Nothing but what is shown depends on any of it.

use std::mem;

use minicbor::bytes::ByteVec;

use super::{Client, Outbox, OutboxRow, RowState, local::read_key};
use crate::{DictionaryId, Epoch, Key, Lineage, ReplicaId, Seq, cbor_array, mutants::mutant, wire::encode};

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
    /// The answer to one that has asked: whether it is everything.
    owes: Option<bool>,
}

#[derive(Clone, Debug)]
struct Sibling {
    replica: ReplicaId,
    /// How many changes it had told when it last was understood.
    told: u64,
    /// The epoch of the cursors at which rows leave.
    epoch: Option<Epoch>,
    /// Those that have left are acknowledged, as of the sibling's cursor.
    rows: Outbox,
}

/// A message to all siblings.
struct Told {
    replica: ReplicaId,
    /// How many changes came before.
    number: u64,
    dictionary: Option<DictionaryId>,
    epoch: Option<Epoch>,
    cursor: Seq,
    /// The rows are all that there are.
    is_whole: bool,
    rows: Vec<ToldRows>,
    /// Siblings that have ended, whose rows the teller has taken over.
    gone: Vec<ReplicaId>,
    /// Asks for an answer: what has been heard of whom.
    asks: Option<Vec<Heard>>,
}

cbor_array!(Told { replica, number, dictionary, epoch, cursor, is_whole, rows, gone, asks });

/// A key's rows as a local store has them; empty if there are none.
struct ToldRows {
    key: Key,
    rows: ByteVec,
}

cbor_array!(ToldRows { key, rows });

struct Heard {
    replica: ReplicaId,
    told: u64,
}

cbor_array!(Heard { replica, told });

impl Siblings {
    fn of(&mut self, replica: ReplicaId) -> &mut Sibling {
        let position = self.heard.iter().position(|sibling| sibling.replica == replica).unwrap_or_else(|| {
            self.heard.push(Sibling { replica, told: 0, epoch: None, rows: Outbox::default() });
            self.heard.len() - 1
        });
        &mut self.heard[position]
    }

    /// The dictionary is another one now.
    pub(super) fn forget_all(&mut self) {
        self.heard.clear();
    }

    /// The server says what its history is. An epoch that it does not know has got lost with all that was in it.
    pub(super) fn handle_lineage(&mut self, lineage: &Lineage) {
        for sibling in &mut self.heard {
            sibling.epoch = sibling.epoch.filter(|&epoch| lineage.end(epoch, Seq(0)).is_some());
        }
    }

    /// The greatest row of a key, if it is not one's own.
    pub(super) fn shown<'a>(&'a self, key: &Key, own: Option<&'a OutboxRow>) -> Option<&'a OutboxRow> {
        let rows = self.heard.iter().filter_map(|sibling| sibling.rows.shown(key));
        own.into_iter().chain(rows).max_by(|a, b| a.rank().cmp(&b.rank()))
    }

    fn rows<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = &'a OutboxRow> {
        self.heard.iter().flat_map(|sibling| sibling.rows.rows(key))
    }

    /// Whether a write replaces one that is not confirmed.
    pub(super) fn precede(&self, key: &Key, row: &OutboxRow) -> bool {
        let waits = |told: &OutboxRow| told.state == RowState::Queued && row.seen[1..].contains(&told.stamp);
        self.rows(key).any(waits)
    }

    /// The keys that have rows, in no order and some more than once.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.heard.iter().flat_map(|sibling| sibling.rows.keys())
    }
}

impl Sibling {
    /// Takes the rows that the sibling has of a key now; it has reached `cursor`.
    fn set(&mut self, key: &Key, rows: Vec<OutboxRow>, cursor: Seq) {
        for old in self.rows.rows(key).to_vec() {
            let is_there = rows.iter().any(|row| row.stamp == old.stamp && is_shown(row));
            // Another of its own replica has taken its place, or it waits for its user.
            let replaces = |row: &OutboxRow| is_shown(row) && row.stamp.replica() == old.stamp.replica();
            let is_replaced = rows.iter().any(|row| replaces(row) || row.stamp == old.stamp && !row.state.is_active());
            if is_there || matches!(old.state, RowState::Acked(_)) && !is_replaced {
                continue;
            }
            if is_replaced || !old.state.is_active() || mutant!("a sibling's row leaves at once") {
                self.rows.remove(key, old.stamp);
            } else {
                self.rows.set_state(key, old.stamp, RowState::Acked(cursor));
            }
        }
        rows.into_iter().filter(is_shown).for_each(|row| self.rows.insert(key.clone(), row));
    }
}

fn is_shown(row: &OutboxRow) -> bool {
    row.state.is_active() && row.recovered.is_none()
}

impl Client {
    /// The rows of a key that wait with siblings.
    pub fn sibling_rows<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = &'a OutboxRow> {
        self.siblings.rows(key)
    }

    /// How many edits of siblings wait for the server.
    pub fn sibling_edits(&self) -> usize {
        self.siblings.heard.iter().map(|sibling| sibling.rows.active() - sibling.rows.acked()).sum()
    }

    /// A message for all siblings: what of the outbox has changed, as [`Client::take_local_change`] has it, once the store has
    /// kept it; and the siblings that have ended, whose rows are among that.
    pub fn tell(&mut self, outbox: Vec<(Key, Option<Vec<u8>>)>, gone: Vec<ReplicaId>) -> Vec<u8> {
        let rows = outbox.into_iter().map(|(key, rows)| ToldRows { key, rows: rows.unwrap_or_default().into() });
        let told = Told { rows: rows.collect(), gone, ..self.told() };
        self.siblings.told += 1;
        encode(&told)
    }

    /// Asks all siblings what they have, and whether they live.
    pub fn ask_siblings(&mut self) {
        self.siblings.asks = true;
    }

    /// The next message for all siblings, if there is something to ask or to answer. To be called while the store has kept and
    /// told all that there is.
    pub fn poll_told(&mut self) -> Option<Vec<u8>> {
        if mem::take(&mut self.siblings.asks) {
            let heard = |sibling: &Sibling| Heard { replica: sibling.replica, told: sibling.told };
            return Some(encode(&Told { asks: Some(self.siblings.heard.iter().map(heard).collect()), ..self.told() }));
        }
        let is_whole = mem::take(&mut self.siblings.owes)?;
        if !is_whole {
            return Some(encode(&self.told()));
        }
        let rows = |key: &Key| ToldRows { key: key.clone(), rows: self.key_bytes(key).unwrap_or_default().into() };
        let (rows, gone) = (self.outbox.keys().map(rows).collect(), self.siblings.gone.clone());
        Some(encode(&Told { is_whole, rows, gone, ..self.told() }))
    }

    fn told(&self) -> Told {
        Told {
            replica: self.replica(),
            number: self.siblings.told,
            dictionary: self.dictionary,
            epoch: self.lineage.as_ref().map(|lineage| lineage.current),
            cursor: self.settled,
            is_whole: false,
            rows: Vec::new(),
            gone: Vec::new(),
            asks: None,
        }
    }

    /// A sibling's message came. Returns who it is. One that cannot be read is of another version of this program, which goes its
    /// own way.
    pub fn handle_told(&mut self, message: &[u8], now_ms: u64) -> Option<ReplicaId> {
        let told: Told = minicbor::decode(message).ok()?;
        let replica = told.replica;
        if replica == self.replica() || self.siblings.gone.contains(&replica) {
            return None;
        }
        if let Some(heard) = &told.asks {
            let is_known = |heard: &Heard| heard.replica == self.replica() && heard.told == self.siblings.told;
            let is_whole = !heard.iter().any(is_known) || self.siblings.owes == Some(true);
            self.siblings.owes = Some(is_whole);
        }
        if told.dictionary.zip(self.dictionary).is_some_and(|(its, own)| its != own) {
            // One of the two does not know yet that the dictionary is another one now.
            self.withdraw(replica);
        } else if told.is_whole
            || told.number == self.siblings.of(replica).told
            || mutant!("what a sibling told in between is not missed")
        {
            self.hear(told, now_ms);
        } else {
            self.siblings.asks = true;
        }
        self.push();
        Some(replica)
    }

    fn hear(&mut self, told: Told, now_ms: u64) {
        let is_change = !told.is_whole && (!told.rows.is_empty() || !told.gone.is_empty());
        let sibling = self.siblings.of(told.replica);
        if told.is_whole {
            let is_told = |key: &&Key| told.rows.binary_search_by(|rows| rows.key.cmp(key)).is_ok();
            let left: Vec<Key> = sibling.rows.keys().filter(|key| !is_told(key)).cloned().collect();
            left.iter().for_each(|key| sibling.set(key, Vec::new(), told.cursor));
        }
        for ToldRows { key, rows } in told.rows {
            // What was decided about conflicts is the sibling's to send.
            let (rows, _) = read_key(&rows).unwrap_or_default();
            sibling.set(&key, rows, told.cursor);
        }
        if told.epoch != sibling.epoch {
            // Its cursors of the epoch before may be above all that there is now.
            let has_left = |row: &OutboxRow| matches!(row.state, RowState::Acked(_));
            sibling.rows.transition(&has_left, RowState::Acked(told.cursor));
        }
        (sibling.told, sibling.epoch) = (told.number + u64::from(is_change), told.epoch);
        self.changed.extend(sibling.rows.take_changed());
        told.gone.into_iter().for_each(|gone| self.forget_sibling(gone, now_ms));
        self.release_siblings();
        self.status_changed();
    }

    /// A sibling has ended. What it had, a client of the device has taken over by now, or nobody has it.
    pub fn forget_sibling(&mut self, replica: ReplicaId, _now_ms: u64) {
        if !self.siblings.gone.contains(&replica) {
            self.siblings.gone.push(replica);
        }
        self.withdraw(replica);
    }

    /// Shows what waits with a sibling no more.
    fn withdraw(&mut self, replica: ReplicaId) {
        let rows = &mut self.siblings.of(replica).rows;
        rows.transition(&|row| !matches!(row.state, RowState::Acked(_)), RowState::Orphaned);
        self.changed.extend(rows.take_changed());
        self.siblings.heard.retain(|sibling| sibling.replica != replica || sibling.rows.active() > 0);
        self.status_changed();
        self.push();
    }

    /// Lets the rows go that have left their siblings, and whose effect is in the base by now.
    pub(super) fn release_siblings(&mut self) {
        for sibling in &mut self.siblings.heard {
            let reached = match (sibling.epoch, &self.lineage) {
                (Some(epoch), Some(lineage)) if epoch == lineage.current => self.settled,
                // Of a past epoch there is nothing above its end: what the sibling had there may have got lost.
                (Some(epoch), Some(lineage)) => match lineage.end(epoch, self.settled) {
                    Some(end) if end <= self.settled => Seq(u64::MAX),
                    // Cursors of an epoch that this client has not heard of say nothing here.
                    _ => continue,
                },
                (Some(_), None) => continue,
                (None, _) => Seq(u64::MAX),
            };
            sibling.rows.release(reached);
            self.changed.extend(sibling.rows.take_changed());
        }
    }
}
