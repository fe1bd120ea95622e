//! A record: one command to a dictionary, where it stands in the dictionary's order, and everything besides the rows that
//! decides what it does.
//!
//! Hubs that apply the same records to equal rows end with equal rows. So limits, role and time travel with the command:
//! a hub has none of its own. What can be refused before a command has its place (how often somebody writes, whether the disk
//! has room) is decided by whoever makes the record, and is no business of the hub.
//!
//! A record owns all that it holds, so that it can be encoded and kept in a log.

use crate::{
    Author, Conflict, ConflictId, ReplicaId, Resolution, Seq, Stamp,
    limits::{Limits, ROW_BYTES},
    wire::{AckCode, Condition, Exception, Op, Role},
};

/// A command that has its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The seq of what it changes: above the head, or that of the record before it in the same transaction.
    pub at: Seq,
    /// Once it has written so many bytes, or read them in vain, at one operation at least, what is left of a push belongs to a record at the
    /// next seq.
    pub room_bytes: u64,
    /// What decides, besides the rows.
    pub context: Context,
    /// What to do.
    pub command: Command,
}

/// What decides, besides the rows, what a command does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The time of whoever made the record.
    pub now_ms: u64,
    /// What the dictionary may hold.
    pub limits: Limits,
    /// Who asks.
    pub actor: Actor,
}

/// Who asks for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// What they may do.
    pub role: Role,
    /// The author, as whom operations count unless they come back after a rollback.
    pub author: Author,
    /// The replicas that are proven to be theirs. What has the stamp of another is taken, but not at its word.
    pub replicas: Vec<ReplicaId>,
}

impl Actor {
    /// Whether a write is made by a replica that is proven to be theirs.
    pub fn proves(&self, stamp: Stamp) -> bool {
        self.replicas.contains(&stamp.replica())
    }
}

/// What to do with a dictionary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Apply operations in their order.
    Push {
        /// The operations.
        ops: Vec<Op>,
    },
    /// Apply operations of different keys, all or none. An operation counts as applied that loses against a greater write.
    Group {
        /// The operations.
        ops: Vec<Op>,
        /// What must hold before, unless the server has one of the operations already: then it has had the group, and the answer was
        /// lost.
        conditions: Vec<Condition>,
    },
    /// Close a conflict row.
    Resolve {
        /// Which.
        id: ConflictId,
        /// How.
        resolution: Resolution,
    },
    /// Bring open conflict rows back that the server has lost, unless it has rows of their names.
    Recover {
        /// The rows.
        conflicts: Vec<Conflict>,
        /// Their authors, with the names that those had.
        authors: Vec<Author>,
    },
    /// Give the author who asks another name, if the dictionary knows one.
    Name,
    /// Close the rows that nobody has decided for [`CONFLICT_MS_MAX`](crate::limits::CONFLICT_MS_MAX).
    Expire,
}

/// The answer to a command, to be sent after the commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// When a cursor has reached it, the effects are in its base.
    pub seq: Seq,
    /// What became of each operation of a push or a group (with its conditions behind them), or of each row that was brought back, in
    /// their order; of a resolution or a name, one outcome.
    /// There are fewer if the record's room was used up: [`Command::skip`] makes the command of the next record, whose receipt continues this one.
    pub outcomes: Vec<Outcome>,
    /// What was written, or read in vain, in bytes.
    pub bytes: u64,
}

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was applied.
    Applied,
    /// It was not simply applied.
    Excepted {
        /// What happened instead.
        code: AckCode,
        /// The number that belongs to the code: see [`Exception::data`]. Zero if none does.
        data: u64,
    },
}

impl Command {
    /// How many outcomes its [`Receipt`] has.
    pub fn operations(&self) -> usize {
        match self {
            Self::Push { ops } => ops.len(),
            Self::Group { ops, conditions } => ops.len() + conditions.len(),
            Self::Resolve { .. } | Self::Name => 1,
            Self::Recover { conflicts, .. } => conflicts.len(),
            Self::Expire => 0,
        }
    }

    /// Rounded up, the bytes that it takes.
    pub fn bytes(&self) -> usize {
        let bytes_of = |op: &Op| op.key.len() + op.value.as_ref().map_or(0, String::len) + ROW_BYTES as usize;
        let bytes = |ops: &[Op]| -> usize { ops.iter().map(bytes_of).sum() };
        match self {
            Self::Push { ops } => bytes(ops),
            Self::Group { ops, conditions } => {
                bytes(ops) + conditions.iter().map(|condition| condition.key.len() + ROW_BYTES as usize).sum::<usize>()
            }
            Self::Resolve { .. } | Self::Name | Self::Expire => ROW_BYTES as usize,
            Self::Recover { conflicts, .. } => conflicts.iter().map(Conflict::bytes).sum(),
        }
    }

    /// Takes out the first operations, which have been applied.
    ///
    /// # Panics
    /// When it has fewer.
    pub fn skip(&mut self, applied: usize) {
        match self {
            Self::Push { ops } => drop(ops.drain(..applied)),
            Self::Recover { conflicts, .. } => drop(conflicts.drain(..applied)),
            Self::Group { .. } | Self::Resolve { .. } | Self::Name | Self::Expire => {
                assert_eq!(applied, 0, "it is not divided");
            }
        }
    }
}

impl Receipt {
    /// The receipt of a command that was turned away before it had a place: `code` for each operation.
    pub fn turned_away(command: &Command, code: AckCode, data: u64) -> Self {
        Self { outcomes: vec![Outcome::Excepted { code, data }; command.operations()], ..Self::default() }
    }

    /// Adds the receipt of the rest of the command.
    pub fn extend(&mut self, rest: Self) {
        self.seq = self.seq.max(rest.seq);
        self.outcomes.extend(rest.outcomes);
        self.bytes += rest.bytes;
    }

    /// The operations that were not simply applied, by rising index, as an Ack has them.
    pub fn exceptions(&self) -> Vec<Exception> {
        let exception = |(index, outcome): (u32, &Outcome)| match *outcome {
            Outcome::Applied => None,
            Outcome::Excepted { code, data } => Some(Exception { index, code, data }),
        };
        (0..).zip(&self.outcomes).filter_map(exception).collect()
    }
}

impl From<AckCode> for Outcome {
    fn from(code: AckCode) -> Self {
        Self::Excepted { code, data: 0 }
    }
}
