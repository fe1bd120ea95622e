//! The form that adds an entry, or replaces one.

mod text_field;

use std::rc::Rc;

use leptos::{ev, prelude::*};

pub(super) use self::text_field::TextField;
use super::ui::Ui;
use crate::model::{Act, Areas, FormNote, Model};

const NOTE_ID: &str = "entry-note";

/// Key, Value, Set. Enter goes from the key to the value, and from there sets; the next key follows at once.
#[component]
pub(super) fn EntryForm() -> impl IntoView {
    let ui = expect_context::<Ui>();
    let note = ui.text(Areas::EDITOR, |model| match &model.form().note {
        FormNote::Nothing => String::new(),
        FormNote::Replaces(text) | FormNote::Refused(text) => text.clone(),
    });
    let invalid = ui.attribute(Areas::EDITOR, |model| is_refused(model).then(|| "true".to_owned()));

    let on_key = move |event: ev::KeyboardEvent, act: Act| {
        if event.key() == "Enter" && !event.is_composing() && !event.shift_key() {
            event.prevent_default();
            ui.act(act);
        }
    };
    let on_submit = move |event: ev::SubmitEvent| {
        event.prevent_default();
        ui.act(Act::Set);
    };
    Ui::effect(Box::new(move || {
        if let (Some(text), Some(field)) = (ui.typed(|model| model.form().key.clone()), ui.key_field.get())
            && field.value() != text
        {
            field.set_value(&text);
        }
    }));
    let value_field = TextField {
        name: Some("value"),
        label: None,
        note_id: Some(NOTE_ID),
        invalid,
        field: ui.value_field,
        text: |model: &Model| model.form().value.clone(),
        on_input: Act::TypeValue,
        on_key: Rc::new(move |event| on_key(event, Act::Set)),
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
                    aria-describedby=NOTE_ID
                    node_ref=ui.key_field
                    on:input=ui.types(Act::TypeKey)
                    on:keydown=move |event| on_key(event, Act::EnterKey)
                />
            </label>
            <label class="field">
                <span>"Value"</span>
                {value_field.render(ui)}
            </label>
            <button type="submit">"Set"</button>
            <p id=NOTE_ID class="note" class:error=ui.is(Areas::EDITOR, is_refused) aria-live="polite">
                {note}
            </p>
        </form>
    }
}

fn is_refused(model: &Model) -> bool {
    matches!(model.form().note, FormNote::Refused(_))
}
