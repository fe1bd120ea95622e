//! Every limit of the server, with its reason. What travels has its limits in [`keybook_core::limits`], and what a deployment
//! may change is in [`Config`](crate::Config), whose defaults are here.

use std::time::Duration;

/// The default of [`Config::connections_max`](crate::Config::connections_max): more people than edit together, and at the most that
/// each may hold before it is understood 128 MiB.
pub(crate) const CONNECTIONS_MAX: usize = 4096;
/// The default of [`Config::connections_of_address_max`](crate::Config::connections_of_address_max): an office behind one address.
pub(crate) const CONNECTIONS_OF_ADDRESS_MAX: usize = 512;
/// Open files that are no connections: the data, the listener, snapshots that are sent.
pub(crate) const OTHER_FILES_MAX: usize = 64;
/// A request's line and header fields. It bounds what a connection holds of a request, and of its answer, at a time; browsers send 1 to
/// 2 kB, and the cookies of everything else on the same host.
pub(crate) const HEADER_BYTES_MAX: usize = 32 * 1024;
/// Accepting is tried again this long after it failed.
pub(crate) const ACCEPT_AGAIN: Duration = Duration::from_secs(1);
/// A line of the log that a peer can cause comes this often at most.
pub(crate) const LOG_EVERY: Duration = Duration::from_secs(10);

/// Bytes of a connection's writes that wait for the writer, or one write: a few pushes, of which it takes the next while it commits.
/// Who brings more waits, and does not read its socket meanwhile.
pub(crate) const QUEUED_BYTES_MAX: usize = 512 * 1024;
/// A transaction takes no further write when it has so many operations: it bounds how long the first one waits.
pub(crate) const TRANSACTION_OPS_MAX: usize = 1024;
/// Hubs that are kept between transactions: one costs a few reads to make again.
pub(crate) const IDLE_HUBS_MAX: usize = 256;
/// Conflict rows that are too old are looked for so often; they are after 30 days.
pub(crate) const EXPIRY: Duration = Duration::from_secs(3600);
/// What a client whose write was turned away for want of disk space waits before it tries again.
pub(crate) const DISK_RETRY_MS: u64 = 10_000;

/// A client whose dictionary is damaged comes back after so long, in case that it has been restored: a person does that.
pub(crate) const DAMAGED_RETRY_MS: u64 = 30_000;

/// A page of changes. It is far smaller than a frame may be, so that a slow line sees a whole frame now and then: a send has
/// [`STALL`] for a frame, and the client takes silence for death.
pub(crate) const CATCH_UP_BYTES: usize = 64 * 1024;
/// What the system is asked for at once: most frames of a client are small.
pub(crate) const READ_BUFFER_BYTES: usize = 4 * 1024;
/// Frames are gathered up to this before they go out together.
pub(crate) const WRITE_BUFFER_BYTES: usize = 16 * 1024;

/// A piece of a snapshot that is being sent: what it takes in memory.
pub(crate) const SEND_BYTES: usize = 64 * 1024;
/// What the snapshots may take on the disk that are kept to be sent again; the one that was asked for longest ago leaves first.
pub(crate) const KEPT_SNAPSHOTS_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Likewise, with those that are no longer kept and still being sent. Beyond it the oldest of these is cut, and its readers ask again.
pub(crate) const SNAPSHOTS_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Snapshots that are compressed at a time: an encoder takes up to 4 MiB while the other end reads. Further ones are sent as they are.
pub(crate) const PACKED_SNAPSHOTS_MAX: usize = 32;
/// A snapshot for which the disk has no room is held in memory if it is no larger than this: most dictionaries' are.
pub(crate) const SMALL_SNAPSHOT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Of these, so many at a time: 32 MiB.
pub(crate) const HELD_SNAPSHOTS_MAX: usize = 8;
/// A snapshot that is so many pages of changes behind is made again: 2 MiB, which a client reads before it is up to date.
pub(crate) const SNAPSHOT_PAGES_MAX: u32 = 32;

/// The default of [`Config::disk_reserve_bytes`](crate::Config::disk_reserve_bytes): room for redb to grow a file, and for
/// an operator to do something about it.
pub(crate) const DISK_RESERVE_BYTES: u64 = 64 * 1024 * 1024;
/// The default of [`Config::disk_last_reserve_bytes`](crate::Config::disk_last_reserve_bytes): some transactions of removes, each of which
/// writes versions of what it removes, and pages of redb.
pub(crate) const DISK_LAST_RESERVE_BYTES: u64 = 16 * 1024 * 1024;
/// The default of [`Config::feed_events`](crate::Config::feed_events): a few seconds of a busy dictionary.
pub(crate) const FEED_EVENTS: usize = 256;
/// What the commits and presences of all dictionaries take that are kept for those who read slowly. Who missed one reads again from
/// the store.
pub(crate) const FEEDS_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What a connection takes from its feed before it sends it. It holds so much, and a commit, while its client does not read.
pub(crate) const NEWS_BYTES: usize = 64 * 1024;
/// The default of [`Timeouts::request`](crate::Timeouts::request): several round trips of the slowest line. Browsers open a
/// connection before they need it, and open another one as soon.
pub(crate) const REQUEST: Duration = Duration::from_secs(15);
/// The default of [`Timeouts::stall`](crate::Timeouts::stall).
pub(crate) const STALL: Duration = Duration::from_secs(15);
/// The default of [`Timeouts::keepalive`](crate::Timeouts::keepalive): clients take 10 s of silence for death.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(5);
/// The default of [`Timeouts::linger`](crate::Timeouts::linger).
pub(crate) const LINGER: Duration = Duration::from_secs(2);
/// The default of [`Timeouts::retry_after`](crate::Timeouts::retry_after): about what a restart takes.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The default of [`Timeouts::room`](crate::Timeouts::room): somebody has to make room.
pub(crate) const ROOM: Duration = Duration::from_secs(10);
/// The default of [`Timeouts::stop`](crate::Timeouts::stop). Whoever supervises the server kills it soon after: systemd in
/// 90 s, Kubernetes in 30 s.
pub(crate) const STOP: Duration = Duration::from_secs(10);
