//! The dialog that sets two values of a key beside each other: the conflicts, to be decided, and what changed while the device was
//! away, to be read.
//!
//! It is one dialog for both, and an item is replaced rather than changed: each thing that Leptos keeps up to date is code of its
//! own.

use std::rc::Rc;

use keybook_core::{ConflictId, Resolution};
use leptos::prelude::*;

use super::{
    row::value_class,
    state::{PageState, State},
};
use crate::model::{Comparison, ValueText, Written, age, readable_time};

/// What the dialog shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared {
    /// It is closed.
    Nothing,
    Conflicts,
    Changes,
}

impl PageState {
    /// Opens the dialog.
    pub(super) fn compare(self, compared: Compared) {
        self.change(|state| state.compared = compared);
        if compared == Compared::Conflicts {
            self.hear();
        }
        if let Some(dialog) = self.dialog.get_untracked() {
            // It fails only for one that is open, or not in a document.
            let _ = dialog.show_modal();
        }
    }

    /// This person knows of the edits that lost until now.
    pub(super) fn hear(self) {
        self.change(|state| state.heard = state.status().newest_lost);
    }
}

/// The dialog. Escape closes it; the browser keeps the focus in it, and then gives it back.
#[component]
pub(super) fn CompareDialog() -> impl IntoView {
    let page = expect_context::<PageState>();
    let title = page.text(title);
    let on_close = move |_| {
        page.change(|state| state.compared = Compared::Nothing);
        // What opened it may be hidden by now.
        let focused = document().query_selector(":focus:not(dialog, dialog *, body)");
        if focused.is_ok_and(|element| element.is_none()) {
            page.focus_grid();
        }
    };
    view! {
        <dialog class="compare" aria-label=title tabindex="-1" node_ref=page.dialog on:close=on_close>
            <form method="dialog">
                <h2>{title}</h2>
                <button class="plain">"Close"</button>
            </form>
            <ul>
                <For each=move || page.read(State::comparisons) key=Comparison::name let(comparison)>
                    {item(page, comparison)}
                </For>
            </ul>
            <p class="note" role="status" hidden=page.is(|state| note(state).is_empty())>
                {page.text(note)}
            </p>
        </dialog>
    }
}

fn item(page: PageState, comparison: Comparison) -> impl IntoView {
    let Comparison { key, now, other, conflict, is_own } = comparison;
    let (class, other_name, none) =
        if conflict.is_some() { ("conflict", "Lost", "removed") } else { ("change", "Before", "nothing") };
    let restore = if is_own { "Restore mine".to_owned() } else { format!("Restore {}’s", other.author) };
    let name = key.to_string();
    let decide = |resolution| -> Rc<dyn Fn()> { Rc::new(move || resolve(page, conflict, resolution)) };
    view! {
        <li class=class aria-label=name.clone()>
            {line("key", still(&name))}
            {line("name", still("Now"))}
            {value(now.value.as_ref(), "removed")}
            {line("by", by(page, now))}
            {line("name", still(other_name))}
            {value(other.value.as_ref(), none)}
            {line("by", by(page, other))}
            {action(restore, decide(Resolution::Restored))}
            {action("Dismiss".to_owned(), decide(Resolution::Dismissed))}
        </li>
    }
}

/// All lines are of one type, and all buttons: each is code of its own.
fn line(class: &str, text: Signal<String>) -> impl IntoView + use<> {
    view! { <span class=class.to_owned()>{text}</span> }
}

fn still(text: &str) -> Signal<String> {
    let text = text.to_owned();
    Signal::derive(move || text.clone())
}

/// A value; `none` is said where there is none.
fn value(value: Option<&ValueText>, none: &str) -> impl IntoView + use<> {
    match value {
        None => line("content absent", still(none)),
        Some(value) => line(&format!("content {}", value_class(value)), still(&value.text)),
    }
}

/// Who wrote it, and when.
fn by(page: PageState, Written { author, millis, .. }: Written) -> Signal<String> {
    Signal::derive(move || {
        if author.is_empty() {
            return String::new();
        }
        let age = page.read(|state| state.now_ms).and_then(|now_ms| age(millis, now_ms));
        format!("{author}, {}", age.unwrap_or_else(|| readable_time(millis)))
    })
}

/// A button that stands in a text.
pub(super) fn action(text: String, run: Rc<dyn Fn()>) -> impl IntoView {
    view! {
        <button class="plain" on:click=move |_| run()>
            {text}
        </button>
    }
}

fn resolve(page: PageState, conflict: Option<ConflictId>, resolution: Resolution) {
    let (Some(id), Some(replica)) = (conflict, page.replica()) else { return };
    match replica.resolve(id, resolution) {
        Ok(()) => page.change(|state| state.refusal.clear()),
        Err(error) => page.refuse(error.to_string()),
    }
    // The button that had the focus goes with its conflict. Focus fails only for an element that is not in a document.
    if let Some(dialog) = page.dialog.get_untracked() {
        let _ = dialog.focus();
    }
}

impl State {
    /// What the dialog shows.
    fn comparisons(&self) -> Vec<Comparison> {
        match (self.compared, self.replica()) {
            (Compared::Conflicts, Some(replica)) => replica.conflicts(),
            (Compared::Changes, Some(replica)) => replica.changes(),
            _ => Vec::new(),
        }
    }
}

fn title(state: &State) -> String {
    let title = match state.compared {
        Compared::Nothing => "",
        Compared::Conflicts => "Conflicts",
        Compared::Changes => "While you were away",
    };
    title.to_owned()
}

/// What is said below the list.
fn note(state: &State) -> String {
    let status = state.status();
    match state.compared {
        _ if !state.refusal.is_empty() => format!("Not written: {}.", state.refusal),
        Compared::Conflicts if status.conflicts == 0 => "No conflict is open.".to_owned(),
        Compared::Changes if status.changed_more > 0 => format!("And {} more.", status.changed_more),
        _ => String::new(),
    }
}
