//! What is to be kept, is being kept, and was not taken.
//!
//! A change is what the client has to keep since the last one. It is handed out when the store has taken the one before, and
//! until then the client gathers what follows. One that was not taken is handed out again, the same but for its base.
//!
//! A device without room keeps the edits alone: they cannot be fetched anew, the base can. So a change with a base is tried
//! again at once without it, and from then on this page keeps no base, even if there is room again: a page that is loaded
//! later does. A change without a base is tried again after [`KEEP_AGAIN_AFTER_MS`].

use std::mem;

use crate::{
    Key, ReplicaId,
    client::{Client, LocalChange},
    mutants::mutant,
};

/// A change that the store did not take is tried again after this: a person may have made room meanwhile.
pub const KEEP_AGAIN_AFTER_MS: u64 = 10_000;

/// The rows of keys of the outbox; none where nothing waits any more.
type KeptRows = Vec<(Key, Option<Vec<u8>>)>;

/// Whether the local store keeps a page's edits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage<'a> {
    /// The store is being opened.
    Opening,
    /// A change is on its way to the disk.
    Keeping,
    /// All edits are on the disk.
    Kept,
    /// The device did not take a change, for this reason. It will be tried again, or is being tried again now.
    NotKept {
        /// What the store said.
        reason: &'a str,
    },
    /// Nothing is kept by this page any more, for this reason.
    Refused {
        /// What the store said, or who has closed it.
        reason: &'a str,
    },
}

impl Storage<'_> {
    /// Whether edits survive the page, or will when the change that is on its way has reached the disk.
    pub fn is_durable(&self) -> bool {
        matches!(self, Self::Keeping | Self::Kept)
    }
}

/// What the store is told of a client, and how that goes.
#[derive(Clone, Debug, Default)]
pub(super) struct Keeper {
    store: Store,
    /// Pages that have ended, whose edits the next change brings in.
    adopted: Vec<ReplicaId>,
}

#[derive(Clone, Debug, Default)]
enum Store {
    #[default]
    Opening,
    /// It has taken all that it was handed.
    Idle,
    /// A change is on its way to the disk.
    Keeping {
        pending: Pending,
        /// The store did not take it before, for this reason.
        trouble: Option<String>,
    },
    /// A change was not taken.
    NotTaken {
        pending: Pending,
        again_at_ms: u64,
        reason: String,
    },
    Refused {
        reason: String,
    },
}

/// What of a change is needed again, when the store has answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    pub(super) outbox: KeptRows,
    steps: Option<Vec<u8>>,
    pub(super) adopted: Vec<ReplicaId>,
    has_base: bool,
}

impl Keeper {
    pub(super) fn storage(&self) -> Storage<'_> {
        match &self.store {
            Store::Opening => Storage::Opening,
            Store::Idle => Storage::Kept,
            Store::Keeping { trouble: None, .. } => Storage::Keeping,
            Store::Keeping { trouble: Some(reason), .. } | Store::NotTaken { reason, .. } => {
                Storage::NotKept { reason }
            }
            Store::Refused { reason } => Storage::Refused { reason },
        }
    }

    /// Whether there is a store.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.store, Store::Opening | Store::Refused { .. })
    }

    /// Whether siblings that ask may be answered: no change that they have to know is on its way to the disk.
    pub(super) fn may_answer(&self) -> bool {
        !matches!(self.store, Store::Opening | Store::Keeping { .. })
    }

    /// Returns whether that is news.
    pub(super) fn handle_opened(&mut self) -> bool {
        let is_news = matches!(self.store, Store::Opening);
        if is_news {
            self.store = Store::Idle;
        }
        is_news
    }

    /// Returns what was to be kept, and will not be.
    pub(super) fn handle_refused(&mut self, reason: String) -> Pending {
        if mutant!("a refused store goes on") {
            return Pending::default();
        }
        match mem::take(&mut self.store) {
            Store::Refused { reason } => {
                self.store = Store::Refused { reason };
                Pending::default()
            }
            Store::Opening | Store::Idle => {
                self.store = Store::Refused { reason };
                Pending::default()
            }
            Store::Keeping { pending, .. } | Store::NotTaken { pending, .. } => {
                self.store = Store::Refused { reason };
                if mutant!("what was under way to a closed store is told to nobody") {
                    return Pending::default();
                }
                pending
            }
        }
    }

    /// Returns what is on the disk now; none if the store was refused meanwhile.
    pub(super) fn handle_kept(&mut self) -> Option<Pending> {
        match mem::take(&mut self.store) {
            Store::Keeping { pending, .. } => {
                self.store = Store::Idle;
                Some(pending)
            }
            other => {
                self.store = other;
                None
            }
        }
    }

    /// Returns whether the base is to be kept no more.
    pub(super) fn handle_unkept(&mut self, reason: String, now_ms: u64) -> bool {
        if mutant!("what was not taken is dropped") {
            self.store = Store::Idle;
            return false;
        }
        match mem::take(&mut self.store) {
            Store::Keeping { mut pending, .. } => {
                let had_base = mem::take(&mut pending.has_base);
                let again_at_ms = if had_base { now_ms } else { now_ms + KEEP_AGAIN_AFTER_MS };
                self.store = Store::NotTaken { pending, again_at_ms, reason };
                had_base
            }
            other => {
                self.store = other;
                false
            }
        }
    }

    /// The client has taken over the edits of a page that has ended.
    pub(super) fn adopt(&mut self, replica: ReplicaId) {
        self.adopted.push(replica);
    }

    /// The next change for the store, with the pages whose rows it brings in.
    pub(super) fn poll_change(&mut self, client: &mut Client, now_ms: u64) -> Option<(LocalChange, Vec<ReplicaId>)> {
        if mutant!("what was not taken is overtaken") && matches!(self.store, Store::NotTaken { .. }) {
            return self.next(client);
        }
        match mem::take(&mut self.store) {
            Store::NotTaken { pending, again_at_ms, reason } if again_at_ms <= now_ms && !pending.is_empty() => {
                let (outbox, steps) = (pending.outbox.clone(), pending.steps.clone());
                let adopted = pending.adopted.clone();
                self.store = Store::Keeping { pending, trouble: Some(reason) };
                Some((LocalChange { outbox, base: None, steps }, adopted))
            }
            // It was the base alone.
            Store::NotTaken { again_at_ms, .. } if again_at_ms <= now_ms => self.next(client),
            Store::Idle => self.next(client),
            other => {
                self.store = other;
                None
            }
        }
    }

    fn next(&mut self, client: &mut Client) -> Option<(LocalChange, Vec<ReplicaId>)> {
        let (change, adopted) = (client.take_local_change(), mem::take(&mut self.adopted));
        if change.is_empty() && adopted.is_empty() {
            self.store = Store::Idle;
            return None;
        }
        self.store = Store::Keeping { pending: Pending::of(&change, &adopted), trouble: None };
        Some((change, adopted))
    }

    /// Where nothing is kept: what has changed, with the pages whose rows are among that.
    pub(super) fn poll_untold(&mut self, client: &mut Client) -> Option<(KeptRows, Vec<ReplicaId>)> {
        if !matches!(self.store, Store::Refused { .. }) {
            return None;
        }
        let (outbox, gone) = (client.take_outbox_change(), mem::take(&mut self.adopted));
        (!outbox.is_empty() || !gone.is_empty()).then_some((outbox, gone))
    }

    /// When a change that was not taken is to be tried again.
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        match self.store {
            Store::NotTaken { again_at_ms, .. } => Some(again_at_ms),
            _ => None,
        }
    }
}

impl Pending {
    pub(super) fn of(change: &LocalChange, adopted: &[ReplicaId]) -> Self {
        let (outbox, steps) = (change.outbox.clone(), change.steps.clone());
        Self { outbox, steps, adopted: adopted.to_vec(), has_base: change.base.is_some() }
    }

    fn is_empty(&self) -> bool {
        self.outbox.is_empty() && self.steps.is_none() && self.adopted.is_empty()
    }
}
