//! The page from top to bottom.

use leptos::prelude::*;

use super::{
    author::AuthorButton,
    compare::CompareDialog,
    conflicts::{ConflictsButton, News},
    form::EntryForm,
    grid::Grid,
    held::Held,
    model::Sync,
    search::{Found, SearchBox},
    state::{PageState, State},
    status::{ConnectionStatus, SyncStatus, Verified},
    toast::Toast,
};

/// Everything that is seen.
#[component]
pub(super) fn Page() -> impl IntoView {
    let page = expect_context::<PageState>();
    view! {
        <header class="bar">
            <a class="brand" href="/">
                <img src="/favicon.svg" alt="" width="24" height="24" />
                <span>"Keybook"</span>
            </a>
            <h1>{page.peek(State::name)}</h1>
            <div class="states needs-script">
                <ConnectionStatus />
                <SyncStatus />
                <Verified />
            </div>
            <AuthorButton />
        </header>
        <main class="page">
            <p class="banner no-script">
                "Without JavaScript this page shows the first entries of the dictionary, and cannot change them."
            </p>
            <Notices />
            <News />
            <Held />
            <EntryForm />
            <div class="tools needs-script">
                <SearchBox />
                <Found />
                <ConflictsButton />
            </div>
            <Grid />
        </main>
        <Toast />
        <CompareDialog />
    }
}

/// What a person has to know now: trouble with the connection, a refused edit, edits that only this page has.
#[component]
fn Notices() -> impl IntoView {
    let page = expect_context::<PageState>();
    let notice = page.text(|state| state.status().notice.unwrap_or_default());
    let refusal = page.text(|state| state.refusal.clone());
    let unsaved = page.text(|state| match state.status().sync {
        Sync::NotSaved(edits) => unsaved_text(edits),
        Sync::Saved | Sync::Saving(_) | Sync::OnDevice(_) => String::new(),
    });
    let is_empty = |text: Signal<String>| Signal::derive(move || text.with(String::is_empty));
    view! {
        <div role="alert" class="notices">
            <p class="banner trouble" hidden=is_empty(notice)>
                <span>{notice}</span>
                <a href="" rel="external">"Reload"</a>
            </p>
            <p class="banner trouble" hidden=is_empty(refusal)>
                <span>"Not written: " {refusal} "."</span>
                <button class="plain" on:click=move |_| page.change(|state| state.refusal.clear())>"Close"</button>
            </p>
            <p class="banner trouble" hidden=is_empty(unsaved)>{unsaved}</p>
        </div>
    }
}

fn unsaved_text(edits: usize) -> String {
    let (what, verb, them) = if edits == 1 { ("edit", "waits", "it") } else { ("edits", "wait", "them") };
    format!(
        "Offline. {edits} {what} {verb} in this tab until the server can be reached: closing or reloading it loses {them}."
    )
}
