//! The edits that the server refused: each waits here until its author has decided, one after the other.

use leptos::prelude::*;

use super::state::PageState;
use crate::model::HeldEdit;

/// The first refused edit; nothing while there is none.
#[component]
pub(super) fn Held() -> impl IntoView {
    let page = expect_context::<PageState>();
    let is_none = page.is(|state| state.status().held.is_empty());
    let text = page.text(|state| describe(&state.status().held));
    let first = move || page.peek(|state| state.status().held.into_iter().next());
    let edit = move |_| {
        if let (Some(held), Some(replica)) = (first(), page.replica()) {
            let value = replica.held_value(&held.key, held.stamp);
            page.fill_form(held.key.as_str(), &value.map_or_else(String::new, |value| value.to_input()));
        }
    };
    let discard = move |_| {
        if let (Some(held), Some(replica)) = (first(), page.replica()) {
            replica.discard(&held.key, held.stamp);
        }
    };
    view! {
        <section class="banner trouble" aria-label="Refused edits" hidden=is_none>
            <span>{text}</span>
            <button class="plain" on:click=edit>"Edit again"</button>
            <button class="plain" on:click=discard>"Discard"</button>
        </section>
    }
}

fn describe(held: &[HeldEdit]) -> String {
    let [first, others @ ..] = held else { return String::new() };
    let value = first.value.as_ref().map_or("its removal", |value| &value.text);
    let more = if others.is_empty() { String::new() } else { format!(" {} more wait behind it.", others.len()) };
    format!("The server did not take {value} for {}: {}. Nobody else has it.{more}", first.key, first.reason)
}
