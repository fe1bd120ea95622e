//! The browser's part: it drives the replica of keybook-core with a socket, a clock and randomness, and shows its rows to
//! the page through [`Replica`]. Nothing else names web-sys.
//!
//! The page is told of changes at most once a frame, whatever comes in. There is no signal a key: rows are read for the
//! visible window alone.

mod download;
mod driver;
mod fetch;
mod identity;
mod local_store;
mod locks;
mod quota;
mod replica;
mod rows;
mod socket;
mod timer;

use std::rc::Rc;

use wasm_bindgen::{JsCast, JsValue};

use crate::app::model::{FirstPage, OnChange, OpenReplica, Replica};

/// How the page opens a replica here.
pub const OPEN: OpenReplica = OpenReplica(open);

fn open(first: FirstPage, on_change: OnChange) -> Rc<dyn Replica> {
    driver::Driver::start(first, on_change)
}

fn window() -> web_sys::Window {
    web_sys::window().expect("the page is in a window")
}

/// What an exception says.
fn reason(error: &JsValue) -> String {
    let message = error.dyn_ref::<js_sys::Error>().map(|error| String::from(error.message()));
    message.or_else(|| error.as_string()).unwrap_or_else(|| "the browser does not say why".to_owned())
}

/// Milliseconds since 1970 by the local clock.
fn now_ms() -> u64 {
    js_sys::Date::now() as u64
}
