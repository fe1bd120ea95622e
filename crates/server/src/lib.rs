//! The server: the sockets of replicas, the API, and what is behind them.
//!
//! It takes its listener, its stop signal and its [`Pages`], so that a test runs it on port 0, ends it when it likes, and needs
//! no page. It knows of no command line, no environment, and nothing that renders.
//!
//! A write goes from a socket through the queue of the `writer` into the store. When it is on the disk, an answer goes back, and
//! the `feeds` tell everyone who follows the dictionary.

mod run;

mod config;

mod limits;

mod access;

mod damage;

mod reader;

mod shared;

mod http;

mod socket;

mod feeds;

mod writer;

mod disk;

mod clock;

mod expiry;

#[cfg(test)]
mod tests;

pub use config::{Config, Timeouts};
pub use http::{HostName, HostNameError, Pages, document_policy};
pub use keybook_store::{Corrupt, FORMAT, OpenError, StoreError};
pub use reader::{Dictionary, Reader};
pub use run::{RunError, run};
