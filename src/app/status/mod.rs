//! The header's states: of the connection, of this page's edits, of the replica and of the clock. And who edits here.

mod author;

use leptos::prelude::*;

pub(super) use self::author::AuthorButton;
use super::{
    side::{clock_is_off, describe_clock, is_clock_right},
    ui::Ui,
};
use crate::model::{Areas, Connection, Sync};

/// All states.
#[component]
pub(super) fn States() -> impl IntoView {
    view! {
        <div class="states needs-script">
            <ConnectionStatus />
            <SyncStatus />
            <Verified />
            <ClockStatus />
        </div>
    }
}

/// Live, Connecting or Offline.
#[component]
fn ConnectionStatus() -> impl IntoView {
    let ui = expect_context::<Ui>();
    let text = ui.text(Areas::STATUS, |model| {
        let text = match model.status().connection {
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
fn SyncStatus() -> impl IntoView {
    let ui = expect_context::<Ui>();
    let text = ui.text(Areas::STATUS, |model| match model.status().sync {
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
fn Verified() -> impl IntoView {
    let ui = expect_context::<Ui>();
    let hidden = ui.is(Areas::STATUS, |model| {
        let status = model.status();
        !status.is_verified || status.connection != Connection::Live
    });
    let title = ui.text(Areas::STATUS, |model| {
        format!("The digest of all entries here equals the server's, as of change {}.", model.status().seq)
    });
    view! { <span class="state verified" hidden=hidden title=title>"Verified"</span> }
}

/// Says so when this device's clock is far off.
#[component]
fn ClockStatus() -> impl IntoView {
    let ui = expect_context::<Ui>();
    let is_right = ui.is(Areas::STATUS, |model| is_clock_right(model.status()));
    let text = ui.text(Areas::STATUS, |model| {
        let status = model.status();
        format!("Clock {} {}", clock_is_off(status), if status.clock_ahead_ms > 0 { "ahead" } else { "behind" })
    });
    let title = ui.text(Areas::STATUS, |model| describe_clock(model.status()));
    view! { <span class="state clock" hidden=is_right title=title>{text}</span> }
}
