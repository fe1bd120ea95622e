//! A button that says which edits were begun and left.

use leptos::prelude::*;

use crate::{
    app::ui::Ui,
    model::{Act, Areas, Model},
};

/// Goes on with the first of them; hidden while there is none.
#[component]
pub(super) fn DraftsButton() -> impl IntoView {
    let ui = expect_context::<Ui>();
    let text = ui.text(Areas::EDITOR, text);
    view! {
        <button class="plain drafts" hidden=Ui::is_empty(text) on:click=ui.runs(|| Act::ResumeDraft)>
            {text}
        </button>
    }
}

fn text(model: &Model) -> String {
    match &model.waiting_drafts()[..] {
        [] => String::new(),
        [key] => format!("Unfinished: {key}"),
        [key, more @ ..] => format!("Unfinished: {key} and {} more", more.len()),
    }
}
