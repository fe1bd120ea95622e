//! Where the edits of this device stand: Saved, Saving, On this device or Not saved. It is decided here and nowhere else.

use keybook_core::{
    client::{Client, Phase},
    device::Storage,
};

use super::row::EntryState;

/// How far the connection has come, as a person sees it: attempts after a failure are no news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Changes come and go as they are made.
    Live,
    /// A connection is being made.
    Connecting,
    /// There is none; it is tried again by itself.
    Offline,
}

/// What has become of the edits of this page, and of the other tabs as far as it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// The server has them all on disk.
    Saved,
    /// So many are on their way.
    Saving(usize),
    /// So many wait for a connection, and survive the page.
    OnDevice(usize),
    /// So many wait for a connection, and are lost with the page.
    NotSaved(usize),
}

/// Edits that the server has not acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Edits {
    /// Of this page.
    pub(super) own: usize,
    /// Of the other tabs, as far as they have told.
    pub(super) siblings: usize,
}

impl Connection {
    pub(super) fn of(client: &Client) -> Self {
        match client.phase() {
            Phase::Following => Self::Live,
            _ if client.is_offline() => Self::Offline,
            _ => Self::Connecting,
        }
    }
}

impl Sync {
    pub(super) fn new(edits: Edits, connection: Connection, storage: Storage<'_>) -> Self {
        let Edits { own, siblings } = edits;
        match (own, connection, storage) {
            // What another tab has told is on this device. Whether its connection lives is not known here. Where nothing is kept,
            // each tab speaks for itself: what it has is lost with it.
            (0, _, _) if siblings > 0 && storage.is_durable() => Self::OnDevice(siblings),
            (0, _, _) => Self::Saved,
            (_, Connection::Live, _) | (_, _, Storage::Keeping) => Self::Saving(own),
            (_, _, Storage::Kept) => Self::OnDevice(own + siblings),
            (_, _, Storage::Opening | Storage::NotKept { .. } | Storage::Refused { .. }) => Self::NotSaved(own),
        }
    }

    /// How many edits the server does not have.
    pub fn edits(self) -> usize {
        match self {
            Self::Saved => 0,
            Self::Saving(edits) | Self::OnDevice(edits) | Self::NotSaved(edits) => edits,
        }
    }
}

impl EntryState {
    /// What the row of an edit says that the server does not have. While a connection is being made, that is that it is on its
    /// way: one may come before the eye has read anything else.
    pub(super) fn unsaved(connection: Connection, storage: Storage<'_>) -> Self {
        match (connection, Sync::new(Edits { own: 1, siblings: 0 }, connection, storage)) {
            (Connection::Connecting, _) | (_, Sync::Saved | Sync::Saving(_)) => Self::Saving,
            (_, Sync::OnDevice(_)) => Self::OnDevice,
            (_, Sync::NotSaved(_)) => Self::NotSaved,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Connection::{Connecting, Live, Offline},
        Sync::{NotSaved, OnDevice, Saved, Saving},
        *,
    };

    const NOT_KEPT: Storage<'_> = Storage::NotKept { reason: "the disk is full" };
    const REFUSED: Storage<'_> = Storage::Refused { reason: "a private window" };

    #[test]
    fn what_becomes_of_edits() {
        let check = |own, siblings, storage, live, connecting, offline| {
            for (connection, expected) in [(Live, live), (Connecting, connecting), (Offline, offline)] {
                let sync = Sync::new(Edits { own, siblings }, connection, storage);
                assert_eq!(sync, expected, "{own} and {siblings}, {storage:?}, {connection:?}");
            }
        };
        //    own others  storage            live         connecting   offline
        check(0, 0, Storage::Opening, /* */ Saved, /*  */ Saved, /*  */ Saved);
        check(0, 0, Storage::Kept, /*    */ Saved, /*  */ Saved, /*  */ Saved);
        check(0, 0, REFUSED, /*          */ Saved, /*  */ Saved, /*  */ Saved);
        check(0, 2, Storage::Kept, /*    */ OnDevice(2), OnDevice(2), OnDevice(2));
        check(0, 2, Storage::Keeping, /* */ OnDevice(2), OnDevice(2), OnDevice(2));
        check(0, 2, NOT_KEPT, /*         */ Saved, /*  */ Saved, /*  */ Saved);
        check(3, 0, Storage::Opening, /* */ Saving(3), NotSaved(3), NotSaved(3));
        check(3, 0, Storage::Keeping, /* */ Saving(3), Saving(3), /**/ Saving(3));
        check(3, 0, Storage::Kept, /*    */ Saving(3), OnDevice(3), OnDevice(3));
        check(3, 2, Storage::Keeping, /* */ Saving(3), Saving(3), /**/ Saving(3));
        check(3, 2, Storage::Kept, /*    */ Saving(3), OnDevice(5), OnDevice(5));
        check(3, 2, NOT_KEPT, /*         */ Saving(3), NotSaved(3), NotSaved(3));
        check(3, 2, REFUSED, /*          */ Saving(3), NotSaved(3), NotSaved(3));
    }

    #[test]
    fn what_the_row_of_an_edit_says() {
        let check = |storage, offline| {
            assert_eq!(EntryState::unsaved(Live, storage), EntryState::Saving, "{storage:?}");
            assert_eq!(EntryState::unsaved(Connecting, storage), EntryState::Saving, "{storage:?}");
            assert_eq!(EntryState::unsaved(Offline, storage), offline, "{storage:?}");
        };
        check(Storage::Opening, EntryState::NotSaved);
        check(Storage::Keeping, EntryState::Saving);
        check(Storage::Kept, EntryState::OnDevice);
        check(NOT_KEPT, EntryState::NotSaved);
        check(REFUSED, EntryState::NotSaved);
    }

    #[test]
    fn edits_are_counted() {
        for (sync, edits) in [(Saved, 0), (Saving(1), 1), (OnDevice(2), 2), (NotSaved(3), 3)] {
            assert_eq!(sync.edits(), edits);
        }
    }
}
