//! Who edits here, and a way to be called otherwise.

use leptos::{ev, html, prelude::*};

use super::state::PageState;

/// "You are Amber Finch"; a click edits the name.
#[component]
pub(super) fn AuthorButton() -> impl IntoView {
    let page = expect_context::<PageState>();
    let name = page.text(|state| state.status().author);
    let field = NodeRef::<html::Input>::new();

    let edit = move |_| {
        page.change(|state| state.is_renaming = true);
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
        if let (true, Some(replica), Some(field)) = (key == "Enter", page.replica(), field.get_untracked())
            && !field.value().trim().is_empty()
        {
            replica.rename(&field.value());
        }
        page.change(|state| state.is_renaming = false);
    };
    view! {
        <div class="author needs-script">
            <button
                class="plain"
                title="Change your name"
                hidden=page.is(|state| state.is_renaming || state.status().author.is_empty())
                on:click=edit
            >
                "You are "
                <b>{name}</b>
            </button>
            <input
                aria-label="Your name"
                maxlength="64"
                autocomplete="nickname"
                hidden=page.is(|state| !state.is_renaming)
                node_ref=field
                on:keydown=on_key
                on:blur=move |_| page.change(|state| state.is_renaming = false)
            />
        </div>
    }
}
