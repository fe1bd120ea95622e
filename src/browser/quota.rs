//! How much room the browser gives this site, and whether it keeps what is there when the disk runs short.
//!
//! On plain HTTP at another host than localhost a browser says neither.

use js_sys::Reflect;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::StorageManager;

use super::window;
use crate::model::Room;

/// Asks the browser to keep what this site stores. It may ask the person.
pub(super) fn persist() {
    if let Some(storage) = storage() {
        // What it answers, it says again in `room`.
        let _ = storage.persist();
    }
}

/// What the browser says of this site's room; nothing where it says nothing.
pub(super) async fn room() -> Option<Room> {
    let storage = storage()?;
    let estimate = JsFuture::from(storage.estimate().ok()?).await.ok()?;
    let is_kept = JsFuture::from(storage.persisted().ok()?).await.ok()?.is_truthy();
    let bytes = |name: &str| Reflect::get(&estimate, &JsValue::from(name)).ok()?.as_f64();
    Some(Room { used_bytes: bytes("usage")? as u64, quota_bytes: bytes("quota")? as u64, is_kept })
}

fn storage() -> Option<StorageManager> {
    let storage = Reflect::get(&window().navigator(), &"storage".into()).ok()?;
    storage.is_object().then(|| storage.unchecked_into())
}
