//! What components read of the model.

use keybook_core::Key;

use super::{
    Model,
    act::Compared,
    comparison::{self, Comparison},
    effect::Room,
    form::{Editor, Form},
    grid::Grid,
    machine::Live,
    row::Row,
    status::Status,
    sync::Connection,
    window::Window,
};

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

    /// The keys of the rows to render.
    pub fn keys(&self) -> Vec<Key> {
        let window = self.window();
        self.rows.keys(window.first..window.first + window.count).cloned().collect()
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

    /// What is edited in place.
    pub fn editor(&self) -> Option<&Editor> {
        self.editor.as_ref()
    }

    /// Whether an entry is edited in place.
    pub fn is_edited(&self, key: &Key) -> bool {
        self.editor.as_ref().is_some_and(|editor| editor.key == *key)
    }

    /// Whether somebody else has changed what is edited in place.
    pub fn is_overtaken(&self) -> bool {
        let is_other = |editor: &Editor| self.row(&editor.key).is_none_or(|row| row.stamp != editor.shown);
        self.editor.as_ref().is_some_and(is_other)
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

    /// Whether leaving the page now would lose edits.
    pub fn would_lose(&self) -> bool {
        self.live
            .as_ref()
            .is_some_and(|Live { device, .. }| device.client().unconfirmed() > 0 && !device.storage().is_durable())
    }

    /// Whether what this page has survives it: other pages take it over once it is left.
    pub fn is_durable(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.device.storage().is_durable())
    }
}
