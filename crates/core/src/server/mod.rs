//! The server's end of a dictionary: the rows that a store offers, the records that change them, the decisions, and the sessions
//! that follow.

mod now;

mod rows;

mod record;

mod decide;

mod hub;

mod session;

pub use hub::{Commit, Hub};
pub use now::Now;
pub use record::{Actor, Command, Context, Outcome, Receipt, Record};
pub use rows::{AuthorRow, ConflictRow, Counters, History, Place, Reason, Row, Rows, Version, VersionId};
pub use session::{Broadcast, CatchUp, Deadlines, Opened, Request, Session};
