//! What must hold, while the world runs and when it has come to rest.

use std::collections::BTreeSet;

use keybook_core::{
    Author, Conflict, Key, Seq, Stamp,
    client::{Client, OutboxRow, PendingResolution, RowState},
    limits::VERSIONS_MAX,
    server::{ConflictRow, History, Version, VersionId},
    wire::{AckClass, AckCode, Exception, Op, Role, ServerFrame},
};

use super::{World, peers::Peer};
use crate::support::key;

impl World {
    /// A client takes a frame, which must do nothing that a frame may not.
    pub(super) fn receive(&mut self, index: usize, connection: u64, message: &[u8]) {
        let now_ms = self.local_ms(index);
        let before = self.peers[index].client().clone();
        self.peers[index].client_mut().handle_message(message, now_ms);
        if let Ok(ServerFrame::Welcome { epoch, .. }) = ServerFrame::decode(message) {
            self.peers[index].epoch = Some(epoch);
        }
        self.note_ack(index, connection, message);
        self.check_outbox(index, &before);
        self.check_durable(index);
        self.check_shown(index, &before, message);
        self.check_conflicts_kept(index, &before);
    }

    /// What an Ack that a client got has acknowledged; what it refused is held.
    fn note_ack(&mut self, index: usize, connection: u64, message: &[u8]) {
        let Ok(ServerFrame::Ack { batch, exceptions, .. }) = ServerFrame::decode(message) else { return };
        let is_void = connection < self.first_connection;
        let connection = self.connections.get_mut(&connection).expect("it brought the ack");
        let peer = &mut self.peers[index];
        if let Some(id) = connection.decisions.remove(&batch) {
            peer.decided.insert(id);
        }
        let ops = connection.pushes.remove(&batch).unwrap_or_default();
        for (number, op) in (0..).zip(&ops) {
            let exception = exceptions.iter().find(|exception| exception.index == number);
            let key = key(&op.key);
            match exception.map_or(AckClass::Done, |exception| exception.code.class()) {
                AckClass::Done => {
                    peer.answered.insert((key.clone(), op.stamp));
                    if !removes_nothing(op) && !is_void {
                        let known = self.acknowledged.entry(key.clone()).or_default();
                        // Where the server's clock was set back, a later write may have the lower stamp.
                        if op.stamp > *known || self.oracle.has_replaced(&key, op.stamp, *known) {
                            *known = op.stamp;
                        }
                    }
                }
                AckClass::Held => {
                    let row = peer.client().outbox().row(&key, op.stamp);
                    assert!(row.is_none_or(|row| !row.state.is_active()), "a refused write is not sent again");
                }
                // An ack of an epoch that was lost is void.
                AckClass::Retry => drop(peer.answered.remove(&(key, op.stamp))),
            }
        }
    }

    /// A row leaves the outbox when it is done, or for a newer one of the same replica. Of the two the newer is either the
    /// same write with another stamp, and its writer has seen the same, or known already.
    pub(super) fn check_outbox(&mut self, index: usize, before: &Client) {
        let (client, answered) = (self.peers[index].client(), &self.peers[index].answered);
        for (key, row) in before.outbox().iter() {
            let now = client.outbox().row(key, row.stamp).map(|now| now.state);
            if row.state.is_active() && matches!(now, Some(RowState::Held { code: AckCode::TooLarge, .. })) {
                self.tally.count("too large");
                self.too_large.insert((key.clone(), row.stamp));
            }
            if now.is_some() || answered.contains(&(key.clone(), row.stamp)) {
                continue;
            }
            let Some(next) = client.outbox().row_of(key, row.stamp) else {
                // This replica has replaced a write that it had adopted, or one that replaced it and was adopted too. The newer one
                // may be done by now.
                let (before, now) = (before.outbox().rows(key), client.outbox().rows(key));
                let is_done = |newer: &OutboxRow| answered.contains(&(key.clone(), newer.stamp));
                let by_done = before.iter().any(|newer| newer.seen[1..].contains(&row.stamp) && is_done(newer));
                let is_replaced = by_done || is_replaced(row.stamp, before, now);
                assert!(is_replaced, "client {index} has nothing left of its write {:?} of {key:?}", row.stamp);
                continue;
            };
            // What was acknowledged once, and lost, goes on under another stamp.
            if self.acknowledged.get(key) == Some(&row.stamp) {
                self.acknowledged.insert(key.clone(), next.stamp);
            }
            // The new stamp may be one that an earlier write had which nobody has got. Of two that a page has taken over, the later is
            // stamped anew, and then takes the place of the earlier.
            let has_replaced = |newer: &OutboxRow| newer.state.is_active() && newer.seen[1..].contains(&row.stamp);
            let is_earlier = before.outbox().rows(key).iter().any(has_replaced);
            if before.outbox().row(key, next.stamp).is_none() && !is_earlier {
                self.oracle.stamp_anew(key, row.stamp, next.stamp);
                self.tally.count("stamped anew");
            }
        }
        for pending in before.resolutions() {
            let is_kept = client.resolutions().any(|kept| kept.id == pending.id);
            let is_open = is_open_yet(client, pending);
            let is_answered = self.peers[index].decided.contains(&pending.id);
            assert!(
                is_kept || is_answered || !is_open,
                "client {index} has forgotten what its user decided about {pending:?}"
            );
        }
    }

    /// After a rollback, what no disk and no client has any more is lost. What somebody has must come back.
    pub(super) fn forget_what_nobody_has(&mut self) {
        let mut acknowledged = std::mem::take(&mut self.acknowledged);
        acknowledged.retain(|key, stamp| {
            let on_disk = self.disk.contents().entries.get(key).is_some_and(|row| row.entry.stamp >= *stamp);
            // What only a reader has does not come back.
            let in_base = |peer: &Peer| {
                peer.role == Role::Writer && peer.client().base().entry(key.as_str()).is_some_and(|e| e.stamp >= *stamp)
            };
            // Its own replica's, the write itself or one that took its place. Another's unconfirmed write is another matter.
            let in_outbox = |peer: &Peer| {
                let mut rows = peer.client().outbox().rows(key).iter();
                rows.any(|row| row.stamp >= *stamp && row.stamp.replica() == stamp.replica())
            };
            on_disk || self.peers.iter().any(|peer| in_base(peer) || in_outbox(peer))
        });
        self.acknowledged = acknowledged;
    }

    /// A conflict that a client shows is closed one day, and does not vanish, whatever a rollback does. Only a reader drops what
    /// its server has lost.
    fn check_conflicts_kept(&self, index: usize, before: &Client) {
        let Peer { role, .. } = &self.peers[index];
        let client = self.peers[index].client();
        if client.dictionary() != before.dictionary() {
            return;
        }
        for conflict in before.conflicts().iter().chain(before.lost_conflicts()).filter(|c| c.is_open()) {
            let is_lost = client.lost_conflicts().any(|lost| lost.id() == conflict.id());
            let is_there = client.conflicts().get(&conflict.id()).is_some();
            // A server without room for it has it in the history, and counts it.
            let is_untold = self.disk.contents().counters.untold > 0;
            // What a stranger's server is not told of waits for its user.
            let is_offered = client.outbox().row(&conflict.key, conflict.loser.stamp).is_some();
            let is_kept = is_lost || is_there || is_untold || is_offered;
            assert!(is_kept || *role == Role::Reader, "client {index} has nothing left of {conflict:?}");
        }
    }

    pub(super) fn check_durable(&self, index: usize) {
        for (key, entry) in self.peers[index].client().base().entries() {
            let is_durable = self.durable.contains(&(key.clone(), entry.stamp));
            assert!(is_durable, "client {index} was shown {key:?} before it was on disk");
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
            self.check_shown_of(index, before, &key);
        }
    }

    /// A tab's write that another shows may be refused, or get lost with the tab. A value that is over the server's limit is held
    /// when its turn has come.
    pub(super) fn check_shown_of(&self, index: usize, before: &Client, key: &Key) {
        let shown = |client: &Client| client.shown(key).map_or(Stamp::ZERO, |shown| shown.stamp);
        let (before_stamp, after) = (shown(before), shown(self.peers[index].client()));
        let row = |peer: &Peer| peer.client().outbox().row(key, before_stamp).map(|row| row.state);
        if let Some(RowState::Held { code: AckCode::TooLarge, .. }) = row(&self.peers[index]) {
            return;
        }
        // A write that was stamped anew, as its clock had been ahead, may have a lower stamp than what it has replaced.
        let client = self.peers[index].client();
        let mut rows = client.outbox().rows(key).iter().chain(client.sibling_rows(key));
        let is_replaced = rows.any(|row| row.state.is_active() && row.seen[1..].contains(&before_stamp));
        if is_replaced || self.oracle.is_one_write(key, before_stamp, after) {
            return;
        }
        // One that a rollback has taken is its server's again, and no sibling's.
        let recovers = |peer: &Peer| {
            let row = peer.client().outbox().row(key, before_stamp);
            row.is_some_and(|row| row.recovered.is_some())
        };
        // Another file was put in the place of the server's, and one of the two has heard of that.
        let is_stranger =
            |peer: &Peer| peer.client().dictionary().zip(client.dictionary()).is_some_and(|(its, own)| its != own);
        let waits = |peer: &Peer| row(peer).is_some_and(RowState::is_active) && !recovers(peer) && !is_stranger(peer);
        // A server with other limits than before refuses what it has taken already, when it comes again.
        let is_refused = self.too_large.contains(&(key.clone(), before_stamp))
            || self.peers.iter().any(|peer| row(peer).is_some_and(|state| !state.is_active()));
        let is_told = before.sibling_rows(key).any(|row| row.stamp == before_stamp);
        let is_confirmed = self.rollbacks == 0 && self.durable.contains(&(key.clone(), before_stamp));
        let store = self.peers[index].tab.as_ref().map(|tab| &self.stores[tab.store]);
        let goes_back = store.is_some_and(|store| store.was_told_unkept(key, before_stamp));
        if !is_told || !goes_back && !is_refused && (is_confirmed || self.peers.iter().any(waits)) {
            assert!(after >= before_stamp, "client {index} showed {before_stamp:?} of {key:?}, then {after:?}");
        }
    }

    /// Lets everything arrive: no more faults, all clients connected.
    pub(super) fn rest(&mut self) {
        self.calm = true;
        if self.server.is_none() {
            self.start_server();
        }
        self.load_refused_again();
        self.come_to_agreement();
        for round in 0..4000 {
            self.now_ms += 500;
            // The names that two pages of one author have told may cross. The next connection tells it again.
            if round == 1000 {
                (0..self.peers.len()).for_each(|index| self.expel(index));
            }
            self.timeouts();
            self.deliver_all();
            for _ in 0..4 * self.connections.len() {
                self.serve();
            }
            self.fetch();
            self.commit();
            if self.is_at_rest() {
                self.come_to_agreement();
                if self.is_at_rest() {
                    return;
                }
            }
        }
        let stuck: Vec<_> = self
            .peers
            .iter()
            .map(|peer| (peer.client().phase(), peer.client().cursor(), peer.client().outbox()))
            .collect();
        panic!("it does not come to rest at {:?}: {stuck:#?}", self.disk.contents().counters.head);
    }

    pub(super) fn is_at_rest(&self) -> bool {
        let (head, Some(server)) = (self.disk.contents().counters.head, &self.server) else { return false };
        let rests = |peer: &Peer| {
            let (client, role) = (peer.client(), &peer.role);
            // One that has not learnt that its server is gone may be as far as the next one happens to be.
            let is_served = peer.connection.is_some_and(|id| server.served.contains_key(&id));
            let mut told = client.resolutions().filter(|pending| !pending.is_private);
            let are_told = told.next().is_none() && client.lost_conflicts().next().is_none();
            let is_decided = are_told || *role == Role::Reader;
            let is_sent = client.outbox().active() == 0 && is_decided;
            // A name has no ack.
            let Author { id, name } = client.author();
            let is_named =
                client.authors().get(*id).is_none_or(|row| row.author.name == *name) || *role == Role::Reader;
            is_served && is_sent && is_named && client.is_settled() && client.verified() == Some(head)
        };
        self.peers.iter().all(rests) && self.is_quiet() && server.queue.is_empty()
    }

    /// Everybody may write again, and each user decides about each write that was refused: nothing is left to decide.
    pub(super) fn let_users_decide(&mut self) {
        if self.peers.iter().all(|peer| peer.client().outbox().inactive() == 0) {
            return;
        }
        for index in 0..self.peers.len() {
            if self.peers[index].role == Role::Reader {
                self.grant(index);
            }
        }
        for round in 0..20 {
            for index in 0..self.peers.len() {
                for _ in 0..self.peers[index].client().outbox().inactive() {
                    // Who is refused again and again lets go.
                    self.review(index, round < 10);
                }
            }
            self.rest();
            if self.peers.iter().all(|peer| peer.client().outbox().inactive() == 0) {
                return;
            }
        }
        panic!("a refused write cannot be got rid of");
    }

    /// Recall must be 1: every conflict of the oracle has a row. Rows that it does not have are counted.
    pub(super) fn check_conflicts(&mut self) {
        let stamps = |row: &ConflictRow| {
            let Conflict { key, loser, winner, .. } = &row.conflict;
            (key.clone(), loser.stamp, winner.stamp)
        };
        let found: BTreeSet<(Key, Stamp, Stamp)> = self.disk.contents().conflicts.values().map(stamps).collect();
        self.tally.count_some("conflict", found.len());
        let (known, unknown) = match self.rollbacks {
            0 => ("conflict by the oracle", "conflict unknown to the oracle"),
            1 => ("conflict by the oracle after a rollback", "conflict unknown to the oracle after a rollback"),
            _ => ("conflict by the oracle after rollbacks", "conflict unknown to the oracle after rollbacks"),
        };
        let expected = self.oracle.conflicts();
        // A write loses once: a row that came back may name an older write of whom it has lost to.
        let has_row = |key: &Key, loser| {
            found.range((key.clone(), loser, Stamp::ZERO)..).next().is_some_and(|row| (&row.0, row.1) == (key, loser))
        };
        let untold = expected.iter().filter(|(key, loser, _)| !has_row(key, *loser));
        let untold = untold.inspect(|(key, loser, winner)| {
            // It is in the history, unless so many came after it that it has left that.
            let is_full = |history: &History| history.versions.len() == VERSIONS_MAX;
            let is_kept = self.disk.contents().versions.keys().any(|id| id.key == *key && id.stamp == *loser)
                || self.disk.contents().histories.get(key).is_some_and(is_full);
            let counted = self.disk.contents().counters.untold;
            assert!(is_kept && counted > 0, "the conflict of {key:?}, {loser:?} and {winner:?}, is not shown");
        });
        let untold = untold.count();
        assert!(untold as u64 <= self.disk.contents().counters.untold, "the values that are not shown are counted");
        self.tally.count_some("no room for a conflict row", untold);
        self.tally.count_some(known, expected.len());
        self.tally.count_some(unknown, found.difference(expected).count());
    }

    pub(super) fn check_promises(&self) {
        let dictionary = self.disk.contents().dictionary();
        self.disk.contents().assert_consistent();
        for (VersionId { key, stamp, .. }, Version { value, .. }) in &self.disk.contents().versions {
            let is_right = self.oracle.has_accepted(key, *stamp, value.as_ref());
            assert!(is_right, "the history of {key:?} has {value:?} of {stamp:?}");
        }
        for undone in self.oracle.undone() {
            let is_told = self.disk.conflict_rows().get(undone).is_some() || self.disk.contents().counters.untold > 0;
            assert!(is_told, "nobody is told that {undone:?} is undone");
        }
        for (index, peer) in self.peers.iter().enumerate() {
            for (key, entry) in dictionary.entries() {
                assert_eq!(peer.client().base().entry(key.as_str()), Some(entry), "client {index} holds {key:?}");
            }
            assert_eq!(peer.client().base().digest(), dictionary.digest(), "client {index} holds nothing else");
            let (client, server) = (peer.client().conflicts(), self.disk.conflict_rows());
            for conflict in server.iter() {
                assert_eq!(client.get(&conflict.id()), Some(conflict), "client {index} has the conflict row");
            }
            assert_eq!(client.iter().count(), server.iter().count(), "client {index} has no other conflict row");
            let authors = self.disk.contents().known_authors();
            assert_eq!(peer.client().authors(), &authors, "client {index} knows all authors by their names");
            let Author { id, name } = peer.client().author();
            let own = authors.get(*id).filter(|_| peer.role == Role::Writer).map(|row| &row.author.name);
            assert!(own.is_none_or(|own| own == name), "the author of client {index} is called {name}, not {own:?}");
            let shown: Vec<Key> = dictionary.iter().map(|(key, _)| key.clone()).collect();
            assert_eq!(peer.client().keys(), shown);
            if let Some(tab) = peer.tab.as_ref().filter(|tab| !tab.is_closed && !tab.keeps_no_base) {
                let kept = self.stores[tab.store].base().digest();
                assert_eq!(kept, dictionary.digest(), "the device of client {index} keeps what it shows");
            }
            assert_eq!(peer.client().sibling_edits(), 0, "client {index} knows that no tab has edits");
        }
        for (key, stamp) in &self.acknowledged {
            let there = self.disk.contents().entries.get(key).map(|row| row.entry.stamp);
            // A remove of a key without an entry leaves nothing.
            // If only waiting for its user. Who has replaced it decides about what replaced it.
            let has_it = |row: &OutboxRow| row.stamp >= *stamp || self.oracle.has_replaced(key, row.stamp, *stamp);
            let held = self.peers.iter().any(|peer| peer.client().outbox().rows(key).iter().any(has_it));
            // The winner may have a lower stamp, if the server's clock was set back in between.
            let is_replaced = there.is_some_and(|there| self.oracle.has_replaced(key, there, *stamp));
            let kept = there >= Some(*stamp) || (there.is_none() && !stamp.is_put()) || held || is_replaced;
            assert!(kept, "the acknowledged write {stamp:?} of {key:?} is lost: {there:?}");
        }
        assert!(self.disk.contents().counters.head > Seq(0) || self.durable.is_empty() || self.rollbacks > 0);
    }
}

/// Whether one of the rows of now has replaced a write, or one of those that were there before and are replaced themselves.
fn is_replaced(stamp: Stamp, before: &[OutboxRow], now: &[OutboxRow]) -> bool {
    let replaces = |row: &&OutboxRow| row.state.is_active() && row.seen[1..].contains(&stamp);
    now.iter().any(|row| replaces(&row))
        || before.iter().filter(replaces).any(|row| row.stamp > stamp && is_replaced(row.stamp, before, now))
}

/// A remove whose writer saw only its own unsent put leaves nothing, and so says nothing about others' writes.
fn removes_nothing(op: &Op) -> bool {
    op.value.is_none() && op.recovered.is_none() && op.seen.iter().all(|&stamp| stamp == Stamp::ZERO)
}

/// Whether there is something to say yet about a conflict of which this was decided. What another page of the device has hidden as
/// somebody else's is shown to whose it is.
pub(super) fn is_open_yet(client: &Client, decision: &PendingResolution) -> bool {
    let is_ones_own = |row: &Conflict| row.loser.author == client.author().id;
    let row = client.conflicts().get(&decision.id).filter(|row| row.is_open());
    row.is_some_and(|row| !decision.is_private || !is_ones_own(row))
}
