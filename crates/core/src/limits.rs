//! Every limit, with its reason. Those that a deployment may change are in [`Limits`], which the server sends in Welcome.

use crate::cbor_array;

/// A key in UTF-8. 512 bytes hold a path of a few names, and keep a key well within one percent-encoded URL.
pub const KEY_BYTES_MAX: usize = 512;
/// A dictionary's name: it stands in URLs and host-side file names.
pub const NAME_BYTES_MAX: usize = 64;
/// An author's name: one line of a page.
pub const AUTHOR_BYTES_MAX: usize = 64;
/// Authors of a dictionary: more people than write one by hand. With their names they take 1 MB at most, in each replica. Who comes
/// later writes as somebody.
pub const AUTHORS_MAX: u16 = 10_000;
/// Nesting of a value; below every JSON parser's own limit.
pub const VALUE_DEPTH_MAX: u32 = 64;
/// What a value may be unless a deployment says otherwise.
pub const VALUE_BYTES_DEFAULT: u32 = 64 * 1024;
/// What a deployment may allow at most: a value travels in one frame.
pub const VALUE_BYTES_MAX: u32 = 1024 * 1024;
/// Operations in a Push: bounds what one commit waits for.
pub const PUSH_OPS_MAX: usize = 512;
/// Bytes of operations in a Push that has more than one, so that a slow line sees acks.
pub const PUSH_BYTES_MAX: usize = 192 * 1024;
/// Operations in a Group, and conditions: what a person selects and changes at once. It is applied as a whole, so it bounds a commit too.
pub const GROUP_OPS_MAX: usize = 1024;
/// Bytes of a Group.
pub const GROUP_BYTES_MAX: usize = 512 * 1024;
/// Bytes of the entries that a Group replaces: they are kept as versions in one commit.
pub const GROUP_REPLACED_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Pushes of one client that are not yet acknowledged: hides a round trip, bounds the resend.
pub const PUSHES_IN_FLIGHT_MAX: usize = 8;
/// What a commit writes, and reads of values that then stay, or one operation or Group more: it bounds what others wait for. A few bytes can
/// replace large values, which are then kept, shown to who has lost, and sent to everyone; or lose against large ones.
pub const COMMIT_BYTES_MAX: u64 = 1024 * 1024;
/// What a row takes beside its key and its value, rounded up: its places in other tables, its stamps and authors.
pub const ROW_BYTES: u64 = 128;
/// Stamps that an operation may claim to have seen: that of the entry, and of each tab of a device one.
pub const SEEN_MAX: usize = 64;
/// Of these, behind that of the entry, of one replica: its newest write has replaced those before it.
pub const SEEN_OF_REPLICA_MAX: usize = 1;
/// Replicas that a connection proves to be its own: the page itself, and the pages that have ended and left it something.
pub const REPLICAS_MAX: usize = 64;
/// Entries and tombstones of a dictionary: what a browser still holds in memory.
pub const ENTRIES_MAX: u64 = 1_000_000;
/// Bytes of a dictionary's entries, tombstones and conflict rows, unless a deployment says otherwise: what a browser still holds in
/// memory, and loads as a snapshot in seconds. Where keys were removed and are written again it may take twice that.
pub const BYTES_DEFAULT: u64 = 64 * 1024 * 1024;
/// What an entry takes beside its key and its value: stamp, author, seq.
pub const ENTRY_BYTES: u64 = 32;
/// Versions kept of a key.
pub const VERSIONS_MAX: usize = 100;
/// Bytes of a dictionary's versions (key, value and [`ROW_BYTES`] each): some of all that was ever there, on a small disk.
pub const VERSIONS_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Bytes of a dictionary's open conflict rows: what a browser still holds beside the entries. A losing value for which there is no
/// room is in the history of its key alone, and is counted.
pub const CONFLICT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Bytes of the open rows that the connections of one author made. So nobody fills the room of all; it holds the largest value.
pub const CONFLICT_SHARE_BYTES_MAX: u64 = CONFLICT_BYTES_MAX / 10;
/// An open conflict row that nobody decides for 30 days is closed; its value is in the history of its key.
pub const CONFLICT_MS_MAX: u64 = 30 * 24 * 3_600_000;
/// Epochs that a server remembers: its last 1024 starts in which something was written.
pub const LINEAGE_MAX: usize = 1024;
/// Epochs of a branch: runs of a server between what it still has and a write that it has lost.
pub const BRANCH_MAX: usize = 16;
/// A connection says Hello within this, or is closed.
pub const HELLO_MS_MAX: u64 = 10_000;
/// A connection that sends nothing for this long is closed; the timers of a hidden tab run once a minute.
pub const SILENT_MS_MAX: u64 = 90_000;
/// A presence blob: a name, a colour and a cell.
pub const PRESENCE_BYTES_MAX: usize = 256;
/// A capability token in Hello: 256 bits in any text encoding.
pub const TOKEN_BYTES_MAX: usize = 128;
/// How far a stamp may be ahead of the server: more than honest clocks that follow the server drift between two Pongs.
pub const CLOCK_AHEAD_MS_MAX: u64 = 60_000;
/// How far the stamp of a write may be ahead that comes back after a rollback: a server whose clock was wrong may have confirmed it,
/// and its device shows it. A stamp at the end of time could never be replaced, so it is a century.
pub const RECOVERED_AHEAD_MS_MAX: u64 = 100 * 365 * 24 * 3_600_000;
/// A snapshot's chunk before compression.
pub const CHUNK_BYTES_MAX: usize = 512 * 1024;

/// What a server allows; travels in Welcome, so that a client refuses an edit before it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a value.
    pub value_bytes: u32,
    /// Entries and tombstones of a dictionary.
    pub entries: u64,
    /// Bytes of a dictionary's entries, tombstones and conflict rows, beyond which it takes no new key; and of its live entries, beyond
    /// which none grows. So removed keys never stand in the way of the keys that are or were there. Conflict rows have a limit of their
    /// own.
    pub bytes: u64,
}

cbor_array!(Limits { value_bytes, entries, bytes });

impl Default for Limits {
    fn default() -> Self {
        Self { value_bytes: VALUE_BYTES_DEFAULT, entries: ENTRIES_MAX, bytes: BYTES_DEFAULT }
    }
}

impl Limits {
    /// The largest frame of either direction: a Group, or a value of the largest size with all that surrounds it.
    pub fn frame_bytes(&self) -> usize {
        GROUP_BYTES_MAX.max(self.delta_bytes())
    }

    /// The largest Delta: less, so that a slow line sees whole frames, and a value of the largest size with all that surrounds it.
    pub fn delta_bytes(&self) -> usize {
        (256 * 1024).max(self.value_bytes as usize + 64 * 1024)
    }
}
