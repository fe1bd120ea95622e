//! Saves a file on this device, as a click on a link to it would.

use js_sys::Array;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Blob, HtmlAnchorElement, Url};

use super::document;

/// Saves a text.
///
/// # Errors
/// When the browser does not let us.
pub(super) fn save(text: &str) -> Result<(), JsValue> {
    let url = Url::create_object_url_with_blob(&Blob::new_with_str_sequence(&Array::of1(&text.into()))?)?;
    let link: HtmlAnchorElement = document().create_element("a")?.unchecked_into();
    link.set_href(&url);
    link.set_download("unsaved-edits.json");
    link.click();
    Ok(())
}
