//! A double of the local store that the clients of a device share, as IndexedDB is. Its transactions are durable in their order,
//! and some time after they were made. Room runs out and comes back, a transaction breaks off, and the store is closed: by
//! whoever deletes it, or for a newer version.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use keybook_core::{
    Dictionary, Epoch, Key, ReplicaId, Stamp, Value,
    client::{BaseChange, Client, LocalChange, OutboxRow, PendingResolution, Stored, Verdict},
    device::{Found, Kept, Left, Storage},
};

use super::{World, peers::Peer};
use crate::support::{person, secret};

/// What an outbox holds, but for how far its rows have come, and what was decided about conflicts.
pub(super) type LeftRows = (Vec<(Key, Stamp, Option<Value>)>, Vec<PendingResolution>);

/// How much room a device has.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Room {
    #[default]
    Enough,
    /// For a change of the outbox, and none of the base.
    EditsAlone,
    Full,
}

#[derive(Default)]
pub(super) struct LocalStore {
    pub(super) skew_ms: i64,
    room: Room,
    outbox: BTreeMap<(ReplicaId, Key), Vec<u8>>,
    base: Option<BaseChange>,
    /// What the client held that wrote the base, and of which epoch that was.
    held_base: Dictionary,
    held_epoch: Option<Epoch>,
    /// What each client held when it wrote its outbox.
    held: BTreeMap<ReplicaId, LeftRows>,
    /// The writes in the last change that each client made, durable or not. If the store is closed before it takes the change,
    /// the client tells it as it was made, and only then what it has written since.
    handed: BTreeMap<ReplicaId, Vec<(Key, Stamp)>>,
    /// Made, and not durable.
    waiting: VecDeque<Transaction>,
    /// The writes that were durable at some time.
    kept: BTreeSet<(Key, Stamp)>,
    /// Those that a client told which kept nothing then. What others show of them goes back if it ends, or if something older
    /// finds room after that.
    told_unkept: BTreeSet<(Key, Stamp)>,
    /// Who has taken over what a client has left.
    takers: BTreeMap<ReplicaId, ReplicaId>,
}

pub(super) struct Transaction {
    replica: ReplicaId,
    pub(super) change: LocalChange,
    /// Clients that have ended, whose rows are part of it.
    pub(super) adopted: Vec<ReplicaId>,
    /// What the client held when it first made this change.
    rows: LeftRows,
    base: Dictionary,
    epoch: Option<Epoch>,
}

impl Transaction {
    pub(super) fn new(client: &Client, epoch: Option<Epoch>, change: LocalChange, adopted: Vec<ReplicaId>) -> Self {
        let (rows, base) = (rows(client), client.base().clone());
        Self { replica: client.replica(), change, adopted, rows, base, epoch }
    }

    /// It is tried again with `change`, which is all that it was but for its base.
    pub(super) fn without_base(self, change: LocalChange) -> Self {
        assert_eq!(
            (&change.outbox, &change.steps),
            (&self.change.outbox, &self.change.steps),
            "the same is tried again"
        );
        assert_eq!(change.base, None, "there is no room for the base");
        Self { change, ..self }
    }

    /// Of one that is not taken, nothing is tried again.
    pub(super) fn is_base_alone(&self) -> bool {
        self.change.outbox.is_empty() && self.change.steps.is_none() && self.adopted.is_empty()
    }
}

impl LocalStore {
    pub(super) fn new(skew_ms: i64) -> Self {
        Self { skew_ms, ..Self::default() }
    }

    pub(super) fn begin(&mut self, transaction: Transaction) {
        let is_own = |waiting: &Transaction| waiting.replica == transaction.replica;
        assert!(!self.waiting.iter().any(is_own), "a client makes one transaction at a time");
        let writes = transaction.rows.0.iter().map(|(key, stamp, _)| (key.clone(), *stamp)).collect();
        self.handed.insert(transaction.replica, writes);
        self.waiting.push_back(transaction);
    }

    fn has_room_for(&self, transaction: &Transaction) -> bool {
        match self.room {
            Room::Enough => true,
            Room::EditsAlone => transaction.change.base.is_none(),
            Room::Full => false,
        }
    }

    /// A transaction becomes durable.
    fn sync(&mut self, Transaction { replica, change, adopted, rows, base, epoch }: Transaction) -> Kept {
        for (key, rows) in &change.outbox {
            match rows {
                Some(rows) => _ = self.outbox.insert((replica, key.clone()), rows.clone()),
                None => _ = self.outbox.remove(&(replica, key.clone())),
            }
        }
        self.outbox.retain(|(replica, _), _| !adopted.contains(replica));
        self.held.retain(|replica, _| !adopted.contains(replica));
        self.kept.extend(rows.0.iter().map(|(key, stamp, _)| (key.clone(), *stamp)));
        self.held.insert(replica, rows);
        let header = self.base.as_ref().map_or(&[][..], |base| &base.header);
        let verdict = change.base.as_ref().map_or(Verdict::Leave, |change| change.onto(header));
        if let (Verdict::Keep, Some(change)) = (verdict, change.base) {
            (self.held_base, self.held_epoch) = (base, epoch);
            match (&mut self.base, change.snapshot.is_some()) {
                (Some(base), false) => {
                    base.header = change.header;
                    base.deltas.extend(change.deltas);
                }
                (base, _) => *base = Some(change),
            }
        }
        if verdict == Verdict::Gap { Kept::Gap } else { Kept::Whole }
    }

    /// A client has ended: what was not durable of its is lost. Returns how many transactions that were.
    pub(super) fn lose(&mut self, replica: ReplicaId) -> usize {
        let before = self.waiting.len();
        self.waiting.retain(|transaction| transaction.replica != replica);
        before - self.waiting.len()
    }

    /// All that it holds is deleted. Returns whose transactions were under way.
    fn delete(&mut self) -> Vec<ReplicaId> {
        let Self { skew_ms, room, handed, waiting, kept, told_unkept, .. } = std::mem::take(self);
        *self = Self { skew_ms, room, handed, kept, told_unkept, ..Self::default() };
        waiting.into_iter().map(|transaction| transaction.replica).collect()
    }

    fn found(&self) -> Found {
        let base = self.base.clone();
        let (header, snapshot, deltas) = base.map_or_else(Default::default, |base| {
            (base.header, base.snapshot.expect("the first change brings one"), base.deltas)
        });
        let mut replicas: Vec<ReplicaId> = self.outbox.keys().map(|(replica, _)| *replica).collect();
        replicas.dedup();
        Found { stored: Stored { header, snapshot, deltas, outbox: Vec::new() }, replicas }
    }

    fn rows_of(&self, replica: ReplicaId) -> impl Iterator<Item = (&Key, &Vec<u8>)> {
        self.outbox.iter().filter(move |((owner, _), _)| *owner == replica).map(|((_, key), rows)| (key, rows))
    }

    /// What a client has left, as it is kept and as it was.
    pub(super) fn left_by(&self, replica: ReplicaId) -> (Left, LeftRows) {
        let outbox = self.rows_of(replica).map(|(key, rows)| (key.clone(), rows.clone())).collect();
        (Left { outbox, steps: None }, self.held.get(&replica).cloned().unwrap_or_default())
    }

    /// A client takes over what another has left. Returns who has done so before.
    pub(super) fn take_over(&mut self, left: ReplicaId, taker: ReplicaId) -> Option<ReplicaId> {
        self.takers.insert(left, taker).filter(|before| *before != taker)
    }

    /// A client keeps nothing just now: it tells what it has all the same, what it has taken over too.
    pub(super) fn tell_unkept(&mut self, client: &Client) {
        let held = self.held.get(&client.replica()).map_or(&[][..], |(rows, _)| rows);
        let is_held = |(key, stamp): &(Key, Stamp)| held.iter().any(|(held, of, _)| (held, of) == (key, stamp));
        let handed = self.handed.get(&client.replica()).into_iter().flatten().cloned();
        let writes = client.outbox().iter().map(|(key, row)| (key.clone(), row.stamp)).chain(handed);
        self.told_unkept.extend(writes.filter(|write| !is_held(write)));
    }

    /// Whether a write may be known to other clients.
    pub(super) fn may_be_told(&self, key: &Key, stamp: Stamp) -> bool {
        self.kept.contains(&(key.clone(), stamp)) || self.was_told_unkept(key, stamp)
    }

    pub(super) fn was_told_unkept(&self, key: &Key, stamp: Stamp) -> bool {
        self.told_unkept.contains(&(key.clone(), stamp))
    }

    /// What a client shows that comes later and has no connection.
    pub(super) fn base(&self) -> Dictionary {
        let mut client = Client::opening(secret(0), person(0), 0);
        client.handle_stored(&self.found().stored, 0);
        client.base().clone()
    }

    /// It holds what the client does.
    pub(super) fn assert_holds(&self, client: &Client) {
        let replica = client.replica();
        let (outbox, decisions) = rows(client);
        let lost = client.lost_conflicts().map(|conflict| &conflict.key);
        let keys =
            lost.chain(outbox.iter().map(|(key, ..)| key)).chain(decisions.iter().map(|pending| &pending.id.key));
        let (expected, kept): (BTreeSet<&Key>, _) =
            (keys.collect(), self.rows_of(replica).map(|(key, _)| key).collect());
        assert_eq!(expected, kept, "the store has the rows of {replica:?}");
        let held = self.held.get(&replica).map_or(&[][..], |(outbox, _)| outbox);
        assert_eq!(held, outbox, "the store has the writes of {replica:?}");
    }
}

impl World {
    /// A transaction of a client's device becomes durable, or is not taken.
    pub(super) fn sync_store(&mut self, index: usize) -> bool {
        let Some(store) = self.peers[index].tab.as_ref().map(|tab| tab.store) else { return false };
        let Some(transaction) = self.stores[store].waiting.pop_front() else { return false };
        let maker = self.index_of(transaction.replica).expect("its transactions are lost with a client");
        let now_ms = self.local_ms(maker);
        let is_refused = matches!(self.peers[maker].device.storage(), Storage::Refused { .. });
        let has_room = self.calm || self.stores[store].has_room_for(&transaction);
        let breaks_off = self.plan.store_faults && !self.calm && self.decisions.one_in(40);
        if has_room && !breaks_off {
            let kept = self.stores[store].sync(transaction);
            self.tally.count_some("device lacks what came before", usize::from(kept == Kept::Gap));
            let device = &mut self.peers[maker].device;
            self.tally
                .count_some("edit kept after all", usize::from(matches!(device.storage(), Storage::NotKept { .. })));
            device.handle_kept(kept);
        } else {
            self.tally.count(match (has_room, transaction.change.base.is_some()) {
                (true, _) => "transaction broken off",
                (false, true) => "no room for the base",
                (false, false) => "no room for edits",
            });
            let peer = &mut self.peers[maker];
            peer.device.handle_unkept("no room".to_owned(), now_ms);
            let tab = peer.tab.as_mut().expect("it has made a transaction");
            tab.keeps_no_base |= transaction.change.base.is_some() && !is_refused;
            tab.not_taken = Some(transaction).filter(|transaction| !transaction.is_base_alone());
        }
        self.drive(maker);
        true
    }

    /// What the device has kept is read: exactly what a client held when it was kept. Now and then it cannot be.
    pub(super) fn open_store(&mut self, index: usize) {
        let now_ms = self.local_ms(index);
        let fails = self.plan.store_faults && !self.calm && self.decisions.one_in(8);
        let Peer { device, epoch, tab: Some(tab), .. } = &mut self.peers[index] else { return };
        let store = &self.stores[tab.store];
        if device.storage() != Storage::Opening {
            return;
        }
        if fails {
            tab.is_closed = true;
            device.handle_refused("it cannot be opened".to_owned(), now_ms);
            self.tally.count("store never opened");
            return self.drive(index);
        }
        // It did not wait for ever: what it has from the server is newer.
        let is_late = device.client().dictionary().is_some();
        let (own, base) = (rows(device.client()), device.client().base().clone());
        device.handle_opened(store.found(), now_ms);
        assert_eq!(rows(device.client()), own, "client {index} has no other edits");
        if !is_late {
            *epoch = store.held_epoch;
        }
        let expected = if is_late { &base } else { &store.held_base };
        assert_eq!(device.client().base(), expected, "client {index} has the entries that its device kept");
        self.tally.count(if is_late { "device opened late" } else { "device opened" });
        self.drive(index);
        if !self.plan.tabs {
            while self.take_lock(index) || self.read_left(index) {}
        }
    }

    /// The room of a client's device becomes less or more, or its store is closed while it is open.
    pub(super) fn disturb_store(&mut self, index: usize) {
        let Some(store) = self.peers[index].tab.as_ref().map(|tab| tab.store) else { return };
        let rooms = [Room::Enough, Room::Enough, Room::EditsAlone, Room::Full];
        match self.decisions.index(0..24) {
            0 => self.close_store(store, Closed::Deleted),
            1 => self.close_store(store, Closed::ForNewerVersion),
            number => self.stores[store].room = rooms[number % rooms.len()],
        }
    }

    /// All clients that have it open let go of it.
    fn close_store(&mut self, store: usize, closed: Closed) {
        for index in 0..self.peers.len() {
            let now_ms = self.local_ms(index);
            let peer = &mut self.peers[index];
            if peer.tab.as_ref().is_none_or(|tab| tab.store != store) {
                continue;
            }
            let moment = match peer.device.storage() {
                Storage::Opening | Storage::Refused { .. } => continue,
                Storage::Kept => "store closed",
                Storage::Keeping => "store closed while keeping",
                Storage::NotKept { .. } => "store closed while without room",
            };
            self.tally.count(moment);
            peer.tab.as_mut().expect("it has the store open").is_closed = true;
            peer.device.handle_refused("it was closed".to_owned(), now_ms);
            self.drive(index);
        }
        if closed == Closed::Deleted {
            self.tally.count("store deleted");
            // What was under way is in the database that is deleted.
            for replica in self.stores[store].delete() {
                let maker = self.index_of(replica).expect("its transactions are lost with a client");
                self.peers[maker].device.handle_kept(Kept::Whole);
                self.drive(maker);
            }
        }
    }

    pub(super) fn index_of(&self, replica: ReplicaId) -> Option<usize> {
        self.peers.iter().position(|peer| peer.client().replica() == replica)
    }
}

/// Why a store is closed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closed {
    Deleted,
    /// What is there stays, for clients that come later.
    ForNewerVersion,
}

pub(super) fn rows(client: &Client) -> LeftRows {
    let row = |(key, row): (&Key, &OutboxRow)| (key.clone(), row.stamp, row.value.clone());
    (client.outbox().iter().map(row).collect(), client.resolutions().cloned().collect())
}
