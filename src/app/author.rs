//! Who edits here, and a way to be called otherwise.

use leptos::{ev, html, prelude::*};

use super::state::PageState;

/// "You are Amber Finch"; a click edits the name.
#[component]
pub(super) fn AuthorButton() -> impl IntoView {
    let page = expect_context::<PageState>();
    let name = Signal::derive(move || page.status.with(|status| status.author.clone()));
    let is_edited = RwSignal::new(false);
    let field = NodeRef::<html::Input>::new();

    let edit = move |_| {
        is_edited.set(true);
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
        is_edited.set(false);
    };
    view! {
        <div class="author needs-script">
            <button
                class="plain"
                title="Change your name"
                hidden=Signal::derive(move || is_edited.get() || name.with(String::is_empty))
                on:click=edit
            >
                "You are "
                <b>{name}</b>
            </button>
            <input
                aria-label="Your name"
                maxlength="64"
                autocomplete="nickname"
                hidden=Signal::derive(move || !is_edited.get())
                node_ref=field
                on:keydown=on_key
                on:blur=move |_| is_edited.set(false)
            />
        </div>
    }
}
