//! The form that adds an entry, or replaces one.

use keybook_core::{Key, Value};
use leptos::{ev, prelude::*};

use super::state::{FormNote, PageState};

/// Key, Value, Set. Enter goes from the key to the value, and from there sets; the next key follows at once.
#[component]
pub(super) fn EntryForm() -> impl IntoView {
    let page = expect_context::<PageState>();
    let note = page.text(|state| match &state.form_note {
        FormNote::Replaces(text) | FormNote::Refused(text) => text.clone(),
    });
    let is_refused = page.is(|state| matches!(state.form_note, FormNote::Refused(_)));
    let invalid = Signal::derive(move || is_refused.get().then(|| "true".to_owned()));

    let set = move || match write(page) {
        Ok(None) => {}
        Ok(Some(key)) => {
            page.go_to(&key);
            page.fill_form("", "");
        }
        Err(reason) => page.change(|state| state.form_note = FormNote::Refused(reason)),
    };
    let on_key = move |event: ev::KeyboardEvent, is_value: bool| {
        if event.key() != "Enter" || event.is_composing() || event.shift_key() {
            return;
        }
        event.prevent_default();
        match page.value_field.get_untracked() {
            Some(value_field) if !is_value && value_field.value().is_empty() => {
                // Focus fails only for an element that is not in a document.
                let _ = value_field.focus();
            }
            _ => set(),
        }
    };
    let on_submit = move |event: ev::SubmitEvent| {
        event.prevent_default();
        set();
    };
    view! {
        <form class="entry needs-script" aria-label="Set an entry" autocomplete="off" on:submit=on_submit>
            <label class="field">
                <span>"Key"</span>
                <input
                    name="key"
                    autocapitalize="none"
                    spellcheck="false"
                    aria-invalid=invalid
                    aria-describedby="entry-note"
                    node_ref=page.key_field
                    on:input=move |_| page.note_replaced()
                    on:keydown=move |event| on_key(event, false)
                />
            </label>
            <label class="field">
                <span>"Value"</span>
                <textarea
                    name="value"
                    rows="1"
                    autocapitalize="none"
                    spellcheck="false"
                    aria-invalid=invalid
                    aria-describedby="entry-note"
                    node_ref=page.value_field
                    on:input=move |_| page.note_replaced()
                    on:keydown=move |event| on_key(event, true)
                ></textarea>
            </label>
            <button type="submit">"Set"</button>
            <p id="entry-note" class="note" class:error=is_refused aria-live="polite">
                {note}
            </p>
        </form>
    }
}

/// Writes what was typed and returns its key, or nothing while the page is not alive yet.
fn write(page: PageState) -> Result<Option<Key>, String> {
    let (Some(replica), Some(key), Some(value)) =
        (page.replica(), page.key_field.get_untracked(), page.value_field.get_untracked())
    else {
        return Ok(None);
    };
    // Space around a key is a slip of whoever pasted it.
    let key = Key::parse(&replica.normalize(key.value().trim())).map_err(|error| error.to_string())?;
    let value = Value::from_input(&value.value()).map_err(|error| error.to_string())?;
    replica.put(&key, value, replica.begin(&key)).map_err(|error| error.to_string())?;
    Ok(Some(key))
}
