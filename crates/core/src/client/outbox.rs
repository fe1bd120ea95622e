//! The outbox: what this replica wrote and the server has not confirmed.
//!
//! Of each replica and key one row waits for an ack: a newer write replaces an older one. A row leaves when its stamp is
//! acknowledged **and** the base has reached the ack's seq: the shown state never goes back, whatever a rollback takes meanwhile.
//!
//! Rows that the server refused for good stay beside it until their user lets them go. So do recovered rows until the server has
//! them, and they go first: a later write may be refused for good, and others may have written meanwhile what neither its writer nor
//! the later one had seen.

use std::collections::{BTreeMap, BTreeSet};

use super::seen::newest_of_each;
use crate::{
    Author, Branch, Key, Lineage, Rank, Seq, Stamp, Value,
    limits::{PUSH_BYTES_MAX, PUSH_OPS_MAX},
    wire::{AckCode, Op},
};

/// A row is sent again after this at the latest, whatever the server asked for.
pub(super) const WAIT_MS_MAX: u64 = 600_000;

/// And not before this, so that it is not sent again and again.
pub(super) const WAIT_MS_MIN: u64 = 1000;

/// An unconfirmed write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// The value; none if it is a remove.
    pub value: Option<Value>,
    /// When and by which replica.
    pub stamp: Stamp,
    /// What it has seen: first what was shown when editing began, then all that it replaces. [`Op::seen`] says the newest of each replica.
    pub seen: Vec<Stamp>,
    /// Who wrote it.
    pub author: Author,
    /// Where it was confirmed, for a write that the server has lost since.
    pub recovered: Option<Branch>,
    /// Whether a server may have got it.
    pub sent: bool,
    /// What it waits for.
    pub state: RowState,
}

/// What an outbox row waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowState {
    /// To be sent.
    Queued,
    /// An ack.
    Sent,
    /// The base to reach this seq.
    Acked(Seq),
    /// The same, for a sibling's row: it has left the sibling, whose base had come to this seq.
    Left(Seq),
    /// A time, to be sent again.
    Waiting {
        /// By the local clock.
        until_ms: u64,
    },
    /// Its user: the server refused it for good. It is not shown.
    Held {
        /// Why.
        code: AckCode,
        /// See [`crate::wire::Exception::data`].
        data: u64,
    },
    /// Its user: it belongs to a dictionary that has been deleted, or whose history shares nothing with it. Not shown.
    Orphaned,
}

impl RowState {
    /// Whether the row counts in the shown state, and is on its way.
    pub fn is_active(self) -> bool {
        !matches!(self, Self::Held { .. } | Self::Orphaned)
    }
}

impl OutboxRow {
    /// What decides between this write and another to the same key.
    pub fn rank(&self) -> Rank<'_> {
        (self.stamp, self.value.as_ref())
    }

    /// Whether this write is on its way, and has replaced the one with this stamp.
    pub(super) fn replaces(&self, stamp: Stamp) -> bool {
        self.state.is_active() && self.seen[1..].contains(&stamp)
    }

    fn to_op(&self, key: &Key) -> Op {
        Op {
            key: key.as_str().to_owned(),
            value: self.value.as_ref().map(|value| value.as_str().to_owned()),
            stamp: self.stamp,
            seen: newest_of_each(&self.seen),
            author: self.recovered.is_some().then(|| self.author.clone()),
            recovered: self.recovered.clone(),
        }
    }

    fn bytes(&self, key: &Key) -> usize {
        let epochs = self.recovered.as_ref().map_or(0, |branch| branch.epochs().len());
        key.as_str().len()
            + self.value.as_ref().map_or(0, |v| v.as_str().len())
            + 17 * self.seen.len()
            + 19 * epochs
            + 128
    }
}

/// Rows in the order of a number. The three sets have one type, although their numbers mean different things: each further
/// type of set would bring its own code into the page.
type Turns = BTreeSet<(u64, Stamp, Key)>;

/// The unconfirmed writes by key.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    rows: BTreeMap<Key, Vec<OutboxRow>>,
    /// By 0: it is the turn of all.
    queued: Turns,
    /// By the time that they wait for.
    waiting: Turns,
    /// By the seq that the base has to reach.
    acked: Turns,
    active: usize,
    inactive: usize,
    changed: BTreeSet<Key>,
}

impl Outbox {
    /// Adds a row. If it is on its way, it replaces the row of the same replica and key that is on its way too and not acknowledged,
    /// unless that one has a greater stamp and was not seen: a clock that was ahead may have made the earlier of the two. Rows that wait
    /// for their user stay beside it, and so do recovered ones.
    pub fn insert(&mut self, key: Key, row: OutboxRow) {
        let replaces = row.state.is_active() && row.recovered.is_none();
        if let Some(old) = self.row_of(&key, row.stamp).map(|old| old.stamp).filter(|_| replaces) {
            if old > row.stamp && !row.replaces(old) {
                return;
            }
            self.remove(&key, old);
        }
        self.adopt(key, row);
    }

    /// Adds a row of a page that is gone, and replaces nothing: what stood side by side there had its reason, which is not kept. That a
    /// write was confirmed is not forgotten for what a page knew that had not heard of it.
    pub fn adopt(&mut self, key: Key, row: OutboxRow) {
        if row.recovered.is_none() && self.row(&key, row.stamp).is_some_and(|known| known.recovered.is_some()) {
            return;
        }
        // The same write may wait already.
        self.remove(&key, row.stamp);
        self.index(&key, row.stamp, row.state, true);
        self.changed.insert(key.clone());
        self.rows.entry(key).or_default().push(row);
    }

    /// Takes a row out.
    pub fn remove(&mut self, key: &Key, stamp: Stamp) -> Option<OutboxRow> {
        let rows = self.rows.get_mut(key)?;
        let position = rows.iter().position(|row| row.stamp == stamp)?;
        let row = rows.swap_remove(position);
        if rows.is_empty() {
            self.rows.remove(key);
        }
        self.index(key, stamp, row.state, false);
        self.changed.insert(key.clone());
        Some(row)
    }

    /// Sets what a row waits for, if it is still there.
    pub fn set_state(&mut self, key: &Key, stamp: Stamp, state: RowState) {
        let Some(row) = self.rows.get_mut(key).and_then(|rows| rows.iter_mut().find(|row| row.stamp == stamp)) else {
            return;
        };
        let old = std::mem::replace(&mut row.state, state);
        row.sent |= state == RowState::Sent;
        self.index(key, stamp, old, false);
        self.index(key, stamp, state, true);
        self.changed.insert(key.clone());
    }

    fn index(&mut self, key: &Key, stamp: Stamp, state: RowState, present: bool) {
        let count = if state.is_active() { &mut self.active } else { &mut self.inactive };
        *count = if present { *count + 1 } else { *count - 1 };
        let (turns, at) = match state {
            RowState::Queued => (&mut self.queued, 0),
            RowState::Waiting { until_ms } => (&mut self.waiting, until_ms),
            RowState::Acked(seq) | RowState::Left(seq) => (&mut self.acked, seq.0),
            RowState::Sent | RowState::Held { .. } | RowState::Orphaned => return,
        };
        let turn = (at, stamp, key.clone());
        if present {
            turns.insert(turn);
        } else {
            turns.remove(&turn);
        }
    }

    /// The rows of a key.
    pub fn rows(&self, key: &Key) -> &[OutboxRow] {
        self.rows.get(key).map_or(&[], Vec::as_slice)
    }

    /// A row by key and stamp.
    pub fn row(&self, key: &Key, stamp: Stamp) -> Option<&OutboxRow> {
        self.rows(key).iter().find(|row| row.stamp == stamp)
    }

    /// The row of the replica in `stamp` that waits for an ack, and was never confirmed.
    pub fn row_of(&self, key: &Key, stamp: Stamp) -> Option<&OutboxRow> {
        let waits = |state: RowState| state.is_active() && !matches!(state, RowState::Acked(_) | RowState::Left(_));
        let is_it = |row: &&OutboxRow| waits(row.state) && row.recovered.is_none();
        self.rows(key).iter().filter(is_it).find(|row| row.stamp.replica() == stamp.replica())
    }

    /// Whether a recovered row of the key is on its way.
    pub fn recovers(&self, key: &Key) -> bool {
        self.rows(key).iter().any(|row| row.state.is_active() && row.recovered.is_some())
    }

    /// The greatest row of a key that is shown. One that another has replaced is not, even if the other was stamped anew and has
    /// a lower stamp now.
    pub fn shown(&self, key: &Key) -> Option<&OutboxRow> {
        let active = self.rows(key).iter().filter(|row| row.state.is_active() && !self.is_replaced(key, row.stamp));
        active.max_by(|a, b| a.rank().cmp(&b.rank()))
    }

    /// The stamps of a key's rows, those that wait for their user too.
    pub(super) fn stamps(&self, key: &Key) -> Vec<Stamp> {
        self.rows(key).iter().map(|row| row.stamp).collect()
    }

    /// Whether a row that is on its way has replaced this write. O(rows of the key).
    pub(super) fn is_replaced(&self, key: &Key, stamp: Stamp) -> bool {
        self.rows(key).iter().any(|newer| newer.stamp != stamp && newer.replaces(stamp))
    }

    /// The server has refused a write, and no old connection brings it: nobody has it.
    pub(super) fn set_unsent(&mut self, key: &Key, stamp: Stamp) {
        let mut rows = self.rows.get_mut(key).into_iter().flatten();
        if let Some(row) = rows.find(|row| row.stamp == stamp) {
            row.sent = false;
        }
    }

    /// All rows in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &OutboxRow)> {
        self.rows.iter().flat_map(|(key, rows)| rows.iter().map(move |row| (key, row)))
    }

    /// The keys that have rows, in order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.rows.keys()
    }

    /// How many rows are on their way.
    pub fn active(&self) -> usize {
        self.active
    }

    /// How many of those only wait for the base.
    pub fn acked(&self) -> usize {
        self.acked.len()
    }

    /// How many rows wait for their user.
    pub fn inactive(&self) -> usize {
        self.inactive
    }

    /// The keys whose rows changed since the last call, for whoever keeps a copy of the outbox.
    pub fn take_changed(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.changed)
    }

    /// The next operations to send, in the order of their stamps, and at most as many as one Push may have. From now on they
    /// count as sent. Empty if nothing that is queued may go.
    ///
    /// A value over `value_bytes_max` is held, as the server would answer, and its key added to `held`: the frame that brings it
    /// may be over the server's limit too, and then there is no answer but the end of the connection, each time.
    pub(super) fn take_push(
        &mut self,
        value_bytes_max: u32,
        may_go: &dyn Fn(&Key, &OutboxRow) -> bool,
        held: &mut Vec<Key>,
    ) -> Vec<(Key, Op)> {
        // The frame has a number, and the lengths of its arrays.
        let (mut ops, mut bytes, mut too_large) = (Vec::new(), 16, Vec::new());
        for (_, stamp, key) in &self.queued {
            let row = self.row(key, *stamp).expect("a queued row is there");
            let is_chosen = |stamp| ops.iter().any(|(chosen, op): &(Key, Op)| op.stamp == stamp && chosen == key);
            if !may_go(key, row) || self.is_overtaken(key, row) || self.awaits_recovered(key, row, is_chosen) {
                continue;
            }
            let value_bytes = row.value.as_ref().map_or(0, |value| value.as_str().len() as u64);
            if value_bytes > value_bytes_max.into() {
                too_large.push((key.clone(), *stamp, value_bytes));
                continue;
            }
            bytes += row.bytes(key);
            if ops.len() == PUSH_OPS_MAX || (!ops.is_empty() && bytes > PUSH_BYTES_MAX) {
                break;
            }
            ops.push((key.clone(), row.to_op(key)));
        }
        for (key, op) in &ops {
            self.set_state(key, op.stamp, RowState::Sent);
        }
        for (key, stamp, data) in too_large {
            self.set_state(&key, stamp, RowState::Held { code: AckCode::TooLarge, data });
            held.push(key);
        }
        ops
    }

    /// Whether a server may have the row already that has replaced this one. Nobody has this one, whose first stamp was refused, and
    /// if it came after the other it would be a conflict with it.
    fn is_overtaken(&self, key: &Key, row: &OutboxRow) -> bool {
        !row.sent && self.rows(key).iter().any(|newer| newer.sent && newer.replaces(row.stamp))
    }

    /// Whether a recovered row of the key goes before this one and has not gone yet.
    fn awaits_recovered(&self, key: &Key, row: &OutboxRow, is_chosen: impl Fn(Stamp) -> bool) -> bool {
        let waits = |row: &OutboxRow| matches!(row.state, RowState::Queued | RowState::Waiting { .. });
        let mut others = self.rows(key).iter().filter(|other| other.recovered.is_some() && waits(other));
        row.recovered.is_none() && others.any(|other| !is_chosen(other.stamp))
    }

    /// A row is with the server: what it had replaced of its own replica, or no server has got, need not go any more.
    pub(super) fn forget_replaced(&mut self, key: &Key, stamp: Stamp) {
        let Some(newer) = self.row(key, stamp) else { return };
        let is_own = |row: &OutboxRow| row.stamp.replica() == stamp.replica() && row.recovered.is_none();
        let may_go = |row: &&OutboxRow| row.state.is_active() && (is_own(row) || !row.sent);
        let replaced = self.rows(key).iter().filter(may_go).map(|row| row.stamp).filter(|&old| newer.replaces(old));
        replaced.collect::<Vec<_>>().into_iter().for_each(|stamp| drop(self.remove(key, stamp)));
    }

    /// A write has another stamp now, and what has replaced it says so.
    pub(super) fn rename(&mut self, key: &Key, old: Stamp, new: Stamp) {
        let newer = self.rows.get_mut(key).into_iter().flatten();
        for seen in newer.flat_map(|row| &mut row.seen[1..]).filter(|seen| **seen == old) {
            *seen = new;
        }
        self.changed.insert(key.clone());
    }

    /// Takes out the rows that match and for which the base has come far enough. Returns their keys.
    pub fn release(&mut self, reached: Seq, of: &dyn Fn(&OutboxRow) -> bool) -> Vec<Key> {
        let is_of = |stamp: &Stamp, key: &Key| self.row(key, *stamp).is_some_and(of);
        let reached = self.acked.iter().take_while(|(seq, ..)| *seq <= reached.0);
        let released: Vec<_> = reached.filter(|(_, stamp, key)| is_of(stamp, key)).cloned().collect();
        let remove = |(_, stamp, key): (u64, Stamp, Key)| {
            self.remove(&key, stamp);
            key
        };
        released.into_iter().map(remove).collect()
    }

    /// Queues the rows whose time has come, and those whose time is after `latest_ms`: no row waits so long, so the local clock
    /// was set back.
    pub fn wake(&mut self, now_ms: u64, latest_ms: u64) {
        let next = |waiting: &Turns| {
            let first = waiting.first().filter(|(until_ms, ..)| *until_ms <= now_ms);
            first.or_else(|| waiting.last().filter(|(until_ms, ..)| *until_ms > latest_ms)).cloned()
        };
        while let Some((_, stamp, key)) = next(&self.waiting) {
            self.set_state(&key, stamp, RowState::Queued);
        }
    }

    /// When the first waiting row's time comes.
    pub fn wakes_at(&self) -> Option<u64> {
        self.waiting.first().map(|(until_ms, ..)| *until_ms)
    }

    /// Queues what had been sent, since its acks cannot come any more; and what had been acknowledged, if that is void.
    pub fn requeue(&mut self, acks_are_void: bool) {
        let again = |row: &OutboxRow| match row.state {
            RowState::Sent => true,
            RowState::Acked(_) => acks_are_void,
            _ => false,
        };
        self.transition(&again, RowState::Queued);
    }

    /// Takes everything that is on its way out of the shown state.
    pub fn orphan(&mut self) {
        self.transition(&|row| row.state.is_active(), RowState::Orphaned);
    }

    /// Lets the rows that match wait for something else.
    pub(super) fn transition(&mut self, of: &dyn Fn(&OutboxRow) -> bool, to: RowState) {
        for (key, stamp) in self.of(of) {
            self.set_state(&key, stamp, to);
        }
    }

    /// Takes out the rows that match.
    pub(super) fn remove_all(&mut self, of: &dyn Fn(&OutboxRow) -> bool) {
        for (key, stamp) in self.of(of) {
            self.remove(&key, stamp);
        }
    }

    fn of(&self, of: &dyn Fn(&OutboxRow) -> bool) -> Vec<(Key, Stamp)> {
        self.iter().filter(|(_, row)| of(row)).map(|(key, row)| (key.clone(), row.stamp)).collect()
    }

    /// What was confirmed in a history that the server has no part of waits for its user.
    pub(super) fn orphan_strangers(&mut self, server: &Lineage) {
        let is_strange = |row: &OutboxRow| row.recovered.as_ref().is_some_and(|branch| !branch.hangs_on(server));
        self.transition(&|row| row.state.is_active() && is_strange(row), RowState::Orphaned);
    }

    /// The server was set back once more: recovered rows may hang on an older epoch, which `lineage` knows.
    pub fn extend_branches(&mut self, lineage: &Lineage, server: &Lineage) {
        for (key, row) in self.rows.iter_mut().flat_map(|(key, rows)| rows.iter_mut().map(move |row| (key, row))) {
            if let Some(branch) = &mut row.recovered {
                branch.extend(lineage, server);
                self.changed.insert(key.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AuthorId, AuthorName, HybridTime, ReplicaId};

    fn stamp(ms: u64, replica: u64) -> Stamp {
        Stamp::new(HybridTime::from_millis(ms), true, ReplicaId(replica))
    }

    fn row(stamp: Stamp, seen: Vec<Stamp>) -> OutboxRow {
        let author = Author { id: AuthorId(1), name: AuthorName::new("Ada") };
        OutboxRow { value: None, stamp, seen, author, recovered: None, sent: true, state: RowState::Queued }
    }

    /// A clock was an hour ahead. Another tab's write replaced the one that it had made, and got the right time. The user's next
    /// edit of the first tab had a lower stamp than its own earlier one, and was dropped.
    #[test]
    fn an_edit_takes_the_place_of_an_earlier_one_with_a_greater_stamp_that_it_has_seen() {
        let key = Key::parse("k").unwrap();
        let (ahead, other, edit, late) = (stamp(3_600_000, 1), stamp(10, 2), stamp(20, 1), stamp(15, 1));
        let mut outbox = Outbox::default();
        for (stamp, seen) in [(ahead, vec![]), (other, vec![ahead]), (edit, vec![ahead, other]), (late, vec![])] {
            outbox.insert(key.clone(), row(stamp, [vec![Stamp::ZERO], seen].concat()));
        }
        assert_eq!(BTreeSet::from_iter(outbox.stamps(&key)), BTreeSet::from([other, edit]));
        assert_eq!(outbox.shown(&key).map(|row| row.stamp), Some(edit));
    }
}
