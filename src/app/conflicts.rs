//! What a person hears of conflicts, and of what changed while the device was away: a button with their number, and a banner
//! when edits of the person's own have lost.

use std::rc::Rc;

use leptos::prelude::*;

use super::{
    compare::{Compared, action},
    state::{PageState, State},
};

/// Opens the conflicts; hidden while there is none.
#[component]
pub(super) fn ConflictsButton() -> impl IntoView {
    let page = expect_context::<PageState>();
    let text = page.text(|state| format!("Conflicts {}", state.status().conflicts));
    view! {
        <button
            class="plain conflicts"
            hidden=page.is(|state| state.status().conflicts == 0)
            on:click=move |_| page.compare(Compared::Conflicts)
        >
            {text}
        </button>
    }
}

/// Says what has happened without this person: it stays until it is closed, or there is nothing to say any more.
#[component]
pub(super) fn News() -> impl IntoView {
    let page = expect_context::<PageState>();
    let review = move || {
        let has_changed = page.peek(|state| state.status().changed > 0);
        page.compare(if has_changed { Compared::Changes } else { Compared::Conflicts });
    };
    let close = move || {
        page.hear();
        if let Some(replica) = page.replica() {
            replica.forget_absence();
        }
        page.focus_grid();
    };
    view! {
        <section class=page.text(news_class) role="alert" hidden=page.is(|state| news(state).is_empty())>
            <span>{page.text(news)}</span>
            {action("Review".to_owned(), Rc::new(review))}
            {action("Close".to_owned(), Rc::new(close))}
        </section>
    }
}

fn news(state: &State) -> String {
    match (state.status().changed, unheard(state)) {
        (0, 0) => String::new(),
        (0, 1) => "1 of your edits lost to another’s.".to_owned(),
        (0, lost) => format!("{lost} of your edits lost to others’."),
        (changed, 0) => format!("While you were away: {changed} changed."),
        (changed, lost) => format!("While you were away: {changed} changed, {lost} of yours lost."),
    }
}

fn news_class(state: &State) -> String {
    if unheard(state) > 0 { "banner trouble" } else { "banner" }.to_owned()
}

/// How many edits of this person lost, if the person has not heard of all of them.
fn unheard(state: &State) -> usize {
    let status = state.status();
    if status.newest_lost > state.heard { status.lost } else { 0 }
}
