//! A button with the number of open conflicts.

use leptos::prelude::*;

use crate::{
    app::ui::Ui,
    model::{Act, Areas, Compared},
};

/// Opens the conflicts; hidden while there is none.
#[component]
pub(super) fn ConflictsButton() -> impl IntoView {
    let ui = expect_context::<Ui>();
    let text = ui.text(Areas::STATUS, |model| format!("Conflicts {}", model.status().conflicts));
    view! {
        <button
            class="plain conflicts"
            hidden=ui.is(Areas::STATUS, |model| model.status().conflicts == 0)
            on:click=ui.runs(|| Act::Compare(Compared::Conflicts))
        >
            {text}
        </button>
    }
}
