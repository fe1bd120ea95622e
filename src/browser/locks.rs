//! Web Locks: how a page knows that another of this browser is gone. Plain HTTP at another host than localhost has none.

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

/// Takes a lock once nobody has it, calls `granted`, and holds it for as long as the page lives.
pub(super) fn take(name: &str, granted: impl FnOnce() + 'static) {
    if !are_there() {
        return;
    }
    let callback = Closure::once_into_js(move || -> Promise {
        granted();
        Promise::new(&mut |_, _| ())
    });
    // The promise is settled when the page ends.
    let _ = manager().unchecked_into::<LockManager>().request(name, callback.unchecked_ref());
}

fn manager() -> JsValue {
    Reflect::get(&window().navigator(), &"locks".into()).unwrap_or_default()
}
