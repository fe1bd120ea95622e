//! A GET of some bytes. Dropping it calls it off, and nothing more is heard of it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{AbortController, AbortSignal, ReadableStreamDefaultReader, RequestInit, Response};

use super::{reason, timer::Timeout, window};

/// A request that brings no byte for this long has failed. Its connection may be dead without either end knowing it, and a
/// browser would wait for minutes. The server's first byte comes far sooner.
const STALL_MAX: Duration = Duration::from_secs(30);

/// A request that is under way.
pub(super) struct Fetch(AbortController);

/// Calls a request off that has stalled.
struct Stall {
    controller: AbortController,
    timeout: RefCell<Option<Timeout>>,
    is_over: Rc<Cell<bool>>,
}

impl Fetch {
    /// Asks for `url`, and hands over the body or what went wrong.
    pub(super) fn start(url: String, done: impl FnOnce(Result<Vec<u8>, String>) + 'static) -> Self {
        let controller = AbortController::new().expect("every browser with WebAssembly has it");
        let signal = controller.signal();
        let stall = Stall { controller: controller.clone(), timeout: RefCell::default(), is_over: Rc::default() };
        spawn_local(async move {
            let body = get(&url, &signal, &stall).await.map_err(|error| reason(&error));
            if stall.is_over.get() {
                done(Err(format!("nothing came for {} s", STALL_MAX.as_secs())));
            } else if !signal.aborted() {
                done(body);
            }
        });
        Self(controller)
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Stall {
    /// Something has come, or is about to.
    fn renew(&self) {
        let (controller, is_over) = (self.controller.clone(), self.is_over.clone());
        let call_off = move || {
            is_over.set(!controller.signal().aborted());
            controller.abort();
        };
        *self.timeout.borrow_mut() = Some(Timeout::new(STALL_MAX, call_off));
    }
}

async fn get(url: &str, signal: &AbortSignal, stall: &Stall) -> Result<Vec<u8>, JsValue> {
    let options = RequestInit::new();
    options.set_signal(Some(signal));
    stall.renew();
    let response: Response = JsFuture::from(window().fetch_with_str_and_init(url, &options)).await?.dyn_into()?;
    if !response.ok() {
        return Err(format!("the server answers {}", response.status()).into());
    }
    let Some(body) = response.body() else { return Ok(Vec::new()) };
    let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
    let mut bytes = Vec::new();
    loop {
        stall.renew();
        let read = JsFuture::from(reader.read()).await?;
        if js_sys::Reflect::get(&read, &"done".into())?.is_truthy() {
            return Ok(bytes);
        }
        let chunk: js_sys::Uint8Array = js_sys::Reflect::get(&read, &"value".into())?.unchecked_into();
        let before = bytes.len();
        bytes.resize(before + chunk.length() as usize, 0);
        chunk.copy_to(&mut bytes[before..]);
    }
}
