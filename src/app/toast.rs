//! A removal can be undone for a while.

use std::time::Duration;

use leptos::prelude::*;

use super::state::{GridState, PageState};

/// How long, counted from the last removal.
const UNDO_FOR: Duration = Duration::from_secs(10);

/// Says what was removed, and brings it back.
#[component]
pub(super) fn Toast() -> impl IntoView {
    let page = expect_context::<PageState>();
    let grid = expect_context::<GridState>();
    let removed = page.removed;
    Effect::new(move |pending: Option<Option<TimeoutHandle>>| {
        if let Some(pending) = pending.flatten() {
            pending.clear();
        }
        let is_empty = removed.with(Vec::is_empty);
        (!is_empty).then(|| set_timeout_with_handle(move || removed.write().clear(), UNDO_FOR).ok()).flatten()
    });
    let text = Signal::derive(move || {
        removed.with(|removed| match &removed[..] {
            [] => String::new(),
            [(key, _)] => format!("Removed {key}"),
            many => format!("Removed {} entries", many.len()),
        })
    });
    let undo = move |_| {
        let last = removed.with_untracked(|removed| removed.last().map(|(key, _)| key.clone()));
        page.undo_remove();
        if let Some(key) = last {
            grid.go_to(&key);
        }
        grid.focus();
    };
    view! {
        <div class="toasts" aria-live="polite">
            <p class="toast" hidden=Signal::derive(move || removed.with(Vec::is_empty))>
                <span>{text}</span>
                <button class="plain" on:click=undo>"Undo"</button>
            </p>
        </div>
    }
}
