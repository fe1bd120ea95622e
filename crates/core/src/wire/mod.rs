//! The wire: subprotocol `keybook.v1`. One binary WebSocket message is one frame, a CBOR array whose first element is the
//! frame's number (RFC 8949, by minicbor). Fields a reader does not know are skipped, so later versions append.
//!
//! docs/protocol.md has the CDDL. The snapshot, which travels over HTTP, is in [`crate::snapshot`].
//!
//! What a peer sent is checked while it is decoded: nothing is allocated by a length that it only claims.

mod delta;

pub use delta::{AuthorTable, Change, Delta, WireConflict, WireEntry, WireSide};
use minicbor::{Decode, Decoder, Encode, bytes::ByteVec};

use crate::{
    author::Author,
    conflict::{ConflictId, Resolution},
    digest::Digest,
    entry::Seq,
    limits::{LINEAGE_MAX, Limits, PRESENCE_BYTES_MAX, PUSH_OPS_MAX, SEEN_MAX, TOKEN_BYTES_MAX},
    lineage::{Epoch, Lineage, PastEpoch},
    stamp::{ReplicaId, Stamp},
};

/// The WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "keybook.v1";
/// The version in Hello and Welcome.
pub const VERSION: u32 = 1;

/// The dictionary's identity: deleted and made again under the same name it is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct DictionaryId(#[n(0)] pub u64);

/// Why a frame cannot be read. The connection ends with a Bye that carries the message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Not a frame, or one that this end does not take.
    #[error("unknown frame {0}")]
    UnknownFrame(u64),
    /// Not what docs/protocol.md describes.
    #[error("frame does not decode: {0}")]
    Malformed(#[from] minicbor::decode::Error),
    /// Bytes behind the frame.
    #[error("frame ends at byte {end} of {bytes}")]
    Trailing {
        /// Where it ends.
        end: usize,
        /// What came.
        bytes: usize,
    },
    /// A list or a text over its limit.
    #[error("{what} has {actual} elements, limit is {limit}")]
    TooMany {
        /// What it is.
        what: &'static str,
        /// How many there are.
        actual: usize,
        /// How many may be.
        limit: usize,
    },
}

/// An operation, as a client pushes it. Key and value are not checked yet: a bad one is refused by name in the Ack.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Op {
    /// The key.
    #[n(0)]
    pub key: String,
    /// The value; none removes.
    #[n(1)]
    pub value: Option<String>,
    /// When and by which replica.
    #[n(2)]
    pub stamp: Stamp,
    /// First the stamp of the confirmed entry that was shown when editing began (zero if none), then the stamps of the
    /// unacknowledged operations on the key that this one replaces. At most [`SEEN_MAX`].
    #[n(3)]
    pub seen: Vec<Stamp>,
    /// [`Op::ADOPTED`].
    #[n(4)]
    pub flags: u32,
    /// Who wrote it; none is the author of Hello.
    #[n(5)]
    pub author: Option<Author>,
    /// For an operation that was confirmed once, above a fork of history: the fork.
    #[n(6)]
    pub recovered: Option<Seq>,
}

impl Op {
    /// Bit 0 of the flags: pushed by another replica than the one that wrote it, whose page is gone.
    pub const ADOPTED: u32 = 1;
}

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum ClientFrame {
    /// The first frame.
    #[n(0)]
    Hello {
        /// [`VERSION`].
        #[n(0)]
        version: u32,
        /// The right to read or write, where one is needed.
        #[n(1)]
        token: Option<String>,
        /// Who speaks.
        #[n(2)]
        replica: ReplicaId,
        /// What the client's entries are of, if it has any.
        #[n(3)]
        dictionary: Option<DictionaryId>,
        /// The epoch of its cursor.
        #[n(4)]
        epoch: Option<Epoch>,
        /// The epochs before it that the client knows.
        #[n(5)]
        lineage: Vec<PastEpoch>,
        /// What it has seen; zero is nothing.
        #[n(6)]
        cursor: Seq,
        /// Its clock.
        #[n(7)]
        client_ms: u64,
        /// Who writes.
        #[n(8)]
        author: Author,
        /// A bit set; none is defined.
        #[n(9)]
        capabilities: u32,
    },
    /// Operations.
    #[n(1)]
    Push {
        /// The connection's own number, which the Ack repeats.
        #[n(0)]
        batch: u64,
        /// At most [`PUSH_OPS_MAX`].
        #[n(1)]
        ops: Vec<Op>,
    },
    /// Asks for a Pong.
    #[n(2)]
    Ping {
        /// Its clock, which the Pong repeats.
        #[n(0)]
        client_ms: u64,
    },
    /// Something that others may show for as long as the connection lives.
    #[n(3)]
    Presence {
        /// At most [`PRESENCE_BYTES_MAX`].
        #[n(0)]
        blob: ByteVec,
    },
    /// Asks for what follows a cursor.
    #[n(4)]
    Resume {
        /// The cursor's epoch.
        #[n(0)]
        epoch: Epoch,
        /// The cursor.
        #[n(1)]
        cursor: Seq,
    },
    /// Resolves a conflict.
    #[n(5)]
    Resolve {
        /// Which.
        #[n(0)]
        id: ConflictId,
        /// How.
        #[n(1)]
        resolution: Resolution,
    },
    /// Asks for a Check.
    #[n(6)]
    Check,
}

/// What the client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Role {
    /// Read.
    #[n(0)]
    Reader,
    /// Read and write.
    #[n(1)]
    Writer,
}

/// How the client gets what it lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Mode {
    /// Deltas from the fork on follow by themselves.
    #[n(0)]
    Tail,
    /// The client fetches a snapshot, which replaces its base, and sends Resume.
    #[n(1)]
    Snapshot,
}

/// What has been purged: the highest seq and the highest time (milliseconds) of the tombstones that are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Horizon {
    /// `G`.
    #[n(0)]
    pub seq: Seq,
    /// `H`: the highest hybrid time, rounded up to milliseconds.
    #[n(1)]
    pub time_ms: u64,
}

/// The answer to an operation that was not simply applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Exception {
    /// Position in the Push.
    #[n(0)]
    pub index: u32,
    /// What happened.
    #[n(1)]
    pub code: AckCode,
    /// Busy: milliseconds to wait. ClockAhead: the server's clock. TooLarge and BadKey: the actual bytes. Full: the limit.
    #[n(2)]
    pub data: u64,
}

/// The classes of acks: up to 9 it is done, 10 to 19 try again, from 20 on it is held on the device for its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum AckCode {
    /// Done: a greater write was there. If they conflicted, the value is in a conflict row.
    #[n(0)]
    Superseded,
    /// Done: it was known, or changes nothing.
    #[n(1)]
    Duplicate,
    /// Retry after `data` milliseconds.
    #[n(10)]
    Busy,
    /// Retry with a new stamp: the stamp is too far ahead of the server's clock, which is `data`.
    #[n(11)]
    ClockAhead,
    /// Held: older than the horizon, on a key without an entry.
    #[n(20)]
    Parked,
    /// Held: this connection may not write.
    #[n(21)]
    ReadOnly,
    /// Held: the value has `data` bytes, over the limit.
    #[n(22)]
    TooLarge,
    /// Held: not a key.
    #[n(23)]
    BadKey,
    /// Held: the dictionary has as many entries as it may, `data`.
    #[n(24)]
    Full,
    /// Held: the value is no compact JSON text, or too deep.
    #[n(25)]
    BadValue,
}

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
        match self {
            Self::Superseded | Self::Duplicate => AckClass::Done,
            Self::Busy | Self::ClockAhead => AckClass::Retry,
            Self::Parked | Self::ReadOnly | Self::TooLarge | Self::BadKey | Self::Full | Self::BadValue => {
                AckClass::Held
            }
        }
    }
}

/// Why the server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ByeCode {
    /// The server stops; come back after `retry_after_ms`.
    #[n(0)]
    Shutdown,
    /// A frame that is not what docs/protocol.md describes.
    #[n(1)]
    Protocol,
    /// A version that this server does not speak.
    #[n(2)]
    Version,
    /// No Hello in time.
    #[n(3)]
    Silent,
    /// The client does not read.
    #[n(4)]
    Stalled,
    /// The epoch of a Resume is not the server's: connect again.
    #[n(5)]
    Epoch,
    /// The server cannot go on; what it acknowledged is safe.
    #[n(6)]
    Failed,
}

/// What the server sends.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum ServerFrame {
    /// The answer to Hello.
    #[n(16)]
    Welcome {
        /// [`VERSION`].
        #[n(0)]
        version: u32,
        /// What the client may do.
        #[n(1)]
        role: Role,
        /// What the entries are of.
        #[n(2)]
        dictionary: DictionaryId,
        /// The current epoch.
        #[n(3)]
        epoch: Epoch,
        /// The epochs before it.
        #[n(4)]
        lineage: Vec<PastEpoch>,
        /// The seq of the newest batch.
        #[n(5)]
        head: Seq,
        /// What has been purged.
        #[n(6)]
        horizon: Horizon,
        /// The server's clock.
        #[n(7)]
        server_ms: u64,
        /// How the client gets what it lacks.
        #[n(8)]
        mode: Mode,
        /// What the server allows.
        #[n(9)]
        limits: Limits,
    },
    /// What changed.
    #[n(17)]
    Delta(#[n(0)] Delta),
    /// The answer to a Push, after it is on disk.
    #[n(18)]
    Ack {
        /// The Push's number.
        #[n(0)]
        batch: u64,
        /// When the client's cursor has reached it, the operations' effects are in its base.
        #[n(1)]
        seq: Seq,
        /// The operations that were not simply applied, by rising index.
        #[n(2)]
        exceptions: Vec<Exception>,
    },
    /// What a replica at this seq holds.
    #[n(19)]
    Check(#[n(0)] Check),
    /// Tombstones have been purged.
    #[n(20)]
    Horizon(#[n(0)] Horizon),
    /// The answer to a Ping, and unasked while the server is not reading.
    #[n(22)]
    Pong {
        /// The Ping's; zero when unasked.
        #[n(0)]
        client_ms: u64,
        /// The server's clock.
        #[n(1)]
        server_ms: u64,
    },
    /// The last frame.
    #[n(23)]
    Bye {
        /// Why.
        #[n(0)]
        code: ByeCode,
        /// For a log; carries the value and the limit.
        #[n(1)]
        message: String,
        /// When to come back.
        #[n(2)]
        retry_after_ms: u64,
    },
    /// Another connection's presence.
    #[n(24)]
    Presence {
        /// The server's number of it.
        #[n(0)]
        connection: u64,
        /// Who it is.
        #[n(1)]
        author: Author,
        /// What it said; none when it has gone.
        #[n(2)]
        blob: Option<ByteVec>,
    },
}

/// The digest and counts of a dictionary at a seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Check {
    /// When.
    #[n(0)]
    pub seq: Seq,
    /// Of the live entries.
    #[n(1)]
    pub digest: Digest,
    /// How many.
    #[n(2)]
    pub live: u64,
    /// How many entries are tombstones.
    #[n(3)]
    pub tombstones: u64,
}

impl ClientFrame {
    /// The Hello of a client that has nothing yet, and does not tell its time.
    pub fn hello(replica: ReplicaId, author: Author) -> Self {
        Self::Hello {
            version: VERSION,
            token: None,
            replica,
            dictionary: None,
            epoch: None,
            lineage: Vec::new(),
            cursor: Seq(0),
            client_ms: 0,
            author,
            capabilities: 0,
        }
    }

    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a frame of a client and checks the lists in it.
    ///
    /// # Errors
    /// When it is no frame, not one of a client, or over a limit.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let frame: Self = decode(bytes, |id| id <= 6)?;
        match &frame {
            Self::Hello { lineage, token, .. } => {
                check_count("lineage", lineage.len(), LINEAGE_MAX)?;
                check_count("token", token.as_ref().map_or(0, String::len), TOKEN_BYTES_MAX)?;
            }
            Self::Push { ops, .. } => {
                check_count("push", ops.len(), PUSH_OPS_MAX)?;
                ops.iter().try_for_each(|op| check_count("seen", op.seen.len(), SEEN_MAX))?;
            }
            Self::Presence { blob } => check_count("presence", blob.len(), PRESENCE_BYTES_MAX)?,
            Self::Ping { .. } | Self::Resume { .. } | Self::Resolve { .. } | Self::Check => {}
        }
        Ok(frame)
    }
}

impl ServerFrame {
    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a frame of a server.
    ///
    /// # Errors
    /// When it is no frame, or not one of a server.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode(bytes, |id| matches!(id, 16..=20 | 22..=24))
    }

    /// The lineage that a Welcome carries.
    pub fn lineage(epoch: Epoch, past: Vec<PastEpoch>) -> Lineage {
        Lineage { past, current: epoch }
    }
}

fn check_count(what: &'static str, actual: usize, limit: usize) -> Result<(), WireError> {
    if actual > limit { Err(WireError::TooMany { what, actual, limit }) } else { Ok(()) }
}

pub(crate) fn encode<T: Encode<()>>(frame: &T) -> Vec<u8> {
    minicbor::to_vec(frame).expect("writing to memory does not fail")
}

fn decode<'b, T: Decode<'b, ()>>(bytes: &'b [u8], known: impl Fn(u64) -> bool) -> Result<T, WireError> {
    let mut peek = Decoder::new(bytes);
    peek.array()?;
    let id = peek.u64()?;
    if !known(id) {
        return Err(WireError::UnknownFrame(id));
    }
    let mut decoder = Decoder::new(bytes);
    let frame = decoder.decode()?;
    match decoder.position() {
        end if end < bytes.len() => Err(WireError::Trailing { end, bytes: bytes.len() }),
        _ => Ok(frame),
    }
}
