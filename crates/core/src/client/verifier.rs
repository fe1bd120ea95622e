//! The verifier: whether the base is what the server has, which the digests of both say.
//!
//! The server is asked for its digest after each catch-up, [`VERIFY_AFTER_MS`] after a change, and with each ping that finds
//! something unverified. Its answer is compared when the base has come to the seq of the answer. If the digests differ, the base is
//! fetched anew, but not again and again: a fault that a snapshot does not mend would otherwise fetch one after the other.
//!
//! It sends nothing and fetches nothing: the client does, by what is found here.

use crate::{Digest, Seq, wire::Check};

/// At most one snapshot in this time mends a base whose digest differs.
pub const HEAL_MS_MIN: u64 = 600_000;

/// The server is asked for its digest this long after a change, so that a flood of changes is one comparison.
pub(super) const VERIFY_AFTER_MS: u64 = 2000;

/// What a comparison has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The digests are the same.
    Same,
    /// The seq of the server's digest went by in the middle of a catch-up. It has to be asked again.
    Passed,
    /// The digests differ, and the base has to be fetched anew.
    Differs,
    /// The digests differ, and a snapshot has been fetched for that a short while ago.
    DiffersStill,
}

/// What is known of the server's digest.
#[derive(Clone, Debug, Default)]
pub(super) struct Verifier {
    /// An answer that the base has not come to.
    check: Option<Check>,
    /// Where the digests were last the same.
    verified: Option<Seq>,
    /// The cursor at which the server was last asked over this connection.
    asked: Option<Seq>,
    /// The server has not been asked since the base was last brought up to date as a whole.
    is_due: bool,
    healed_at_ms: Option<u64>,
    divergences: u64,
    /// As the server said last, see [`Check::untold`].
    untold: u64,
}

impl Verifier {
    /// The last seq at which the digests were the same.
    pub(super) fn verified(&self) -> Option<Seq> {
        self.verified
    }

    /// How often they were not.
    pub(super) fn divergences(&self) -> u64 {
        self.divergences
    }

    /// How many losing values have no conflict row.
    pub(super) fn untold(&self) -> u64 {
        self.untold
    }

    /// Takes nothing for verified until the server has answered.
    pub(super) fn forget(&mut self) {
        self.verified = None;
    }

    /// Welcome has come: what was verified is of another connection, maybe of another history.
    pub(super) fn handle_welcome(&mut self) {
        (self.verified, self.is_due) = (None, true);
    }

    /// The base is a new snapshot.
    pub(super) fn handle_snapshot(&mut self) {
        self.is_due = true;
    }

    pub(super) fn handle_disconnected(&mut self) {
        (self.check, self.asked) = (None, None);
    }

    /// The server is asked while the base is at `cursor`.
    pub(super) fn handle_asked(&mut self, cursor: Seq) {
        self.asked = Some(cursor);
    }

    /// Whether a settled base at `cursor` is another one than was last verified or asked about.
    pub(super) fn is_behind(&self, cursor: Seq) -> bool {
        self.verified != Some(cursor) && self.asked != Some(cursor)
    }

    /// The server has said what its digest is.
    pub(super) fn handle_check(&mut self, check: Check) {
        self.untold = check.untold;
        self.check = Some(check);
    }

    /// The base is settled. Returns whether the server is to be asked, once after each catch-up.
    pub(super) fn handle_settled(&mut self) -> bool {
        std::mem::take(&mut self.is_due)
    }

    /// Whether a comparison waits for nothing but the base.
    pub(super) fn is_waiting(&self) -> bool {
        self.check.is_some()
    }

    /// Compares what the server said with a settled base at its cursor: the digest, and how many live entries and tombstones it has. None
    /// if there is nothing to compare yet.
    pub(super) fn compare(&mut self, digest: Digest, counts: (u64, u64), cursor: Seq, now_ms: u64) -> Option<Finding> {
        let check = self.check.take_if(|check| check.seq <= cursor)?;
        if check.seq < cursor {
            return Some(Finding::Passed);
        }
        if (check.digest, (check.live, check.tombstones)) == (digest, counts) {
            self.verified = Some(check.seq);
            return Some(Finding::Same);
        }
        self.divergences += 1;
        self.verified = None;
        // A clock that was set back to before that has nothing to say about how long ago it was.
        if self.healed_at_ms.is_some_and(|at_ms| (at_ms..at_ms + HEAL_MS_MIN).contains(&now_ms)) {
            return Some(Finding::DiffersStill);
        }
        self.healed_at_ms = Some(now_ms);
        Some(Finding::Differs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seq: u64, live: u64) -> Check {
        Check { seq: Seq(seq), digest: Digest::default(), live, tombstones: 0, untold: 0 }
    }

    #[test]
    fn an_answer_waits_for_its_seq() {
        let (mut verifier, empty) = (Verifier::default(), Digest::default());
        assert_eq!(verifier.compare(empty, (0, 0), Seq(5), 0), None, "nothing to compare");
        verifier.handle_check(check(7, 0));
        assert_eq!(verifier.compare(empty, (0, 0), Seq(6), 0), None);
        assert!(verifier.is_waiting());
        assert_eq!(verifier.compare(empty, (0, 0), Seq(7), 0), Some(Finding::Same));
        assert_eq!((verifier.verified(), verifier.is_waiting()), (Some(Seq(7)), false));
        verifier.handle_check(check(8, 0));
        assert_eq!(verifier.compare(empty, (0, 0), Seq(9), 0), Some(Finding::Passed));
        assert_eq!(verifier.verified(), Some(Seq(7)), "that says nothing of the base");
    }

    /// Tombstones are in no digest.
    #[test]
    fn tombstones_are_counted() {
        let (mut verifier, empty) = (Verifier::default(), Digest::default());
        let mut compare = |tombstones, now_ms| {
            verifier.handle_check(Check { tombstones, ..check(7, 0) });
            verifier.compare(empty, (0, 2), Seq(7), now_ms)
        };
        assert_eq!([compare(2, 0), compare(3, 0)], [Some(Finding::Same), Some(Finding::Differs)]);
    }

    #[test]
    fn a_base_is_not_fetched_again_and_again() {
        let (mut verifier, empty) = (Verifier::default(), Digest::default());
        let mut differs = |now_ms| {
            verifier.handle_check(check(1, 1));
            verifier.compare(empty, (0, 0), Seq(1), now_ms)
        };
        assert_eq!(differs(1000), Some(Finding::Differs));
        assert_eq!(differs(1000 + HEAL_MS_MIN - 1), Some(Finding::DiffersStill));
        assert_eq!(differs(1000 + HEAL_MS_MIN), Some(Finding::Differs));
        assert_eq!((verifier.divergences(), verifier.verified()), (3, None));
    }

    /// The local clock was a day ahead when a base was mended, and was set right: nothing was mended for a day.
    #[test]
    fn a_clock_set_back_does_not_stop_the_mending() {
        let (mut verifier, empty) = (Verifier::default(), Digest::default());
        let mut differs = |now_ms| {
            verifier.handle_check(check(1, 1));
            verifier.compare(empty, (0, 0), Seq(1), now_ms)
        };
        assert_eq!(differs(86_400_000), Some(Finding::Differs));
        assert_eq!(differs(1000), Some(Finding::Differs));
        assert_eq!(differs(2000), Some(Finding::DiffersStill));
    }

    #[test]
    fn each_change_is_asked_about_once() {
        let (mut verifier, empty) = (Verifier::default(), Digest::default());
        assert!(verifier.is_behind(Seq(1)));
        verifier.handle_asked(Seq(1));
        assert!(!verifier.is_behind(Seq(1)) && verifier.is_behind(Seq(2)));
        verifier.handle_check(check(2, 0));
        verifier.compare(empty, (0, 0), Seq(2), 0);
        assert!(!verifier.is_behind(Seq(2)), "it is verified");
        verifier.handle_asked(Seq(3));
        verifier.handle_disconnected();
        assert!(verifier.is_behind(Seq(3)), "no answer can come any more");
    }

    #[test]
    fn each_catch_up_is_verified_once() {
        let mut verifier = Verifier::default();
        verifier.handle_welcome();
        assert_eq!([verifier.handle_settled(), verifier.handle_settled()], [true, false]);
        verifier.handle_snapshot();
        assert!(verifier.handle_settled());
    }
}
