//! A row of the grid.

use keybook_core::key::Key;
use leptos::{ev, prelude::*};

use super::{
    edit::ValueEditor,
    model::{EntryState, Row, age, iso_time, readable_time},
    state::{GridState, PageState},
};

/// Where `aria-activedescendant` finds the cell under the cursor.
pub(super) const CURSOR_ID: &str = "cursor";

/// An entry. `index` counts from the window's first row.
#[component]
pub(super) fn EntryRow(key: Key, index: ReadSignal<usize>) -> impl IntoView {
    let page = expect_context::<PageState>();
    let grid = expect_context::<GridState>();
    let key = StoredValue::new(key);
    // A row whose entry is gone shows it for as long as it takes to take the row away.
    let row = Memo::new(move |last: Option<&Option<Row>>| {
        key.with_value(|key| page.row(key)).or_else(|| last.cloned().flatten())
    });
    let editing = Memo::new(move |_| {
        page.editing.with(|editing| editing.clone().filter(|editing| key.with_value(|key| *key == editing.key)))
    });
    let has_cursor = Memo::new(move |_| grid.cursor.with(|cursor| key.with_value(|key| cursor.as_ref() == Some(key))));
    let cursor_id = move |column| move || (has_cursor.get() && grid.column.get() == column).then_some(CURSOR_ID);

    // A finger that meets the cursor's row edits it; a mouse needs two clicks.
    let was_touched = StoredValue::new(false);
    let on_pointer_down = move |event: ev::PointerEvent| {
        was_touched.set_value(event.pointer_type() == "touch" && has_cursor.get_untracked())
    };
    let on_click = move |_| {
        key.with_value(|key| {
            if was_touched.get_value() {
                page.begin_edit(key);
            } else {
                grid.cursor.set(Some(key.clone()));
            }
        });
    };
    let name = key.with_value(Key::to_string);
    let (label, title, remove_label) = (name.clone(), name.clone(), format!("Remove {name}"));
    view! {
        <div
            role="row"
            class="row"
            class:current=has_cursor
            aria-label=label
            aria-rowindex=move || grid.window.with(|window| window.first) + index.get() + 2
            data-fresh=freshness(row)
            on:pointerdown=on_pointer_down
            on:click=on_click
            on:dblclick=move |_| key.with_value(|key| page.begin_edit(key))
        >
            <div role="rowheader" class="cell key" id=cursor_id(0) title=title>
                {name}
            </div>
            <div role="gridcell" class="cell value" id=cursor_id(1)>
                {move || match editing.get() {
                    Some(editing) => view! { <ValueEditor editing /> }.into_any(),
                    None => view! { <ValueView row /> }.into_any(),
                }}
            </div>
            <div role="gridcell" class="cell edited" id=cursor_id(2)>
                <EditedView row />
            </div>
            <div role="gridcell" class="cell saved" id=cursor_id(3)>
                <StateView row />
                <button
                    class="remove"
                    tabindex="-1"
                    aria-label=remove_label.clone()
                    title=remove_label
                    on:click=move |event| {
                        event.stop_propagation();
                        key.with_value(|key| page.remove(key));
                        grid.focus();
                    }
                ></button>
            </div>
        </div>
    }
}

/// Changes with each write to the entry that comes while the row is shown, so that the style can point at it.
fn freshness(row: Memo<Option<Row>>) -> impl Fn() -> Option<&'static str> {
    let writes = Memo::new(move |last: Option<&(Option<u128>, u32)>| {
        let stamp = row.with(|row| row.as_ref().map(|row| u128::from_be_bytes(row.stamp.to_bytes())));
        match last {
            None => (stamp, 0),
            Some(&(last, writes)) => (stamp, writes + u32::from(stamp != last)),
        }
    });
    move || match writes.get().1 {
        0 => None,
        writes if writes.is_multiple_of(2) => Some("even"),
        _ => Some("odd"),
    }
}

#[component]
fn ValueView(row: Memo<Option<Row>>) -> impl IntoView {
    let value = Memo::new(move |_| row.with(|row| row.as_ref().map(|row| row.value.clone())));
    let is = move |kind: fn(&super::model::ValueText) -> bool| value.with(|value| value.as_ref().is_some_and(kind));
    view! {
        <span
            class="text"
            class:json=move || is(|value| !value.is_plain)
            class:empty=move || is(|value| value.text.is_empty())
            class:cut=move || is(|value| !value.is_complete)
            title=move || value.with(|value| value.as_ref().map(|value| value.text.clone()))
        >
            {move || value.with(|value| value.as_ref().map(|value| value.text.clone()))}
        </span>
    }
}

#[component]
fn EditedView(row: Memo<Option<Row>>) -> impl IntoView {
    let page = expect_context::<PageState>();
    let millis = Memo::new(move |_| row.with(|row| row.as_ref().map_or(0, |row| row.stamp.millis())));
    let author = Memo::new(move |_| row.with(|row| row.as_ref().map(|row| row.author.clone())));
    let text = Memo::new(move |_| {
        let millis = millis.get();
        page.now_ms.get().and_then(|now_ms| age(millis, now_ms)).unwrap_or_else(|| readable_time(millis))
    });
    let title = move || format!("{} UTC", readable_time(millis.get()));
    view! {
        <time datetime=move || iso_time(millis.get()) title=title>
            {text}
        </time>
        <span class="by">{author}</span>
    }
}

#[component]
fn StateView(row: Memo<Option<Row>>) -> impl IntoView {
    let state = Memo::new(move |_| row.with(|row| row.as_ref().map_or(EntryState::Saved, |row| row.state.clone())));
    let text = move || match state.get() {
        EntryState::Saved => "Saved".to_owned(),
        EntryState::Saving => "Saving".to_owned(),
        EntryState::Waiting => "Waiting".to_owned(),
        EntryState::Held(reason) => format!("Held: {reason}"),
    };
    let kind = move || match state.get() {
        EntryState::Saved => "saved",
        EntryState::Saving => "saving",
        EntryState::Waiting => "waiting",
        EntryState::Held(_) => "held",
    };
    view! { <span class="text" data-state=kind title=text>{text}</span> }
}
