//! The grid of entries: the rows in sight, and a cursor that the keys move.
//!
//! The focus stays on the grid, and `aria-activedescendant` names the cell under the cursor. A roving tabindex would lose
//! the focus whenever a row with it is scrolled out of the window of rows that exist.

mod editor;
mod place;
mod row;

use keybook_core::Key;
use leptos::{ev, prelude::*};

pub(super) use self::row::value_class;
use self::row::{CURSOR_ID, EntryRow};
use super::ui::Ui;
use crate::model::{Act, Areas, COLUMNS, Model, Step};

const NAMES: [&str; COLUMNS] = ["Key", "Value", "Edited", "State"];

/// All entries.
#[component]
pub(super) fn Grid() -> impl IntoView {
    let ui = expect_context::<Ui>();
    let keys = Memo::new(move |_| ui.read(Areas::ROWS, Model::keys));
    let row_count = ui.text(Areas::ROWS | Areas::STATUS, |model| {
        if !model.is_here() {
            // As ARIA has it for a number that nobody knows.
            return "-1".to_owned();
        }
        let live = usize::try_from(model.status().live).unwrap_or(usize::MAX);
        let rows = if model.search().is_empty() { live } else { model.len() };
        (rows + 1).to_string()
    });
    let height = ui.attribute(Areas::ROWS, |model| {
        model.grid().viewport().map(|viewport| format!("{}px", viewport.total(model.len())))
    });
    let top = ui.attribute(Areas::ROWS, |model| model.grid().viewport().map(|_| format!("{}px", model.offset())));
    let cursor_id = ui.attribute(Areas::ROWS, |model| model.grid().cursor().map(|_| CURSOR_ID.to_owned()));

    Ui::effect(Box::new(move || {
        ui.measure();
        // The whole page has its lifetime.
        window_event_listener(ev::resize, move |_| ui.measure());
    }));
    Ui::effect(Box::new(move || ui.follow_target()));
    view! {
        <div
            role="grid"
            class="grid"
            aria-label="Entries"
            aria-rowcount=row_count
            aria-colcount="4"
            aria-activedescendant=cursor_id
            tabindex="0"
            node_ref=ui.grid
            on:scroll=move |_| ui.handle_scroll()
            on:keydown=move |event| on_key(ui, &event)
            on:focus=move |_| ui.handle_focus()
        >
            <div role="rowgroup" class="head">
                <div role="row" aria-rowindex="1">
                    {NAMES.map(|column| view! { <div role="columnheader" class="cell">{column}</div> })}
                </div>
            </div>
            <div role="rowgroup" class="body" node_ref=ui.body style:height=height>
                <div role="presentation" class="rows" style:top=top>
                    <For each=move || keys.get() key=Key::to_string let(key)>
                        <EntryRow key />
                    </For>
                </div>
            </div>
            <Nothing />
        </div>
    }
}

/// What is said in place of rows, or below them while more may follow. Nothing is said while the shell finds out what there is.
#[component]
fn Nothing() -> impl IntoView {
    let ui = expect_context::<Ui>();
    let areas = Areas::ROWS | Areas::STATUS;
    let text = ui.text(Areas::ROWS, |model| format!("No key and no value contains “{}”.", model.search()));
    let add = ui.text(Areas::ROWS, |model| format!("Add “{}”", model.search()));
    view! {
        <div
            class="nothing"
            hidden=ui.is(areas, |model| !model.is_empty() || !model.search().is_empty() || !model.is_here())
        >
            <p class="lead">"Nothing here yet."</p>
            <p>"Type a key and a value above and press Set. Whoever has this page open sees it at once."</p>
        </div>
        <div class="nothing" hidden=ui.is(areas, |model| !model.search().is_empty() || !model.is_away())>
            <p class="lead">"This dictionary is not on this device yet."</p>
            <p>
                "Its server cannot be reached. Once it can, the entries appear here, and are there offline from then on. \
                 What you set meanwhile merges with them."
            </p>
        </div>
        <div class="nothing" hidden=ui.is(areas, |model| !model.is_empty() || model.search().is_empty())>
            <p class="lead">{text}</p>
            <button on:click=ui.runs(|| Act::AddSearched)>{add}</button>
        </div>
    }
}

fn on_key(ui: Ui, event: &ev::KeyboardEvent) {
    let is_own = event.target() == event.current_target();
    if !is_own || event.alt_key() || event.is_composing() {
        return;
    }
    let has_control = event.ctrl_key() || event.meta_key();
    let act = match event.key().as_str() {
        "y" | "Z" if has_control => Act::Redo,
        "z" if has_control => Act::Undo,
        "ArrowDown" => Act::Go(Step::Down),
        "ArrowUp" => Act::Go(Step::Up),
        "PageDown" => Act::Go(Step::PageDown),
        "PageUp" => Act::Go(Step::PageUp),
        "Home" => Act::Go(Step::Home),
        "End" => Act::Go(Step::End),
        "ArrowLeft" => Act::Go(Step::Left),
        "ArrowRight" => Act::Go(Step::Right),
        "Enter" | "F2" => Act::EditAtCursor,
        // Held down it would go on with the rows that follow.
        "Delete" if !event.repeat() => Act::RemoveAtCursor,
        _ => return,
    };
    ui.act(act);
    event.prevent_default();
}
