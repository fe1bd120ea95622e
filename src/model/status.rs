//! What the page shows beside the rows.

use keybook_core::{
    Seq,
    client::Absence,
    device::{Device, Storage},
};

use super::{
    comparison::is_own,
    first_page::FirstPage,
    held::{HeldEdit, held},
    sync::{Connection, Edits, Sync},
};

/// What the page shows beside the rows. It is computed once a change, see [`super::Model::frame`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The connection.
    pub connection: Connection,
    /// The edits.
    pub sync: Sync,
    /// Whether anybody has said what the dictionary holds: its server, or this device, which has kept it.
    pub is_known: bool,
    /// How many entries there are, found or not.
    pub live: u64,
    /// At the cursor, the replica's digest equals the server's.
    pub is_verified: bool,
    /// The cursor.
    pub seq: u64,
    /// Who writes here; none before the page is alive.
    pub author: Option<String>,
    /// The edits that were refused.
    pub held: Vec<HeldEdit>,
    /// How many edits can be undone, and how many redone.
    pub undoable: (usize, usize),
    /// Why this device keeps nothing; none if it does.
    pub trouble: Option<String>,
    /// The local clock minus the server's.
    pub clock_ahead_ms: i64,
    /// How often the entries here differed from the server's, and were mended.
    pub divergences: u64,
    /// How many conflicts are open.
    pub conflicts: usize,
    /// In how many of them this person has lost.
    pub lost: usize,
    /// The batch of the newest of those.
    pub newest_lost: Option<Seq>,
    /// How many losing values are in the histories of their keys alone.
    pub untold: u64,
    /// How many keys others changed while this device was away.
    pub changed: u64,
    /// How many of them [`super::Model::comparisons`] leaves out.
    pub changed_more: u64,
}

impl Status {
    /// Before there is a replica: nothing is edited, and the connection is yet to come.
    pub(super) fn first(first: &FirstPage) -> Self {
        Self {
            connection: Connection::Connecting,
            sync: Sync::Saved,
            is_known: false,
            live: first.live,
            is_verified: false,
            seq: first.seq.0,
            author: None,
            held: Vec::new(),
            undoable: (0, 0),
            trouble: None,
            clock_ahead_ms: 0,
            divergences: 0,
            conflicts: 0,
            lost: 0,
            newest_lost: None,
            untold: 0,
            changed: 0,
            changed_more: 0,
        }
    }

    /// Of a device, in which `live` entries are shown.
    pub(super) fn new(device: &Device, live: u64) -> Self {
        let (client, storage) = (device.client(), device.storage());
        let connection = Connection::of(client);
        let edits = Edits { own: client.unconfirmed(), siblings: client.sibling_edits() };
        let open = client.open_conflicts();
        let lost = open.iter().filter(|conflict| is_own(conflict, client));
        let (changed, changed_more) = client.absence().map_or((0, 0), absence);
        Self {
            connection,
            sync: Sync::new(edits, connection, storage),
            is_known: client.dictionary().is_some(),
            live,
            is_verified: client.verified() == Some(client.cursor()),
            seq: client.cursor().0,
            author: Some(client.author().name.as_str().to_owned()),
            held: held(client),
            undoable: client.undoable(),
            trouble: match storage {
                Storage::Opening | Storage::Keeping | Storage::Kept => None,
                Storage::NotKept { reason } | Storage::Refused { reason } => Some(reason.to_owned()),
            },
            clock_ahead_ms: -client.offset_ms(),
            divergences: client.divergences(),
            conflicts: open.len(),
            lost: lost.clone().count(),
            newest_lost: lost.clone().next_back().map(|conflict| conflict.seq),
            untold: client.untold(),
            changed: changed + changed_more,
            changed_more,
        }
    }

    /// How many losing values there are, with a row or without; nothing is said of none.
    pub fn conflicts_text(&self) -> Option<String> {
        let count = self.conflicts as u64 + self.untold;
        (count > 0).then(|| format!("Conflicts {count}"))
    }

    /// What is said below the open conflicts, if anything.
    pub fn conflicts_note(&self) -> Option<String> {
        let more = if self.conflicts > 0 { " more" } else { "" };
        match (self.conflicts, self.untold) {
            (0, 0) => Some("No conflict is open.".to_owned()),
            (_, 0) => None,
            (_, 1) => Some(format!("1{more} losing value is in the history of its key.")),
            (_, untold) => Some(format!("{untold}{more} losing values are in the history of their keys.")),
        }
    }

    /// How many edits the server does not have, the refused ones among them.
    pub fn unsaved(&self) -> usize {
        self.sync.edits() + self.held.len()
    }
}

fn absence(absence: &Absence) -> (u64, u64) {
    (absence.changes().len() as u64, absence.more())
}
