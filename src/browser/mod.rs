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
mod socket;
mod tabs;
mod timer;

use std::rc::Rc;

use keybook_core::paths;
use wasm_bindgen::{JsCast, JsValue};

use crate::model::{FirstPage, OnChange, OpenReplica, Replica};

/// How the page opens a replica here.
pub const OPEN: OpenReplica = OpenReplica(open);

fn open(mut first: FirstPage, on_change: OnChange) -> Rc<dyn Replica> {
    if first.is_shell() {
        first.name = name_of_address();
        document().set_title(&format!("{} · Keybook", first.name));
    }
    driver::Driver::start(first, on_change)
}

/// The name of the dictionary that the page's address is of. The worker opens the shell at no other address.
fn name_of_address() -> String {
    let path = window().location().pathname().unwrap_or_default();
    paths::name_of_page(&path).unwrap_or(paths::MAIN).to_owned()
}

/// Tells the document's script that the server can be reached, perhaps another build of it.
fn announce_connection() {
    let event = web_sys::Event::new("keybook-connected").expect("any name will do");
    // It fails only while the same event is under way.
    let _ = document().dispatch_event(&event);
}

fn document() -> web_sys::Document {
    window().document().expect("a window has a document")
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
