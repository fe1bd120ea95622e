//! The browser's part: it drives the replica of keybook-core with a socket, a clock and randomness, and shows its rows to
//! the page through [`Replica`]. Nothing else names web-sys.
//!
//! The page is told of changes at most once a frame, whatever comes in. There is no signal a key: rows are read for the
//! visible window alone.

mod comparisons;
mod driver;
mod fetch;
mod identity;
mod local_store;
mod locks;
mod replica;
mod rows;
mod socket;
mod timer;

use std::rc::Rc;

use crate::app::model::{FirstPage, OnChange, OpenReplica, Replica};

/// How the page opens a replica here.
pub const OPEN: OpenReplica = OpenReplica(open);

fn open(first: FirstPage, on_change: OnChange) -> Rc<dyn Replica> {
    driver::Driver::start(first, on_change)
}

fn window() -> web_sys::Window {
    web_sys::window().expect("the page is in a window")
}

/// Milliseconds since 1970 by the local clock.
fn now_ms() -> u64 {
    js_sys::Date::now() as u64
}
