//! The link: when to connect, when to ping, and when a connection is taken for dead.
//!
//! It opens no socket: it asks the driver for that, which says what came of it.
//!
//! A line that drops packets says nothing, so a page that somebody looks at asks after a short silence. One that nobody looks at, and
//! a program, ask now and then: often enough for the server not to give them up.

use std::{collections::VecDeque, mem};

use super::timers::{Timer, TimerTable};

/// A ping this often. Browsers hide the WebSocket's own.
pub(super) const PING_MS: u64 = 25_000;
/// After a ping or a Hello some frame comes within this, or the connection is dead.
pub(super) const ANSWER_MS_MAX: u64 = 10_000;
/// While somebody looks, a ping after so long without a frame; and if nothing is on its way to the server, which the ping would have
/// to wait for, the connection is dead after as long again.
pub(super) const QUIET_MS_MAX: u64 = 5000;
/// The first wait before connecting again is between zero and this; it doubles with each failure.
pub(super) const BACKOFF_MS_MIN: u64 = 500;
/// The longest wait before connecting again.
pub(super) const BACKOFF_MS_MAX: u64 = 30_000;

/// What the driver has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a socket; then `handle_connected` or `handle_disconnected`.
    Connect,
    /// Close the socket, if there is one; then `handle_disconnected`.
    Disconnect,
    /// Fetch the snapshot; then `handle_snapshot` or `handle_snapshot_failed`.
    FetchSnapshot,
}

/// How far the connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not connected, and waiting to connect again.
    Waiting,
    /// The driver opens a socket.
    Connecting,
    /// Hello has been sent.
    Greeting {
        /// When.
        since_ms: u64,
    },
    /// Welcome has come, and a snapshot is being fetched.
    Fetching,
    /// Welcome has come, and Deltas follow.
    Following,
}

/// The connection, as the client knows it.
#[derive(Clone, Debug)]
pub(super) struct Link {
    phase: Phase,
    /// Since a connection last lived until its first ping: one that ends right after its Welcome has failed too.
    attempts: u32,
    /// A connection has failed, and none has come to a Welcome since.
    has_failed: bool,
    /// What the server has asked for with its Bye.
    retry_after_ms: u64,
    /// Somebody looks at what is shown.
    is_visible: bool,
    /// The last frame came then.
    heard_ms: u64,
    /// The last ping went then; none if the next is due at once.
    pinged_ms: Option<u64>,
    actions: VecDeque<Action>,
}

impl Link {
    /// A link that connects at once.
    pub(super) fn new(timers: &mut TimerTable, now_ms: u64) -> Self {
        let mut link = Self::opening(timers, now_ms);
        link.connect(timers, now_ms);
        link
    }

    /// A link that waits to be told, for as long as links ever wait.
    pub(super) fn opening(timers: &mut TimerTable, now_ms: u64) -> Self {
        timers.set(Timer::Connect, now_ms + BACKOFF_MS_MAX);
        Self {
            phase: Phase::Waiting,
            attempts: 0,
            has_failed: false,
            retry_after_ms: 0,
            is_visible: false,
            heard_ms: now_ms,
            pinged_ms: None,
            actions: VecDeque::new(),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether the server has said Welcome.
    pub(super) fn is_welcome(&self) -> bool {
        matches!(self.phase, Phase::Fetching | Phase::Following)
    }

    /// Whether there is no connection, as far as a person is told: attempts after a failure are no news.
    pub(super) fn is_offline(&self) -> bool {
        matches!(self.phase, Phase::Waiting | Phase::Connecting) && self.has_failed
    }

    pub(super) fn handle_connected(&mut self, timers: &mut TimerTable, now_ms: u64) {
        self.phase = Phase::Greeting { since_ms: now_ms };
        timers.start(Timer::Answer, now_ms + ANSWER_MS_MAX);
    }

    pub(super) fn set_visible(&mut self, is_visible: bool) {
        self.is_visible = is_visible;
    }

    /// A frame came.
    pub(super) fn handle_heard(&mut self, timers: &mut TimerTable, now_ms: u64) {
        self.heard_ms = now_ms;
        timers.stop(Timer::Answer);
    }

    pub(super) fn handle_welcome(&mut self, timers: &mut TimerTable, now_ms: u64) {
        self.phase = Phase::Following;
        self.has_failed = false;
        self.wait_to_ping(timers, now_ms);
    }

    /// The next ping is due at once.
    pub(super) fn ping(&mut self, timers: &mut TimerTable, now_ms: u64) {
        self.pinged_ms = None;
        timers.set(Timer::Ping, now_ms);
    }

    /// Full jitter: a random wait below a bound that doubles, after what the server asked for.
    pub(super) fn handle_disconnected(&mut self, timers: &mut TimerTable, now_ms: u64, random: u64) {
        let bound_ms = BACKOFF_MS_MAX.min(BACKOFF_MS_MIN << self.attempts.min(16));
        self.attempts = self.attempts.saturating_add(1);
        (self.phase, self.has_failed) = (Phase::Waiting, true);
        self.actions.clear();
        timers.stop(Timer::Ping);
        timers.stop(Timer::Answer);
        timers.set(Timer::Connect, now_ms + mem::take(&mut self.retry_after_ms) + random % (bound_ms + 1));
    }

    /// The server asks for a wait before the next connection.
    pub(super) fn retry_after(&mut self, ms: u64) {
        self.retry_after_ms = ms.min(BACKOFF_MS_MAX);
    }

    /// Ends the connection for a reason of this end; the driver does it.
    pub(super) fn disconnect(&mut self, timers: &mut TimerTable) {
        timers.stop(Timer::Answer);
        self.actions.push_back(Action::Disconnect);
    }

    /// Asks for a snapshot. Until it is there no Delta is taken.
    pub(super) fn fetch(&mut self) {
        self.phase = Phase::Fetching;
        self.actions.push_back(Action::FetchSnapshot);
    }

    /// The snapshot is there.
    pub(super) fn handle_fetched(&mut self) {
        self.phase = Phase::Following;
    }

    /// The network is back, or somebody looks: connect at once, or find out at once whether the connection lives.
    pub(super) fn handle_online(&mut self, timers: &mut TimerTable, now_ms: u64) {
        match self.phase {
            Phase::Waiting => {
                self.attempts = 0;
                self.connect(timers, now_ms);
            }
            Phase::Fetching | Phase::Following => self.ping(timers, now_ms),
            Phase::Connecting | Phase::Greeting { .. } => {}
        }
    }

    /// Returns whether a ping is due. `is_sending` is whether something that was sent has no answer yet.
    pub(super) fn handle_timeout(&mut self, timers: &mut TimerTable, is_sending: bool, now_ms: u64) -> bool {
        if timers.expire(Timer::Answer, now_ms) {
            self.disconnect(timers);
            return false;
        }
        if timers.expire(Timer::Connect, now_ms) {
            self.connect(timers, now_ms);
        }
        if !timers.expire(Timer::Ping, now_ms) {
            return false;
        }
        if let Some(at_ms) = self.next_ping_ms(now_ms) {
            timers.set(Timer::Ping, at_ms);
            return false;
        }
        self.attempts = 0;
        self.wait_to_ping(timers, now_ms);
        let is_quick = self.is_visible && self.phase == Phase::Following && !is_sending;
        timers.start(Timer::Answer, now_ms + if is_quick { QUIET_MS_MAX } else { ANSWER_MS_MAX });
        true
    }

    /// When the next ping is due; none if that is now. The timer is not set anew by each frame, so it may come too early.
    fn next_ping_ms(&self, now_ms: u64) -> Option<u64> {
        // None too if the local clock was set back.
        let end_of = |from_ms: u64, ms: u64| (from_ms..from_ms + ms).contains(&now_ms).then_some(from_ms + ms);
        let next_ms = end_of(self.pinged_ms?, PING_MS)?;
        if !self.is_visible {
            return Some(next_ms);
        }
        end_of(self.heard_ms, QUIET_MS_MAX).map(|quiet_ms| quiet_ms.min(next_ms))
    }

    fn wait_to_ping(&mut self, timers: &mut TimerTable, now_ms: u64) {
        self.pinged_ms = Some(now_ms);
        timers.set(Timer::Ping, now_ms + if self.is_visible { QUIET_MS_MAX } else { PING_MS });
    }

    fn connect(&mut self, timers: &mut TimerTable, now_ms: u64) {
        self.phase = Phase::Connecting;
        self.actions.push_back(Action::Connect);
        timers.stop(Timer::Connect);
        timers.start(Timer::Answer, now_ms + ANSWER_MS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> (Link, TimerTable) {
        let mut timers = TimerTable::default();
        (Link::new(&mut timers, 0), timers)
    }

    #[test]
    fn who_is_silent_is_given_up() {
        let (mut link, mut timers) = link();
        assert_eq!(link.poll_action(), Some(Action::Connect));
        link.handle_connected(&mut timers, 1);
        assert_eq!(timers.next_ms(), Some(ANSWER_MS_MAX), "the time for the socket and for Welcome together");
        assert!(!link.handle_timeout(&mut timers, false, ANSWER_MS_MAX));
        assert_eq!(link.poll_action(), Some(Action::Disconnect));
        link.handle_disconnected(&mut timers, ANSWER_MS_MAX, 0);
        assert!(link.is_offline());
        assert_eq!((link.phase(), timers.next_ms()), (Phase::Waiting, Some(ANSWER_MS_MAX)));
    }

    #[test]
    fn pings_go_out_while_connected() {
        let (mut link, mut timers) = link();
        link.handle_connected(&mut timers, 0);
        link.handle_welcome(&mut timers, 0);
        timers.stop(Timer::Answer);
        assert_eq!(timers.next_ms(), Some(PING_MS));
        assert!(link.handle_timeout(&mut timers, false, PING_MS));
        assert_eq!(timers.next_ms(), Some(PING_MS + ANSWER_MS_MAX), "an answer comes first");
        link.handle_online(&mut timers, PING_MS + 1);
        assert!(link.handle_timeout(&mut timers, false, PING_MS + 1), "somebody looks");
    }

    /// A line that dropped all packets looked Live for 33 s. Each check is of a page that heard something last at 2 s: when it pings,
    /// and when it gives the connection up.
    #[test]
    fn a_silent_line_is_noticed_while_somebody_looks() {
        let check = |is_visible: bool, is_sending: bool, expected: (u64, u64)| {
            let (mut link, mut timers) = link();
            link.set_visible(is_visible);
            link.handle_connected(&mut timers, 0);
            link.handle_welcome(&mut timers, 0);
            link.handle_heard(&mut timers, 2000);
            let mut pinged_ms = None;
            link.actions.clear();
            while link.actions.is_empty() {
                let now_ms = timers.next_ms().unwrap();
                let is_due = link.handle_timeout(&mut timers, is_sending, now_ms);
                pinged_ms = pinged_ms.or(is_due.then_some(now_ms));
                if !link.actions.is_empty() {
                    assert_eq!((pinged_ms, now_ms), (Some(expected.0), expected.1), "{is_visible} {is_sending}");
                }
            }
        };
        check(true, false, (7000, 12_000));
        check(true, true, (7000, 17_000));
        check(false, false, (25_000, 35_000));
    }

    /// A page hears something all the time: it pings all the same, for the server has to hear something too.
    #[test]
    fn who_hears_pings_now_and_then() {
        let (mut link, mut timers) = link();
        link.set_visible(true);
        link.handle_connected(&mut timers, 0);
        link.handle_welcome(&mut timers, 0);
        let mut pings_ms = Vec::new();
        for now_ms in (0..=60_000).step_by(100) {
            link.handle_heard(&mut timers, now_ms);
            if link.handle_timeout(&mut timers, false, now_ms) {
                pings_ms.push(now_ms);
            }
        }
        assert_eq!(pings_ms, [PING_MS, 2 * PING_MS]);
    }

    #[test]
    fn waits_grow_after_what_the_server_asked_for() {
        let (mut link, mut timers) = link();
        link.retry_after(u64::MAX);
        let mut waits_ms = Vec::new();
        for _ in 0..20 {
            // The greatest wait below each of these bounds is near the bound.
            link.handle_disconnected(&mut timers, 0, 20_000);
            waits_ms.push(timers.next_ms().unwrap());
            assert!(!link.handle_timeout(&mut timers, false, BACKOFF_MS_MAX * 2));
            assert_eq!(link.phase(), Phase::Connecting);
        }
        assert_eq!(waits_ms[0], BACKOFF_MS_MAX + 20_000 % 501);
        assert!(waits_ms[1..].iter().all(|&wait_ms| wait_ms <= BACKOFF_MS_MAX));
        assert_eq!(waits_ms[19], 20_000);
    }
}
