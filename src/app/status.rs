//! The states of the connection and of this page's edits, and the mark of a verified replica.

use leptos::prelude::*;

use super::state::PageState;
use crate::model::{Connection, Sync};

/// Live, Connecting or Offline.
#[component]
pub(super) fn ConnectionStatus() -> impl IntoView {
    let page = expect_context::<PageState>();
    let text = page.text(|state| {
        let text = match state.status().connection {
            Connection::Live => "Live",
            Connection::Connecting => "Connecting",
            Connection::Offline => "Offline",
        };
        text.to_owned()
    });
    view! { <span role="status" aria-label="Connection" class="state" data-state=text>{text}</span> }
}

/// What has become of the edits.
#[component]
pub(super) fn SyncStatus() -> impl IntoView {
    let page = expect_context::<PageState>();
    let text = page.text(|state| match state.status().sync {
        Sync::Saved => "Saved".to_owned(),
        Sync::Saving(edits) => format!("Saving {edits}"),
        Sync::OnDevice(1) => "1 edit saved on this device".to_owned(),
        Sync::OnDevice(edits) => format!("{edits} edits saved on this device"),
        Sync::NotSaved(_) => "Not saved".to_owned(),
    });
    view! { <span role="status" aria-label="Sync" class="state" data-state=text>{text}</span> }
}

/// Says that all entries here are those of the server, by their digests.
#[component]
pub(super) fn Verified() -> impl IntoView {
    let page = expect_context::<PageState>();
    let hidden = page.is(|state| {
        let status = state.status();
        !status.is_verified || status.connection != Connection::Live
    });
    let title = page.text(|state| {
        format!("The digest of all entries here equals the server's, as of change {}.", state.status().seq)
    });
    view! { <span class="state verified" hidden=hidden title=title>"Verified"</span> }
}
