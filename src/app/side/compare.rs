//! The dialog that sets two values of a key beside each other: the conflicts, to be decided, and what changed while the device was
//! away, to be read.
//!
//! It is one dialog for both, and an item is replaced rather than changed: each thing that Leptos keeps up to date is code of its
//! own.

use std::rc::Rc;

use keybook_core::{ConflictId, Resolution};
use leptos::prelude::*;

use super::action;
use crate::{
    app::{grid::value_class, ui::Ui},
    model::{Act, Areas, Compared, Comparison, Focus, Model, ValueText, Writer, Written, age, readable_time},
};

/// The dialog. Escape closes it; the browser keeps the focus in it, and then gives it back.
#[component]
pub(in crate::app) fn CompareDialog() -> impl IntoView {
    let ui = expect_context::<Ui>();
    let title = ui.text(Areas::SIDE, title);
    let note = ui.text(Areas::STATUS | Areas::SIDE, note);
    let on_close = move |_| {
        ui.act(Act::CloseComparison);
        // What opened it may be hidden by now.
        let focused = document().query_selector(":focus:not(dialog, dialog *, body)");
        if focused.is_ok_and(|element| element.is_none()) {
            ui.focus(Focus::Grid);
        }
    };
    view! {
        <dialog class="compare" aria-label=title tabindex="-1" node_ref=ui.dialog on:close=on_close>
            <form method="dialog">
                <h2>{title}</h2>
                <button class="plain">"Close"</button>
            </form>
            <ul>
                <For each=move || ui.read(Areas::SIDE, Model::comparisons) key=Comparison::name let(comparison)>
                    {item(ui, comparison)}
                </For>
            </ul>
            <p class="note" role="status" hidden=Ui::is_empty(note)>
                {note}
            </p>
        </dialog>
    }
}

fn item(ui: Ui, comparison: Comparison) -> impl IntoView {
    let Comparison { key, now, other, conflict, is_own } = comparison;
    let (class, other_name, none) =
        if conflict.is_some() { ("conflict", "Lost", "removed") } else { ("change", "Before", "nothing") };
    let loser = other.by.as_ref().map_or("", |by| &by.name);
    let restore = if is_own { "Restore mine".to_owned() } else { format!("Restore {loser}’s") };
    let name = key.to_string();
    let dismiss = if is_own { "Dismiss" } else { "Hide" };
    let decide = |resolution| -> Rc<dyn Fn()> {
        let conflict = conflict.clone();
        Rc::new(move || resolve(ui, conflict.clone(), resolution))
    };
    view! {
        <li class=class aria-label=name.clone()>
            {line("key", still(&name))}
            {line("name", still("Now"))}
            {value(now.value.as_ref(), "removed")}
            {line("by", by(ui, now))}
            {line("name", still(other_name))}
            {value(other.value.as_ref(), none)}
            {line("by", by(ui, other))}
            {action(restore, decide(Resolution::Restored))}
            {action(dismiss.to_owned(), decide(Resolution::Dismissed))}
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
fn by(ui: Ui, written: Written) -> Signal<String> {
    Signal::derive(move || {
        let Some(Writer { name, millis }) = &written.by else { return String::new() };
        let age = ui.read(Areas::SIDE, Model::now_ms).and_then(|now_ms| age(*millis, now_ms));
        format!("{name}, {}", age.unwrap_or_else(|| readable_time(*millis)))
    })
}

fn resolve(ui: Ui, conflict: Option<ConflictId>, resolution: Resolution) {
    if let Some(id) = conflict {
        ui.act(Act::Resolve(id, resolution));
    }
}

fn title(model: &Model) -> String {
    let title = match model.compared() {
        None => "",
        Some(Compared::Conflicts) => "Conflicts",
        Some(Compared::Changes) => "While you were away",
    };
    title.to_owned()
}

/// What is said below the list.
fn note(model: &Model) -> String {
    let status = model.status();
    match (model.refusal(), model.compared()) {
        (Some(refusal), _) => format!("Not written: {refusal}."),
        (None, Some(Compared::Conflicts)) => status.conflicts_note().unwrap_or_default(),
        (None, Some(Compared::Changes)) if status.changed_more > 0 => format!("And {} more.", status.changed_more),
        _ => String::new(),
    }
}
