//! A removal can be undone for a while.

use leptos::prelude::*;

use crate::{
    app::ui::Ui,
    model::{Act, Areas},
};

/// Says what was removed, and brings it back.
#[component]
pub(in crate::app) fn Toast() -> impl IntoView {
    let ui = expect_context::<Ui>();
    let text = ui.text(Areas::SIDE, |model| match model.removed() {
        [] => String::new(),
        [key] => format!("Removed {key}"),
        many => format!("Removed {} entries", many.len()),
    });
    view! {
        <div class="toasts" aria-live="polite">
            <p class="toast" hidden=ui.is(Areas::SIDE, |model| model.removed().is_empty())>
                <span>{text}</span>
                <button class="plain" aria-label="Undo the removal" on:click=ui.runs(|| Act::UndoRemoval)>
                    "Undo"
                </button>
            </p>
        </div>
    }
}
