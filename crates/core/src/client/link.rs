//! The link: when to connect, when to ping, and when a connection is taken for dead.

use std::collections::VecDeque;

/// A ping this often. Browsers hide the WebSocket's own.
pub(super) const PING_MS: u64 = 25_000;
/// After a ping or a Hello some frame comes within this, or the connection is dead.
pub(super) const ANSWER_MS_MAX: u64 = 10_000;
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
    /// Not connected, until the wait is over.
    Waiting {
        /// When to connect.
        until_ms: u64,
    },
    /// The driver opens a socket.
    Connecting,
    /// Hello is said.
    Greeting {
        /// When.
        since_ms: u64,
    },
    /// Welcome, and a snapshot is being fetched.
    Fetching,
    /// Deltas follow.
    Following,
}

#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) phase: Phase,
    /// Since a connection last lived until its first ping: one that ends right after its Welcome has failed too.
    attempts: u32,
    /// A connection has failed, and none has come to a Welcome since.
    has_failed: bool,
    ping_at_ms: u64,
    /// Set by what asks for an answer, cleared by every frame.
    answer_by_ms: Option<u64>,
    retry_after_ms: u64,
    actions: VecDeque<Action>,
}

impl Link {
    /// A link that connects at once.
    pub(super) fn new(now_ms: u64) -> Self {
        let actions = VecDeque::from([Action::Connect]);
        let (ping_at_ms, answer_by_ms) = (now_ms + PING_MS, Some(now_ms + ANSWER_MS_MAX));
        Self {
            phase: Phase::Connecting,
            attempts: 0,
            has_failed: false,
            ping_at_ms,
            answer_by_ms,
            retry_after_ms: 0,
            actions,
        }
    }

    /// A link that waits to be told, for as long as links ever wait.
    pub(super) fn opening(now_ms: u64) -> Self {
        let phase = Phase::Waiting { until_ms: now_ms + BACKOFF_MS_MAX };
        Self { phase, answer_by_ms: None, actions: VecDeque::new(), ..Self::new(now_ms) }
    }

    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub(super) fn is_welcome(&self) -> bool {
        matches!(self.phase, Phase::Fetching | Phase::Following)
    }

    /// Whether there is no connection, as far as a person is told: attempts after a failure are no news.
    pub(super) fn is_offline(&self) -> bool {
        matches!(self.phase, Phase::Waiting { .. } | Phase::Connecting) && self.has_failed
    }

    pub(super) fn handle_connected(&mut self, now_ms: u64) {
        self.phase = Phase::Greeting { since_ms: now_ms };
        self.expect_answer(now_ms);
    }

    pub(super) fn handle_received(&mut self, now_ms: u64) {
        self.follow_clock(now_ms);
        self.answer_by_ms = None;
    }

    pub(super) fn handle_welcome(&mut self, now_ms: u64) {
        self.phase = Phase::Following;
        self.has_failed = false;
        self.ping_at_ms = now_ms + PING_MS;
    }

    /// Full jitter: a random wait below a bound that doubles, after what the server asked for.
    pub(super) fn handle_disconnected(&mut self, now_ms: u64, random: u64) {
        let bound = BACKOFF_MS_MAX.min(BACKOFF_MS_MIN << self.attempts.min(16));
        self.attempts = self.attempts.saturating_add(1);
        let until_ms = now_ms + std::mem::take(&mut self.retry_after_ms) + random % (bound + 1);
        self.phase = Phase::Waiting { until_ms };
        self.answer_by_ms = None;
        self.has_failed = true;
        self.actions.clear();
    }

    pub(super) fn retry_after(&mut self, ms: u64) {
        self.retry_after_ms = ms.min(BACKOFF_MS_MAX);
    }

    /// Ends the connection for a reason of this end; the driver does it.
    pub(super) fn disconnect(&mut self) {
        self.answer_by_ms = None;
        self.actions.push_back(Action::Disconnect);
    }

    pub(super) fn fetch(&mut self) {
        self.phase = Phase::Fetching;
        self.actions.push_back(Action::FetchSnapshot);
    }

    /// The network is back, or somebody looks: connect at once, or find out at once whether the connection lives.
    pub(super) fn handle_online(&mut self, now_ms: u64) {
        match self.phase {
            Phase::Waiting { .. } => {
                self.attempts = 0;
                self.connect(now_ms);
            }
            Phase::Fetching | Phase::Following => self.ping_at_ms = now_ms,
            Phase::Connecting | Phase::Greeting { .. } => {}
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<u64> {
        let own = match self.phase {
            Phase::Waiting { until_ms } => Some(until_ms),
            Phase::Fetching | Phase::Following => Some(self.ping_at_ms),
            Phase::Connecting | Phase::Greeting { .. } => None,
        };
        own.into_iter().chain(self.answer_by_ms).min()
    }

    /// Returns whether a ping is due.
    pub(super) fn handle_timeout(&mut self, now_ms: u64) -> bool {
        self.follow_clock(now_ms);
        if self.answer_by_ms.is_some_and(|by| by <= now_ms) {
            self.disconnect();
            return false;
        }
        match self.phase {
            Phase::Waiting { until_ms } if until_ms <= now_ms => self.connect(now_ms),
            Phase::Fetching | Phase::Following if self.ping_at_ms <= now_ms => {
                self.attempts = 0;
                self.ping_at_ms = now_ms + PING_MS;
                self.expect_answer(now_ms);
                return true;
            }
            _ => {}
        }
        false
    }

    /// Brings nearer what is farther away than it can be: the local clock was set back.
    fn follow_clock(&mut self, now_ms: u64) {
        if let Phase::Waiting { until_ms } = &mut self.phase {
            *until_ms = (*until_ms).min(now_ms + 2 * BACKOFF_MS_MAX);
        }
        self.ping_at_ms = self.ping_at_ms.min(now_ms + PING_MS);
        self.answer_by_ms = self.answer_by_ms.map(|by| by.min(now_ms + ANSWER_MS_MAX));
    }

    fn connect(&mut self, now_ms: u64) {
        self.phase = Phase::Connecting;
        self.actions.push_back(Action::Connect);
        self.expect_answer(now_ms);
    }

    fn expect_answer(&mut self, now_ms: u64) {
        self.answer_by_ms.get_or_insert(now_ms + ANSWER_MS_MAX);
    }
}
