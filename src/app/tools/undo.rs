//! Undo and redo of this person's own edits.

use leptos::prelude::*;

use crate::{
    app::ui::Ui,
    model::{Act, Areas},
};

/// Undo, Redo. On the grid the usual keys do the same.
#[component]
pub(super) fn UndoButtons() -> impl IntoView {
    let ui = expect_context::<Ui>();
    let nothing_to_undo = ui.is(Areas::STATUS, |model| model.status().undoable.0 == 0);
    let nothing_to_redo = ui.is(Areas::STATUS, |model| model.status().undoable.1 == 0);
    view! {
        <button
            class="quiet"
            title="Take back your last edit (Ctrl+Z)"
            disabled=nothing_to_undo
            on:click=ui.runs(|| Act::Undo)
        >
            "Undo"
        </button>
        <button
            class="quiet"
            title="Do again what you took back (Ctrl+Shift+Z)"
            disabled=nothing_to_redo
            on:click=ui.runs(|| Act::Redo)
        >
            "Redo"
        </button>
    }
}
