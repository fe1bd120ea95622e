//! The world's own account of conflicts, kept beside the hub's and much simpler: every write that was ever accepted in each
//! history of the server, in order, and what its writer had been shown.
//!
//! Who is shown an entry has seen the writes of its key that were accepted before it, in the history of which it was shown, and no
//! others, whatever their stamps are. Two writes of a key conflict if their values differ and neither's writer had seen the other.
//! After a rollback the writes from before it come back one by one. Of two that were both accepted in one history that was lost, what
//! conflict there was arose then, and went with the rollback; such a pair may get a row again, but need not.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use keybook_core::{AuthorId, Conflict, ConflictId, Epoch, Key, PastEpoch, ReplicaId, Stamp, Value, wire::Op};

use crate::support::key;

/// A write's name. A stamp alone is none: a clock that was set right may make it again, for another key.
type Write = (Key, Stamp);

/// What somebody has seen of a key.
#[derive(Clone, Default)]
pub(super) struct Seen {
    /// The confirmed entry that was shown.
    pub(super) entry: Stamp,
    /// The writes that were accepted up to that entry.
    writes: Rc<BTreeSet<Stamp>>,
}

#[derive(Default)]
pub(super) struct Oracle {
    /// What its writer was shown when editing began.
    saw: BTreeMap<Write, Seen>,
    /// When its user made it.
    turn: BTreeMap<Write, usize>,
    /// The writes that waited on its writer's device, and those that these had replaced or been shown. A write that is stamped anew has replaced
    /// the same, and shares the set.
    replaced: BTreeMap<Write, Rc<RefCell<BTreeSet<Stamp>>>>,
    /// What was ever accepted, with its value.
    values: BTreeSet<(Key, Stamp, Option<String>)>,
    /// Replicas whose pages are gone: nobody knows any more what they had sent.
    gone: BTreeSet<ReplicaId>,
    history: History,
    /// What was accepted in each history that a rollback has ended, and its origin.
    past: Vec<(usize, Accepted)>,
    /// The history of each epoch: its number among those that have ended, or how many they are; and its origin.
    epochs: BTreeMap<Epoch, (usize, usize)>,
    /// How many data files there were that began empty.
    origins: usize,
}

/// The writes of each key, in the order in which they were accepted.
type Accepted = BTreeMap<Key, Vec<Stamp>>;

/// What the server has accepted; a rollback takes it back.
#[derive(Clone, Default)]
pub(super) struct History {
    /// Two histories share a beginning only if this is equal.
    origin: usize,
    accepted: Accepted,
    truth: BTreeMap<Key, (Stamp, Option<String>)>,
    conflicts: BTreeSet<(Key, Stamp, Stamp)>,
    /// Writes that one which came back has undone: their user is told.
    undone: BTreeSet<ConflictId>,
    /// Who has brought back what a key has, if somebody else had written it.
    brought_back: BTreeMap<Key, AuthorId>,
}

impl Oracle {
    pub(super) fn start(&mut self, epoch: Epoch) {
        self.epochs.insert(epoch, (self.past.len(), self.history.origin));
    }

    /// What somebody sees to whom an entry is shown that was confirmed in an epoch.
    pub(super) fn shown(&self, key: &Key, entry: Stamp, epoch: Option<Epoch>) -> Seen {
        let history = epoch
            .map(|epoch| self.past.get(self.epochs[&epoch].0).map_or(&self.history.accepted, |(_, accepted)| accepted));
        history.map_or_else(Seen::default, |history| seen_in(history, key, entry))
    }

    /// What somebody sees to whom the server's entry is shown.
    pub(super) fn shown_now(&self, key: &Key, entry: Stamp) -> Seen {
        seen_in(&self.history.accepted, key, entry)
    }

    pub(super) fn saw(&self, key: &Key, write: Stamp) -> Seen {
        self.saw.get(&(key.clone(), write)).cloned().unwrap_or_default()
    }

    pub(super) fn write(&mut self, key: &Key, write: Stamp, saw: Seen) {
        self.saw.insert((key.clone(), write), saw);
        self.turn.insert((key.clone(), write), self.turn.len());
    }

    pub(super) fn page_gone(&mut self, replica: ReplicaId) {
        self.gone.insert(replica);
    }

    pub(super) fn replace(&mut self, key: &Key, write: Stamp, waiting: &[Stamp]) {
        let mut all: BTreeSet<Stamp> = waiting.iter().copied().collect();
        for stamp in waiting {
            // A tab that replaces another's write replaces what that one was shown.
            all.insert(self.saw(key, *stamp).entry);
            all.extend(self.replaced.get(&(key.clone(), *stamp)).into_iter().flat_map(|set| set.borrow().clone()));
        }
        self.replaced.insert((key.clone(), write), Rc::new(RefCell::new(all)));
    }

    /// Who replaces a write replaces what its writer had written of that key before, confirmed or not.
    pub(super) fn has_replaced(&self, key: &Key, newer: Stamp, older: Stamp) -> bool {
        let turn = |write: &Stamp| self.turn.get(&(key.clone(), *write));
        // A write that was stamped anew has the turn that it had.
        let follows = |write: &Stamp| write.replica() == older.replica() && turn(write) >= turn(&older);
        let is_it = |write: &Stamp| *write == older || follows(write);
        self.replaced.get(&(key.clone(), newer)).is_some_and(|replaced| replaced.borrow().iter().any(is_it))
    }

    /// Whether two stamps are of one write, which was stamped anew.
    pub(super) fn is_one_write(&self, key: &Key, one: Stamp, other: Stamp) -> bool {
        let turn = |stamp| self.turn.get(&(key.clone(), stamp));
        one.replica() == other.replica() && turn(one).is_some() && turn(one) == turn(other)
    }

    /// A refused write has got another stamp, and has seen the same.
    pub(super) fn stamp_anew(&mut self, key: &Key, old: Stamp, new: Stamp) {
        self.write(key, new, self.saw(key, old));
        let replaced = self.replaced.entry((key.clone(), old)).or_default().clone();
        replaced.borrow_mut().insert(old);
        self.replaced.insert((key.clone(), new), replaced);
        self.turn.insert((key.clone(), new), self.turn[&(key.clone(), old)]);
    }

    pub(super) fn accept(&mut self, op: &Op, by: AuthorId) {
        let key = key(&op.key);
        if let Some(branch) = &op.recovered {
            let is_shared = |past: &PastEpoch| self.epochs[&past.epoch].1 == self.history.origin;
            assert!(branch.epochs().iter().any(is_shared), "{:?} of {key:?} comes to strangers by itself", op.stamp);
        }
        self.values.insert((key.clone(), op.stamp, op.value.clone()));
        let accepted = self.history.accepted.entry(key.clone()).or_default();
        if accepted.contains(&op.stamp) {
            return;
        }
        accepted.push(op.stamp);
        let new = (op.stamp, op.value.clone());
        if self.history.truth.get(&key).is_none_or(|old| *old < new) {
            self.history.brought_back.remove(&key);
            if op.author.as_ref().is_some_and(|author| author.id != by) {
                self.history.brought_back.insert(key.clone(), by);
            }
        }
        let Some(old) = self.history.truth.get(&key).cloned() else {
            self.history.truth.insert(key, new);
            return;
        };
        let has_seen = |write, other| self.saw(&key, write).writes.contains(&other);
        // What is accepted only now can have been seen only before a rollback.
        let is_known = has_seen(new.0, old.0) || has_seen(old.0, new.0);
        let both = |accepted: &Vec<Stamp>| accepted.contains(&new.0) && accepted.contains(&old.0);
        let is_past = self.past.iter().any(|(_, past)| past.get(&key).is_some_and(both));
        let is_own = old.0.replica() == new.0.replica();
        let is_replaced = self.has_replaced(&key, new.0, old.0) || self.has_replaced(&key, old.0, new.0);
        let turn = |write| self.turn[&(key.clone(), write)];
        let is_followed = is_own && !self.gone.contains(&new.0.replica());
        if is_followed && new.0 > old.0 && turn(new.0) < turn(old.0) {
            // Where the server's clock went back with its disk. Its user is told.
            assert!(op.recovered.is_some(), "the write {:?} of {key:?} undoes its user's later one {:?}", new.0, old.0);
            if old.1 != new.1 {
                self.history.undone.insert(ConflictId { key: key.clone(), loser: old.0 });
            }
        }
        if old.1 != new.1 && !is_own && !is_replaced && !is_known && !is_past {
            self.history.conflicts.insert((key.clone(), old.0.min(new.0), old.0.max(new.0)));
        }
        self.history.truth.insert(key, old.max(new));
    }

    /// A conflict row comes back: its loser was accepted in this history or in one that it has a beginning in common with.
    pub(super) fn bring_back(&self, conflict: &Conflict) {
        let Conflict { key, loser, .. } = conflict;
        let has_it = |accepted: &Accepted| accepted.get(key).is_some_and(|writes| writes.contains(&loser.stamp));
        let of_past = |(origin, past): &(usize, Accepted)| *origin == self.history.origin && has_it(past);
        let is_shared = has_it(&self.history.accepted) || self.past.iter().any(of_past);
        assert!(is_shared, "the conflict {conflict:?} comes to strangers by itself");
    }

    /// Writes that one which came back has undone.
    pub(super) fn undone(&self) -> impl Iterator<Item = &ConflictId> {
        self.history.undone.iter()
    }

    /// Who has brought back what a key has.
    pub(super) fn brought_back_by(&self, key: &Key) -> Option<AuthorId> {
        self.history.brought_back.get(key).copied()
    }

    /// The key, and the stamps of both writes, the lower first.
    pub(super) fn conflicts(&self) -> &BTreeSet<(Key, Stamp, Stamp)> {
        &self.history.conflicts
    }

    /// Whether a write with this value was ever accepted.
    pub(super) fn has_accepted(&self, key: &Key, stamp: Stamp, value: Option<&Value>) -> bool {
        self.values.contains(&(key.clone(), stamp, value.map(|value| value.as_str().to_owned())))
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// The server is set back to having accepted nothing.
    pub(super) fn begin_anew(&mut self) {
        self.origins += 1;
        self.roll_back(History { origin: self.origins, ..History::default() });
    }

    /// The server is set back to an earlier history.
    pub(super) fn roll_back(&mut self, to: History) {
        let lost = std::mem::replace(&mut self.history, to);
        self.past.push((lost.origin, lost.accepted));
    }
}

fn seen_in(history: &Accepted, key: &Key, entry: Stamp) -> Seen {
    let accepted = history.get(key).map_or(&[][..], |accepted| accepted);
    let up_to = accepted.iter().position(|write| *write == entry).map_or(&[][..], |last| &accepted[..=last]);
    Seen { entry, writes: Rc::new(up_to.iter().copied().collect()) }
}
