//! What a program needs to send groups over a client's connection. The client keeps nothing of them: the program sends a group, sends
//! it again after a connection that ended, and reads its Ack.

use super::{Client, EditError, Phase, seen::newest_of_each};
use crate::{Key, Value, wire::Op};

impl Client {
    /// The operations of a group whose writes were decided now, over what is shown now; none in place of a value removes its key. They are
    /// not shown before the server has them.
    ///
    /// # Errors
    /// When a value is over the server's limit, or the server lets this client only read.
    pub fn group<'a>(
        &mut self,
        writes: impl Iterator<Item = (&'a Key, Option<&'a Value>)>,
        now_ms: u64,
    ) -> Result<Vec<Op>, EditError> {
        self.user.check_role()?;
        let mut ops = Vec::new();
        for (key, value) in writes {
            value.map_or(Ok(()), |value| value.check_size(self.limits().value_bytes))?;
            let (stamp, seen) = self.stamp(key, value.is_some(), self.begin(key), now_ms);
            let value = value.map(|value| value.as_str().to_owned());
            let seen = newest_of_each(&seen);
            ops.push(Op { key: key.as_str().to_owned(), value, stamp, seen, author: None, recovered: None });
        }
        Ok(ops)
    }

    /// A number for a message of the program's own that is answered by an Ack.
    pub fn next_batch(&mut self) -> u64 {
        self.sender.next_batch()
    }

    /// Whether the server takes such a message now.
    pub fn is_welcome(&self) -> bool {
        matches!(self.phase(), Phase::Fetching | Phase::Following)
    }

    /// The server has refused stamps of such a message as too far ahead of its clock, which shows this. Later ones follow it.
    pub fn handle_ahead(&mut self, server_ms: u64, now_ms: u64) {
        self.time.handle_clock_ahead(server_ms, now_ms);
    }
}
