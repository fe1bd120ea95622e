//! Web Locks: how a page knows that another of this browser has ended. Plain HTTP at another host than localhost has none.
//!
//! A page in the back-forward cache has ended as a replica: Chromium keeps such a page for minutes, with its locks, so it lets
//! them go when it is left. If it comes back it is loaded again, since other tabs may have taken over what it had.

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};

use super::window;

#[wasm_bindgen]
extern "C" {
    /// web-sys has it behind its unstable interfaces.
    type LockManager;
    #[wasm_bindgen(method)]
    fn request(this: &LockManager, name: &str, granted: &Function) -> Promise;
}

/// Whether there are any.
pub(super) fn are_there() -> bool {
    !manager().is_undefined()
}

/// Takes a lock once nobody has it, calls `granted`, and holds it until the page is left.
pub(super) fn take(name: &str, granted: impl FnOnce() + 'static) {
    if !are_there() {
        return;
    }
    let callback = Closure::once_into_js(move || -> Promise {
        granted();
        Promise::new(&mut |left, _| {
            window().add_event_listener_with_callback("pagehide", &left).expect("a window can be listened to");
        })
    });
    // The promise is settled when the page is left.
    let _ = manager().unchecked_into::<LockManager>().request(name, callback.unchecked_ref());
}

fn manager() -> JsValue {
    Reflect::get(&window().navigator(), &"locks".into()).unwrap_or_default()
}
