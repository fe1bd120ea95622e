//! What this device knows and keeps: whether it has what the server has, how much room there is, how its clock goes.

use leptos::prelude::*;

use super::state::{PageState, State};
use crate::model::{Connection, Room, Status, Sync, duration};

/// A clock that is off by less is as right as most.
const CLOCK_OFF_MS_MIN: u64 = 60_000;
/// How far a clock is off is known to a few seconds at best.
const HALF_A_MINUTE_MS: u64 = 30_000;

/// A button that opens the panel. The browser closes it on Escape and on a click beside it, and gives the focus back.
#[component]
pub(super) fn DeviceButton() -> impl IntoView {
    let page = expect_context::<PageState>();
    let look = move |_| {
        page.change(|state| state.is_forgetting = false);
        if let Some(replica) = page.replica() {
            replica.look();
        }
    };
    view! {
        <button class="quiet" popovertarget="device" on:click=look>
            "This device"
        </button>
    }
}

/// The panel.
#[component]
pub(super) fn DevicePanel() -> impl IntoView {
    let page = expect_context::<PageState>();
    let entries = page.text(|state| describe_entries(&state.status()));
    let room = page.text(|state| describe_room(&state.status()));
    let clock = page.text(|state| describe_clock(&state.status()));
    let forget = page.text(|state| match unsaved(state) {
        edits if state.is_forgetting => format!("Forget {edits} unsaved too"),
        _ => "Forget this dictionary on this device".to_owned(),
    });
    let forget_it = move |_| {
        if page.peek(unsaved) > 0 && !page.peek(|state| state.is_forgetting) {
            page.change(|state| state.is_forgetting = true);
        } else if let Some(replica) = page.replica() {
            page.change(|state| state.is_forgetting = false);
            replica.forget();
        }
    };
    view! {
        <section id="device" popover="auto" class="panel" aria-label="This device">
            <h2>"Entries"</h2>
            <p>{entries}</p>
            <button
                class="quiet"
                disabled=page.is(|state| state.status().connection != Connection::Live)
                on:click=move |_| act(page, |replica| replica.check())
            >
                "Check now"
            </button>
            <h2>"Storage"</h2>
            <p>{room}</p>
            <button
                class="quiet"
                hidden=page.is(|state| unsaved(state) == 0)
                on:click=move |_| act(page, |replica| replica.export())
            >
                "Export unsaved edits"
            </button>
            <button class="quiet" on:click=forget_it>{forget}</button>
            <p class="note error" hidden=page.is(|state| !state.is_forgetting)>
                "Nobody else has them: they would be lost. Press again to forget them."
            </p>
            <h2>"Clock"</h2>
            <p>{clock}</p>
        </section>
    }
}

/// Says so when this device's clock is far off.
#[component]
pub(super) fn ClockStatus() -> impl IntoView {
    let page = expect_context::<PageState>();
    let is_right = page.is(|state| state.status().clock_ahead_ms.unsigned_abs() < CLOCK_OFF_MS_MIN);
    let text = page.text(|state| {
        let status = state.status();
        format!("Clock {} {}", clock_is_off(&status), if status.clock_ahead_ms > 0 { "ahead" } else { "behind" })
    });
    let title = page.text(|state| describe_clock(&state.status()));
    view! { <span class="state clock" hidden=is_right title=title>{text}</span> }
}

fn act(page: PageState, act: fn(&dyn crate::model::Replica)) {
    if let Some(replica) = page.replica() {
        act(&*replica);
    }
}

/// How many edits the server does not have.
pub(super) fn unsaved(state: &State) -> usize {
    let status = state.status();
    let (Sync::Saving(edits) | Sync::OnDevice(edits) | Sync::NotSaved(edits)) = status.sync else {
        return status.held.len();
    };
    edits + status.held.len()
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

fn describe_room(status: &Status) -> String {
    if !status.trouble.is_empty() {
        return format!("Nothing is kept here: {}.", status.trouble);
    }
    let kept = "Entries and edits are kept on this device, and stay when you close the page.";
    match status.room {
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

fn describe_clock(status: &Status) -> String {
    if status.clock_ahead_ms.unsigned_abs() < CLOCK_OFF_MS_MIN {
        return "It agrees with the server's.".to_owned();
    }
    let side = if status.clock_ahead_ms > 0 { "ahead of" } else { "behind" };
    format!("This device's clock is {} {side} the server's. Edits follow the server's.", clock_is_off(status))
}

fn clock_is_off(status: &Status) -> String {
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
