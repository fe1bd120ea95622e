//! What of a client outlives it: what a local store keeps, and the client that goes on with that.
//!
//! The base is kept as it came: a snapshot, the Deltas after it, and a header with the cursor and the digest of both together.
//! While entries that a server has lost are on their way back, it is not what any server had, and the outbox alone is kept.
//! The outbox is kept key by key, and with the rows of a key what was decided about its conflicts.
//!
//! A store writes a [`LocalChange`] in one transaction, and the changes in their order. Then whatever suffix of them a crash
//! takes, what is left is a client's state of some moment: a row that has left the outbox is in the base.

use std::mem;

use minicbor::Decoder;

use super::{Client, Event, OutboxRow, PendingResolution, RowState};
use crate::{
    Author, Key, Seq, Stamp, Value, cbor_array,
    mutants::mutant,
    wire::{
        AckCode, ServerFrame, WireError, encode,
        snapshot::{Header, Snapshot, encode_all},
    },
};

/// Deltas are kept beside a snapshot up to this, or half of what the snapshot takes; then a new one takes the place of all.
const DELTAS_BYTES_MAX: usize = 256 * 1024;

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

/// How the base has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseChange {
    /// The cursor that the Deltas continue.
    pub after: Seq,
    /// In place of the one that the store has.
    pub header: Vec<u8>,
    /// In place of the snapshot and all Deltas, if there is one.
    pub snapshot: Option<Vec<u8>>,
    /// Behind those that the store has.
    pub deltas: Vec<Vec<u8>>,
}

/// What to do with a change of the base, in a store that other clients of this device write too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Keep it.
    Keep,
    /// Leave the store as it is: it is as far.
    Leave,
    /// The store lacks what came before: [`Client::keep_whole`].
    Gap,
}

/// How the base has changed since the store was told.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    /// The cursor then.
    after: Seq,
    deltas: Vec<Vec<u8>>,
    /// It has changed in a way that no Delta says.
    is_whole: bool,
    /// The store has no room for it.
    is_full: bool,
    /// Of all Deltas beside the last snapshot.
    deltas_bytes: usize,
    snapshot_bytes: usize,
}

impl Journal {
    /// Of a store that has been told everything, up to a cursor.
    fn of(stored: &Stored, after: Seq) -> Self {
        let deltas_bytes = stored.deltas.iter().map(Vec::len).sum();
        Self { after, deltas_bytes, snapshot_bytes: stored.snapshot.len(), ..Self::default() }
    }

    pub(super) fn delta(&mut self, frame: &[u8]) {
        self.deltas_bytes += frame.len();
        if self.deltas_bytes > DELTAS_BYTES_MAX.max(self.snapshot_bytes / 2) {
            self.whole();
        }
        if !self.is_whole {
            self.deltas.push(frame.to_vec());
        }
    }

    pub(super) fn whole(&mut self) {
        self.is_whole = true;
        self.deltas.clear();
    }
}

impl BaseChange {
    /// What to do in a store that has `stored` as its header; empty if it has none.
    ///
    /// Deltas may overlap with what the store has: they replace entries, so in the end each is as it was last.
    pub fn onto(&self, stored: &[u8]) -> Verdict {
        let Ok(own) = Header::decode(&self.header) else { return Verdict::Leave };
        let Ok(stored) = Header::decode(stored) else {
            return if self.snapshot.is_some() { Verdict::Keep } else { Verdict::Gap };
        };
        // Whether the first is a moment in the history of the second.
        let precedes = |a: &Header, b: &Header| {
            a.dictionary == b.dictionary && a.lineage.fork(a.seq, &b.lineage, b.seq) == Some(a.seq)
        };
        if precedes(&own, &stored) {
            Verdict::Leave
        } else if self.snapshot.is_some() || precedes(&stored, &own) && stored.seq >= self.after {
            Verdict::Keep
        } else {
            Verdict::Gap
        }
    }
}

impl LocalChange {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.outbox.is_empty() && self.base.is_none() && self.steps.is_none()
    }
}

impl Client {
    /// What a local store has kept is here, or what could be read of it. The client connects now.
    ///
    /// A base that cannot be read is fetched anew, and no row of the outbox is given up for another's sake.
    pub fn handle_stored(&mut self, stored: &Stored, now_ms: u64) {
        self.adopt_rows(&stored.outbox, now_ms);
        let mut journal = Journal::default();
        // Without a base, or after it has been fetched already, all of it is news to the store.
        journal.whole();
        if !stored.header.is_empty() && self.dictionary.is_none() {
            match self.read_base(stored) {
                Ok(()) => journal = Journal::of(stored, self.settled),
                Err(error) => {
                    self.start_over();
                    self.events.push_back(Event::Damaged(format!("the entries ({error})")));
                }
            }
        }
        self.journal = Some(journal);
        self.reset();
        self.status_changed();
        self.link.handle_online(now_ms);
    }

    /// Takes over the outbox of a page that is gone: its rows of each key.
    pub fn adopt_rows(&mut self, outbox: &[(Key, Vec<u8>)], _now_ms: u64) {
        let mut unreadable = 0;
        for (key, rows) in outbox {
            match read_key(rows) {
                Ok((rows, resolutions)) => {
                    rows.into_iter().for_each(|row| self.outbox.insert(key.clone(), row));
                    resolutions.into_iter().for_each(|pending| self.add_resolution(pending));
                }
                Err(_) => unreadable += 1,
            }
            self.changed.insert(key.clone());
        }
        if unreadable > 0 {
            self.events.push_back(Event::Damaged(format!("the edits of {unreadable} keys")));
        }
        self.status_changed();
        self.push();
        self.send_resolutions();
    }

    /// What is kept of a key, and told to siblings; none if that is nothing.
    pub(super) fn key_bytes(&self, key: &Key) -> Option<Vec<u8>> {
        let rows: Vec<WireRow> = self.outbox.rows(key).iter().map(WireRow::from).collect();
        let mut resolutions = self.resolutions.clone();
        resolutions.retain(|pending| pending.key == *key);
        let mut bytes = encode(&rows);
        if !resolutions.is_empty() {
            bytes.extend(encode(&resolutions));
        }
        (!rows.is_empty() || !resolutions.is_empty()).then_some(bytes)
    }

    /// The local store lacks some of the base, or has lost it.
    pub fn keep_whole(&mut self) {
        if let Some(journal) = &mut self.journal {
            journal.whole();
        }
    }

    /// The local store has no room for the base: from now on it keeps the outbox alone.
    pub fn keep_no_base(&mut self) {
        if let Some(journal) = &mut self.journal {
            journal.whole();
            journal.is_full = true;
        }
    }

    fn read_base(&mut self, stored: &Stored) -> Result<(), WireError> {
        let header = Header::decode(&stored.header)?;
        let Snapshot { base, names, conflicts, .. } = Snapshot::decode(&stored.snapshot)?;
        (self.base, self.names, self.conflicts) = (base, names, conflicts);
        for frame in &stored.deltas {
            let ServerFrame::Delta(delta) = ServerFrame::decode(frame)? else {
                return Err(WireError::UnknownFrame(0));
            };
            self.apply(delta)?;
        }
        if self.base.digest() != header.digest {
            return Err(minicbor::decode::Error::message("the digest is not that of the entries").into());
        }
        let Header { dictionary, lineage, seq, horizon, .. } = header;
        (self.dictionary, self.lineage, self.horizon) = (Some(dictionary), Some(lineage), horizon);
        (self.applied, self.settled) = (seq, seq);
        Ok(())
    }

    /// What the local store has to keep since the last call; call it after every step. Nothing without a store.
    pub fn take_local_change(&mut self) -> LocalChange {
        if self.journal.is_none() {
            return LocalChange::default();
        }
        let (outbox, base) = (self.take_outbox_change(), self.take_base_change());
        LocalChange { outbox, base, steps: self.steps.take_change() }
    }

    /// How the outbox has changed since the last call, where nothing is kept and only siblings are told.
    pub fn take_outbox_change(&mut self) -> Vec<(Key, Option<Vec<u8>>)> {
        let mut changed = self.outbox.take_changed();
        if mutant!("a local store forgets nothing") {
            changed.retain(|key| self.key_bytes(key).is_some());
        }
        changed.into_iter().map(|key| (key.clone(), self.key_bytes(&key))).collect()
    }

    fn take_base_change(&mut self) -> Option<BaseChange> {
        // In the middle of a catch-up the Deltas are of no moment yet, and the store would leave them.
        let is_between = self.applied != self.settled && !mutant!("a local store keeps half a catch-up");
        if self.incomplete || !self.taken_back.is_empty() || is_between {
            return None;
        }
        let (dictionary, lineage) = (self.dictionary?, self.lineage.clone()?);
        let Journal { after, deltas, is_whole, .. } = self.journal.as_mut().filter(|journal| !journal.is_full)?;
        let (deltas, is_whole) = (mem::take(deltas), mem::take(is_whole));
        if deltas.is_empty() && !is_whole {
            return None;
        }
        let after = mem::replace(after, self.settled);
        let (seq, horizon, digest) = (self.settled, self.horizon, self.base.digest());
        let header = Header { dictionary, lineage, seq, horizon, digest };
        let encode = || encode_all(&header, &self.names, self.base.entries(), self.conflicts.iter());
        let snapshot = is_whole.then(encode);
        if let (Some(journal), Some(snapshot)) = (&mut self.journal, &snapshot) {
            (journal.snapshot_bytes, journal.deltas_bytes) = (snapshot.len(), 0);
        }
        Some(BaseChange { after, header: header.encode(), snapshot, deltas })
    }
}

/// What is kept of a key: its rows in the outbox, and what was decided about its conflicts.
pub(super) fn read_key(bytes: &[u8]) -> Result<(Vec<OutboxRow>, Vec<PendingResolution>), minicbor::decode::Error> {
    let mut decoder = Decoder::new(bytes);
    let rows: Vec<WireRow> = decoder.decode()?;
    let resolutions = if decoder.position() < bytes.len() { decoder.decode()? } else { Vec::new() };
    Ok((rows.into_iter().map(OutboxRow::from).collect(), resolutions))
}

/// A row of the outbox as a store keeps it.
struct WireRow {
    value: Option<Value>,
    stamp: Stamp,
    seen: Vec<Stamp>,
    author: Author,
    recovered: Option<Seq>,
    held: Option<(AckCode, u64)>,
    is_orphaned: bool,
}

cbor_array!(WireRow { value, stamp, seen, author, recovered, held, is_orphaned });

impl From<&OutboxRow> for WireRow {
    fn from(row: &OutboxRow) -> Self {
        let held = match row.state {
            RowState::Held { code, data } => Some((code, data)),
            _ => None,
        };
        Self {
            value: row.value.clone(),
            stamp: row.stamp,
            seen: row.seen.clone(),
            author: row.author.clone(),
            recovered: row.recovered,
            held,
            is_orphaned: row.state == RowState::Orphaned,
        }
    }
}

impl From<WireRow> for OutboxRow {
    fn from(row: WireRow) -> Self {
        let WireRow { value, stamp, seen, author, recovered, held, is_orphaned } = row;
        let state = match held {
            Some((code, data)) => RowState::Held { code, data },
            None if is_orphaned => RowState::Orphaned,
            // Its ack may have come; sending it again is harmless.
            None => RowState::Queued,
        };
        Self { value, stamp, seen, author, recovered, sent: true, state }
    }
}
