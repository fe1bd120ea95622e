//! The grid of entries: the rows in sight, and a cursor that the keys move.
//!
//! The focus stays on the grid, and `aria-activedescendant` names the cell under the cursor. A roving tabindex would lose
//! the focus whenever a row with it is scrolled out of the window of rows that exist.

use keybook_core::Key;
use leptos::{ev, prelude::*};

use super::{
    row::{CURSOR_ID, EntryRow},
    state::{PageState, State},
};
use crate::model::Viewport;

const COLUMNS: [&str; 4] = ["Key", "Value", "Edited", "State"];

/// All entries.
#[component]
pub(super) fn Grid() -> impl IntoView {
    let page = expect_context::<PageState>();
    let keys = Memo::new(move |_| {
        page.read(|state| {
            let window = state.window();
            state.keys(window.first, window.count)
        })
    });
    let row_count = page.text(|state| {
        if !state.is_here() {
            // As ARIA has it for a number that nobody knows.
            return "-1".to_owned();
        }
        let live = usize::try_from(state.status().live).unwrap_or(usize::MAX);
        let rows = if state.search.is_empty() { live } else { state.len() };
        (rows + 1).to_string()
    });
    let height = Signal::derive(move || {
        page.read(|state| state.viewport.map(|viewport| format!("{}px", viewport.total(state.len()))))
    });
    let transform = Signal::derive(move || {
        page.read(|state| state.viewport.map(|_| format!("translateY({}px)", state.window().offset)))
    });
    let cursor_id = Signal::derive(move || page.read(|state| state.cursor.as_ref().map(|_| CURSOR_ID.to_owned())));

    Effect::new(move |_| {
        page.measure();
        // The whole page has its lifetime.
        window_event_listener(ev::resize, move |_| page.measure());
    });
    Effect::new(move |_| page.follow_target());
    let on_focus = move |_| {
        if page.peek(State::cursor_row).is_none() {
            page.go(page.peek(State::window).first);
        }
    };
    view! {
        <div
            role="grid"
            class="grid"
            aria-label="Entries"
            aria-rowcount=row_count
            aria-colcount="4"
            aria-activedescendant=cursor_id
            tabindex="0"
            node_ref=page.grid
            on:scroll=move |_| page.handle_scroll()
            on:keydown=move |event| on_key(page, &event)
            on:focus=on_focus
        >
            <div role="rowgroup" class="head">
                <div role="row" aria-rowindex="1">
                    {COLUMNS.map(|column| view! { <div role="columnheader" class="cell">{column}</div> })}
                </div>
            </div>
            <div role="rowgroup" class="body" node_ref=page.body style:height=height>
                <div role="presentation" class="rows" style:transform=transform>
                    <For each=move || keys.get() key=Key::to_string let(key)>
                        <EntryRow key />
                    </For>
                </div>
            </div>
            <Nothing />
        </div>
    }
}

/// What is said in place of rows, or below those that are not all. While the shell finds out what there is, nothing is.
#[component]
fn Nothing() -> impl IntoView {
    let page = expect_context::<PageState>();
    let text = page.text(|state| format!("No key and no value contains “{}”.", state.search));
    let add = page.text(|state| format!("Add “{}”", state.search));
    view! {
        <div class="nothing" hidden=page.is(|state| state.len() > 0 || !state.search.is_empty() || !state.is_here())>
            <p class="lead">"Nothing here yet."</p>
            <p>"Type a key and a value above and press Set. Whoever has this page open sees it at once."</p>
        </div>
        <div class="nothing" hidden=page.is(|state| !state.search.is_empty() || !state.is_away())>
            <p class="lead">"This dictionary is not on this device yet."</p>
            <p>
                "Its server cannot be reached. Once it can, the entries appear here, and are there offline from then on. \
                 What you set meanwhile merges with them."
            </p>
        </div>
        <div class="nothing" hidden=page.is(|state| state.len() > 0 || state.search.is_empty())>
            <p class="lead">{text}</p>
            <button on:click=move |_| page.fill_form(&page.peek(|state| state.search.clone()), "")>{add}</button>
        </div>
    }
}

fn on_key(page: PageState, event: &ev::KeyboardEvent) {
    let is_own = event.target() == event.current_target();
    if !is_own || event.alt_key() || event.is_composing() {
        return;
    }
    let row = page.peek(State::cursor_row);
    let at = row.unwrap_or(0);
    let rows_in_sight = page.peek(|state| state.viewport.map_or(1, Viewport::page));
    let last_column = COLUMNS.len() - 1;
    let has_control = event.ctrl_key() || event.meta_key();
    match event.key().as_str() {
        "y" | "Z" if has_control => page.redo(),
        "z" if has_control => page.undo(),
        "ArrowDown" => page.go(row.map_or(0, |row| row + 1)),
        "ArrowUp" => page.go(at.saturating_sub(1)),
        "PageDown" => page.go(at + rows_in_sight),
        "PageUp" => page.go(at.saturating_sub(rows_in_sight)),
        "Home" => page.go(0),
        "End" => page.go(usize::MAX),
        "ArrowLeft" => page.change(|state| state.column = state.column.saturating_sub(1)),
        "ArrowRight" => page.change(|state| state.column = last_column.min(state.column + 1)),
        "Enter" | "F2" => edit(page, at),
        "Delete" => {
            if let Some(key) = page.peek(|state| state.cursor.clone()) {
                page.remove(&key);
                page.go(at);
            }
        }
        _ => return,
    }
    event.prevent_default();
}

/// Edits the entry in a row.
fn edit(page: PageState, row: usize) {
    page.go(row);
    if let Some(key) = page.peek(|state| state.cursor.clone()) {
        page.begin_edit(&key);
    }
}
