//! The server's time as this client estimates it, and the stamps that follow it.
//!
//! The local clock may be wrong and may jump. It is never asked here: each time is an argument.

use super::link::ANSWER_MS_MAX;
use crate::{Clock, HybridTime, ReplicaId, Stamp, limits::CLOCK_AHEAD_MS_MAX, mutants::mutant};

/// A clock that follows the server's.
#[derive(Clone, Debug)]
pub(super) struct ServerTime {
    clock: Clock,
    /// The server's clock minus the local one.
    offset_ms: i64,
}

impl ServerTime {
    pub(super) fn new(replica: ReplicaId) -> Self {
        Self { clock: Clock::new(replica), offset_ms: 0 }
    }

    /// Whose stamps these are.
    pub(super) fn replica(&self) -> ReplicaId {
        self.clock.replica()
    }

    pub(super) fn offset_ms(&self) -> i64 {
        self.offset_ms
    }

    /// The stamp of a write that replaces `replaced`. Earlier writes of the key have the times of `taken`: a clock that was set
    /// back would make one of them again, and the server would take the later write for a resend of the earlier one.
    pub(super) fn stamp(&mut self, replaced: Stamp, taken: &[Stamp], is_put: bool, now_ms: u64) -> Stamp {
        let mut made = || self.clock.stamp(now_ms.saturating_add_signed(self.offset_ms), replaced, is_put);
        let mut stamp = made();
        // Times rise with each try, so each that is taken is met once; at the end of time there is no later one.
        for _ in taken {
            if !taken.iter().any(|taken| taken.time() == stamp.time()) {
                break;
            }
            stamp = made();
        }
        stamp
    }

    /// The server's clock was read between `sent_ms` and now: half way, as Cristian's algorithm has it. If that took longer than
    /// any answer may, this end or the line has slept, and it says nothing. Returns whether it says anything.
    pub(super) fn handle_reading(&mut self, sent_ms: u64, server_ms: u64, now_ms: u64) -> bool {
        let took_ms = now_ms.saturating_sub(sent_ms);
        if took_ms > ANSWER_MS_MAX {
            return false;
        }
        let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        self.offset_ms = ms(server_ms.saturating_add(took_ms / 2)).saturating_sub(ms(now_ms));
        true
    }

    /// The server has refused a stamp for its time, and says what its own clock shows.
    pub(super) fn handle_clock_ahead(&mut self, server_ms: u64, now_ms: u64) {
        self.handle_reading(now_ms, server_ms, now_ms);
        if mutant!("a wrong clock goes on") {
            return;
        }
        self.clock.forget_above(latest(server_ms));
    }
}

/// The latest time that a server admits without having an entry to compare with.
pub(super) fn latest(server_ms: u64) -> HybridTime {
    HybridTime::from_millis(server_ms.saturating_add(CLOCK_AHEAD_MS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_follow_the_server() {
        let mut time = ServerTime::new(ReplicaId(1));
        // A local clock that is an hour ahead, and a round trip of 200 ms.
        let now_ms = 3_600_000 + 1000;
        time.handle_reading(now_ms - 200, 900, now_ms);
        assert_eq!(time.offset_ms(), -3_600_000);
        assert_eq!(time.stamp(Stamp::ZERO, &[], true, now_ms).millis(), 1000);
    }

    #[test]
    fn a_clock_that_was_ahead_begins_anew() {
        let mut time = ServerTime::new(ReplicaId(1));
        let first = time.stamp(Stamp::ZERO, &[], true, 900_000);
        time.handle_clock_ahead(1000, 900_000);
        let second = time.stamp(Stamp::ZERO, &[], true, 900_001);
        assert!(second < first && second.millis() <= 1001);
    }

    #[test]
    fn no_stamp_is_made_twice_for_a_key() {
        let mut time = ServerTime::new(ReplicaId(1));
        time.handle_reading(0, 0, 0);
        let first = time.stamp(Stamp::ZERO, &[], true, 500_000);
        // Another's write pushes the clock on, the server refuses that time, and half a second later it is as late as before.
        time.stamp(Stamp::new(HybridTime::from_millis(900_000), true, ReplicaId(2)), &[], true, 500_000);
        time.handle_clock_ahead(0, 500_000);
        let again = time.clone().stamp(Stamp::ZERO, &[], true, 1_000_000);
        assert_eq!(again, first);
        let taken = [Stamp::ZERO, first, Stamp::new(first.time().next(), false, ReplicaId(1))];
        let second = time.stamp(Stamp::ZERO, &taken, true, 1_000_000);
        assert_eq!(second.time(), first.time().next().next());
        assert!(time.stamp(Stamp::MAX, &[Stamp::MAX], true, 0) == Stamp::new(Stamp::MAX.time(), true, ReplicaId(1)));
    }
}
