//! A value that is edited in place.

use std::rc::Rc;

use leptos::{ev, html, prelude::*};

use crate::{
    app::{form::TextField, ui::Ui},
    model::{Act, Areas, Model},
};

const OVERTAKEN: &str = "Somebody else has changed it meanwhile: Enter replaces that.";

/// The textbox over a value. Enter commits, and so does going to another part of the page. Escape leaves the value as it is. What
/// others write meanwhile changes nothing in it.
#[component]
pub(super) fn ValueEditor() -> impl IntoView {
    let ui = expect_context::<Ui>();
    let label = ui.peek(|model| model.editor().map(|editor| format!("Value of {}", editor.key)));
    let note = ui.text(Areas::ROWS | Areas::EDITOR, note);
    let field = NodeRef::<html::Textarea>::new();
    field.on_load(move |field| {
        field.set_value(&ui.peek(text));
        // Focus fails only for an element that is not in a document.
        let _ = field.focus();
        field.select();
    });

    let on_key = move |event: ev::KeyboardEvent| {
        // The grid's own keys mean something else in a text.
        event.stop_propagation();
        match event.key().as_str() {
            "Enter" if !event.is_composing() && !event.shift_key() => {
                event.prevent_default();
                ui.act(Act::CommitEdit);
            }
            "Escape" if !event.is_composing() => ui.act(Act::CancelEdit),
            _ => {}
        }
    };
    let on_blur = move || {
        // Another window came to the front: nobody has left this field.
        if document().has_focus().unwrap_or(true) {
            ui.act(Act::LeaveEdit);
        }
    };
    let text_field = TextField {
        name: None,
        label,
        note_id: None,
        invalid: ui.attribute(Areas::EDITOR, |_| None),
        field,
        text,
        on_input: Act::TypeEdit,
        on_key: Rc::new(on_key),
        on_blur: Rc::new(on_blur),
    };
    view! {
        <div class="editor">
            {text_field.render(ui)}
            <p class="note error" role="alert" hidden=Ui::is_empty(note)>
                {note}
            </p>
        </div>
    }
}

fn text(model: &Model) -> String {
    model.editor().map(|editor| editor.text.clone()).unwrap_or_default()
}

/// What is wrong with the edit, or what has come between.
fn note(model: &Model) -> String {
    let Some(editor) = model.editor() else { return String::new() };
    match &editor.error {
        Some(error) => error.clone(),
        None if model.is_overtaken() => OVERTAKEN.to_owned(),
        None => String::new(),
    }
}
