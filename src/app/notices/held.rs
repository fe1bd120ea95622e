//! The edits that the server refused: each waits here until its author has decided, one after the other.

use leptos::prelude::*;

use crate::{
    app::ui::Ui,
    model::{Act, Areas, HeldEdit},
};

/// The first refused edit; nothing while there is none.
#[component]
pub(super) fn Held() -> impl IntoView {
    let ui = expect_context::<Ui>();
    let is_none = ui.is(Areas::STATUS, |model| model.status().held.is_empty());
    let text = ui.text(Areas::STATUS, |model| describe(&model.status().held));
    view! {
        <section class="banner trouble" aria-label="Refused edits" hidden=is_none>
            <span>{text}</span>
            <button class="plain" on:click=ui.runs(|| Act::EditHeld)>"Edit again"</button>
            <button class="plain" on:click=ui.runs(|| Act::DiscardHeld)>"Discard"</button>
        </section>
    }
}

fn describe(held: &[HeldEdit]) -> String {
    let [first, others @ ..] = held else { return String::new() };
    let value = first.value.as_ref().map_or("its removal", |value| &value.text);
    let more = if others.is_empty() { String::new() } else { format!(" {} more wait behind it.", others.len()) };
    format!("The server did not take {value} for {}: {}. Nobody else has it.{more}", first.key, first.reason)
}
