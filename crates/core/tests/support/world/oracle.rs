//! The world's own account of conflicts.

use std::collections::{BTreeMap, BTreeSet};

use keybook_core::{key::Key, stamp::Stamp, wire::Op};

use crate::support::key;

/// The world's own account of conflicts, kept beside the hub's and much simpler: every write that was ever accepted, and
/// what its writer had been shown.
#[derive(Clone, Default)]
pub(super) struct Oracle {
    /// The confirmed entry that the writer of this stamp was shown when editing began.
    pub(super) saw: BTreeMap<Stamp, Stamp>,
    pub(super) accepted: BTreeSet<Stamp>,
    pub(super) truth: BTreeMap<Key, (Stamp, Option<String>)>,
    /// The stamps of both writes, the lower first.
    pub(super) conflicts: BTreeSet<(Stamp, Stamp)>,
}

impl Oracle {
    pub(super) fn accept(&mut self, op: &Op) {
        if !self.accepted.insert(op.stamp) {
            return;
        }
        let key = key(&op.key);
        let new = (op.stamp, op.value.clone());
        let Some(old) = self.truth.get(&key).cloned() else {
            self.truth.insert(key, new);
            return;
        };
        let saw = self.saw.get(&op.stamp).copied().unwrap_or_default();
        if old.1 != new.1 && old.0 > saw && old.0.replica() != op.stamp.replica() {
            self.conflicts.insert((old.0.min(op.stamp), old.0.max(op.stamp)));
        }
        self.truth.insert(key, old.max(new));
    }
}
