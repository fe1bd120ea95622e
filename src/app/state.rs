//! What the components share: the replica, and what the person is doing.
//!
//! All of it is one plain value behind one trigger. Whoever reads it reads again when anything has changed, which is at
//! most once a frame for what comes from elsewhere, and costs what the few rows in sight cost. A signal for each part
//! would be finer, and each type in a signal is a few kilobytes of WebAssembly.

use std::{rc::Rc, time::Duration};

use keybook_core::{ConflictId, Key, Stamp, Value};
use leptos::{html, prelude::*};

use super::compare::Compared;
use crate::model::{Connection, FirstPage, OpenReplica, Replica, Row, Status, Sync, Viewport};

/// Ages of rows are brought up to date this often.
const AGES_EVERY: Duration = Duration::from_secs(20);
/// A removal can be undone this long, counted from the last one.
const UNDO_FOR: Duration = Duration::from_secs(10);

/// The page's state, cheap to copy.
#[derive(Clone, Copy)]
pub(super) struct PageState {
    state: StoredValue<State>,
    changed: Trigger,
    /// The form's fields. What they hold is in the elements alone, so that what was typed before the page came alive
    /// stays.
    pub(super) key_field: NodeRef<html::Input>,
    pub(super) value_field: NodeRef<html::Textarea>,
    /// The element that scrolls and takes the keys.
    pub(super) grid: NodeRef<html::Div>,
    /// The element that is as high as all rows.
    pub(super) body: NodeRef<html::Div>,
    /// The dialog of conflicts and changes.
    pub(super) dialog: NodeRef<html::Dialog>,
}

/// What the page is about.
pub(super) struct State {
    first: FirstPage,
    replica: Option<StoredValue<Rc<dyn Replica>, LocalStorage>>,
    /// The server's time, once the page is alive: rendering must not depend on it before.
    pub(super) now_ms: Option<u64>,
    /// What the form's key would replace, or why what it holds was not taken.
    pub(super) form_note: FormNote,
    /// The search's text.
    pub(super) search: String,
    /// Whether the author's name is being edited.
    pub(super) is_renaming: bool,
    /// The entry that is edited in place.
    pub(super) editing: Option<Editing>,
    /// What was removed a moment ago.
    pub(super) removed: Vec<Key>,
    undo_ends: Option<TimeoutHandle>,
    /// Forgetting has been asked for once, and would lose edits.
    pub(super) is_forgetting: bool,
    /// Why the last edit outside the form was not taken; empty if it was.
    pub(super) refusal: String,
    /// What the dialog shows.
    pub(super) compared: Compared,
    /// The newest conflict of which the person knows to have lost it.
    pub(super) heard: Option<ConflictId>,

    /// Measured once the page is alive; until then all rows that there are are rendered.
    pub(super) viewport: Option<Viewport>,
    pub(super) scroll_top: u32,
    /// Where to scroll once the rows are rendered.
    pub(super) scroll_target: Option<u32>,
    /// The key under the grid's cursor. It may have been removed since: then the cursor is where it would be.
    pub(super) cursor: Option<Key>,
    /// The column under the cursor.
    pub(super) column: usize,
}

/// What the form says below its fields.
pub(super) enum FormNote {
    /// What would be replaced, if the key that is typed has an entry.
    Replaces(String),
    /// Why Set wrote nothing.
    Refused(String),
}

/// An entry that is edited in place.
#[derive(Clone)]
pub(super) struct Editing {
    pub(super) key: Key,
    /// What the edit will have seen.
    pub(super) began: Stamp,
    /// The stamp that the row showed when editing began.
    pub(super) shown: Stamp,
    pub(super) value: Value,
    /// Why what was typed was not taken; empty if nothing is wrong.
    pub(super) error: String,
}

impl PageState {
    pub(super) fn new(first: FirstPage) -> Self {
        let state = State {
            first,
            replica: None,
            now_ms: None,
            form_note: FormNote::Replaces(String::new()),
            search: String::new(),
            is_renaming: false,
            editing: None,
            removed: Vec::new(),
            undo_ends: None,
            is_forgetting: false,
            refusal: String::new(),
            compared: Compared::Nothing,
            heard: None,
            viewport: None,
            scroll_top: 0,
            scroll_target: None,
            cursor: None,
            column: 0,
        };
        Self {
            state: StoredValue::new(state),
            changed: Trigger::new(),
            key_field: NodeRef::new(),
            value_field: NodeRef::new(),
            grid: NodeRef::new(),
            body: NodeRef::new(),
            dialog: NodeRef::new(),
        }
    }

    /// Opens the replica, where there is one to open.
    pub(super) fn attach(self) {
        let Some(OpenReplica(open)) = use_context() else { return };
        let first = self.peek(|state| state.first.clone());
        let replica = open(first, Box::new(move || self.tell_time()));
        self.change(|state| state.replica = Some(StoredValue::new_local(replica)));
        self.tell_time();
        set_interval(move || self.tell_time(), AGES_EVERY);
    }

    /// Lets everybody read again, by the server's time as it is known now.
    fn tell_time(self) {
        let now_ms = self.replica().map(|replica| replica.now_ms());
        self.change(|state| state.now_ms = now_ms);
    }

    // Reading and changing.

    /// Reads the state now, and again when it has changed.
    pub(super) fn read<T>(self, read: impl FnOnce(&State) -> T) -> T {
        self.changed.track();
        self.peek(read)
    }

    /// Reads the state once.
    pub(super) fn peek<T>(self, read: impl FnOnce(&State) -> T) -> T {
        self.state.with_value(read)
    }

    /// Changes the state, and lets everybody read again.
    pub(super) fn change(self, change: impl FnOnce(&mut State)) {
        self.state.update_value(change);
        self.changed.notify();
    }

    /// Where the page was to scroll, which it has done now. There is nothing in that to show.
    pub(super) fn forget_target(self) {
        self.state.update_value(|state| state.scroll_target = None);
    }

    /// A text of the state, for the view.
    pub(super) fn text(self, read: fn(&State) -> String) -> Signal<String> {
        Signal::derive(move || self.read(read))
    }

    /// A yes or no of the state, for the view.
    pub(super) fn is(self, read: fn(&State) -> bool) -> Signal<bool> {
        Signal::derive(move || self.read(read))
    }

    /// The replica, once there is one.
    pub(super) fn replica(self) -> Option<Rc<dyn Replica>> {
        self.peek(State::replica)
    }

    // Editing.

    /// Looks for a text.
    pub(super) fn search_for(self, text: String) {
        if let Some(replica) = self.replica() {
            replica.search(&text);
        }
        self.change(|state| state.search = text);
        self.scroll_to(0);
    }

    /// Begins to edit an entry in place, and ends the edit that is open. One of which only the beginning is known yet
    /// cannot be edited.
    pub(super) fn begin_edit(self, key: &Key) {
        let Some(replica) = self.replica() else { return };
        if self.peek(|state| state.is_edited(key)) {
            return;
        }
        if let (Some(value), Some(row)) = (replica.value(key), replica.row(key)) {
            let (began, shown, error) = (replica.begin(key), row.stamp, String::new());
            self.change(|state| state.editing = Some(Editing { key: key.clone(), began, shown, value, error }));
        }
    }

    /// Removes an entry, and offers for a while to bring it back. One of which only the beginning is known yet stays.
    pub(super) fn remove(self, key: &Key) {
        let Some(replica) = self.replica() else { return };
        if replica.value(key).is_none() {
            return;
        }
        if let Err(error) = replica.remove(key, replica.begin(key)) {
            return self.refuse(error.to_string());
        }
        let undo_ends = set_timeout_with_handle(move || self.change(|state| state.removed.clear()), UNDO_FOR).ok();
        self.change(|state| {
            state.removed.push(key.clone());
            if let Some(earlier) = std::mem::replace(&mut state.undo_ends, undo_ends) {
                earlier.clear();
            }
        });
    }

    /// Brings back what was removed a moment ago.
    pub(super) fn undo_remove(self) {
        let mut removed = Vec::new();
        self.change(|state| removed = std::mem::take(&mut state.removed));
        for key in removed.iter().rev() {
            self.take_back(|replica| replica.undo(Some(key)));
        }
    }

    /// Takes back the last edit of this user's, and goes there.
    pub(super) fn undo(self) {
        self.take_back(|replica| replica.undo(None));
    }

    /// Takes back the last undo, and goes there.
    pub(super) fn redo(self) {
        self.take_back(|replica| replica.redo());
    }

    fn take_back(self, take_back: impl FnOnce(&dyn Replica) -> Result<Option<Key>, String>) {
        let Some(replica) = self.replica() else { return };
        match take_back(&*replica) {
            Ok(Some(key)) => self.go_to(&key),
            Ok(None) => {}
            Err(reason) => self.refuse(reason),
        }
    }

    /// An edit outside the form was not taken.
    pub(super) fn refuse(self, reason: String) {
        self.change(|state| state.refusal = reason);
    }

    /// Fills the form in, and waits in the field that is to be typed next.
    pub(super) fn fill_form(self, key: &str, value: &str) {
        let fields = (self.key_field.get_untracked(), self.value_field.get_untracked());
        let (Some(key_field), Some(value_field)) = fields else { return };
        // Before anything changes, or it costs a layout. It fails only for an element that is not in a document.
        let _ = if key.is_empty() { key_field.focus() } else { value_field.focus() };
        key_field.set_value(key);
        value_field.set_value(value);
        self.note_replaced();
    }

    /// Brings what the form says up to date.
    pub(super) fn note_replaced(self) {
        let replaced = self.replaced().unwrap_or_default();
        self.change(|state| state.form_note = FormNote::Replaces(replaced));
    }

    fn replaced(self) -> Option<String> {
        const CHARS_MAX: usize = 80;
        let replica = self.replica()?;
        let key = Key::parse(&replica.normalize(self.key_field.get_untracked()?.value().trim())).ok()?;
        let row = replica.row(&key)?;
        let text = &row.value.text;
        let cut = text.char_indices().nth(CHARS_MAX);
        let (text, ellipsis) = cut.map_or((&**text, ""), |(end, _)| (&text[..end], "…"));
        Some(format!("replaces {text}{ellipsis} by {}", row.author))
    }
}

impl State {
    /// The replica, once there is one.
    pub(super) fn replica(&self) -> Option<Rc<dyn Replica>> {
        self.replica.map(|replica| replica.get_value())
    }

    /// The dictionary's name. The shell's comes with the replica, which has it from the page's address.
    pub(super) fn name(&self) -> String {
        self.replica().map_or_else(|| self.first.name.clone(), |replica| replica.name())
    }

    /// Whether what is shown is what the dictionary holds, as far as anybody has told. Of the shell alone it is not, nor while
    /// the server is asked.
    pub(super) fn is_here(&self) -> bool {
        let status = self.status();
        !self.first.is_shell() || status.is_known && status.connection != Connection::Connecting
    }

    /// Whether what the dictionary holds is elsewhere, and cannot be read.
    pub(super) fn is_away(&self) -> bool {
        !self.is_here() && self.status().connection == Connection::Offline
    }

    /// How many rows are shown.
    pub(super) fn len(&self) -> usize {
        self.replica().map_or(self.first.rows.len(), |replica| replica.len())
    }

    /// The keys of some of the rows; before there is a replica, of all.
    pub(super) fn keys(&self, first: usize, count: usize) -> Vec<Key> {
        match self.replica() {
            None => self.first.rows.iter().map(|row| row.key.clone()).collect(),
            Some(replica) => replica.keys(first..first + count),
        }
    }

    /// Where a key is, or would be.
    pub(super) fn position(&self, key: &Key) -> usize {
        match self.replica() {
            None => self.first.rows.partition_point(|row| row.key < *key),
            Some(replica) => replica.position(key),
        }
    }

    /// A key's row.
    pub(super) fn row(&self, key: &Key) -> Option<Row> {
        match self.replica() {
            None => self.first.row(key.as_str()).map(crate::model::FirstRow::to_row),
            Some(replica) => replica.row(key),
        }
    }

    /// Everything beside the rows. Before there is a replica nothing is edited, and the connection is yet to come.
    pub(super) fn status(&self) -> Status {
        self.replica().map_or_else(
            || Status {
                connection: Connection::Connecting,
                sync: Sync::Saved,
                is_known: false,
                live: self.first.live,
                is_verified: false,
                seq: self.first.seq.0,
                author: String::new(),
                notice: None,
                is_plain_http: false,
                held: Vec::new(),
                undoable: (0, 0),
                trouble: String::new(),
                room: None,
                clock_ahead_ms: 0,
                divergences: 0,
                conflicts: 0,
                lost: 0,
                newest_lost: None,
                changed: 0,
                changed_more: 0,
            },
            |replica| replica.status(),
        )
    }

    /// Whether an entry is edited in place.
    pub(super) fn is_edited(&self, key: &Key) -> bool {
        self.editing.as_ref().is_some_and(|editing| editing.key == *key)
    }
}
