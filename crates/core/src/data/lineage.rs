//! Epochs and lineages: how two ends find the last point of history that they share.
//!
//! Every start of a server begins an epoch. A server that was killed, one that was restored from a backup and one whose
//! machine was rolled back are the same case: its history up to some seq is shared with a client, and what either did
//! later is not. PostgreSQL solves the same with timelines.

use std::collections::HashMap;

use minicbor::{Decode, Encode};

use crate::{Seq, cbor_array, limits::LINEAGE_MAX, mutants::mutant};

/// One run of a server, a random number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Epoch(#[n(0)] pub u64);

/// An epoch that has ended, and the head that the dictionary had then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastEpoch {
    /// The epoch.
    pub epoch: Epoch,
    /// The dictionary's head at its end; epochs never end before the one they follow.
    pub end: Seq,
}

cbor_array!(PastEpoch { epoch, end });

/// The epochs of a dictionary: those that ended, oldest first, at most [`LINEAGE_MAX`], and the current one. An epoch in which a
/// server wrote nothing is not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// Those that ended.
    pub past: Vec<PastEpoch>,
    /// The current one.
    pub current: Epoch,
}

impl Lineage {
    /// The lineage of a dictionary in a store: `starts` are the store's epochs in their order, the last the current one;
    /// `writes` are the epochs in which the dictionary was written, with its head at the end of each.
    ///
    /// A dictionary that an epoch did not write ended it where it began it; so opening a dictionary writes nothing, and
    /// one that does not exist yet has a past in which it was empty.
    /// O(starts + writes).
    pub fn of_store(starts: &[Epoch], writes: &[PastEpoch]) -> Self {
        let Some((&current, past)) = starts.split_last() else { return Self::default() };
        let ends: HashMap<Epoch, Seq> = writes.iter().map(|write| (write.epoch, write.end)).collect();
        let first_known = starts.iter().copied().find(|epoch| ends.contains_key(epoch));
        // A write in an epoch that the store has forgotten comes before all that it knows.
        let forgotten = writes.iter().take_while(|write| Some(write.epoch) != first_known);
        let mut end = forgotten.last().map_or(Seq(0), |write| write.end);
        let past = past.iter().map(|&epoch| {
            end = ends.get(&epoch).copied().unwrap_or(end);
            PastEpoch { epoch, end }
        });
        Self { past: past.collect(), current }
    }

    /// Appends an epoch to the store's starts, forgetting the oldest over the limit.
    ///
    /// If the last one wrote nothing, the epoch takes its place: all that the last one shared, it shared with the one before it,
    /// which everybody knows too who knows the last one. So starts without a write use up nothing. The first of all stays.
    pub fn push_start(starts: &mut Vec<Epoch>, has_last_written: bool, epoch: Epoch) {
        if starts.len() > 1 && !has_last_written {
            starts.pop();
        }
        starts.push(epoch);
        let excess = starts.len().saturating_sub(LINEAGE_MAX);
        starts.drain(..excess);
    }

    /// Where the epoch ended, if it is known; the current one ends at `head`.
    pub(crate) fn end(&self, epoch: Epoch, head: Seq) -> Option<Seq> {
        if epoch == self.current { Some(head) } else { self.past_end(epoch) }
    }

    /// Where an epoch ended that has ended, if it is known.
    pub(crate) fn past_end(&self, epoch: Epoch) -> Option<Seq> {
        self.past.iter().rev().find(|past| past.epoch == epoch).map(|past| past.end)
    }

    /// The fork of this history, up to its cursor, and of a server's or another client's, up to its head: the lowest end of the last
    /// epoch that both know. All up to it is shared; what either has above it, the other may never have seen. `None` when they share
    /// no epoch.
    ///
    /// A client that has seen nothing shares all of nothing. O(client's epochs × server's).
    pub fn fork(&self, cursor: Seq, server: &Self, head: Seq) -> Option<Seq> {
        if cursor == Seq(0) {
            return Some(Seq(0));
        }
        let known = std::iter::once((self.current, cursor)).chain(self.past.iter().rev().map(|p| (p.epoch, p.end)));
        known
            .filter_map(|(epoch, end)| {
                let mut shared = end.min(server.end(epoch, head)?);
                if mutant!("the fork is where the client is") {
                    shared = end;
                }
                Some(shared)
            })
            .next()
            .map(|fork| fork.min(cursor).min(head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lineage(past: &[(u64, u64)], current: u64) -> Lineage {
        let past = past.iter().map(|&(epoch, end)| PastEpoch { epoch: Epoch(epoch), end: Seq(end) }).collect();
        Lineage { past, current: Epoch(current) }
    }

    #[test]
    fn forks() {
        let check = |client: &Lineage, cursor, server: &Lineage, head, expected: Option<u64>| {
            assert_eq!(client.fork(Seq(cursor), server, Seq(head)), expected.map(Seq));
        };
        let first = lineage(&[], 1);
        let restarted = lineage(&[(1, 50)], 2);
        // Same epoch: nothing forks.
        check(&first, 40, &first, 50, Some(40));
        // A restart that lost nothing the client has.
        check(&first, 50, &restarted, 60, Some(50));
        // Restored from a backup made at 30.
        check(&first, 50, &lineage(&[(1, 30)], 3), 31, Some(30));
        // The client lived through a restart that the restored server knows nothing of.
        check(&restarted, 70, &lineage(&[(1, 30)], 4), 30, Some(30));
        check(&restarted, 70, &lineage(&[(1, 60)], 4), 60, Some(50));
        // The other is a client too, and has not read all of the epoch before.
        check(&restarted, 50, &lineage(&[(1, 50)], 3), 40, Some(40));
        // Strangers, and a client that has seen nothing.
        check(&first, 50, &lineage(&[], 9), 50, None);
        check(&first, 0, &lineage(&[], 9), 50, Some(0));
    }

    #[test]
    fn of_store_fills_the_epochs_without_writes() {
        let starts = [Epoch(1), Epoch(2), Epoch(3), Epoch(4)];
        let writes = |list: &[(u64, u64)]| lineage(list, 0).past;
        assert_eq!(Lineage::of_store(&starts, &writes(&[(2, 20)])), lineage(&[(1, 0), (2, 20), (3, 20)], 4));
        assert_eq!(Lineage::of_store(&starts, &[]), lineage(&[(1, 0), (2, 0), (3, 0)], 4));
        // Epochs 8 and 9 are older than what the store remembers.
        assert_eq!(Lineage::of_store(&starts[..2], &writes(&[(8, 5), (9, 7)])), lineage(&[(1, 7)], 2));
        assert_eq!(Lineage::of_store(&starts[..3], &writes(&[(9, 7), (2, 8)])), lineage(&[(1, 7), (2, 8)], 3));
    }

    #[test]
    fn a_start_takes_the_place_of_one_that_wrote_nothing() {
        let check = |starts: &[u64], has_last_written, expected: &[u64]| {
            let mut starts: Vec<_> = starts.iter().copied().map(Epoch).collect();
            Lineage::push_start(&mut starts, has_last_written, Epoch(9));
            assert_eq!(starts, expected.iter().copied().map(Epoch).collect::<Vec<_>>());
        };
        check(&[], false, &[9]);
        check(&[1], false, &[1, 9]);
        check(&[1, 2], false, &[1, 9]);
        check(&[1, 2], true, &[1, 2, 9]);
    }
}
