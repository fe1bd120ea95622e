//! A client's device: its local store, whose transactions are durable in their order, and some time after they were made.

use std::collections::{BTreeMap, VecDeque};

use keybook_core::{
    client::{BaseChange, Client, LocalChange, OutboxRow, PendingResolution, Stored},
    dictionary::Dictionary,
    key::Key,
    stamp::{ReplicaId, Stamp},
    value::Value,
};

use super::{World, peers::Peer};
use crate::support::author;

/// What an outbox holds, but for how far its rows have come, and what was decided about conflicts.
type Rows = (Vec<(Key, Stamp, Option<Value>)>, Vec<PendingResolution>);

#[derive(Default)]
pub(super) struct Device {
    stored: BTreeMap<Key, Vec<u8>>,
    base: Option<BaseChange>,
    /// What the client held when it wrote that.
    held: (Rows, Dictionary),
    /// Made, and not durable. Each with what the client held then.
    waiting: VecDeque<(LocalChange, Rows, Dictionary)>,
}

impl Device {
    /// The client has made a step.
    pub(super) fn keep(&mut self, client: &mut Client) {
        let change = client.take_local_change();
        if !change.is_empty() {
            self.waiting.push_back((change, rows(client), client.base().clone()));
        }
    }

    /// The oldest transaction becomes durable.
    fn sync(&mut self) {
        let Some((change, rows, base)) = self.waiting.pop_front() else { return };
        for (key, rows) in change.outbox {
            match rows {
                Some(rows) => _ = self.stored.insert(key, rows),
                None => _ = self.stored.remove(&key),
            }
        }
        self.held.0 = rows;
        if let Some(change) = change.base {
            self.held.1 = base;
            match (&mut self.base, change.snapshot.is_some()) {
                (Some(base), false) => {
                    base.header = change.header;
                    base.deltas.extend(change.deltas);
                }
                (base, _) => *base = Some(change),
            }
        }
    }

    fn stored(&self) -> Stored {
        let base = self.base.clone();
        let (header, snapshot, deltas) = base.map_or_else(Default::default, |base| {
            (base.header, base.snapshot.expect("the first change brings one"), base.deltas)
        });
        let outbox = self.stored.iter().map(|(key, rows)| (key.clone(), rows.clone())).collect();
        Stored { header, snapshot, deltas, outbox }
    }
}

impl World {
    /// A transaction of a client's device becomes durable.
    pub(super) fn sync_device(&mut self, index: usize) {
        if let Some(device) = &mut self.peers[index].device {
            device.sync();
        }
    }

    /// The page is closed, or its browser killed: what was not durable is lost. It is opened again, as another replica.
    pub(super) fn crash_page(&mut self, index: usize, mut device: Device) {
        let lost = device.waiting.len();
        self.tally.count_some("device lost a transaction", lost);
        device.waiting.clear();
        self.oracle.page_gone(self.peers[index].client.replica());
        let replica = self.decisions.number();
        let now_ms = self.local_ms(index);
        let client = Client::opening(ReplicaId(replica), author(replica % 5), now_ms);
        let Peer { role, skew_ms, .. } = self.peers[index];
        self.peers[index] = Peer { device: Some(device), is_opening: true, ..Peer::new(client, role, skew_ms) };
        self.drive(index);
    }

    /// What the device has kept is read: exactly what the client held when it was kept.
    pub(super) fn open_device(&mut self, index: usize) {
        if !std::mem::take(&mut self.peers[index].is_opening) {
            return;
        }
        let now_ms = self.local_ms(index);
        let Peer { client, device, .. } = &mut self.peers[index];
        let device = device.as_ref().expect("only a device is opened");
        // It did not wait for ever: what it has from the server is newer.
        let is_late = client.dictionary().is_some();
        let (own, base) = (rows(client), client.base().clone());
        client.handle_stored(&device.stored(), now_ms);
        let found = rows(client);
        let (edits, decisions) = &device.held.0;
        for (key, stamp, value) in edits.iter().chain(&own.0) {
            let is_it = |row: &(Key, Stamp, Option<Value>)| row == &(key.clone(), *stamp, value.clone());
            // One of the same replica that is newer may have taken its place.
            let newer = client.outbox().row_of(key, *stamp).is_some_and(|row| row.stamp > *stamp);
            assert!(
                newer || found.0.iter().any(is_it),
                "client {index} has the edit {stamp:?} of {key:?} that was kept"
            );
        }
        assert!(found.0.len() <= edits.len() + own.0.len(), "client {index} has no other edits");
        for decision in decisions.iter().chain(&own.1) {
            let is_open = client.conflicts().open().any(|conflict| decision.is_of(conflict));
            let is_it = |found: &PendingResolution| found.is_same(decision);
            assert!(!is_open || found.1.iter().any(is_it), "client {index} has what was decided: {decision:?}");
        }
        let expected = if is_late { &base } else { &device.held.1 };
        assert_eq!(client.base(), expected, "client {index} has the entries that its device kept");
        self.tally.count_some("device opened with decisions", decisions.len());
        self.tally.count(match edits.is_empty() {
            _ if is_late => "device opened late",
            true => "device opened",
            false => "device opened with edits",
        });
        self.drive(index);
    }
}

fn rows(client: &Client) -> Rows {
    let row = |(key, row): (&Key, &OutboxRow)| (key.clone(), row.stamp, row.value.clone());
    (client.outbox().iter().map(row).collect(), client.resolutions().to_vec())
}
