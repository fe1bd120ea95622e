//! A device: the local store that its clients share. Its transactions are durable in their order, and some time after they were
//! made; each client makes one at a time.

use std::collections::{BTreeMap, VecDeque};

use keybook_core::{
    Dictionary, Key, ReplicaId, Stamp, Value,
    client::{BaseChange, Client, LocalChange, OutboxRow, PendingResolution, Stored, Verdict},
};

use super::World;

/// What an outbox holds, but for how far its rows have come, and what was decided about conflicts.
pub(super) type Rows = (Vec<(Key, Stamp, Option<Value>)>, Vec<PendingResolution>);

#[derive(Default)]
pub(super) struct Device {
    pub(super) skew_ms: i64,
    outbox: BTreeMap<(ReplicaId, Key), Vec<u8>>,
    base: Option<BaseChange>,
    /// What the client held that wrote the base.
    held_base: Dictionary,
    /// What each client held when it wrote its outbox.
    held: BTreeMap<ReplicaId, Rows>,
    /// Made, and not durable.
    waiting: VecDeque<Transaction>,
}

struct Transaction {
    replica: ReplicaId,
    change: LocalChange,
    /// Clients that have ended, whose rows are part of it.
    forget: Vec<ReplicaId>,
    /// What the client held then.
    rows: Rows,
    base: Dictionary,
}

/// What follows of a transaction that is durable, for the client that made it.
pub(super) struct Kept {
    pub(super) replica: ReplicaId,
    pub(super) outbox: Vec<(Key, Option<Vec<u8>>)>,
    pub(super) forgotten: Vec<ReplicaId>,
    /// The store lacks what came before this change of the base.
    pub(super) lacks: bool,
}

impl Device {
    pub(super) fn new(skew_ms: i64) -> Self {
        Self { skew_ms, ..Self::default() }
    }

    /// A client has made a step. Returns whether all that it has is kept.
    pub(super) fn keep(&mut self, client: &mut Client, adopted: &mut Vec<ReplicaId>) -> bool {
        let replica = client.replica();
        if self.waiting.iter().any(|transaction| transaction.replica == replica) {
            return false;
        }
        let (change, forget) = (client.take_local_change(), std::mem::take(adopted));
        let is_kept = change.is_empty() && forget.is_empty();
        if !is_kept {
            let (rows, base) = (rows(client), client.base().clone());
            self.waiting.push_back(Transaction { replica, change, forget, rows, base });
        }
        is_kept
    }

    /// The oldest transaction becomes durable.
    fn sync(&mut self) -> Option<Kept> {
        let Transaction { replica, change, forget, rows, base } = self.waiting.pop_front()?;
        for (key, rows) in &change.outbox {
            match rows {
                Some(rows) => _ = self.outbox.insert((replica, key.clone()), rows.clone()),
                None => _ = self.outbox.remove(&(replica, key.clone())),
            }
        }
        self.outbox.retain(|(replica, _), _| !forget.contains(replica));
        self.held.retain(|replica, _| !forget.contains(replica));
        self.held.insert(replica, rows);
        let header = self.base.as_ref().map_or(&[][..], |base| &base.header);
        let verdict = change.base.as_ref().map_or(Verdict::Leave, |change| change.onto(header));
        if let (Verdict::Keep, Some(change)) = (verdict, change.base) {
            self.held_base = base;
            match (&mut self.base, change.snapshot.is_some()) {
                (Some(base), false) => {
                    base.header = change.header;
                    base.deltas.extend(change.deltas);
                }
                (base, _) => *base = Some(change),
            }
        }
        Some(Kept { replica, outbox: change.outbox, forgotten: forget, lacks: verdict == Verdict::Gap })
    }

    /// A client has ended: what was not durable of its is lost. Returns how many transactions that were.
    pub(super) fn lose(&mut self, replica: ReplicaId) -> usize {
        let before = self.waiting.len();
        self.waiting.retain(|transaction| transaction.replica != replica);
        before - self.waiting.len()
    }

    fn stored(&self) -> Stored {
        let base = self.base.clone();
        let (header, snapshot, deltas) = base.map_or_else(Default::default, |base| {
            (base.header, base.snapshot.expect("the first change brings one"), base.deltas)
        });
        Stored { header, snapshot, deltas, outbox: Vec::new() }
    }

    /// The clients that have rows in the store.
    pub(super) fn replicas(&self) -> Vec<ReplicaId> {
        let mut replicas: Vec<ReplicaId> = self.outbox.keys().map(|(replica, _)| *replica).collect();
        replicas.dedup();
        replicas
    }

    /// What a client has left, as it is kept and as it was.
    pub(super) fn left_by(&self, replica: ReplicaId) -> (Vec<(Key, Vec<u8>)>, Rows) {
        let of = self.outbox.iter().filter(|((owner, _), _)| *owner == replica);
        let rows = of.map(|((_, key), rows)| (key.clone(), rows.clone())).collect();
        (rows, self.held.get(&replica).cloned().unwrap_or_default())
    }
}

impl World {
    /// A transaction of a client's device becomes durable. Its maker tells the others.
    pub(super) fn sync_device(&mut self, index: usize) -> bool {
        let Some(device) = self.peers[index].tab.as_ref().map(|tab| tab.device) else { return false };
        let Some(Kept { replica, outbox, forgotten, lacks }) = self.devices[device].sync() else { return false };
        let maker = self.peers.iter().position(|peer| peer.client.replica() == replica).expect("it lives");
        let client = &mut self.peers[maker].client;
        if lacks {
            client.keep_whole();
            self.tally.count("device lacks what came before");
        }
        if !outbox.is_empty() || !forgotten.is_empty() {
            let message = client.tell(outbox, forgotten);
            self.broadcast(maker, &message);
        }
        self.drive(maker);
        true
    }

    /// What the device has kept is read: exactly what a client held when it was kept.
    pub(super) fn open_device(&mut self, index: usize) {
        let now_ms = self.local_ms(index);
        let Some(tab) = self.peers[index].tab.as_mut().filter(|tab| tab.is_opening) else { return };
        tab.is_opening = false;
        let device = &self.devices[tab.device];
        tab.ended_or_not = device.replicas();
        let client = &mut self.peers[index].client;
        // It did not wait for ever: what it has from the server is newer.
        let is_late = client.dictionary().is_some();
        let (own, base) = (rows(client), client.base().clone());
        client.handle_stored(&device.stored(), now_ms);
        assert_eq!(rows(client), own, "client {index} has no other edits");
        let expected = if is_late { &base } else { &device.held_base };
        assert_eq!(client.base(), expected, "client {index} has the entries that its device kept");
        self.tally.count(if is_late { "device opened late" } else { "device opened" });
        client.ask_siblings();
        self.drive(index);
        if !self.plan.tabs {
            while self.adopt(index) {}
        }
    }
}

pub(super) fn rows(client: &Client) -> Rows {
    let row = |(key, row): (&Key, &OutboxRow)| (key.clone(), row.stamp, row.value.clone());
    (client.outbox().iter().map(row).collect(), client.resolutions().to_vec())
}
