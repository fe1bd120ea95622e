//! What a server is told when it starts.

use std::{path::PathBuf, time::Duration};

use keybook_core::{limits::Limits, server};

use crate::{HostName, limits};

/// The configuration of a server.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder that holds the data. Made when it is missing.
    pub data: PathBuf,
    /// The names, besides this machine's own, under which people reach the server.
    pub hosts: Vec<HostName>,
    /// Connections at a time, of sockets and requests. Further ones are closed at once.
    pub connections_max: usize,
    /// Likewise, of one address. Those of this machine do not count: a proxy's all come from it.
    pub connections_of_address_max: usize,
    /// What a dictionary may hold.
    pub limits: Limits,
    /// While the disk has fewer free bytes than this, nothing is added.
    pub disk_reserve_bytes: u64,
    /// While it has fewer than this, nothing is removed or resolved either.
    pub disk_last_reserve_bytes: u64,
    /// Commits and presences of a dictionary that are kept for those who read slowly; who is further behind reads again from
    /// the store.
    pub feed_events: usize,
    /// How long the server waits for the other end of a connection.
    pub timeouts: Timeouts,
}

/// How long the server waits for the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// A connection that has no request under way for this long is closed: it is idle, or its header does not end.
    pub request: Duration,
    /// What a session waits for.
    pub session: server::Deadlines,
    /// A send that makes no room for the next frame in this time ends the connection, and so does a response of which nothing
    /// is taken: the client does not read.
    pub stall: Duration,
    /// While the server does not read a socket, it says that it lives this often.
    pub keepalive: Duration,
    /// After Bye the other end has this long to close, so that Bye is not lost to a reset.
    pub linger: Duration,
    /// When the server stops, clients are asked to stay away for this long.
    pub retry_after: Duration,
    /// A server that started on a full disk looks this often whether there is room.
    pub room: Duration,
    /// How long connections and requests under way may take to end when the server stops.
    pub stop: Duration,
}

impl Config {
    /// The defaults over a data folder.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            hosts: Vec::new(),
            connections_max: limits::CONNECTIONS_MAX,
            connections_of_address_max: limits::CONNECTIONS_OF_ADDRESS_MAX,
            limits: Limits::default(),
            disk_reserve_bytes: limits::DISK_RESERVE_BYTES,
            disk_last_reserve_bytes: limits::DISK_LAST_RESERVE_BYTES,
            feed_events: limits::FEED_EVENTS,
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            request: limits::REQUEST,
            session: server::Deadlines::default(),
            stall: limits::STALL,
            keepalive: limits::KEEPALIVE,
            linger: limits::LINGER,
            retry_after: limits::RETRY_AFTER,
            room: limits::ROOM,
            stop: limits::STOP,
        }
    }
}
