//! The page from top to bottom.

use leptos::prelude::*;

use super::{
    author::AuthorButton,
    form::EntryForm,
    grid::Grid,
    held::Held,
    model::Sync,
    search::{Found, SearchBox},
    state::PageState,
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
                "Keybook"
            </a>
            <h1>{page.name()}</h1>
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
            <Held />
            <EntryForm />
            <div class="tools needs-script">
                <SearchBox />
                <Found />
            </div>
            <Grid />
        </main>
        <Toast />
    }
}

/// What a person has to know now: trouble with the connection, edits that only this page has, a refused edit.
#[component]
fn Notices() -> impl IntoView {
    let page = expect_context::<PageState>();
    let notice = Memo::new(move |_| page.status.with(|status| status.notice.clone()));
    let unsaved = Memo::new(move |_| match page.status.with(|status| status.sync) {
        Sync::NotSaved(edits) => edits,
        Sync::Saved | Sync::Saving(_) | Sync::OnDevice(_) => 0,
    });
    view! {
        <div role="alert">
            {move || {
                let notice = notice.get()?;
                Some(view! {
                    <p class="banner trouble">{notice} " " <a href="" rel="external">"Reload"</a></p>
                })
            }}
            {move || {
                let refusal = page.refusal.get()?;
                Some(view! {
                    <p class="banner trouble">
                        "Not written: " {refusal} "."
                        <button class="plain" on:click=move |_| page.refusal.set(None)>"Close"</button>
                    </p>
                })
            }}
            {move || (unsaved.get() > 0).then(|| view! { <p class="banner trouble">{unsaved_text(unsaved.get())}</p> })}
        </div>
    }
}

fn unsaved_text(edits: usize) -> String {
    let (what, verb, them) = if edits == 1 { ("edit", "waits", "it") } else { ("edits", "wait", "them") };
    format!(
        "Offline. {edits} {what} {verb} in this tab until the server can be reached: closing or reloading it loses {them}."
    )
}
