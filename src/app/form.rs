//! The form that adds an entry, or replaces one.

use keybook_core::{key::Key, value::Value};
use leptos::{ev, prelude::*};

use super::state::{GridState, PageState};

/// Key, Value, Set. Enter goes from the key to the value, and from there sets; the next key follows at once.
#[component]
pub(super) fn EntryForm() -> impl IntoView {
    let page = expect_context::<PageState>();
    let grid = expect_context::<GridState>();
    let draft = page.draft;
    let error = RwSignal::new(String::new());
    let note = Signal::derive(move || {
        let error = error.get();
        if error.is_empty() { replaced(page, &draft.key.get()).unwrap_or_default() } else { error }
    });
    let is_wrong = Signal::derive(move || error.with(|error| !error.is_empty()));

    let set = move || match write(page, &draft.key.get_untracked(), &draft.value.get_untracked()) {
        Ok(None) => {}
        Ok(Some(key)) => {
            error.set(String::new());
            draft.fill("", "");
            grid.go_to(&key);
        }
        Err(reason) => error.set(reason),
    };
    let on_enter = move |event: ev::KeyboardEvent, is_key: bool| {
        if event.key() != "Enter" || event.is_composing() || event.shift_key() {
            return;
        }
        event.prevent_default();
        match draft.value_field.get_untracked() {
            Some(value_field) if is_key && draft.value.with_untracked(String::is_empty) => {
                // Focus fails only for an element that is not in a document.
                let _ = value_field.focus();
            }
            _ => set(),
        }
    };
    view! {
        <form
            class="entry needs-script"
            aria-label="Set an entry"
            autocomplete="off"
            on:submit=move |event| {
                event.prevent_default();
                set();
            }
        >
            <label class="field">
                <span>"Key"</span>
                <input
                    name="key"
                    autocapitalize="none"
                    spellcheck="false"
                    aria-invalid=Signal::derive(move || is_wrong.get().then_some("true"))
                    aria-describedby="entry-note"
                    node_ref=draft.key_field
                    on:input:target=move |event| {
                        draft.key.set(event.target().value());
                        error.set(String::new());
                    }
                    on:keydown=move |event| on_enter(event, true)
                />
            </label>
            <label class="field wide">
                <span>"Value"</span>
                <textarea
                    name="value"
                    rows="1"
                    autocapitalize="none"
                    spellcheck="false"
                    aria-describedby="entry-note"
                    node_ref=draft.value_field
                    on:input:target=move |event| {
                        draft.value.set(event.target().value());
                        error.set(String::new());
                    }
                    on:keydown=move |event| on_enter(event, false)
                ></textarea>
            </label>
            <button type="submit">"Set"</button>
            <p id="entry-note" class="note" class:error=is_wrong aria-live="polite">
                {note}
            </p>
        </form>
    }
}

/// Writes what was typed and returns its key, or nothing while the page is not alive yet.
fn write(page: PageState, key: &str, value: &str) -> Result<Option<Key>, String> {
    let Some(replica) = page.replica() else { return Ok(None) };
    // Space around a key is a slip of whoever pasted it.
    let key = Key::parse(&replica.normalize(key.trim())).map_err(|error| error.to_string())?;
    let value = Value::from_input(value).map_err(|error| error.to_string())?;
    replica.put(&key, value, replica.begin(&key)).map_err(|error| error.to_string())?;
    Ok(Some(key))
}

/// What Set would replace.
fn replaced(page: PageState, key: &str) -> Option<String> {
    const CHARS_MAX: usize = 80;
    let key = Key::parse(&page.replica()?.normalize(key.trim())).ok()?;
    let row = page.row(&key)?;
    let text = &row.value.text;
    let cut = text.char_indices().nth(CHARS_MAX);
    let (text, ellipsis) = cut.map_or((&**text, ""), |(end, _)| (&text[..end], "…"));
    Some(format!("replaces {text}{ellipsis} by {}", row.author))
}
