//! The frames, in the order of their numbers, and what they carry.
//!
//! Check and Horizon hold their fields in one array inside the frame, because core passes each as one value. Delta, which is sent most,
//! does without that array.
//!
//! What a later version may send, and this one does not know: elements behind those of an array are skipped; a frame of a server is
//! ignored; a frame of a client is ignored from [`FRAME_IGNORED_MIN`] on; a code counts as its class says. Docs/protocol.md has the
//! rules.

use minicbor::{Decode, Decoder, Encode, bytes::ByteVec};

use super::{AckCode, ByeCode, Delta, WireConflict};
use crate::{
    Author, AuthorName, Branch, ConflictId, DictionaryId, Digest, Epoch, PastEpoch, Person, Resolution, Secret, Seq,
    Stamp, cbor_array,
    codec::{check_definite, frames},
    limits::{
        GROUP_BYTES_MAX, GROUP_OPS_MAX, KEY_BYTES_MAX, LINEAGE_MAX, Limits, PRESENCE_BYTES_MAX, PUSH_BYTES_MAX,
        PUSH_OPS_MAX, REPLICAS_MAX, SEEN_MAX, SEEN_OF_REPLICA_MAX, TOKEN_BYTES_MAX,
    },
};

/// The WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "keybook.v1";
/// The version that this program speaks.
pub const VERSION: u64 = 1;
/// All versions that it speaks.
pub const VERSIONS: Versions = Versions { oldest: VERSION, newest: VERSION };
/// A server ignores a client's frame that it does not know from this number on. One below asks for something that it cannot do, and
/// ends the connection.
pub const FRAME_IGNORED_MIN: u64 = 64;

/// The versions that one end speaks: all from the oldest to the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The first of them.
    pub oldest: u64,
    /// The last of them.
    pub newest: u64,
}

cbor_array!(Versions { oldest, newest });

impl Versions {
    /// The newest version that both ends speak.
    pub fn common(self, other: Self) -> Option<u64> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest.max(other.oldest)).then_some(newest)
    }
}

/// Why a frame cannot be read. The server ends the connection with a Bye that carries this message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The number is of no frame, or of one that only the other end may send.
    #[error("unknown frame {0}")]
    UnknownFrame(u64),
    /// Not what docs/protocol.md describes.
    #[error("frame does not decode: {0}")]
    Malformed(#[from] minicbor::decode::Error),
    /// The message goes on behind the frame.
    #[error("frame ends at byte {end} of {bytes}")]
    Trailing {
        /// Where the frame ends.
        end: usize,
        /// How long the message is.
        bytes: usize,
    },
    /// The other end speaks none of the versions that this one does.
    #[error("versions are {} to {}, here they are {} to {}", .0.oldest, .0.newest, VERSIONS.oldest, VERSIONS.newest)]
    Version(Versions),
    /// A text or a frame is longer than its limit.
    #[error("{what} is {actual} bytes, limit is {limit}")]
    TooLong {
        /// What it is.
        what: &'static str,
        /// How long it is.
        actual: usize,
        /// How long it may be.
        limit: usize,
    },
    /// A list is longer than its limit.
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

/// An operation, as a client pushes it. Its key and its value are not checked while it is decoded: the Ack says if one is bad.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// The key.
    pub key: String,
    /// The value; none removes.
    pub value: Option<String>,
    /// When and by which replica.
    pub stamp: Stamp,
    /// First the stamp of the confirmed entry that was shown when editing began (zero if none), then the stamps of the
    /// unacknowledged operations on the key that this one replaces: of each replica the newest. At most [`SEEN_MAX`].
    pub seen: Vec<Stamp>,
    /// Who wrote it, if it comes back after a rollback; none stands for the author in Hello, as whom all else counts.
    pub author: Option<Author>,
    /// Where the operation was confirmed, if it was before a rollback, and now comes back.
    pub recovered: Option<Branch>,
}

cbor_array!(Op { key, value, stamp, seen, author, recovered });

/// What a Group demands of a key, before it changes anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The key.
    pub key: String,
    /// The stamp that its entry must have; none if it must have no value.
    pub stamp: Option<Stamp>,
}

cbor_array!(Condition { key, stamp });

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientFrame {
    /// The first frame.
    Hello {
        /// What the client speaks. Welcome says which of them both speak.
        versions: Versions,
        /// Grants the right to read or to write, where one is needed.
        token: Option<String>,
        /// The secrets of the replicas that write over this connection: first that of the one that speaks. At least one, and at most
        /// [`REPLICAS_MAX`].
        replicas: Vec<Secret>,
        /// The dictionary that the client's entries belong to, if it has any.
        dictionary: Option<DictionaryId>,
        /// The epoch of its cursor.
        epoch: Option<Epoch>,
        /// The epochs before it that the client knows.
        lineage: Vec<PastEpoch>,
        /// The client has seen everything up to here; zero means that it has seen nothing.
        cursor: Seq,
        /// The client's clock.
        client_ms: u64,
        /// Who writes.
        author: Person,
        /// A bit set; none is defined.
        capabilities: u32,
        /// Reserved for a replica of the keys that begin so. A server of this version sends all.
        prefix: Option<String>,
    },
    /// Operations.
    Push {
        /// A number of the client's own, which the Ack repeats.
        batch: u64,
        /// At most [`PUSH_OPS_MAX`].
        ops: Vec<Op>,
    },
    /// Asks for a Pong.
    Ping {
        /// The client's clock, which the Pong repeats.
        client_ms: u64,
    },
    /// Tells the other connections something, which they may show for as long as this connection lives.
    Presence {
        /// At most [`PRESENCE_BYTES_MAX`].
        blob: ByteVec,
    },
    /// Asks for what follows a cursor.
    Resume {
        /// The cursor's epoch.
        epoch: Epoch,
        /// The cursor.
        cursor: Seq,
    },
    /// Closes a conflict row.
    Resolve {
        /// As in a Push.
        batch: u64,
        /// The conflict.
        id: ConflictId,
        /// What has become of it.
        resolution: Resolution,
    },
    /// Asks for a Check.
    Check,
    /// Brings open conflict rows back that a server has lost.
    Recover {
        /// As in a Push.
        batch: u64,
        /// The rows.
        conflicts: Vec<WireConflict>,
        /// The authors that they name by position.
        authors: Vec<Author>,
    },
    /// Operations of different keys that are applied together, or not at all.
    Group {
        /// As in a Push.
        batch: u64,
        /// At most [`GROUP_OPS_MAX`].
        ops: Vec<Op>,
        /// What must hold, likewise.
        conditions: Vec<Condition>,
    },
    /// The author in Hello has another name now.
    Name {
        /// The name.
        name: AuthorName,
    },
    /// Further replicas write over this connection from now on.
    Prove {
        /// Their secrets. With those before at most [`REPLICAS_MAX`]; of more the first leave, but for the one that speaks.
        replicas: Vec<Secret>,
    },
}

frames!(ClientFrame {
    0 Hello { versions, token, replicas, dictionary, epoch, lineage, cursor, client_ms, author, capabilities, prefix },
    1 Push { batch, ops },
    2 Ping { client_ms },
    3 Presence { blob },
    4 Resume { epoch, cursor },
    5 Resolve { batch, id, resolution },
    6 Check,
    7 Recover { batch, conflicts, authors },
    8 Group { batch, ops, conditions },
    9 Name { name },
    10 Prove { replicas },
});

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Horizon {
    /// `G`.
    pub seq: Seq,
    /// `H`: the highest hybrid time, rounded up to milliseconds.
    pub time_ms: u64,
}

cbor_array!(Horizon { seq, time_ms });

/// The answer to an operation that was not simply applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// The operation's position in the Push. In a Group the conditions follow the operations.
    pub index: u32,
    /// What happened.
    pub code: AckCode,
    /// ClockAhead: the server's clock. Other codes of its class: milliseconds to wait. TooLarge, BadKey and GroupTooLarge:
    /// the actual bytes. Full and FullBytes:
    /// the limit.
    pub data: u64,
}

cbor_array!(Exception { index, code, data });

/// What the server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerFrame {
    /// The answer to Hello.
    Welcome {
        /// The newest version that both ends speak.
        version: u64,
        /// What the client may do.
        role: Role,
        /// The dictionary that the entries belong to.
        dictionary: DictionaryId,
        /// The current epoch.
        epoch: Epoch,
        /// The epochs before it.
        lineage: Vec<PastEpoch>,
        /// The seq of the newest batch.
        head: Seq,
        /// What has been purged.
        horizon: Horizon,
        /// The server's clock.
        server_ms: u64,
        /// How the client gets what it lacks.
        mode: Mode,
        /// What the server allows.
        limits: Limits,
    },
    /// What changed.
    Delta(Delta),
    /// The answer to a Push, a Group, a Resolve or a Recover, sent when what it asks for is on the disk.
    Ack {
        /// Its number.
        batch: u64,
        /// When the client's cursor has reached it, the operations' effects are in its base.
        seq: Seq,
        /// The operations that were not simply applied, by rising index.
        exceptions: Vec<Exception>,
    },
    /// What a replica holds whose cursor is at this seq.
    Check(Check),
    /// Tombstones have been purged.
    Horizon(Horizon),
    /// The answer to a Ping, and unasked while the server is not reading.
    Pong {
        /// The clock in the Ping; zero in an unasked Pong.
        client_ms: u64,
        /// The server's clock.
        server_ms: u64,
    },
    /// The last frame.
    Bye {
        /// Why.
        code: ByeCode,
        /// Says what happened, for a log: it has the value and the limit.
        message: String,
        /// How long to stay away.
        retry_after_ms: u64,
    },
    /// Another connection's presence.
    Presence {
        /// The number that the server gave to it.
        connection: u64,
        /// The person behind it.
        author: Author,
        /// What it said; none when it has ended.
        blob: Option<ByteVec>,
    },
}

frames!(ServerFrame {
    16 Welcome { version, role, dictionary, epoch, lineage, head, horizon, server_ms, mode, limits },
    17 Delta[to, advance, changes, more],
    18 Ack { batch, seq, exceptions },
    19 Check(check),
    20 Horizon(horizon),
    22 Pong { client_ms, server_ms },
    23 Bye { code, message, retry_after_ms },
    24 Presence { connection, author, blob },
});

/// The digest and counts of a dictionary at a seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// The seq.
    pub seq: Seq,
    /// The digest of the live entries, the open conflict rows and the authors.
    pub digest: Digest,
    /// How many entries have a value.
    pub live: u64,
    /// How many entries are tombstones.
    pub tombstones: u64,
    /// How many losing values never got a conflict row, because there was no room. They are in the histories of their keys.
    pub untold: u64,
}

cbor_array!(Check { seq, digest, live, tombstones, untold });

impl ClientFrame {
    /// The Hello of a client that has nothing yet, and does not tell its time.
    pub fn hello(replica: Secret, author: Person) -> Self {
        Self::Hello {
            versions: VERSIONS,
            token: None,
            replicas: vec![replica],
            dictionary: None,
            epoch: None,
            lineage: Vec::new(),
            cursor: Seq(0),
            client_ms: 0,
            author,
            capabilities: 0,
            prefix: None,
        }
    }

    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a frame of a client and checks the lists in it.
    ///
    /// # Errors
    /// When it is no frame, not one of a client, over a limit, or a Hello of other versions; what else that says is not read.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let (id, mut behind) = number(bytes)?;
        if id == 0 {
            let versions: Versions = behind.decode()?;
            VERSIONS.common(versions).ok_or(WireError::Version(versions))?;
        }
        let frame: Self = decode(bytes, |id| id <= 10)?;
        match &frame {
            Self::Hello { lineage, token, prefix, replicas, .. } => {
                check_count("replicas", replicas.len(), REPLICAS_MAX)?;
                if replicas.is_empty() {
                    return Err(minicbor::decode::Error::message("a Hello of no replica").into());
                }
                check_count("lineage", lineage.len(), LINEAGE_MAX)?;
                check_bytes("token", token.as_ref().map_or(0, String::len), TOKEN_BYTES_MAX)?;
                check_bytes("prefix", prefix.as_ref().map_or(0, String::len), KEY_BYTES_MAX)?;
            }
            Self::Push { ops, .. } => {
                check_count("push", ops.len(), PUSH_OPS_MAX)?;
                if ops.len() > 1 {
                    check_bytes("a push of several operations", bytes.len(), PUSH_BYTES_MAX)?;
                }
                ops.iter().try_for_each(check_seen)?;
            }
            Self::Group { ops, conditions, .. } => {
                check_count("group", ops.len(), GROUP_OPS_MAX)?;
                check_count("conditions of a group", conditions.len(), GROUP_OPS_MAX)?;
                check_bytes("a group", bytes.len(), GROUP_BYTES_MAX)?;
                ops.iter().try_for_each(check_seen)?;
            }
            Self::Presence { blob } => check_bytes("presence", blob.len(), PRESENCE_BYTES_MAX)?,
            Self::Recover { conflicts, .. } => check_count("recover", conflicts.len(), PUSH_OPS_MAX)?,
            Self::Prove { replicas } => check_count("replicas", replicas.len(), REPLICAS_MAX)?,
            Self::Ping { .. } | Self::Resume { .. } | Self::Resolve { .. } | Self::Check | Self::Name { .. } => {}
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
}

fn check_seen(op: &Op) -> Result<(), WireError> {
    check_count("seen", op.seen.len(), SEEN_MAX)?;
    let behind = op.seen.get(1..).unwrap_or_default();
    let of = |replica| behind.iter().filter(|stamp| stamp.replica() == replica).count();
    behind.iter().try_for_each(|stamp| check_count("seen of a replica", of(stamp.replica()), SEEN_OF_REPLICA_MAX))
}

fn check_count(what: &'static str, actual: usize, limit: usize) -> Result<(), WireError> {
    if actual > limit { Err(WireError::TooMany { what, actual, limit }) } else { Ok(()) }
}

fn check_bytes(what: &'static str, actual: usize, limit: usize) -> Result<(), WireError> {
    if actual > limit { Err(WireError::TooLong { what, actual, limit }) } else { Ok(()) }
}

pub(crate) fn encode<T: Encode<()>>(frame: &T) -> Vec<u8> {
    minicbor::to_vec(frame).expect("writing to memory does not fail")
}

/// The number of a frame, and what is behind it.
fn number(bytes: &[u8]) -> Result<(u64, Decoder<'_>), WireError> {
    check_definite(bytes)?;
    let mut decoder = Decoder::new(bytes);
    decoder.array()?;
    Ok((decoder.u64()?, decoder))
}

fn decode<'b, T: Decode<'b, ()>>(bytes: &'b [u8], known: impl Fn(u64) -> bool) -> Result<T, WireError> {
    let (id, _) = number(bytes)?;
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
