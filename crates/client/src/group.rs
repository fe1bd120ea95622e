//! Groups: writes that the server applies together, or none of them.

use std::collections::BTreeMap;

use keybook_core::{
    DictionaryId, Key, Seq, Stamp, Value,
    client::{Client as Replica, EditError},
    limits::{GROUP_BYTES_MAX, GROUP_OPS_MAX},
    wire::{AckClass, AckCode, ClientFrame, Condition, Exception, Op, ServerFrame},
};
use tokio::sync::oneshot;

/// How long a group waits that the server asks to be sent again, if it says nothing better.
const WAIT_MS_MIN: u64 = 1000;
/// The longest that a group waits, whatever a server says.
const WAIT_MS_MAX: u64 = 600_000;

/// Writes that the server applies together, in one batch, or none of them; and what must hold of the dictionary before.
///
/// At most 1024 writes and 1024 conditions, each of another key, which are 512 KiB together; and the values that they replace are at
/// most 4 MiB. Of two writes of a key the later one counts, and likewise of two conditions.
///
/// ```
/// # use keybook_client::{Group, Key, Value};
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let (from, to) = (Key::parse("stock/cellar")?, Key::parse("stock/bar")?);
/// let group = Group::new().put(&from, Value::parse("11")?).put(&to, Value::parse("1")?).absent(&to);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    writes: BTreeMap<Key, Option<Value>>,
    conditions: BTreeMap<Key, Option<Stamp>>,
}

impl Group {
    /// One that does nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a value.
    #[must_use]
    pub fn put(mut self, key: &Key, value: Value) -> Self {
        self.writes.insert(key.clone(), Some(value));
        self
    }

    /// Removes a key. That it shows no value is no reason to refuse the group.
    #[must_use]
    pub fn remove(mut self, key: &Key) -> Self {
        self.writes.insert(key.clone(), None);
        self
    }

    /// The key's entry must have this stamp (of [`core::Client::shown`](keybook_core::client::Client::shown)): nobody has written or
    /// removed it since. The key need not be written.
    #[must_use]
    pub fn unchanged(mut self, key: &Key, stamp: Stamp) -> Self {
        self.conditions.insert(key.clone(), Some(stamp));
        self
    }

    /// The key must have no value. It need not be written.
    #[must_use]
    pub fn absent(mut self, key: &Key) -> Self {
        self.conditions.insert(key.clone(), None);
        self
    }
}

/// What became of a group that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The server's state of this seq has the group, and so has the replica. It is the seq of the group's batch, or a later one if the
    /// first answer was lost with its connection.
    pub seq: Seq,
    /// Keys, in order, that a greater write had already: that one stays, and if neither had seen the other there is a conflict.
    pub superseded: Vec<Key>,
}

/// Why nothing of a group was applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// A write cannot be; nothing was sent.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// Too many writes or conditions; nothing was sent.
    #[error("a group has {count} {what}, limit is {GROUP_OPS_MAX}")]
    TooMany {
        /// "writes" or "conditions".
        what: &'static str,
        /// So many.
        count: usize,
    },
    /// Its frame is too long; nothing was sent.
    #[error("a group takes {0} bytes, limit is {GROUP_BYTES_MAX}")]
    TooLong(usize),
    /// The dictionary was deleted, and another one has its name. If the group was sent before, it is not known what became of it.
    #[error("the dictionary was deleted, and another one has its name")]
    Deleted,
    /// The server has refused it.
    #[error("{}", .0.first().map_or(String::new(), ToString::to_string))]
    Refused(Vec<Refusal>),
}

/// What the server has refused of a group: writes in the order of their keys, then conditions likewise. At least one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} of {key} was refused: {code:?} ({data})", if *.is_condition { "the condition" } else { "the write" })]
pub struct Refusal {
    /// Of this key.
    pub key: Key,
    /// Its condition, and not its write.
    pub is_condition: bool,
    /// Why. [`AckCode::ConditionFailed`] is that of a condition.
    pub code: AckCode,
    /// See [`Exception::data`](keybook_core::wire::Exception::data).
    pub data: u64,
}

/// How a group stands.
#[derive(Debug)]
enum State {
    /// It is sent from then on, by the local clock.
    Waiting { from_ms: u64 },
    /// It was sent over this connection.
    Sent { batch: u64 },
    /// The server of this connection has it; the replica has not come so far.
    Done(Admitted),
}

/// A group without its outcome.
#[derive(Debug)]
struct Pending {
    group: Group,
    ops: Vec<Op>,
    /// The dictionary that it is for, if one was known.
    dictionary: Option<DictionaryId>,
    state: State,
    answer: oneshot::Sender<Result<Admitted, GroupError>>,
}

/// The groups that wait for their outcomes, oldest first.
///
/// A group that was sent over a connection that has ended, or whose outcome the replica has not read by then, is sent again: the server
/// takes it once. So what was answered and then lost by a server that was set back is applied again.
#[derive(Debug, Default)]
pub(crate) struct Groups(Vec<Pending>);

impl Groups {
    /// Takes a group; the answer comes once the replica has its outcome.
    pub(crate) fn add(
        &mut self,
        replica: &mut Replica,
        group: Group,
        now_ms: u64,
    ) -> Result<oneshot::Receiver<Result<Admitted, GroupError>>, GroupError> {
        for (what, count) in [("writes", group.writes.len()), ("conditions", group.conditions.len())] {
            if count > GROUP_OPS_MAX {
                return Err(GroupError::TooMany { what, count });
            }
        }
        let ops = ops(replica, &group, now_ms)?;
        let bytes = frame(u64::MAX, &group, &ops).len();
        if bytes > GROUP_BYTES_MAX {
            return Err(GroupError::TooLong(bytes));
        }
        let (answer, answered) = oneshot::channel();
        let (dictionary, state) = (replica.dictionary(), State::Waiting { from_ms: now_ms });
        self.0.push(Pending { group, ops, dictionary, state, answer });
        Ok(answered)
    }

    /// The next group to send, which is on its way from now on.
    pub(crate) fn take_message(&mut self, replica: &mut Replica, now_ms: u64) -> Option<Vec<u8>> {
        // What nobody waits for any more, and was not sent, is not sent.
        self.0.retain(|pending| !(pending.answer.is_closed() && matches!(pending.state, State::Waiting { .. })));
        if !replica.is_welcome() {
            return None;
        }
        let is_due = |pending: &Pending| matches!(pending.state, State::Waiting { from_ms } if from_ms <= now_ms);
        let at = self.0.iter().position(is_due)?;
        let (dictionary, batch) = (replica.dictionary(), replica.next_batch());
        if self.0[at].dictionary.is_some_and(|id| dictionary != Some(id)) {
            let _ = self.0.remove(at).answer.send(Err(GroupError::Deleted));
            return self.take_message(replica, now_ms);
        }
        let pending = &mut self.0[at];
        pending.dictionary = dictionary;
        pending.state = State::Sent { batch };
        Some(frame(batch, &pending.group, &pending.ops))
    }

    /// When the next one has waited long enough that has not yet; those that have wait for the connection.
    pub(crate) fn next_ms(&self, now_ms: u64) -> Option<u64> {
        let waiting = self.0.iter().filter_map(|pending| match pending.state {
            State::Waiting { from_ms } => Some(from_ms).filter(|&from_ms| from_ms > now_ms),
            State::Sent { .. } | State::Done(_) => None,
        });
        waiting.min()
    }

    /// A message came.
    pub(crate) fn handle_message(&mut self, replica: &mut Replica, bytes: &[u8], now_ms: u64) {
        if self.0.is_empty() {
            return;
        }
        // What cannot be read is the replica's to judge.
        if let Ok(ServerFrame::Ack { batch, seq, exceptions }) = ServerFrame::decode(bytes)
            && let Some(at) =
                self.0.iter().position(|each| matches!(each.state, State::Sent { batch: sent } if sent == batch))
        {
            let pending = self.0.remove(at);
            self.0.extend(pending.answered(replica, seq, &exceptions, now_ms));
        }
    }

    /// Gives the outcomes that the replica has come to.
    pub(crate) fn settle(&mut self, replica: &Replica) {
        let is_read = |each: &Pending| matches!(&each.state, State::Done(done) if replica.cursor() >= done.seq);
        while let Some(at) = self.0.iter().position(is_read) {
            if let Pending { state: State::Done(admitted), answer, .. } = self.0.remove(at) {
                // It fails when nobody waits any more.
                let _ = answer.send(Ok(admitted));
            }
        }
    }

    /// The connection has ended.
    pub(crate) fn handle_disconnected(&mut self, now_ms: u64) {
        self.0.iter_mut().for_each(|pending| pending.state = State::Waiting { from_ms: now_ms });
    }
}

impl Pending {
    /// The group after its Ack, unless it was refused for good.
    fn answered(mut self, replica: &mut Replica, seq: Seq, exceptions: &[Exception], now_ms: u64) -> Option<Self> {
        // What was refused beside, and not for its own sake.
        let own = exceptions.iter().filter(|exception| exception.code != AckCode::GroupRefused);
        let of = |class| own.clone().filter(move |exception| exception.code.class() == class);
        let name = |exception: &Exception| self.key_at(exception.index as usize);
        let held = of(AckClass::Held).filter_map(|exception| {
            let (key, is_condition) = name(exception)?;
            Some(Refusal { key: key.clone(), is_condition, code: exception.code, data: exception.data })
        });
        let held: Vec<_> = held.collect();
        if !held.is_empty() {
            // It fails when nobody waits any more.
            let _ = self.answer.send(Err(GroupError::Refused(held)));
            return None;
        }
        let is_ahead = |exception: &&Exception| exception.code == AckCode::ClockAhead;
        let waits = of(AckClass::Retry).filter(|exception| !is_ahead(exception)).map(|exception| exception.data);
        let wait_ms = waits.max().map_or(WAIT_MS_MIN, |wait_ms| wait_ms.clamp(WAIT_MS_MIN, WAIT_MS_MAX));
        if of(AckClass::Retry).next().is_none() {
            let superseded = own.filter(|exception| exception.code == AckCode::Superseded);
            let superseded = superseded.filter_map(|exception| Some(name(exception)?.0.clone())).collect();
            self.state = State::Done(Admitted { seq, superseded });
            return Some(self);
        }
        self.state = State::Waiting { from_ms: now_ms + wait_ms };
        if let Some(ahead) = exceptions.iter().find(is_ahead) {
            // Nothing of it was applied, so it may get other stamps.
            replica.handle_ahead(ahead.data, now_ms);
            match ops(replica, &self.group, now_ms) {
                Ok(ops) => self.ops = ops,
                Err(error) => {
                    let _ = self.answer.send(Err(error.into()));
                    return None;
                }
            }
        }
        Some(self)
    }

    /// What an exception's index names, and whether it is a condition.
    fn key_at(&self, index: usize) -> Option<(&Key, bool)> {
        let writes = self.group.writes.keys().map(|key| (key, false));
        writes.chain(self.group.conditions.keys().map(|key| (key, true))).nth(index)
    }
}

fn ops(replica: &mut Replica, group: &Group, now_ms: u64) -> Result<Vec<Op>, EditError> {
    replica.group(group.writes.iter().map(|(key, value)| (key, value.as_ref())), now_ms)
}

fn frame(batch: u64, group: &Group, ops: &[Op]) -> Vec<u8> {
    let condition = |(key, &stamp): (&Key, &Option<Stamp>)| Condition { key: key.as_str().to_owned(), stamp };
    let conditions = group.conditions.iter().map(condition).collect();
    ClientFrame::Group { batch, ops: ops.to_vec(), conditions }.encode()
}
