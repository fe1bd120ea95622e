//! The edits that the server refused: each waits here until its author has decided.

use leptos::prelude::*;

use super::{model::HeldEdit, state::PageState};

/// A list of refused edits; nothing while there is none.
#[component]
pub(super) fn Held() -> impl IntoView {
    let page = expect_context::<PageState>();
    let held = Memo::new(move |_| page.status.with(|status| status.held.clone()));
    move || {
        let held = held.get();
        (!held.is_empty()).then(|| {
            view! {
                <section class="banner trouble" aria-label="Refused edits">
                    <p>"The server did not take these edits. They are kept in this tab alone."</p>
                    <ul>{held.into_iter().map(|edit| item(page, edit)).collect_view()}</ul>
                </section>
            }
        })
    }
}

fn item(page: PageState, edit: HeldEdit) -> impl IntoView {
    let HeldEdit { key, value, stamp, reason } = edit;
    let what = value.map_or_else(|| "removed".to_owned(), |value| value.text);
    let (discard_label, edit_label) = (format!("Discard {key}"), format!("Edit {key}"));
    let discarded = key.clone();
    let text = format!("{key}: {what} ({reason})");
    view! {
        <li>
            <span class="held">{text}</span>
            <button
                class="plain"
                aria-label=edit_label
                on:click=move |_| {
                    let value = page.replica().and_then(|replica| replica.held_value(&key, stamp));
                    page.draft.fill(key.as_str(), &value.map_or_else(String::new, |value| value.to_input()));
                }
            >
                "Edit"
            </button>
            <button
                class="plain"
                aria-label=discard_label
                on:click=move |_| {
                    if let Some(replica) = page.replica() {
                        replica.discard(&discarded, stamp);
                    }
                }
            >
                "Discard"
            </button>
        </li>
    }
}
