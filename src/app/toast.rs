//! A removal can be undone for a while.

use leptos::prelude::*;

use super::state::PageState;

/// Says what was removed, and brings it back.
#[component]
pub(super) fn Toast() -> impl IntoView {
    let page = expect_context::<PageState>();
    let text = page.text(|state| match &state.removed[..] {
        [] => String::new(),
        [key] => format!("Removed {key}"),
        many => format!("Removed {} entries", many.len()),
    });
    let undo = move |_| {
        page.undo_remove();
        page.focus_grid();
    };
    view! {
        <div class="toasts" aria-live="polite">
            <p class="toast" hidden=page.is(|state| state.removed.is_empty())>
                <span>{text}</span>
                <button class="plain" aria-label="Undo the removal" on:click=undo>
                    "Undo"
                </button>
            </p>
        </div>
    }
}
