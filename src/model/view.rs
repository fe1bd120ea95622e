//! What components read of the model.

use keybook_core::Key;

use super::{
    Model,
    act::{Compared, shortened},
    comparison::{self, Comparison},
    drafts::Draft,
    effect::Room,
    form::Form,
    grid::Grid,
    machine::Live,
    row::Row,
    status::Status,
    sync::Connection,
    window::Window,
};

/// Where a row stands that is rendered although it is out of the window.
enum Edge {
    Above(Key),
    Below(Key),
}

impl Model {
    /// The dictionary's name; none in the shell before it is alive.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The server's time, as well as it is known, at the last frame. None before the page is alive: rendering must not depend on
    /// it before.
    pub fn now_ms(&self) -> Option<u64> {
        self.live.as_ref().map(|live| live.now_ms)
    }

    /// What is shown beside the rows.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Whether what is shown is what the dictionary holds, as far as anybody has told. Of the shell alone it is not, nor while
    /// the server is asked.
    pub fn is_here(&self) -> bool {
        !self.is_shell || self.status.is_known && self.status.connection != Connection::Connecting
    }

    /// Whether what the dictionary holds is elsewhere, and cannot be read.
    pub fn is_away(&self) -> bool {
        !self.is_here() && self.status.connection == Connection::Offline
    }

    /// How many rows are shown. More may follow while [`Model::is_searching`].
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no row is shown, and none will follow.
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 0 && !self.is_searching()
    }

    /// Whether a search is under way.
    pub fn is_searching(&self) -> bool {
        self.rows.is_searching()
    }

    /// What the person looks for; empty for everything.
    pub fn search(&self) -> &str {
        &self.side.search
    }

    /// The rows to render.
    pub fn window(&self) -> Window {
        self.grid.window(self.len())
    }

    /// The keys of the rows to render. The row that is edited is always there: it stays in sight, and what is typed stays in its field.
    pub fn keys(&self) -> Vec<Key> {
        let Window { first, count, .. } = self.window();
        let mut keys: Vec<Key> = self.rows.keys(first..first + count).cloned().collect();
        match self.edge() {
            Some(Edge::Above(key)) => keys.insert(0, key),
            Some(Edge::Below(key)) => keys.push(key),
            None => {}
        }
        keys
    }

    /// Where the first row to render stands in the list's element.
    pub fn offset(&self) -> i64 {
        let row_height = self.grid.viewport().map_or(0, |viewport| viewport.row_height);
        let above = if matches!(self.edge(), Some(Edge::Above(_))) { row_height } else { 0 };
        self.window().offset - i64::from(above)
    }

    /// The row that is edited, if it is not in the window. One that is not in the list any more is above.
    fn edge(&self) -> Option<Edge> {
        let (key, _) = self.drafts.open()?;
        let (row, Window { first, count, .. }) = (self.rows.position(key), self.window());
        let is_listed = self.rows.keys(row..row + 1).next() == Some(key);
        match row {
            row if !is_listed || row < first => Some(Edge::Above(key.clone())),
            row if row >= first + count => Some(Edge::Below(key.clone())),
            _ => None,
        }
    }

    /// Where a key's row is, or would be. O(log n).
    pub fn position(&self, key: &Key) -> usize {
        self.rows.position(key)
    }

    /// A key's row, whether the search finds it or not. O(log n).
    pub fn row(&self, key: &Key) -> Option<Row> {
        match self.client() {
            None => self.rows.first_row(key),
            Some(client) => self.rows.row(key, client, &self.unsaved),
        }
    }

    /// Where the person is in the grid.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The number of the row under the cursor; none while there is no cursor or no row.
    pub fn cursor_row(&self) -> Option<usize> {
        self.grid.row(&self.rows)
    }

    /// The form.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// What is edited in place, and under which key.
    pub fn editor(&self) -> Option<(&Key, &Draft)> {
        self.drafts.open()
    }

    /// Whether an entry is edited in place.
    pub fn is_edited(&self, key: &Key) -> bool {
        self.editor().is_some_and(|(edited, _)| edited == key)
    }

    /// What somebody else has made of the entry that is edited in place; none if nobody has changed it.
    pub fn overtaken(&self) -> Option<String> {
        let (key, draft) = self.editor()?;
        match self.row(key) {
            None => Some("It was removed meanwhile. Enter sets it again, Escape leaves it removed.".to_owned()),
            Some(row) if row.stamp != draft.shown => {
                let (author, text) = (&row.author, shortened(&row.value.text));
                Some(format!("{author} has set it to {text} meanwhile. Enter replaces that, Escape keeps it."))
            }
            Some(_) => None,
        }
    }

    /// The drafts that wait for their person, by key.
    pub fn waiting_drafts(&self) -> Vec<&Key> {
        self.drafts.waiting().collect()
    }

    /// What the dialog shows; none while it is closed.
    pub fn compared(&self) -> Option<Compared> {
        self.side.compared
    }

    /// The items of the dialog.
    pub fn comparisons(&self) -> Vec<Comparison> {
        match (self.side.compared, self.client()) {
            (Some(Compared::Conflicts), Some(client)) => comparison::conflicts(client),
            (Some(Compared::Changes), Some(client)) => comparison::changes(client),
            _ => Vec::new(),
        }
    }

    /// How many edits of this person lost, if the person has not heard of all of them.
    pub fn unheard(&self) -> usize {
        if self.status.newest_lost > self.side.heard { self.status.lost } else { 0 }
    }

    /// What the person has to know about the connection, or about what this device has kept.
    pub fn notice(&self) -> Option<&str> {
        self.side.notice.as_deref().or(self.side.damage.as_deref())
    }

    /// Why the last edit outside the form was not taken.
    pub fn refusal(&self) -> Option<&str> {
        self.side.refusal.as_deref()
    }

    /// Whether the person is to be told that the browser lets this page do less.
    pub fn is_plain_http(&self) -> bool {
        self.side.is_plain_http
    }

    /// What was removed a moment ago.
    pub fn removed(&self) -> &[Key] {
        &self.side.removed
    }

    /// Whether the person's name is being edited.
    pub fn is_renaming(&self) -> bool {
        self.side.is_renaming
    }

    /// Whether forgetting has been asked for once, and would lose edits.
    pub fn is_forgetting(&self) -> bool {
        self.side.is_forgetting
    }

    /// The device's room, as of the last look.
    pub fn room(&self) -> Option<Room> {
        self.side.room
    }

    /// Whether leaving the page now would lose edits, or what is half typed.
    pub fn would_lose(&self) -> bool {
        let is_unkept =
            |Live { device, .. }: &Live| device.client().unconfirmed() > 0 && !device.storage().is_durable();
        self.drafts.is_any() || self.live.as_ref().is_some_and(is_unkept)
    }

    /// Whether what this page has survives it: other pages take it over once it is left.
    pub fn is_durable(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.device.storage().is_durable())
    }
}
