//! The replicated dictionary: its data, its wire format, and the two ends of its sync as state machines without I/O.
//!
//! Nothing here reads a clock, draws a random number, opens a socket or a file, or waits: time and randomness are
//! arguments, effects are what a `poll_*` returns. So the server, the browser, the native client and the simulator drive
//! the same code.
//!
//! Read in this order.

pub mod mutants;

pub mod codec;

pub mod limits;

pub mod paths;

mod data;

pub mod wire;

pub mod server;

pub mod client;

pub mod device;

pub use data::*;
