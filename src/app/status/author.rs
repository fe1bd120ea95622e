//! Who edits here, and a way to be called otherwise.

use leptos::{ev, html, prelude::*};

use crate::{
    app::ui::Ui,
    model::{Act, Areas},
};

/// "You are Amber Finch"; a click edits the name.
#[component]
pub(in crate::app) fn AuthorButton() -> impl IntoView {
    let ui = expect_context::<Ui>();
    let name = ui.text(Areas::STATUS, |model| model.status().author.clone().unwrap_or_default());
    let field = NodeRef::<html::Input>::new();

    let edit = move |_| {
        ui.act(Act::BeginRename);
        // A hidden field takes no focus: it is shown first.
        request_animation_frame(move || {
            if let Some(field) = field.get_untracked() {
                field.set_value(&name.get_untracked());
                // Focus fails only for an element that is not in a document.
                let _ = field.focus();
                field.select();
            }
        });
    };
    let on_key = move |event: ev::KeyboardEvent| {
        let key = event.key();
        if event.is_composing() || !matches!(&*key, "Enter" | "Escape") {
            return;
        }
        match field.get_untracked() {
            Some(field) if key == "Enter" => ui.act(Act::Rename(field.value())),
            _ => ui.act(Act::EndRename),
        }
    };
    view! {
        <div class="author needs-script">
            <button
                class="plain"
                title="Change your name"
                hidden=ui.is(Areas::STATUS | Areas::SIDE, |model| model.is_renaming() || model.status().author.is_none())
                on:click=edit
            >
                "You are "
                <b>{name}</b>
            </button>
            <input
                aria-label="Your name"
                maxlength="64"
                autocomplete="nickname"
                hidden=ui.is(Areas::SIDE, |model| !model.is_renaming())
                node_ref=field
                on:keydown=on_key
                on:blur=ui.runs(|| Act::EndRename)
            />
        </div>
    }
}
