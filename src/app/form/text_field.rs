//! The field in which a value is typed: the form's, and the one over a value in the grid.
//!
//! It is a textarea, since an input would drop newlines. It is one piece of code for both: each type that Leptos renders is code
//! of its own.

use std::rc::Rc;

use leptos::{ev, html, prelude::*};

use crate::{
    app::ui::Ui,
    model::{Act, Areas, Model},
};

/// A text field.
pub(in crate::app) struct TextField {
    pub(in crate::app) name: Option<&'static str>,
    pub(in crate::app) label: Option<String>,
    /// The element that says what is wrong.
    pub(in crate::app) note_id: Option<&'static str>,
    /// `aria-invalid`.
    pub(in crate::app) invalid: Signal<Option<String>>,
    pub(in crate::app) field: NodeRef<html::Textarea>,
    /// What the model has of it.
    pub(in crate::app) text: fn(&Model) -> String,
    pub(in crate::app) on_input: fn(String) -> Act,
    pub(in crate::app) on_key: Rc<dyn Fn(ev::KeyboardEvent)>,
}

impl TextField {
    /// Renders it.
    pub(in crate::app) fn render(self, ui: Ui) -> impl IntoView {
        let Self { name, label, note_id, invalid, field, text, on_input, on_key } = self;
        Ui::effect(Box::new(move || {
            if let (Some(text), Some(field)) = (ui.typed(text), field.get())
                && field.value() != text
            {
                field.set_value(&text);
            }
        }));
        view! {
            <textarea
                name=name
                rows="1"
                aria-label=label
                autocapitalize="none"
                spellcheck="false"
                aria-invalid=invalid
                aria-describedby=note_id
                node_ref=field
                on:input=ui.types(on_input)
                on:keydown=move |event| on_key(event)
            ></textarea>
        }
    }
}

impl Ui {
    /// A text that is being edited, and again when it has changed. None before the page is alive: what was typed until then is in
    /// the elements alone.
    pub(super) fn typed(self, text: fn(&Model) -> String) -> Option<String> {
        self.read(Areas::EDITOR, |model| model.now_ms().map(|_| text(model)))
    }
}
