//! What the components share: the replica, what is being edited, and where the grid stands.

use std::{rc::Rc, time::Duration};

use keybook_core::{client::EditError, key::Key, stamp::Stamp, value::Value};
use leptos::{html, prelude::*};

use super::model::{Connection, FirstPage, OpenReplica, Replica, Row, Status, Sync, Viewport, Window};

/// Ages of rows are brought up to date this often.
const AGES_EVERY: Duration = Duration::from_secs(20);

/// The page's state. Whoever reads the replica through it reads again when the replica has changed.
#[derive(Clone, Copy)]
pub(super) struct PageState {
    first: StoredValue<FirstPage>,
    replica: RwSignal<Option<StoredValue<Rc<dyn Replica>, LocalStorage>>>,
    changed: Trigger,
    /// Everything beside the rows.
    pub(super) status: Memo<Status>,
    /// The server's time, once the page is alive: rendering must not depend on it before.
    pub(super) now_ms: RwSignal<Option<u64>>,
    /// What the form holds.
    pub(super) draft: Draft,
    /// The search's text.
    pub(super) search: RwSignal<String>,
    /// The entry that is edited in place.
    pub(super) editing: RwSignal<Option<Editing>>,
    /// What was removed and can be brought back.
    pub(super) removed: RwSignal<Vec<(Key, Value)>>,
    /// Why the last edit outside the form was not taken; empty if it was.
    pub(super) refusal: RwSignal<String>,
}

/// The form's fields. They are not bound to the elements, so that what was typed before the page came alive stays.
#[derive(Clone, Copy)]
pub(super) struct Draft {
    pub(super) key: RwSignal<String>,
    pub(super) value: RwSignal<String>,
    pub(super) key_field: NodeRef<html::Input>,
    pub(super) value_field: NodeRef<html::Textarea>,
}

/// An entry that is edited in place.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Editing {
    pub(super) key: Key,
    /// What the edit will have seen.
    pub(super) began: Stamp,
    /// The stamp that the row showed when editing began.
    pub(super) shown: Stamp,
    pub(super) value: Value,
}

impl PageState {
    pub(super) fn new(first: FirstPage) -> Self {
        let first = StoredValue::new(first);
        let replica = RwSignal::<Option<StoredValue<Rc<dyn Replica>, LocalStorage>>>::new(None);
        let changed = Trigger::new();
        let status = Memo::new(move |_| {
            changed.track();
            match replica.get() {
                None => first.with_value(first_status),
                Some(replica) => replica.with_value(|replica| replica.status()),
            }
        });
        let draft = Draft {
            key: RwSignal::default(),
            value: RwSignal::default(),
            key_field: NodeRef::new(),
            value_field: NodeRef::new(),
        };
        Self {
            first,
            replica,
            changed,
            status,
            now_ms: RwSignal::new(None),
            draft,
            search: RwSignal::default(),
            editing: RwSignal::new(None),
            removed: RwSignal::default(),
            refusal: RwSignal::default(),
        }
    }

    /// Opens the replica, where there is one to open.
    pub(super) fn attach(self) {
        let Some(OpenReplica(open)) = use_context() else { return };
        let changed = self.changed;
        let replica = open(self.first.get_value(), Box::new(move || changed.notify()));
        self.now_ms.set(Some(replica.now_ms()));
        self.replica.set(Some(StoredValue::new_local(replica)));
        set_interval(move || self.now_ms.set(self.replica().map(|replica| replica.now_ms())), AGES_EVERY);
        self.draft.read_fields();
    }

    /// The replica, once there is one. Not tracked.
    pub(super) fn replica(self) -> Option<Rc<dyn Replica>> {
        self.replica.get_untracked().map(|replica| replica.get_value())
    }

    /// The dictionary's name.
    pub(super) fn name(self) -> String {
        self.first.with_value(|first| first.name.clone())
    }

    /// How many rows are shown.
    pub(super) fn len(self) -> usize {
        self.changed.track();
        match self.replica.get() {
            None => self.first.with_value(|first| first.rows.len()),
            Some(replica) => replica.with_value(|replica| replica.len()),
        }
    }

    /// The keys of some of the rows.
    pub(super) fn keys(self, first: usize, count: usize) -> Vec<Key> {
        self.changed.track();
        match self.replica.get() {
            None => {
                self.first.with_value(|page| page.rows.iter().filter_map(|row| Key::parse(&row.key).ok()).collect())
            }
            Some(replica) => replica.with_value(|replica| replica.keys(first..first + count)),
        }
    }

    /// A key's row.
    pub(super) fn row(self, key: &Key) -> Option<Row> {
        self.changed.track();
        match self.replica.get() {
            None => self.first.with_value(|first| first.row(key.as_str())?.to_row()),
            Some(replica) => replica.with_value(|replica| replica.row(key)),
        }
    }

    /// Looks for a text.
    pub(super) fn search_for(self, text: String) {
        if let Some(replica) = self.replica() {
            replica.search(&text);
        }
        self.search.set(text);
        self.changed.notify();
    }

    /// Begins to edit an entry in place, and ends the edit that is open. One of which only the beginning is known yet
    /// cannot be edited.
    pub(super) fn begin_edit(self, key: &Key) {
        let Some(replica) = self.replica() else { return };
        if self.editing.with_untracked(|editing| editing.as_ref().is_some_and(|editing| editing.key == *key)) {
            return;
        }
        if let (Some(value), Some(row)) = (replica.value(key), replica.row(key)) {
            let began = replica.begin(key);
            self.editing.set(Some(Editing { key: key.clone(), began, shown: row.stamp, value }));
        }
    }

    /// Removes an entry and keeps its value for a while. One of which only the beginning is known yet stays.
    pub(super) fn remove(self, key: &Key) {
        let Some(replica) = self.replica() else { return };
        let Some(value) = replica.value(key) else { return };
        match replica.remove(key, replica.begin(key)) {
            Ok(()) => self.removed.write().push((key.clone(), value)),
            Err(error) => self.refuse(&error),
        }
    }

    /// Writes back what was removed, where nobody has written anything since.
    pub(super) fn undo_remove(self) {
        let Some(replica) = self.replica() else { return };
        for (key, value) in std::mem::take(&mut *self.removed.write()) {
            if replica.value(&key).is_none()
                && let Err(error) = replica.put(&key, value, replica.begin(&key))
            {
                self.refuse(&error);
            }
        }
    }

    pub(super) fn refuse(self, error: &EditError) {
        self.refusal.set(error.to_string());
    }
}

/// Before there is a replica: nothing is edited, and the connection is yet to come.
fn first_status(first: &FirstPage) -> Status {
    Status {
        connection: Connection::Connecting,
        sync: Sync::Saved,
        live: first.live,
        is_verified: false,
        seq: first.seq,
        author: String::new(),
        notice: None,
        held: Vec::new(),
    }
}

impl Draft {
    /// Takes over what the fields hold.
    fn read_fields(self) {
        if let Some(field) = self.key_field.get_untracked() {
            self.key.set(field.value());
        }
        if let Some(field) = self.value_field.get_untracked() {
            self.value.set(field.value());
        }
    }

    /// Fills the form in, and waits in the field that is to be typed next.
    pub(super) fn fill(self, key: &str, value: &str) {
        let (Some(key_field), Some(value_field)) = (self.key_field.get_untracked(), self.value_field.get_untracked())
        else {
            return;
        };
        key_field.set_value(key);
        value_field.set_value(value);
        self.read_fields();
        // Focus fails only for an element that is not in a document.
        let _ = if key.is_empty() { key_field.focus() } else { value_field.focus() };
    }
}

/// Where the grid stands: its window of rows and its cursor.
#[derive(Clone, Copy)]
pub(super) struct GridState {
    page: PageState,
    /// The element that scrolls and takes the keys.
    pub(super) grid: NodeRef<html::Div>,
    /// The element that is as high as all rows.
    pub(super) body: NodeRef<html::Div>,
    /// Measured once the page is alive; until then all rows that there are are rendered.
    pub(super) viewport: RwSignal<Option<Viewport>>,
    pub(super) scroll_top: RwSignal<u32>,
    /// Where to scroll once the rows are rendered.
    pub(super) scroll_target: RwSignal<Option<u32>>,
    /// The rows to render.
    pub(super) window: Memo<Window>,
    /// The key under the cursor. It may have been removed since: then the cursor is where it would be.
    pub(super) cursor: RwSignal<Option<Key>>,
    /// The column under the cursor.
    pub(super) column: RwSignal<usize>,
}

impl GridState {
    pub(super) fn new(page: PageState) -> Self {
        let (viewport, scroll_top) = (RwSignal::new(None), RwSignal::new(0));
        let window = Memo::new(move |_| {
            let len = page.len();
            match viewport.get() {
                None => Window { first: 0, count: len, offset: 0 },
                Some(viewport) => Viewport::window(viewport, scroll_top.get(), len),
            }
        });
        Self {
            page,
            grid: NodeRef::new(),
            body: NodeRef::new(),
            viewport,
            scroll_top,
            scroll_target: RwSignal::new(None),
            window,
            cursor: RwSignal::new(None),
            column: RwSignal::new(0),
        }
    }

    /// Measures how many rows are in sight.
    pub(super) fn measure(self) {
        const ROW_HEIGHT: i32 = 36;
        let (Some(grid), Some(body)) = (self.grid.get_untracked(), self.body.get_untracked()) else { return };
        let row_height = body.query_selector("[role=row]").ok().flatten().map_or(ROW_HEIGHT, |row| row.client_height());
        let viewport = Viewport {
            height: u32::try_from(grid.client_height() - body.offset_top()).unwrap_or(0),
            row_height: u32::try_from(row_height).unwrap_or(0).max(1),
        };
        if self.viewport.get_untracked() != Some(viewport) {
            self.viewport.set(Some(viewport));
        }
    }

    /// The row under the cursor; none while there is no cursor or no row.
    pub(super) fn position(self) -> Option<usize> {
        let replica = self.page.replica()?;
        let last = replica.len().checked_sub(1)?;
        self.cursor.with_untracked(|cursor| Some(replica.position(cursor.as_ref()?).min(last)))
    }

    /// Puts the cursor on a row, the last if there are fewer, and scrolls to it.
    pub(super) fn go(self, row: usize) {
        let Some(replica) = self.page.replica() else { return };
        let len = replica.len();
        let row = row.min(len.saturating_sub(1));
        let Some(key) = replica.keys(row..row + 1).pop() else { return };
        self.cursor.set(Some(key));
        if let Some(viewport) = self.viewport.get_untracked() {
            self.scroll_to(viewport.reveal(row, self.scroll_top.get_untracked(), len));
        }
    }

    /// Puts the cursor on a key, if it is shown, and scrolls to it.
    pub(super) fn go_to(self, key: &Key) {
        let Some(replica) = self.page.replica() else { return };
        let row = replica.position(key);
        if replica.keys(row..row + 1).first() == Some(key) {
            self.go(row);
        }
    }

    /// Renders the rows of a scroll position, and then scrolls there.
    pub(super) fn scroll_to(self, scroll_top: u32) {
        if scroll_top != self.scroll_top.get_untracked() {
            self.scroll_top.set(scroll_top);
            self.scroll_target.set(Some(scroll_top));
        }
    }

    /// Takes the keys again.
    pub(super) fn focus(self) {
        if let Some(grid) = self.grid.get_untracked() {
            // It fails only for an element that is not in a document.
            let _ = grid.focus();
        }
    }
}
