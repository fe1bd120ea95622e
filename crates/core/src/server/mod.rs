//! The server's end of a dictionary: what a store has to offer, what decides, and what follows a connection.

mod rows;

mod hub;

mod session;

pub use hub::{Commit, Hub, Origin, Pushed};
pub use rows::{Counters, Place, Row, Rows};
pub use session::{Broadcast, HELLO_MS_MAX, Opened, Page, Patience, Request, SILENT_MS_MAX, Session};
