//! A value that is edited in place.

use keybook_core::Value;
use leptos::{ev, html, prelude::*};

use super::state::{Editing, PageState, State};

const OVERTAKEN: &str = "Somebody else has changed it meanwhile: Enter replaces that.";

/// The textbox over a value. Enter commits, and so does leaving it for another part of the page; Escape leaves the value
/// as it is. What others write meanwhile changes nothing in it.
#[component]
pub(super) fn ValueEditor() -> impl IntoView {
    let page = expect_context::<PageState>();
    let Editing { key, value, .. } =
        page.peek(|state| state.editing.clone()).expect("an editor is shown for what is edited");
    let note = page.text(note);
    let field = NodeRef::<html::Textarea>::new();
    field.on_load(move |field| {
        field.set_value(&value.to_input());
        // Focus fails only for an element that is not in a document.
        let _ = field.focus();
        field.select();
    });

    let on_key = move |event: ev::KeyboardEvent| {
        // The grid's own keys mean something else in a text.
        event.stop_propagation();
        let leaves = match event.key().as_str() {
            "Enter" if !event.is_composing() && !event.shift_key() => {
                event.prevent_default();
                commit(page, field)
            }
            "Escape" if !event.is_composing() => {
                page.change(|state| state.editing = None);
                true
            }
            _ => false,
        };
        if leaves {
            page.focus_grid();
        }
    };
    let on_blur = move |_| {
        // Another window came to the front: nobody has left this field.
        if document().has_focus().unwrap_or(true) {
            commit(page, field);
        }
    };
    view! {
        <div class="editor">
            <textarea
                rows="1"
                aria-label=format!("Value of {key}")
                autocapitalize="none"
                spellcheck="false"
                node_ref=field
                on:keydown=on_key
                on:blur=on_blur
            ></textarea>
            <p class="note error" role="alert" hidden=Signal::derive(move || note.with(String::is_empty))>
                {note}
            </p>
        </div>
    }
}

/// What is wrong with the edit, or what has come between.
fn note(state: &State) -> String {
    let Some(editing) = &state.editing else { return String::new() };
    let is_overtaken = state.row(&editing.key).is_none_or(|row| row.stamp != editing.shown);
    if editing.error.is_empty() && is_overtaken { OVERTAKEN.to_owned() } else { editing.error.clone() }
}

/// Writes what was typed, if it is another value, and ends the edit. Returns whether that was possible.
fn commit(page: PageState, field: NodeRef<html::Textarea>) -> bool {
    let (Some(editing), Some(field)) = (page.peek(|state| state.editing.clone()), field.get_untracked()) else {
        return false;
    };
    let written = write(page, &editing, &field.value());
    let is_written = written.is_ok();
    page.change(|state| {
        state.editing = match written {
            Ok(()) => None,
            Err(error) => Some(Editing { error, ..editing }),
        };
    });
    is_written
}

fn write(page: PageState, editing: &Editing, text: &str) -> Result<(), String> {
    let value = Value::from_input(text).map_err(|error| error.to_string())?;
    match page.replica() {
        Some(replica) if value != editing.value => {
            replica.put(&editing.key, value, editing.began).map_err(|error| error.to_string())
        }
        _ => Ok(()),
    }
}
