//! Branches: where a write was confirmed that its server has lost since, and by that what its writer had seen.

use minicbor::{
    Decoder, Encoder,
    decode::{self, Decode},
    encode::{self, Encode, Write},
};

use crate::{Lineage, PastEpoch, Seq, limits::BRANCH_MAX, mutants::mutant};

/// The history of a write that a server had confirmed and that a rollback took back: epochs, oldest first, each with the
/// dictionary's head at its end. The last is the epoch of the confirmation, and ends with it. The first is one that the server
/// still knew when it had lost the write.
///
/// So it says what the write's writer had seen of what the server has: all up to the fork. And of two writes
/// that come back it says whether they were confirmed in one history. Then what conflict there was between them arose there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch(Vec<PastEpoch>);

impl Branch {
    /// A branch of these epochs: one to [`BRANCH_MAX`]. None if there are fewer or more.
    pub fn new(epochs: Vec<PastEpoch>) -> Option<Self> {
        (1..=BRANCH_MAX).contains(&epochs.len()).then_some(Self(epochs))
    }

    /// Its epochs.
    pub fn epochs(&self) -> &[PastEpoch] {
        &self.0
    }

    /// The branch of what was confirmed at `seq` in this lineage, and is lost to a server of another.
    pub(crate) fn of(lineage: &Lineage, seq: Seq, server: &Lineage) -> Self {
        let before = lineage.past.partition_point(|past| past.end < seq);
        let epoch = lineage.past.get(before).map_or(lineage.current, |past| past.epoch);
        let mut branch = Self(vec![PastEpoch { epoch, end: seq }]);
        branch.begin_with(&lineage.past[..before], server);
        branch
    }

    /// The server was set back once more, perhaps to before all that the branch names. `lineage` may say what was before.
    pub(crate) fn extend(&mut self, lineage: &Lineage, server: &Lineage) {
        if let Some(before) = lineage.past.iter().position(|past| past.epoch == self.0[0].epoch) {
            self.begin_with(&lineage.past[..before], server);
        }
    }

    /// Begins with the newest epoch that the server knows. Of too many the oldest and the newest stay.
    fn begin_with(&mut self, before: &[PastEpoch], server: &Lineage) {
        let is_known = |past: &PastEpoch| server.past_end(past.epoch).is_some();
        if self.0.iter().any(is_known) {
            return;
        }
        let from = before.iter().rposition(is_known).unwrap_or(0);
        self.0.splice(0..0, before[from..].iter().copied());
        let excess = self.0.len().saturating_sub(BRANCH_MAX);
        self.0.drain(1..1 + excess);
    }

    /// The last seq that the branch shares with the history of a server which has lost the write. None if it hangs on nothing
    /// that the server knows, or if the server has the confirmation yet. O(epochs of the branch × the server's).
    pub fn fork(&self, server: &Lineage) -> Option<Seq> {
        // No run of a server loses what it has confirmed itself.
        if self.0.iter().any(|past| past.epoch == server.current) {
            return None;
        }
        let shared = |past: &PastEpoch| Some((*past, server.past_end(past.epoch)?));
        let (newest, end) = self.0.iter().rev().find_map(shared)?;
        if mutant!("forks are not lowered") {
            return Some(newest.end);
        }
        let is_lost = newest.epoch != self.confirmation().epoch || newest.end > end;
        is_lost.then_some(newest.end.min(end))
    }

    /// Whether the server knows an epoch of the branch. If not, it has no history in common with the write. O(epochs of the branch ×
    /// the server's).
    pub(crate) fn hangs_on(&self, server: &Lineage) -> bool {
        self.0.iter().any(|past| past.epoch == server.current || server.past_end(past.epoch).is_some())
    }

    /// Whether both writes were confirmed in one history. O(epochs).
    pub(crate) fn is_one_with(&self, other: &Self) -> bool {
        self.has(other.confirmation()) || other.has(self.confirmation())
    }

    /// Whether a confirmation belongs to the history: that of an earlier epoch up to its end, all of the last one.
    fn has(&self, confirmation: PastEpoch) -> bool {
        let epoch = self.0.iter().find(|past| past.epoch == confirmation.epoch);
        epoch.is_some_and(|past| past.epoch == self.confirmation().epoch || confirmation.end <= past.end)
    }

    fn confirmation(&self) -> PastEpoch {
        *self.0.last().expect("a branch has an epoch")
    }
}

impl Encode<()> for Branch {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, context: &mut ()) -> Result<(), encode::Error<W::Error>> {
        self.0.encode(encoder, context)
    }
}

impl<'b> Decode<'b, ()> for Branch {
    fn decode(decoder: &mut Decoder<'b>, context: &mut ()) -> Result<Self, decode::Error> {
        let epochs = Vec::<PastEpoch>::decode(decoder, context)?;
        Self::new(epochs).ok_or_else(|| decode::Error::message("a branch has 1 to 16 epochs"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Epoch;

    fn epochs(list: &[(u64, u64)]) -> Vec<PastEpoch> {
        list.iter().map(|&(epoch, end)| PastEpoch { epoch: Epoch(epoch), end: Seq(end) }).collect()
    }

    fn branch(list: &[(u64, u64)]) -> Branch {
        Branch::new(epochs(list)).unwrap()
    }

    fn lineage(past: &[(u64, u64)], current: u64) -> Lineage {
        Lineage { past: epochs(past), current: Epoch(current) }
    }

    #[test]
    fn a_branch_begins_where_the_server_knows_it() {
        let client = lineage(&[(1, 10), (2, 20), (3, 30)], 4);
        let check = |seq, server: &Lineage, expected: &[(u64, u64)]| {
            assert_eq!(Branch::of(&client, Seq(seq), server), branch(expected), "{seq}");
        };
        let set_back = lineage(&[(1, 10), (2, 15)], 9);
        check(17, &set_back, &[(2, 17)]);
        check(20, &set_back, &[(2, 20)]);
        check(21, &set_back, &[(2, 20), (3, 21)]);
        check(35, &set_back, &[(2, 20), (3, 30), (4, 35)]);
        check(35, &lineage(&[], 9), &[(1, 10), (2, 20), (3, 30), (4, 35)]);
        let mut extended = branch(&[(3, 21)]);
        extended.extend(&client, &lineage(&[(1, 5)], 8));
        assert_eq!(extended, branch(&[(1, 10), (2, 20), (3, 21)]));
    }

    #[test]
    fn a_long_branch_keeps_its_ends() {
        let past: Vec<_> = (1..=40).map(|n| (n, 10 * n)).collect();
        let long = Branch::of(&lineage(&past, 41), Seq(405), &lineage(&past[..1], 99));
        assert_eq!(long.0.len(), BRANCH_MAX);
        assert_eq!((long.0[0].epoch, long.0[1].epoch, long.confirmation().epoch), (Epoch(1), Epoch(27), Epoch(41)));
    }

    #[test]
    fn forks() {
        let check = |list: &[(u64, u64)], server: &Lineage, expected: Option<u64>| {
            assert_eq!(branch(list).fork(server), expected.map(Seq), "{list:?}");
        };
        let server = lineage(&[(1, 10), (2, 15)], 9);
        check(&[(2, 17)], &server, Some(15));
        check(&[(1, 12), (3, 13)], &server, Some(10));
        check(&[(1, 8), (3, 13)], &server, Some(8));
        check(&[(2, 15)], &server, None);
        check(&[(2, 3)], &server, None);
        check(&[(7, 3)], &server, None);
        check(&[(9, u64::MAX)], &server, None);
        check(&[(1, u64::MAX), (9, 5)], &server, None);
    }

    #[test]
    fn one_history() {
        let check = |a: &[(u64, u64)], b: &[(u64, u64)], expected| {
            assert_eq!(branch(a).is_one_with(&branch(b)), expected, "{a:?} {b:?}");
            assert_eq!(branch(b).is_one_with(&branch(a)), expected, "{b:?} {a:?}");
        };
        check(&[(1, 5)], &[(1, 9)], true);
        check(&[(1, 5)], &[(1, 9), (2, 12)], true);
        check(&[(1, 10)], &[(1, 9), (2, 12)], false);
        check(&[(1, 9), (2, 12)], &[(1, 9), (3, 12)], false);
    }
}
