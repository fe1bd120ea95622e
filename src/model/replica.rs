//! The replica as the page sees it: what it can show and what can be asked of it.

use std::{ops::Range, rc::Rc};

use keybook_core::{ConflictId, Key, Resolution, Stamp, Value, client::EditError};

use super::{comparison::Comparison, first_page::FirstPage, held::HeldEdit, row::Row};

/// A replica of one dictionary. Every method returns at once; what changes later is told by the callback that it was
/// opened with, at most once a frame.
///
/// Rows are numbered as they are shown: in the order of their keys, and only those that the search finds.
pub trait Replica {
    /// The dictionary's name.
    fn name(&self) -> String;

    /// How many rows there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys of some rows; fewer if the range ends behind the last.
    fn keys(&self, range: Range<usize>) -> Vec<Key>;

    /// Where a key is, or would be. O(log n).
    fn position(&self, key: &Key) -> usize;

    /// A key's row, whether the search finds it or not. O(log n).
    fn row(&self, key: &Key) -> Option<Row>;

    /// The whole value of a key; none while only its beginning is known. O(log n).
    fn value(&self, key: &Key) -> Option<Value>;

    /// What an edit that begins now will have seen; to be passed on when it is done.
    fn begin(&self, key: &Key) -> Stamp;

    /// Writes a value.
    ///
    /// # Errors
    /// When it is over a limit, or may not be written.
    fn put(&self, key: &Key, value: Value, began: Stamp) -> Result<(), EditError>;

    /// Removes a key.
    ///
    /// # Errors
    /// When it may not be written.
    fn remove(&self, key: &Key, began: Stamp) -> Result<(), EditError>;

    /// Takes back this user's last edit, or the last of a key, and returns its key; none if there is nothing to undo.
    ///
    /// # Errors
    /// Why it stays: who has changed the entry since, or what forbids it.
    fn undo(&self, key: Option<&Key>) -> Result<Option<Key>, String>;

    /// Takes back the last undo, and returns its key; none if there is nothing to redo.
    ///
    /// # Errors
    /// As [`Replica::undo`].
    fn redo(&self) -> Result<Option<Key>, String>;

    /// Lets a refused edit go.
    fn discard(&self, key: &Key, stamp: Stamp);

    /// The whole value of a refused edit; none for a remove, or if it is gone.
    fn held_value(&self, key: &Key, stamp: Stamp) -> Option<Value>;

    /// The open conflicts: those that this person has lost first, the newest before the others.
    fn conflicts(&self) -> Vec<Comparison>;

    /// Decides about a conflict. [`Resolution::Restored`] writes the losing value again.
    ///
    /// # Errors
    /// When that value is over a limit, or may not be written.
    fn resolve(&self, id: ConflictId, resolution: Resolution) -> Result<(), EditError>;

    /// What others changed while this device was away, at most a few hundred, in the order of the keys.
    fn changes(&self) -> Vec<Comparison>;

    /// The person has seen what others changed.
    fn forget_absence(&self);

    /// Shows only the rows whose key or value contains a text; an empty one shows all. O(size of the dictionary).
    fn search(&self, text: &str);

    /// Everything that the page shows beside the rows.
    fn status(&self) -> Status;

    /// The person knows what does not work over plain HTTP.
    fn accept_plain_http(&self);

    /// Writes under another name from now on.
    fn rename(&self, name: &str);

    /// Compares all entries with the server's now.
    fn check(&self);

    /// Asks the browser how much room there is on this device; the answer comes with the status.
    fn look(&self);

    /// Deletes what this device keeps of the dictionary.
    fn forget(&self);

    /// Saves the edits that the server does not have as a file of this device.
    fn export(&self);

    /// A text in Unicode's normalization form C, as keys are.
    fn normalize(&self, text: &str) -> String;

    /// The server's time, as well as it is known, in milliseconds since 1970.
    fn now_ms(&self) -> u64;
}

/// Called when something has changed.
pub type OnChange = Box<dyn Fn()>;

/// Opens the replica of a dictionary, which shows the first page until it has read more.
#[derive(Clone, Copy)]
pub struct OpenReplica(pub fn(FirstPage, OnChange) -> Rc<dyn Replica>);

/// What the page shows beside the rows.
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
    /// Who writes here.
    pub author: String,
    /// What the person has to know about the connection.
    pub notice: Option<String>,
    /// The browser lets this page do less, and the person has not been told.
    pub is_plain_http: bool,
    /// The edits that were refused.
    pub held: Vec<HeldEdit>,
    /// How many edits can be undone, and how many redone.
    pub undoable: (usize, usize),
    /// Why this device keeps nothing; empty if it does.
    pub trouble: String,
    /// The device's room, as of the last look.
    pub room: Option<Room>,
    /// The local clock minus the server's.
    pub clock_ahead_ms: i64,
    /// How often the entries here differed from the server's, and were mended.
    pub divergences: u64,
    /// How many conflicts are open.
    pub conflicts: usize,
    /// In how many of them this person has lost.
    pub lost: usize,
    /// The newest of those.
    pub newest_lost: Option<ConflictId>,
    /// How many keys others changed while this device was away.
    pub changed: u64,
    /// How many of them [`Replica::changes`] leaves out.
    pub changed_more: u64,
}

/// The room that a browser gives this site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What all of the site takes.
    pub used_bytes: u64,
    /// What it may take.
    pub quota_bytes: u64,
    /// The browser deletes nothing of it when the disk runs short.
    pub is_kept: bool,
}

/// How far the connection has come.
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

impl Sync {
    /// Of the number of edits that the server has not acknowledged.
    pub fn new(edits: usize, connection: Connection, is_durable: bool) -> Self {
        match (edits, connection) {
            (0, _) => Self::Saved,
            (_, Connection::Live) => Self::Saving(edits),
            _ if is_durable => Self::OnDevice(edits),
            _ => Self::NotSaved(edits),
        }
    }
}
