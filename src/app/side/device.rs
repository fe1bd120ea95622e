//! What this device knows and keeps: whether it has what the server has, how much room there is, how its clock goes.

use leptos::prelude::*;

use crate::{
    app::ui::Ui,
    model::{Act, Areas, Connection, Model, Room, Status, duration},
};

/// A clock that is off by less counts as right.
const CLOCK_OFF_MS_MIN: u64 = 60_000;
/// How far a clock is off is known to a few seconds at best.
const HALF_A_MINUTE_MS: u64 = 30_000;

/// A button that opens the panel. The browser closes it on Escape and on a click beside it, and gives the focus back.
#[component]
pub(in crate::app) fn DeviceButton() -> impl IntoView {
    let ui = expect_context::<Ui>();
    view! {
        <button class="quiet" popovertarget="device" on:click=ui.runs(|| Act::OpenDevicePanel)>
            "This device"
        </button>
    }
}

/// The panel.
#[component]
pub(in crate::app) fn DevicePanel() -> impl IntoView {
    let ui = expect_context::<Ui>();
    let entries = ui.text(Areas::STATUS, |model| describe_entries(model.status()));
    let room = ui.text(Areas::STATUS | Areas::SIDE, describe_room);
    let clock = ui.text(Areas::STATUS, |model| describe_clock(model.status()));
    let forget = ui.text(Areas::STATUS | Areas::SIDE, |model| match model.status().unsaved() {
        edits if model.is_forgetting() => format!("Forget {edits} unsaved too"),
        _ => "Forget this dictionary on this device".to_owned(),
    });
    view! {
        <section id="device" popover="auto" class="panel" aria-label="This device">
            <h2>"Entries"</h2>
            <p>{entries}</p>
            <button
                class="quiet"
                disabled=ui.is(Areas::STATUS, |model| model.status().connection != Connection::Live)
                on:click=ui.runs(|| Act::Check)
            >
                "Check now"
            </button>
            <h2>"Storage"</h2>
            <p>{room}</p>
            <button
                class="quiet"
                hidden=ui.is(Areas::STATUS, |model| model.status().unsaved() == 0)
                on:click=ui.runs(|| Act::Export)
            >
                "Export unsaved edits"
            </button>
            <button class="quiet" on:click=ui.runs(|| Act::Forget)>{forget}</button>
            <p class="note error" hidden=ui.is(Areas::SIDE, |model| !model.is_forgetting())>
                "Nobody else has them: they would be lost. Press again to forget them."
            </p>
            <h2>"Clock"</h2>
            <p>{clock}</p>
        </section>
    }
}

fn describe_entries(status: &Status) -> String {
    let compared = if status.is_verified {
        format!("All entries here are those of the server, as of change {}.", status.seq)
    } else if status.connection == Connection::Live {
        "Being compared with the server's.".to_owned()
    } else {
        format!("As of change {}. They are compared with the server's when it can be reached.", status.seq)
    };
    let times = if status.divergences == 1 { "time" } else { "times" };
    match status.divergences {
        0 => compared,
        count => format!("{compared} They differed {count} {times}, and were fetched anew."),
    }
}

fn describe_room(model: &Model) -> String {
    if let Some(trouble) = &model.status().trouble {
        return format!("Nothing is kept here: {trouble}.");
    }
    let kept = "Entries and edits are kept on this device, and stay when you close the page.";
    match model.room() {
        None => {
            format!("{kept} This browser does not say how much room there is, nor whether it may delete what is kept.")
        }
        Some(Room { used_bytes, quota_bytes, is_kept }) => {
            let fate =
                if is_kept { "never deletes any of it by itself" } else { "may delete it when the disk runs short" };
            format!(
                "{kept} This site takes {} of {} that it may take. The browser {fate}.",
                megabytes(used_bytes),
                megabytes(quota_bytes)
            )
        }
    }
}

pub(in crate::app) fn is_clock_right(status: &Status) -> bool {
    status.clock_ahead_ms.unsigned_abs() < CLOCK_OFF_MS_MIN
}

pub(in crate::app) fn describe_clock(status: &Status) -> String {
    if is_clock_right(status) {
        return "It agrees with the server's.".to_owned();
    }
    let side = if status.clock_ahead_ms > 0 { "ahead of" } else { "behind" };
    format!("This device's clock is {} {side} the server's. Edits follow the server's.", clock_is_off(status))
}

/// How far it is off.
pub(in crate::app) fn clock_is_off(status: &Status) -> String {
    duration(status.clock_ahead_ms.unsigned_abs() + HALF_A_MINUTE_MS)
}

fn megabytes(bytes: u64) -> String {
    const MEGABYTE: u64 = 1_000_000;
    const GIGABYTE: u64 = 1000 * MEGABYTE;
    match bytes {
        ..GIGABYTE => format!("{}.{} MB", bytes / MEGABYTE, bytes % MEGABYTE / (MEGABYTE / 10)),
        _ => format!("{} GB", bytes / GIGABYTE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_at_a_glance() {
        let check = |bytes, expected: &str| assert_eq!(megabytes(bytes), expected);
        check(0, "0.0 MB");
        check(2_160_000, "2.1 MB");
        check(999_999_999, "999.9 MB");
        check(12_345_678_901, "12 GB");
    }
}
