//! The states of the connection and of this page's edits, and the mark of a verified replica.

use leptos::prelude::*;

use super::{
    model::{Connection, Sync},
    state::PageState,
};

/// Live, Connecting or Offline.
#[component]
pub(super) fn ConnectionStatus() -> impl IntoView {
    let page = expect_context::<PageState>();
    let connection = Memo::new(move |_| page.status.with(|status| status.connection));
    let text = move || match connection.get() {
        Connection::Live => "Live",
        Connection::Connecting => "Connecting",
        Connection::Offline => "Offline",
    };
    view! { <span role="status" aria-label="Connection" class="state connection" data-state=text>{text}</span> }
}

/// What has become of the edits.
#[component]
pub(super) fn SyncStatus() -> impl IntoView {
    let page = expect_context::<PageState>();
    let sync = Memo::new(move |_| page.status.with(|status| status.sync));
    let kind = move || match sync.get() {
        Sync::Saved => "saved",
        Sync::Saving(_) => "saving",
        Sync::OnDevice(_) => "device",
        Sync::NotSaved(_) => "lost",
    };
    let text = move || match sync.get() {
        Sync::Saved => "Saved".to_owned(),
        Sync::Saving(edits) => format!("Saving {edits}"),
        Sync::OnDevice(edits) => format!("{edits} edits saved on this device"),
        Sync::NotSaved(_) => "Not saved".to_owned(),
    };
    view! { <span role="status" aria-label="Sync" class="state" data-state=kind>{text}</span> }
}

/// Says that all entries here are those of the server, by their digests.
#[component]
pub(super) fn Verified() -> impl IntoView {
    let page = expect_context::<PageState>();
    let verified = Memo::new(move |_| page.status.with(|status| status.is_verified.then_some(status.seq)));
    let title = |seq| format!("The digest of all entries here equals the server's, as of change {seq}.");
    move || verified.get().map(|seq| view! { <span class="state verified" title=title(seq)>"Verified"</span> })
}
