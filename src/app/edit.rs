//! A value that is edited in place.

use keybook_core::value::Value;
use leptos::{ev, html, prelude::*};

use super::state::{Editing, GridState, PageState};

const OVERTAKEN: &str = "Somebody else has changed it meanwhile: Enter replaces that.";

/// The textbox over a value. Enter commits, and so does leaving it for another part of the page; Escape leaves the value
/// as it is. What others write meanwhile changes nothing in it.
#[component]
pub(super) fn ValueEditor() -> impl IntoView {
    let page = expect_context::<PageState>();
    let grid = expect_context::<GridState>();
    let editing = page.editing.get_untracked().expect("an editor is shown for what is edited");
    let label = format!("Value of {}", editing.key);
    let text = RwSignal::new(editing.value.to_input());
    let error = RwSignal::new(String::new());
    let field = NodeRef::<html::Textarea>::new();
    field.on_load(move |field| {
        field.set_value(&text.get_untracked());
        // Focus fails only for an element that is not in a document.
        let _ = field.focus();
        field.select();
    });

    let (key, shown) = (editing.key.clone(), editing.shown);
    let note = Signal::derive(move || {
        let error = error.get();
        let is_overtaken = page.row(&key).is_none_or(|row| row.stamp != shown);
        if error.is_empty() && is_overtaken { OVERTAKEN.to_owned() } else { error }
    });

    let commit = move || match write(page, &editing, &text.get_untracked()) {
        Ok(()) => {
            page.editing.set(None);
            true
        }
        Err(reason) => {
            error.set(reason);
            false
        }
    };
    let on_key = {
        let commit = commit.clone();
        move |event: ev::KeyboardEvent| {
            // The grid's own keys mean something else in a text.
            event.stop_propagation();
            match event.key().as_str() {
                "Enter" if !event.is_composing() && !event.shift_key() => {
                    event.prevent_default();
                    if commit() {
                        grid.focus();
                    }
                }
                "Escape" if !event.is_composing() => {
                    page.editing.set(None);
                    grid.focus();
                }
                _ => {}
            }
        }
    };
    let on_blur = move |_| {
        // Another window came to the front: nobody has left this field.
        if document().has_focus().unwrap_or(true) && page.editing.with_untracked(Option::is_some) {
            commit();
        }
    };
    view! {
        <div class="editor">
            <textarea
                rows="1"
                aria-label=label
                autocapitalize="none"
                spellcheck="false"
                aria-invalid=Signal::derive(move || error.with(|error| (!error.is_empty()).then_some("true")))
                node_ref=field
                on:input:target=move |event| {
                    text.set(event.target().value());
                    error.set(String::new());
                }
                on:keydown=on_key
                on:blur=on_blur
            ></textarea>
            <p class="note error" role="alert" hidden=Signal::derive(move || note.with(String::is_empty))>{note}</p>
        </div>
    }
}

/// Writes what was typed, if it is another value.
fn write(page: PageState, editing: &Editing, text: &str) -> Result<(), String> {
    let value = Value::from_input(text).map_err(|error| error.to_string())?;
    if value == editing.value {
        return Ok(());
    }
    let Some(replica) = page.replica() else { return Ok(()) };
    replica.put(&editing.key, value, editing.began).map_err(|error| error.to_string())
}
