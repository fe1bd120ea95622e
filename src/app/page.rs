//! The page from top to bottom.

use leptos::prelude::*;

use super::{
    author::AuthorButton,
    compare::CompareDialog,
    conflicts::{ConflictsButton, News},
    device::{ClockStatus, DeviceButton, DevicePanel},
    form::EntryForm,
    grid::Grid,
    held::Held,
    plain_http::PlainHttp,
    search::{Found, SearchBox},
    state::{PageState, State},
    status::{ConnectionStatus, SyncStatus, Verified},
    toast::Toast,
    undo::UndoButtons,
};
use crate::model::Sync;

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
            <h1>{page.text(State::name)}</h1>
            <div class="states needs-script">
                <ConnectionStatus />
                <SyncStatus />
                <Verified />
                <ClockStatus />
            </div>
            <AuthorButton />
        </header>
        <main class="page">
            <p class="banner no-script">
                "Without JavaScript this page shows the first entries of the dictionary, and cannot change them."
            </p>
            <Notices />
            <PlainHttp />
            <News />
            <Held />
            <EntryForm />
            <div class="tools needs-script">
                <SearchBox />
                <Found />
                <div class="actions">
                    <ConflictsButton />
                    <UndoButtons />
                    <DeviceButton />
                </div>
            </div>
            <Grid />
        </main>
        <DevicePanel />
        <Toast />
        <CompareDialog />
    }
}

/// What a person has to know now: trouble with the connection, a refused edit, edits that only this page has, a new version.
#[component]
fn Notices() -> impl IntoView {
    let page = expect_context::<PageState>();
    let notice = page.text(|state| state.status().notice.unwrap_or_default());
    let refusal = page.text(|state| state.refusal.clone());
    let unsaved = page.text(|state| {
        let status = state.status();
        match status.sync {
            Sync::NotSaved(edits) => unsaved_text(edits, &status.trouble),
            Sync::Saved | Sync::Saving(_) | Sync::OnDevice(_) => String::new(),
        }
    });
    let export = move |_| {
        if let Some(replica) = page.replica() {
            replica.export();
        }
    };
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
            <p class="banner trouble" hidden=is_empty(unsaved)>
                <span>{unsaved}</span>
                <button class="plain" on:click=export>"Export them"</button>
            </p>
            // The document's script shows it, and listens to the button: see server/start.js.
            <p id="new-version" class="banner" hidden>
                <span>"A new version is ready."</span>
                <button class="plain">"Reload"</button>
            </p>
        </div>
    }
}

fn unsaved_text(edits: usize, trouble: &str) -> String {
    let (what, verb, them) = if edits == 1 { ("edit", "waits", "it") } else { ("edits", "wait", "them") };
    let why = if trouble.is_empty() { String::new() } else { format!(" This device keeps nothing: {trouble}.") };
    format!(
        "Offline. {edits} {what} {verb} in this tab until the server can be reached: closing or reloading it loses {them}.{why}"
    )
}
