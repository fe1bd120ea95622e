//! A button with the number of losing values.

use leptos::prelude::*;

use crate::{
    app::ui::Ui,
    model::{Act, Areas, Compared},
};

/// Opens the conflicts; hidden while there is none.
#[component]
pub(super) fn ConflictsButton() -> impl IntoView {
    let ui = expect_context::<Ui>();
    let text = ui.text(Areas::STATUS, |model| model.status().conflicts_text().unwrap_or_default());
    view! {
        <button
            class="plain conflicts"
            hidden=ui.is(Areas::STATUS, |model| model.status().conflicts_text().is_none())
            on:click=ui.runs(|| Act::Compare(Compared::Conflicts))
        >
            {text}
        </button>
    }
}
