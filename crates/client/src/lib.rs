//! A native asynchronous client of Keybook: a full replica of a dictionary in a program.
//!
//! It drives the same state machine as the page, [`keybook_core::client`], with a socket of tokio. An edit is applied at
//! once and sent when there is a connection; without one the replica goes on, and merges when it is back. Nothing is kept
//! on the disk: what was not acknowledged is lost with the process, so a program that must know waits for
//! [`Client::saved`].
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use keybook_client::{Client, Key, Options, Value};
//!
//! let client = Client::connect("http://127.0.0.1:3000/d/prices", Options::default())?;
//! client.settled().await;
//! let key = Key::parse("espresso")?;
//! client.put(&key, Value::parse("2.20")?)?;
//! client.saved().await;
//! assert_eq!(client.get(&key).unwrap().as_str(), "2.20");
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! It speaks plain HTTP: the server has no TLS of its own, and a proxy in front of it is on the way of browsers only.

mod address;
mod client;
mod connection;
mod driver;
mod group;
mod shared;
mod snapshot;

pub use keybook_core::{
    DictionaryName, Key, Stamp, Value,
    client::{EditError, Event, Phase},
    wire::AckCode,
};

pub use self::{
    address::{Address, AddressError},
    client::{Changes, Client, Options},
    connection::{Connection, ConnectionError, Step},
    group::{Admitted, Group, GroupError, Refusal},
};
