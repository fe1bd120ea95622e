//! A value that is edited in place.

use std::rc::Rc;

use leptos::{ev, html, prelude::*};

use crate::{
    app::{form::TextField, ui::Ui},
    model::{Act, Areas, Model},
};

/// The textbox over a value, in which a draft is typed. Enter and Tab write it, Escape gives it up. A click elsewhere, of which
/// the driver tells, leaves it: see [`Act::LeaveEdit`]. Nothing else does: the field may lose its focus, and its row its place, by no act
/// of the person.
#[component]
pub(super) fn ValueEditor() -> impl IntoView {
    let ui = expect_context::<Ui>();
    let label = ui.peek(|model| model.editor().map(|(key, _)| format!("Value of {key}")));
    let note = ui.text(Areas::ROWS | Areas::EDITOR, note);
    let field = NodeRef::<html::Textarea>::new();
    field.on_load(move |field| {
        field.set_value(&ui.peek(text));
        // Focus fails only for an element that is not in a document.
        let _ = field.focus();
        if ui.peek(|model| model.editor().is_some_and(|(_, draft)| draft.is_untouched())) {
            field.select();
        }
    });

    let on_key = move |event: ev::KeyboardEvent| {
        // The grid's own keys mean something else in a text.
        event.stop_propagation();
        match event.key().as_str() {
            "Enter" if !event.is_composing() && !event.shift_key() => {
                event.prevent_default();
                ui.act(Act::CommitEdit);
            }
            "Tab" if !event.is_composing() => {
                ui.act(Act::CommitEdit);
                if ui.peek(|model| model.editor().is_some()) {
                    event.prevent_default();
                }
            }
            "Escape" if !event.is_composing() => ui.act(Act::CancelEdit),
            _ => {}
        }
    };
    Ui::effect(Box::new(move || {
        ui.read(Areas::ROWS, |_| ());
        queue_microtask(move || keep_focus(field));
    }));
    let text_field = TextField {
        name: None,
        label,
        note_id: None,
        invalid: ui.attribute(Areas::EDITOR, |_| None),
        field,
        text,
        on_input: Act::TypeEdit,
        on_key: Rc::new(on_key),
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

/// Where a row is moved among others, the browser takes the focus from the field in it, before the next key.
fn keep_focus(field: NodeRef<html::Textarea>) {
    let Some(field) = field.try_get_untracked().flatten() else { return };
    let document = document();
    if document.active_element().is_none_or(|active| Some(active) == document.body().map(Into::into)) {
        // It fails only for an element that is not in a document.
        let _ = field.focus();
    }
}

fn text(model: &Model) -> String {
    model.editor().map(|(_, draft)| draft.text.clone()).unwrap_or_default()
}

/// What is wrong with the edit, or what has come between.
fn note(model: &Model) -> String {
    let error = model.editor().and_then(|(_, draft)| draft.error.clone());
    error.or_else(|| model.overtaken()).unwrap_or_default()
}
