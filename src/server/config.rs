//! What a server is told when it starts.

use std::{path::PathBuf, time::Duration};

use keybook_core::{limits::Limits, server};

/// The configuration of a server.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder that holds the data. Made when it is missing.
    pub data: PathBuf,
    /// The names, besides this machine's own, under which people reach the server: in a Host or an Origin, without port.
    pub hosts: Vec<String>,
    /// What a dictionary may hold.
    pub limits: Limits,
    /// Writes are refused while the disk has fewer free bytes than this.
    pub disk_reserve_bytes: u64,
    /// Commits and presences of a dictionary that are kept for those who read slowly; who is further behind reads again from
    /// the store.
    pub feed_events: usize,
    /// How long the server waits for the other end of a socket.
    pub timeouts: Timeouts,
}

/// How long the server waits for the other end of a socket.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// What a session waits for.
    pub session: server::Deadlines,
    /// A send that makes no room for the next frame in this time ends the connection: the client does not read.
    pub stall: Duration,
    /// While the server does not read a socket, it says that it lives this often. Clients take 10 s of silence for death.
    pub keepalive: Duration,
    /// After Bye the other end has this long to close, so that Bye is not lost to a reset.
    pub linger: Duration,
    /// When the server stops, clients are asked to stay away for this long.
    pub retry_after: Duration,
    /// How long connections and requests under way may take to end when the server stops: whoever supervises it kills it
    /// soon after (systemd in 90 s, Kubernetes in 30 s).
    pub stop: Duration,
}

impl Config {
    /// The defaults over a data folder.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            hosts: Vec::new(),
            limits: Limits::default(),
            // Room for redb to grow a file and for an operator to do something about it.
            disk_reserve_bytes: 64 * 1024 * 1024,
            feed_events: 256,
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            session: server::Deadlines::default(),
            stall: Duration::from_secs(15),
            keepalive: Duration::from_secs(5),
            linger: Duration::from_secs(2),
            retry_after: Duration::from_secs(1),
            stop: Duration::from_secs(10),
        }
    }
}
