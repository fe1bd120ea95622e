//! The codes in Ack and Bye. A later version may have more of them: those of an Ack count as their class says, and a Bye says itself
//! when to come back.

use crate::codec::codes;

/// What happened to an operation that was not simply applied. Codes up to 9 mean that it is done, those from 10 to 19 that the
/// client tries again, and those from 20 on that the device holds it for its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckCode {
    /// Done: a greater write was there. If the two conflicted, the lesser value is in a conflict row.
    Superseded,
    /// Done: the server had it already, or it changes nothing.
    Duplicate,
    /// Retry after `data` milliseconds.
    Busy,
    /// Retry with a new stamp: the stamp is too far ahead of the server's clock, which is in `data`.
    ClockAhead,
    /// Held: it is older than the horizon, and its key has no entry.
    Parked,
    /// Held: this connection may not write.
    ReadOnly,
    /// Held: the value has `data` bytes, over the limit.
    TooLarge,
    /// Held: its key is no key.
    BadKey,
    /// Held: the dictionary has as many entries as it may have, `data`.
    Full,
    /// Held: the value is no compact JSON text, or nests too deep.
    BadValue,
    /// Held: only the author of the losing write may dismiss it for everybody.
    NotAuthor,
    /// Held: a condition of a Group does not hold.
    ConditionFailed,
    /// Held: something else in its Group was refused, and so nothing of the Group was applied.
    GroupRefused,
    /// Held: up to here its Group would replace `data` bytes, over the limit.
    GroupTooLarge,
    /// Held: the entries of the dictionary take as many bytes as they may, `data`.
    FullBytes,
    /// A code of a later version, which has the class of its number.
    Unknown(u32),
}

codes!(AckCode {
    0 Superseded,
    1 Duplicate,
    10 Busy,
    11 ClockAhead,
    20 Parked,
    21 ReadOnly,
    22 TooLarge,
    23 BadKey,
    24 Full,
    25 BadValue,
    26 NotAuthor,
    27 ConditionFailed,
    28 GroupRefused,
    29 GroupTooLarge,
    30 FullBytes,
});

/// The class of an [`AckCode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckClass {
    /// The operation needs nothing more.
    Done,
    /// It is sent again later.
    Retry,
    /// It stays on the device, out of the shown state, until its user decides.
    Held,
}

impl AckCode {
    /// What the client does with the operation.
    pub fn class(self) -> AckClass {
        match self.number() {
            0..10 => AckClass::Done,
            10..20 => AckClass::Retry,
            _ => AckClass::Held,
        }
    }
}

/// Why the server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByeCode {
    /// The server stops; come back after `retry_after_ms`.
    Shutdown,
    /// A frame that is not what docs/protocol.md describes.
    Protocol,
    /// A version that this server does not speak.
    Version,
    /// No Hello in time.
    Silent,
    /// The epoch of a Resume is not the server's: connect again.
    Epoch,
    /// The server cannot go on; what it acknowledged is safe.
    Failed,
    /// The dictionary is damaged on the server's disk, and the others are not.
    Damaged,
    /// A code of a later version. If the server says when to come back, that is all there is to it.
    Unknown(u32),
}

codes!(ByeCode {
    0 Shutdown,
    1 Protocol,
    2 Version,
    3 Silent,
    5 Epoch,
    6 Failed,
    7 Damaged,
});
