//! What must hold, while the world runs and when it has come to rest.

use std::collections::BTreeSet;

use keybook_core::{
    client::{Client, OutboxRow, RowState},
    conflict::Conflict,
    entry::Seq,
    key::Key,
    limits::CLOCK_AHEAD_MS_MAX,
    stamp::Stamp,
    wire::{AckClass, Exception, ServerFrame},
};

use super::{World, peers::Peer};

impl World {
    /// The writes that an Ack on its way to a client acknowledges.
    pub(super) fn note_acks(&mut self, index: usize, message: &[u8]) {
        let Ok(ServerFrame::Ack { exceptions, .. }) = ServerFrame::decode(message) else { return };
        let refused = exceptions.iter().any(|e| e.code.class() != AckClass::Done);
        if refused {
            return;
        }
        // The client knows which; it is asked after it took the ack.
        let before: Vec<(Key, Stamp)> = self.peers[index]
            .client
            .outbox()
            .iter()
            .filter(|(_, row)| row.state == RowState::Sent && !removes_nothing(row))
            .map(|(key, row)| (key.clone(), row.stamp))
            .collect();
        let mut after = self.peers[index].client.clone();
        after.handle_message(message, self.local_ms(index));
        for (key, stamp) in before {
            let row = after.outbox().row(&key, stamp);
            let done = row.is_none_or(|row| matches!(row.state, RowState::Acked(_)));
            if done {
                let known = self.acknowledged.entry(key).or_default();
                *known = stamp.max(*known);
            }
        }
    }

    /// After a rollback, what no disk and no client has any more is lost. What somebody has must come back.
    pub(super) fn forget_what_nobody_has(&mut self) {
        let mut acknowledged = std::mem::take(&mut self.acknowledged);
        acknowledged.retain(|key, stamp| {
            let on_disk = self.disk.entries.get(key).is_some_and(|row| row.entry.stamp >= *stamp);
            let in_base = |peer: &Peer| peer.client.base().entry(key.as_str()).is_some_and(|e| e.stamp >= *stamp);
            // Its own replica's, the write itself or one that took its place. Another's unconfirmed write is another matter.
            let in_outbox = |peer: &Peer| {
                let mut rows = peer.client.outbox().rows(key).iter();
                rows.any(|row| row.stamp >= *stamp && row.stamp.replica() == stamp.replica())
            };
            on_disk || self.peers.iter().any(|peer| in_base(peer) || in_outbox(peer))
        });
        self.acknowledged = acknowledged;
    }

    pub(super) fn check_durable(&self, index: usize) {
        for (key, entry) in self.peers[index].client.base().entries() {
            assert!(self.durable.contains(&entry.stamp), "client {index} was shown {key:?} before it was on disk");
        }
    }

    /// What is shown of a key never goes back, but for refused writes and forks.
    pub(super) fn check_shown(&self, index: usize, before: &Client, message: &[u8]) {
        let refuses = |exception: &Exception| exception.code.class() != AckClass::Done;
        match ServerFrame::decode(message) {
            Ok(ServerFrame::Welcome { .. }) => return,
            Ok(ServerFrame::Ack { exceptions, .. }) if exceptions.iter().any(refuses) => return,
            _ => {}
        }
        for key in before.keys() {
            let [before, after] = [before, &self.peers[index].client].map(|client| client.shown(&key).map(|s| s.stamp));
            assert!(after >= before, "client {index} showed {before:?} of {key:?}, then {after:?}");
        }
    }

    /// Lets everything arrive: no more faults, all clients connected.
    pub(super) fn rest(&mut self) {
        self.calm = true;
        if self.server.is_none() {
            self.start_server();
        }
        for _ in 0..4000 {
            self.now_ms += 500;
            self.timeouts();
            for id in self.connections.keys().copied().collect::<Vec<_>>() {
                for _ in 0..4 {
                    self.deliver_to_server(id);
                    self.deliver_to_client(id);
                }
            }
            for _ in 0..4 * self.peers.len() {
                self.serve();
            }
            self.fetch();
            self.commit();
            if self.is_at_rest() {
                return;
            }
        }
        let stuck: Vec<_> =
            self.peers.iter().map(|peer| (peer.client.phase(), peer.client.cursor(), peer.client.outbox())).collect();
        panic!("it does not come to rest at {:?}: {stuck:#?}", self.disk.state.head);
    }

    pub(super) fn is_at_rest(&self) -> bool {
        let head = self.disk.state.head;
        let rests = |peer: &Peer| {
            peer.client.outbox().active() == 0 && peer.client.is_settled() && peer.client.verified() == Some(head)
        };
        self.peers.iter().all(rests) && self.server.as_ref().is_some_and(|server| server.queue.is_empty())
    }

    /// Recall must be 1: every conflict of the oracle has a row. Rows that it does not have are counted. It says nothing of
    /// worlds with rollbacks, or with clocks so wrong that stamps are made anew.
    pub(super) fn check_conflicts(&mut self) {
        let pair = |conflict: &Conflict| (conflict.loser.stamp, conflict.winner.stamp);
        let found: BTreeSet<(Stamp, Stamp)> = self.disk.conflicts.values().map(pair).collect();
        found.iter().for_each(|_| self.tally.count("conflict"));
        if self.plan.rollbacks || self.plan.skew_ms >= CLOCK_AHEAD_MS_MAX {
            return;
        }
        for pair in &self.oracle.conflicts {
            assert!(found.contains(pair), "the conflict of {pair:?} is not shown");
            self.tally.count("conflict by the oracle");
        }
        found.difference(&self.oracle.conflicts).for_each(|_| self.tally.count("conflict unknown to the oracle"));
    }

    pub(super) fn check_promises(&self) {
        let dictionary = self.disk.dictionary();
        self.disk.assert_consistent();
        for (index, peer) in self.peers.iter().enumerate() {
            for (key, entry) in dictionary.entries() {
                assert_eq!(peer.client.base().entry(key.as_str()), Some(entry), "client {index} holds {key:?}");
            }
            assert_eq!(peer.client.base().digest(), dictionary.digest(), "client {index} holds nothing else");
            let (client, server) = (peer.client.conflicts(), self.disk.conflict_rows());
            for conflict in server.iter() {
                assert_eq!(client.get(conflict.id), Some(conflict), "client {index} has the conflict row");
            }
            assert_eq!(client.iter().count(), server.iter().count(), "client {index} has no other conflict row");
            let shown: Vec<Key> = dictionary.iter().map(|(key, _)| key.clone()).collect();
            assert_eq!(peer.client.keys(), shown);
        }
        for (key, stamp) in &self.acknowledged {
            let there = self.disk.entries.get(key).map(|row| row.entry.stamp);
            // A remove of a key without an entry leaves nothing.
            let held = self.peers.iter().any(|peer| in_outbox(peer, key, *stamp));
            let kept = there >= Some(*stamp) || (there.is_none() && !stamp.is_put()) || held;
            assert!(kept, "the acknowledged write {stamp:?} of {key:?} is lost: {there:?}");
        }
        assert!(self.disk.state.head > Seq(0) || self.durable.is_empty());
    }
}

/// Whether a client has this write or a later one, if only waiting for its user.
fn in_outbox(peer: &Peer, key: &Key, stamp: Stamp) -> bool {
    peer.client.outbox().rows(key).iter().any(|row| row.stamp >= stamp)
}

/// A remove whose writer saw only its own unsent put leaves nothing, and so says nothing about others' writes.
fn removes_nothing(row: &OutboxRow) -> bool {
    row.value.is_none() && row.recovered.is_none() && row.seen.iter().all(|&stamp| stamp == Stamp::ZERO)
}
