//! A row of the grid.
//!
//! What changes in it are signals of a few types only: each type that Leptos renders is code of its own.

use std::rc::Rc;

use keybook_core::Key;
use leptos::{ev, prelude::*};

use super::editor::ValueEditor;
use crate::{
    app::ui::Ui,
    model::{Act, Areas, Compared, EntryState, Model, Row, ValueText, age, iso_time, readable_time},
};

/// Where `aria-activedescendant` finds the cell under the cursor.
pub(super) const CURSOR_ID: &str = "cursor";

/// An entry.
#[component]
pub(super) fn EntryRow(key: Key) -> impl IntoView {
    let ui = expect_context::<Ui>();
    let name = key.to_string();
    let key = StoredValue::new(key);
    let (label, title) = (name.clone(), name.clone());
    let (remove_label, conflict_label) = (format!("Remove {name}"), format!("Conflict of {name}"));

    // The row of an entry that is gone still shows it, until the row is taken away.
    let row = Memo::new(move |last: Option<&Option<Row>>| {
        ui.read(Areas::ROWS, |model| model.row(&key.get_value())).or_else(|| last.cloned().flatten())
    });
    let has_cursor = Memo::new(move |_| ui.read(Areas::ROWS, |model| model.grid().cursor() == Some(&key.get_value())));
    let is_edited = Memo::new(move |_| ui.read(Areas::EDITOR, |model| model.is_edited(&key.get_value())));
    // The header is row 1.
    let row_index = Signal::derive(move || {
        let row = ui.read(Areas::ROWS, |model| model.position(&key.get_value()));
        (row + 2).to_string()
    });
    let cursor_id = |column| {
        Signal::derive(move || {
            (has_cursor.get() && ui.read(Areas::ROWS, |model| model.grid().column() == column))
                .then(|| CURSOR_ID.to_owned())
        })
    };
    let edited = Signal::derive(move || {
        let millis = row.with(|row| row.as_ref().map_or(0, |row| row.stamp.millis()));
        let now_ms = ui.read(Areas::ROWS, Model::now_ms);
        now_ms.and_then(|now_ms| age(millis, now_ms)).unwrap_or_else(|| readable_time(millis))
    });

    // A finger that meets the cursor's row edits it; a mouse needs two clicks.
    let was_touched = StoredValue::new(false);
    let on_pointer_down = move |event: ev::PointerEvent| {
        was_touched.set_value(event.pointer_type() == "touch" && has_cursor.get_untracked());
    };
    let on_click = move |_| {
        let act = if was_touched.get_value() { Act::Edit } else { Act::Point };
        ui.act(act(key.get_value()));
    };
    let on_mark = move |event: ev::MouseEvent| {
        event.stop_propagation();
        ui.act(Act::Compare(Compared::Conflicts));
    };
    let on_remove = move |event: ev::MouseEvent| {
        event.stop_propagation();
        ui.act(Act::Remove(key.get_value()));
    };
    view! {
        <div
            role="row"
            class="row"
            class:current=has_cursor
            aria-label=label
            aria-rowindex=row_index
            on:pointerdown=on_pointer_down
            on:click=on_click
            on:dblclick=move |_| ui.act(Act::Edit(key.get_value()))
        >
            <div role="rowheader" class="cell key" id=cursor_id(0) title=title>
                {name}
            </div>
            <div role="gridcell" class="cell value" id=cursor_id(1)>
                <span class=part(row, |row| value_class(&row.value)) hidden=is_edited>
                    {part(row, |row| row.value.text.clone())}
                </span>
                {move || is_edited.get().then(|| view! { <ValueEditor /> })}
            </div>
            <div role="gridcell" class="cell edited" id=cursor_id(2)>
                <time datetime=part(row, |row| iso_time(row.stamp.millis()))>{edited}</time>
                <span class="by">{part(row, |row| row.author.clone())}</span>
            </div>
            <div role="gridcell" class="cell saved" id=cursor_id(3)>
                <span class=part(row, state_class)>{part(row, state_text)}</span>
                {icon_button("mark", conflict_label, Rc::new(on_mark))}
                {icon_button("remove", remove_label, Rc::new(on_remove))}
            </div>
        </div>
    }
}

/// A button without a text.
fn icon_button(class: &'static str, label: String, on_click: Rc<dyn Fn(ev::MouseEvent)>) -> impl IntoView {
    view! { <button class=class tabindex="-1" aria-label=label on:click=move |event| on_click(event)></button> }
}

/// A text that a row shows.
fn part(row: Memo<Option<Row>>, text: fn(&Row) -> String) -> Signal<String> {
    Signal::derive(move || row.with(|row| row.as_ref().map(text).unwrap_or_default()))
}

/// How a value looks.
pub(in crate::app) fn value_class(value: &ValueText) -> String {
    let kind = match value {
        value if value.text.is_empty() => "empty",
        value if value.is_plain => "plain",
        _ => "json",
    };
    let cut = if value.is_complete { "" } else { "cut" };
    format!("text {kind} {cut}")
}

fn state_text(row: &Row) -> String {
    match &row.state {
        EntryState::Saved => "Saved".to_owned(),
        EntryState::Saving => "Saving".to_owned(),
        EntryState::OnDevice => "On this device".to_owned(),
        EntryState::NotSaved => "Not saved".to_owned(),
        EntryState::Held(reason) => format!("Held: {reason}"),
    }
}

fn state_class(row: &Row) -> String {
    let class = match row.state {
        EntryState::Saved => "text",
        EntryState::Saving | EntryState::OnDevice => "text busy",
        EntryState::NotSaved | EntryState::Held(_) => "text held",
    };
    // The mark stands beside it.
    if row.is_in_conflict { format!("{class} disputed") } else { class.to_owned() }
}
