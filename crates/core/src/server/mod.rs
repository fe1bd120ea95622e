//! The server's end of a dictionary: what a store has to offer, what decides, and what follows a connection.

mod rows;

mod record;

mod decide;

mod hub;

mod session;

pub use hub::{Commit, Hub};
pub use record::{Actor, Command, Context, Outcome, Receipt, Record};
pub use rows::{Counters, Place, Row, Rows};
pub use session::{Broadcast, CatchUp, Deadlines, Opened, Request, Session};
