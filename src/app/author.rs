//! Who edits here, and a way to be called otherwise.

use leptos::{ev, html, prelude::*};

use super::state::PageState;

/// "You are Amber Finch"; a click edits the name.
#[component]
pub(super) fn AuthorButton() -> impl IntoView {
    let page = expect_context::<PageState>();
    let name = Memo::new(move |_| page.status.with(|status| status.author.clone()));
    let is_edited = RwSignal::new(false);
    let field = NodeRef::<html::Input>::new();
    field.on_load(|field| {
        // Focus fails only for an element that is not in a document.
        let _ = field.focus();
        field.select();
    });

    let rename = move || {
        if let (Some(replica), Some(field)) = (page.replica(), field.get_untracked())
            && !field.value().trim().is_empty()
        {
            replica.rename(&field.value());
        }
        is_edited.set(false);
    };
    let on_key = move |event: ev::KeyboardEvent| match event.key().as_str() {
        "Enter" if !event.is_composing() => rename(),
        "Escape" => is_edited.set(false),
        _ => {}
    };
    view! {
        <div class="author needs-script">
            {move || {
                if is_edited.get() {
                    let name = name.get_untracked();
                    view! {
                        <input
                            aria-label="Your name"
                            maxlength="64"
                            autocomplete="nickname"
                            value=name
                            node_ref=field
                            on:keydown=on_key
                            on:blur=move |_| is_edited.set(false)
                        />
                    }
                        .into_any()
                } else {
                    view! {
                        <button
                            class="plain"
                            title="Change your name"
                            hidden=move || name.with(String::is_empty)
                            on:click=move |_| is_edited.set(true)
                        >
                            "You are " <b>{name}</b>
                        </button>
                    }
                        .into_any()
                }
            }}
        </div>
    }
}
