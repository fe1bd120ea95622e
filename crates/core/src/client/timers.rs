//! The deadlines of a client, in one table: who waits for a time sets its timer here, and the client looks at all of them at
//! once.
//!
//! It does not know what a timer is for. The shape is that of quinn-proto's `TimerTable`.

use super::{
    link::{ANSWER_MS_MAX, BACKOFF_MS_MAX, PING_MS},
    outbox::WAIT_MS_MAX,
    siblings::SIBLINGS_FIRST_MS,
    verifier::VERIFY_AFTER_MS,
};

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The next attempt to connect.
    Connect,
    /// The next ping.
    Ping,
    /// A frame of the server, without which the connection is dead.
    Answer,
    /// The first write that the server did not take at once, to send it again.
    Resend,
    /// The end of the time in which writes of siblings go first.
    Siblings,
    /// The next comparison of digests after a change.
    Verify,
}

impl Timer {
    const ALL: [Self; 6] = [Self::Connect, Self::Ping, Self::Answer, Self::Resend, Self::Siblings, Self::Verify];

    /// The longest that this timer ever waits.
    fn wait_ms_max(self) -> u64 {
        match self {
            Self::Connect => 2 * BACKOFF_MS_MAX,
            Self::Ping => PING_MS,
            Self::Answer => ANSWER_MS_MAX,
            Self::Resend => WAIT_MS_MAX,
            Self::Siblings => SIBLINGS_FIRST_MS,
            Self::Verify => VERIFY_AFTER_MS,
        }
    }

    /// The latest deadline that there can be now. One that is later was set before the local clock was set back.
    pub(super) fn latest_ms(self, now_ms: u64) -> u64 {
        now_ms.saturating_add(self.wait_ms_max())
    }
}

/// The deadlines, by the local clock.
#[derive(Clone, Debug, Default)]
pub(super) struct TimerTable {
    deadlines_ms: [Option<u64>; Timer::ALL.len()],
}

impl TimerTable {
    /// Sets a timer, whatever it was set to.
    pub(super) fn set(&mut self, timer: Timer, deadline_ms: u64) {
        self.deadlines_ms[timer as usize] = Some(deadline_ms);
    }

    /// Sets a timer that is not set.
    pub(super) fn start(&mut self, timer: Timer, deadline_ms: u64) {
        self.deadlines_ms[timer as usize].get_or_insert(deadline_ms);
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.deadlines_ms[timer as usize] = None;
    }

    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.deadlines_ms[timer as usize].is_some()
    }

    /// The earliest deadline.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.deadlines_ms.iter().copied().flatten().min()
    }

    /// Whether a timer's deadline has come. Then it is set no more.
    pub(super) fn expire(&mut self, timer: Timer, now_ms: u64) -> bool {
        self.deadlines_ms[timer as usize].take_if(|deadline_ms| *deadline_ms <= now_ms).is_some()
    }

    /// Brings nearer what is farther away than it can be: the local clock was set back.
    pub(super) fn follow_clock(&mut self, now_ms: u64) {
        for (timer, deadline_ms) in Timer::ALL.into_iter().zip(&mut self.deadlines_ms) {
            *deadline_ms = deadline_ms.map(|deadline_ms| deadline_ms.min(timer.latest_ms(now_ms)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_timer_has_its_own_place() {
        let mut timers = TimerTable::default();
        for (place, timer) in Timer::ALL.into_iter().enumerate() {
            assert_eq!(timer as usize, place);
            timers.set(timer, 10 + place as u64);
        }
        assert_eq!(timers.next_ms(), Some(10));
        assert!(!timers.expire(Timer::Connect, 9));
        assert!(timers.expire(Timer::Connect, 10) && !timers.is_set(Timer::Connect));
        assert!(!timers.expire(Timer::Connect, 10), "once");
        timers.stop(Timer::Ping);
        assert_eq!(timers.next_ms(), Some(12));
    }

    #[test]
    fn a_started_timer_keeps_its_deadline() {
        let mut timers = TimerTable::default();
        timers.start(Timer::Answer, 5);
        timers.start(Timer::Answer, 9);
        assert_eq!(timers.next_ms(), Some(5));
        timers.set(Timer::Answer, 9);
        assert_eq!(timers.next_ms(), Some(9));
    }

    #[test]
    fn no_timer_waits_for_a_clock_that_was_set_back() {
        for timer in Timer::ALL {
            let mut timers = TimerTable::default();
            timers.set(timer, 1_000_000_000);
            timers.follow_clock(1000);
            assert_eq!(timers.next_ms(), Some(1000 + timer.wait_ms_max()), "{timer:?}");
            timers.follow_clock(2000);
            assert_eq!(timers.next_ms(), Some(1000 + timer.wait_ms_max()), "{timer:?} once");
        }
    }
}
