//! The browser's part: it drives the page's model with a socket, a clock, randomness, a store and the other tabs. It decides
//! nothing. Nothing else names web-sys.
//!
//! The page is told of changes at most once a frame, whatever comes in. There is no signal for each key: rows are read for
//! the visible window alone.

mod channel;
mod database;
mod download;
mod driver;
mod fetch;
mod identity;
mod local_store;
mod locks;
mod quota;
mod socket;
mod timer;

use std::rc::Rc;

use keybook_core::{Person, paths};
use wasm_bindgen::{JsCast, JsValue};

use crate::model::{OnChange, OpenBrowser, Run, SharedModel};

/// Goes on with how the page comes to life here, once it is known who edits.
pub fn know(go_on: fn(OpenBrowser)) {
    identity::know(Box::new(move |author| go_on(OpenBrowser { author, open })));
}

fn open(author: Person, model: SharedModel, on_change: OnChange) -> Run {
    let name = model.read(|model| model.name().map(str::to_owned)).unwrap_or_else(|| {
        let name = name_of_address();
        document().set_title(&format!("{name} · Keybook"));
        name
    });
    let driver = driver::Driver::start(name, author, model, on_change);
    Rc::new(move |act| driver.act(act))
}

/// The name of the dictionary, from the page's address. The worker opens the shell at no other address.
fn name_of_address() -> String {
    let path = window().location().pathname().unwrap_or_default();
    paths::name_of_page(&path).unwrap_or(paths::MAIN).to_owned()
}

/// Tells the document's script that the server can be reached, perhaps another build of it: a new build begins with a restart,
/// which ends all sockets. So the script looks for a new worker whenever a socket opens.
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
