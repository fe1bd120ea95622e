//! The grid of entries: the rows in sight, and a cursor that the keys move.
//!
//! The focus stays on the grid, and `aria-activedescendant` names the cell under the cursor. A roving tabindex would lose
//! the focus whenever a row with it is scrolled out of the window of rows that exist.

use keybook_core::key::Key;
use leptos::{ev, prelude::*};

use super::{
    row::{CURSOR_ID, EntryRow},
    state::{GridState, PageState},
};

const COLUMNS: [&str; 4] = ["Key", "Value", "Edited", "State"];

/// All entries.
#[component]
pub(super) fn Grid() -> impl IntoView {
    let page = expect_context::<PageState>();
    let grid = expect_context::<GridState>();
    let row_count = Signal::derive(move || {
        let live = page.status.with(|status| usize::try_from(status.live).unwrap_or(usize::MAX));
        let rows = if page.search.with(String::is_empty) { live } else { page.len() };
        (rows + 1).to_string()
    });
    let keys = Memo::new(move |_| {
        let window = grid.window.get();
        page.keys(window.first, window.count)
    });

    Effect::new(move |_| {
        grid.measure();
        // The whole page has its lifetime.
        window_event_listener(ev::resize, move |_| grid.measure());
    });
    Effect::new(move |_| {
        if let (Some(scroll_top), Some(element)) = (grid.scroll_target.get(), grid.grid.get()) {
            element.set_scroll_top(i32::try_from(scroll_top).unwrap_or(i32::MAX));
        }
    });
    let on_scroll = move |_| {
        if let Some(element) = grid.grid.get_untracked() {
            grid.scroll_top.set(u32::try_from(element.scroll_top()).unwrap_or(0));
        }
    };
    let height = Signal::derive(move || {
        let viewport = grid.viewport.get()?;
        Some(format!("{}px", viewport.total(page.len())))
    });
    let transform = Signal::derive(move || {
        grid.viewport.get()?;
        Some(format!("translateY({}px)", grid.window.get().offset))
    });
    let cursor_id = Signal::derive(move || grid.cursor.with(Option::is_some).then_some(CURSOR_ID));
    let on_focus = move |_| {
        if grid.position().is_none() {
            grid.go(grid.window.with_untracked(|window| window.first));
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
            node_ref=grid.grid
            on:scroll=on_scroll
            on:keydown=move |event| on_key(page, grid, &event)
            on:focus=on_focus
        >
            <div role="rowgroup" class="head">
                <div role="row" aria-rowindex="1">
                    {COLUMNS.map(|column| view! { <div role="columnheader" class="cell">{column}</div> })}
                </div>
            </div>
            <div role="rowgroup" class="body" node_ref=grid.body style:height=height>
                <div role="presentation" class="rows" style:transform=transform>
                    <ForEnumerate each=move || keys.get() key=Key::to_string let(index, key)>
                        <EntryRow key index />
                    </ForEnumerate>
                </div>
            </div>
            <Nothing />
        </div>
    }
}

/// What is said in place of rows.
#[component]
fn Nothing() -> impl IntoView {
    let page = expect_context::<PageState>();
    let is_searched = move || page.search.with(|search| !search.is_empty());
    let is_empty = move || page.len() == 0;
    let text = Signal::derive(move || format!("No key and no value contains “{}”.", page.search.get()));
    let add = Signal::derive(move || format!("Add “{}”", page.search.get()));
    view! {
        <div class="nothing" hidden=Signal::derive(move || !is_empty() || is_searched())>
            <p class="lead">"Nothing here yet."</p>
            <p>"Type a key and a value above and press Set. Whoever has this page open sees it at once."</p>
        </div>
        <div class="nothing" hidden=Signal::derive(move || !is_empty() || !is_searched())>
            <p class="lead">{text}</p>
            <button on:click=move |_| page.draft.fill(&page.search.get_untracked(), "")>{add}</button>
        </div>
    }
}

fn on_key(page: PageState, grid: GridState, event: &ev::KeyboardEvent) {
    let is_own = event.target() == event.current_target();
    if !is_own || event.alt_key() || event.is_composing() {
        return;
    }
    let position = grid.position();
    let at = position.unwrap_or(0);
    let rows_in_sight = grid.viewport.get_untracked().map_or(1, |viewport| viewport.page());
    let last_column = COLUMNS.len() - 1;
    match event.key().as_str() {
        "ArrowDown" => grid.go(position.map_or(0, |at| at + 1)),
        "ArrowUp" => grid.go(at.saturating_sub(1)),
        "PageDown" => grid.go(at + rows_in_sight),
        "PageUp" => grid.go(at.saturating_sub(rows_in_sight)),
        "Home" => grid.go(0),
        "End" => grid.go(usize::MAX - 1),
        "ArrowLeft" => grid.column.update(|column| *column = column.saturating_sub(1)),
        "ArrowRight" => grid.column.update(|column| *column = last_column.min(*column + 1)),
        "Enter" | "F2" => edit(page, grid),
        "Delete" => {
            if let Some(key) = grid.cursor.get_untracked() {
                page.remove(&key);
                grid.go(at);
            }
        }
        _ => return,
    }
    event.prevent_default();
}

/// Edits the entry under the cursor.
fn edit(page: PageState, grid: GridState) {
    if let Some(position) = grid.position() {
        grid.go(position);
    }
    if let Some(key) = grid.cursor.get_untracked() {
        page.begin_edit(&key);
    }
}
