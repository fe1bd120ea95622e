//! A device between two pages of one person.

use keybook_core::client::{Client, LocalChange, Stored};

use super::{pair::Group, secret};

/// A device that keeps all that its client says, and the client that comes after it, as another replica.
pub struct Device(pub Stored);

impl Device {
    pub fn new(client: &mut Client, now_ms: u64) -> Self {
        client.handle_stored(&Stored::default(), now_ms);
        let mut device = Self(Stored::default());
        device.keep(client);
        device
    }

    pub fn keep(&mut self, client: &mut Client) {
        let LocalChange { outbox, base, .. } = client.take_local_change();
        for (key, rows) in outbox {
            self.0.outbox.retain(|(known, _)| *known != key);
            self.0.outbox.extend(rows.map(|rows| (key, rows)));
        }
        if let Some(base) = base {
            self.0.header = base.header;
            if let Some(snapshot) = base.snapshot {
                (self.0.snapshot, self.0.deltas) = (snapshot, Vec::new());
            }
            self.0.deltas.extend(base.deltas);
        }
    }

    pub fn reopen(&mut self, group: &mut Group, index: usize) {
        let now_ms = group.local_ms(index);
        let client = group.client(index);
        *client = Client::opening(secret(100 + index as u64), client.person(), now_ms);
        client.handle_stored(&self.0, now_ms);
    }
}
