//! One call, after a time or before the next frame; dropping it calls it off.

use std::time::Duration;

use wasm_bindgen::{JsCast, closure::Closure};

use super::window;

/// A call after some time.
pub(super) struct Timeout {
    handle: i32,
    _call: Closure<dyn FnMut()>,
}

impl Timeout {
    pub(super) fn new(after: Duration, call: impl FnOnce() + 'static) -> Self {
        let call = Closure::once(call);
        // A browser takes a time above this for no time at all.
        let millis = i32::try_from(after.as_millis()).unwrap_or(i32::MAX);
        let handle =
            window().set_timeout_with_callback_and_timeout_and_arguments_0(call.as_ref().unchecked_ref(), millis);
        Self { handle: handle.expect("a function can be called"), _call: call }
    }
}

impl Drop for Timeout {
    fn drop(&mut self) {
        window().clear_timeout_with_handle(self.handle);
    }
}

/// A call before the next frame is painted; a hidden page paints none.
pub(super) struct Frame {
    handle: i32,
    _call: Closure<dyn FnMut()>,
}

impl Frame {
    pub(super) fn new(call: impl FnOnce() + 'static) -> Self {
        let call = Closure::once(call);
        let handle = window().request_animation_frame(call.as_ref().unchecked_ref());
        Self { handle: handle.expect("a function can be called"), _call: call }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        // It fails only outside a window.
        let _ = window().cancel_animation_frame(self.handle);
    }
}
