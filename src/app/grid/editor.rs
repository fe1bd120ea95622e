//! A value that is edited in place.

use std::rc::Rc;

use leptos::{
    ev, html,
    prelude::*,
    wasm_bindgen::{JsCast, closure::Closure},
    web_sys,
};
use send_wrapper::SendWrapper;

use crate::{
    app::{form::TextField, ui::Ui},
    model::{Act, Areas, Model},
};

/// The textbox over a value, in which a draft is typed. Enter and Tab write it, Escape gives it up. A click elsewhere leaves it: see
/// [`Act::LeaveEdit`]. Nothing else does: the field may lose its focus, and its row its place, by no act of the person.
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
    let editor = NodeRef::<html::Div>::new();
    leave_by_click(ui, editor);
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
        <div class="editor" node_ref=editor>
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

/// Listens on the way down from the window, so that the edit is over before what was clicked does what it does.
fn leave_by_click(ui: Ui, editor: NodeRef<html::Div>) {
    let handle = Closure::<dyn Fn(web_sys::Event)>::new(move |event: web_sys::Event| {
        let target = event.target().and_then(|target| target.dyn_into::<web_sys::Node>().ok());
        if !editor.get_untracked().is_some_and(|editor| editor.contains(target.as_ref())) {
            ui.act(Act::LeaveEdit);
        }
    });
    // Each fails only for a listener of another type.
    let _ = window().add_event_listener_with_callback_and_bool("click", handle.as_ref().unchecked_ref(), true);
    let handle = SendWrapper::new(handle);
    on_cleanup(move || {
        let _ = window().remove_event_listener_with_callback_and_bool("click", handle.as_ref().unchecked_ref(), true);
    });
}

fn text(model: &Model) -> String {
    model.editor().map(|(_, draft)| draft.text.clone()).unwrap_or_default()
}

/// What is wrong with the edit, or what has come between.
fn note(model: &Model) -> String {
    let error = model.editor().and_then(|(_, draft)| draft.error.clone());
    error.or_else(|| model.overtaken()).unwrap_or_default()
}
