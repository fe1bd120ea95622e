//! Undo and redo of this user's own edits.

use leptos::prelude::*;

use super::state::PageState;

/// Undo, Redo. On the grid the usual keys do the same.
#[component]
pub(super) fn UndoButtons() -> impl IntoView {
    let page = expect_context::<PageState>();
    let nothing_to_undo = page.is(|state| state.status().undoable.0 == 0);
    let nothing_to_redo = page.is(|state| state.status().undoable.1 == 0);
    view! {
        <button class="quiet" title="Take back your last edit (Ctrl+Z)" disabled=nothing_to_undo on:click=move |_| page.undo()>
            "Undo"
        </button>
        <button
            class="quiet"
            title="Do again what you took back (Ctrl+Shift+Z)"
            disabled=nothing_to_redo
            on:click=move |_| page.redo()
        >
            "Redo"
        </button>
    }
}
