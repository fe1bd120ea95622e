//! A GET of some bytes. Dropping it calls it off, and nothing more is heard of it.

use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{AbortController, AbortSignal, RequestInit, Response};

use super::window;

/// A request that is under way.
pub(super) struct Fetch(AbortController);

impl Fetch {
    /// Asks for `url`, and hands over the body or what went wrong.
    pub(super) fn start(url: String, done: impl FnOnce(Result<Vec<u8>, String>) + 'static) -> Self {
        let controller = AbortController::new().expect("every browser with WebAssembly has it");
        let signal = controller.signal();
        spawn_local(async move {
            let body = get(&url, &signal).await.unwrap_or_else(|error| Err(reason(&error)));
            if !signal.aborted() {
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

async fn get(url: &str, signal: &AbortSignal) -> Result<Result<Vec<u8>, String>, JsValue> {
    let options = RequestInit::new();
    options.set_signal(Some(signal));
    let response: Response = JsFuture::from(window().fetch_with_str_and_init(url, &options)).await?.dyn_into()?;
    if !response.ok() {
        return Ok(Err(format!("the server answers {}", response.status())));
    }
    let body = JsFuture::from(response.array_buffer()?).await?;
    Ok(Ok(js_sys::Uint8Array::new(&body).to_vec()))
}

fn reason(error: &JsValue) -> String {
    let error = error.dyn_ref::<js_sys::Error>().map(|error| String::from(error.message()));
    error.unwrap_or_else(|| "the request failed".to_owned())
}
