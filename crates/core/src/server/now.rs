//! The two clocks of a server.

/// What the clocks show. A wall clock is set, by a person or by a daemon, and what waits for a time on it then waits for too long or not
/// at all. A steady clock says nothing that is true of another process. So deadlines are on the one, and what is sent is of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since some moment of this process. Never less than before.
    pub steady_ms: u64,
    /// Milliseconds since 1970, UTC, as this machine believes.
    pub wall_ms: u64,
}

impl Now {
    /// Both clocks show the same: so it is in a world in which nobody sets one.
    pub fn both(ms: u64) -> Self {
        Self { steady_ms: ms, wall_ms: ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        DictionaryId, Epoch, Lineage, Person, Secret,
        limits::{Limits, SILENT_MS_MAX},
        server::{Counters, Opened, Session},
        wire::{ByeCode, ClientFrame, Role, ServerFrame},
    };

    const HOUR_MS: u64 = 3_600_000;

    fn sent(session: &mut Session) -> Option<ServerFrame> {
        session.poll_transmit().map(|bytes| ServerFrame::decode(&bytes).unwrap())
    }

    /// The wall clock was set forward by an hour, and all quiet sockets were told that they had been silent for too long. Set back by
    /// an hour, and silent ones stayed for an hour.
    #[test]
    fn a_wall_clock_that_is_set_ends_no_session_and_keeps_none() {
        for wall_ms in [11 * HOUR_MS, 9 * HOUR_MS] {
            let before = Now { steady_ms: 7, wall_ms: 10 * HOUR_MS };
            let mut session = Session::new(Limits::default(), before);
            let secret = Secret([1; 16]);
            session.handle_message(&ClientFrame::hello(secret, Person::generated(secret)).encode(), before);
            let lineage = Lineage { past: Vec::new(), current: Epoch(1) };
            let (counters, role) = (Counters::default(), Role::Writer);
            session.handle_opened(Opened { id: DictionaryId(1), lineage, counters, role }, before);
            assert!(
                matches!(sent(&mut session), Some(ServerFrame::Welcome { server_ms, .. }) if server_ms == before.wall_ms)
            );
            assert_eq!(session.poll_timeout(), before.steady_ms + SILENT_MS_MAX);

            let after = Now { steady_ms: 8, wall_ms };
            session.handle_timeout(after);
            assert!(!session.is_closed(), "it has been silent for a millisecond");
            session.handle_message(&ClientFrame::Ping { client_ms: 5 }.encode(), after);
            assert_eq!(sent(&mut session), Some(ServerFrame::Pong { client_ms: 5, server_ms: wall_ms }));
            session.handle_timeout(Now { steady_ms: 8 + SILENT_MS_MAX - 1, wall_ms });
            assert!(!session.is_closed());
            session.handle_timeout(Now { steady_ms: 8 + SILENT_MS_MAX, wall_ms });
            assert!(matches!(sent(&mut session), Some(ServerFrame::Bye { code: ByeCode::Silent, .. })));
        }
    }
}
