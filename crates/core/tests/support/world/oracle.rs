//! The world's own account of conflicts, kept beside the hub's and much simpler: every write that was ever accepted, and
//! what its writer had been shown.
//!
//! Two writes of a key conflict if their values differ and neither's writer had seen the other. After a rollback the writes
//! from before it come back one by one. Of two that were both accepted in one history that was lost, what conflict there was arose
//! then, and went with the rollback; such a pair may get a row again, but need not.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use keybook_core::{Key, ReplicaId, Stamp, wire::Op};

use crate::support::key;

/// A write's name. A stamp alone is none: a clock that was set right may make it again, for another key.
type Write = (Key, Stamp);

#[derive(Default)]
pub(super) struct Oracle {
    /// The confirmed entry that its writer was shown when editing began.
    saw: BTreeMap<Write, Stamp>,
    /// When its user made it.
    turn: BTreeMap<Write, usize>,
    /// The writes that waited on its writer's device, and those that these had replaced or been shown. A write that is stamped anew has replaced
    /// the same, and shares the set.
    replaced: BTreeMap<Write, Rc<RefCell<BTreeSet<Stamp>>>>,
    /// Replicas whose pages are gone: nobody knows any more what they had sent.
    gone: BTreeSet<ReplicaId>,
    history: History,
    /// What was accepted in each history that a rollback has ended.
    past: Vec<BTreeSet<Write>>,
}

/// What the server has accepted; a rollback takes it back.
#[derive(Clone, Default)]
pub(super) struct History {
    accepted: BTreeSet<Write>,
    truth: BTreeMap<Key, (Stamp, Option<String>)>,
    conflicts: BTreeSet<(Key, Stamp, Stamp)>,
}

impl Oracle {
    pub(super) fn saw(&self, key: &Key, write: Stamp) -> Stamp {
        self.saw.get(&(key.clone(), write)).copied().unwrap_or_default()
    }

    pub(super) fn write(&mut self, key: &Key, write: Stamp, saw: Stamp) {
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
            all.insert(self.saw(key, *stamp));
            all.extend(self.replaced.get(&(key.clone(), *stamp)).into_iter().flat_map(|set| set.borrow().clone()));
        }
        self.replaced.insert((key.clone(), write), Rc::new(RefCell::new(all)));
    }

    /// Who replaces a write replaces what its writer had written of that key before, confirmed or not.
    fn has_replaced(&self, key: &Key, newer: Stamp, older: Stamp) -> bool {
        let turn = |write: &Stamp| self.turn.get(&(key.clone(), *write));
        // A write that was stamped anew has the turn that it had.
        let follows = |write: &Stamp| write.replica() == older.replica() && turn(write) >= turn(&older);
        let is_it = |write: &Stamp| *write == older || follows(write);
        self.replaced.get(&(key.clone(), newer)).is_some_and(|replaced| replaced.borrow().iter().any(is_it))
    }

    /// A refused write has got another stamp, and has seen the same, unless the other is a write of its own. Returns
    /// whether it is not.
    pub(super) fn stamp_anew(&mut self, key: &Key, old: Stamp, new: Stamp) -> bool {
        let is_new = !self.saw.contains_key(&(key.clone(), new));
        if is_new {
            self.write(key, new, self.saw(key, old));
            let replaced = self.replaced.entry((key.clone(), old)).or_default().clone();
            replaced.borrow_mut().insert(old);
            self.replaced.insert((key.clone(), new), replaced);
            self.turn.insert((key.clone(), new), self.turn[&(key.clone(), old)]);
        }
        is_new
    }

    pub(super) fn accept(&mut self, op: &Op) {
        let key = key(&op.key);
        if !self.history.accepted.insert((key.clone(), op.stamp)) {
            return;
        }
        let new = (op.stamp, op.value.clone());
        let Some(old) = self.history.truth.get(&key).cloned() else {
            self.history.truth.insert(key, new);
            return;
        };
        let knows = self.saw(&key, new.0) >= old.0;
        // What is accepted only now can have been seen only before a rollback.
        let is_known = self.past.iter().any(|past| {
            let has = |write| past.contains(&(key.clone(), write));
            has(new.0) && (has(old.0) || self.saw(&key, old.0) >= new.0)
        });
        let is_own = old.0.replica() == new.0.replica();
        let is_replaced = self.has_replaced(&key, new.0, old.0) || self.has_replaced(&key, old.0, new.0);
        let turn = |write| self.turn[&(key.clone(), write)];
        let is_followed = is_own && !self.gone.contains(&new.0.replica());
        let undoes = is_followed && new.0 > old.0 && turn(new.0) < turn(old.0);
        assert!(!undoes, "the write {:?} of {key:?} undoes its user's later one {:?}", new.0, old.0);
        if old.1 != new.1 && !is_own && !is_replaced && !knows && !is_known {
            self.history.conflicts.insert((key.clone(), old.0.min(new.0), old.0.max(new.0)));
        }
        self.history.truth.insert(key, old.max(new));
    }

    /// The key, and the stamps of both writes, the lower first.
    pub(super) fn conflicts(&self) -> &BTreeSet<(Key, Stamp, Stamp)> {
        &self.history.conflicts
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// The server is set back to an earlier history.
    pub(super) fn roll_back(&mut self, to: History) {
        let lost = std::mem::replace(&mut self.history, to);
        self.past.push(lost.accepted);
    }
}
