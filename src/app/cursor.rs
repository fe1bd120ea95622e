//! The grid's window of rows, and the cursor in it.

use keybook_core::Key;
use leptos::prelude::*;

use super::state::{PageState, State};
use crate::model::{Viewport, Window};

impl State {
    /// The rows to render.
    pub(super) fn window(&self) -> Window {
        let len = self.len();
        match self.viewport {
            None => Window { first: 0, count: len, offset: 0 },
            Some(viewport) => viewport.window(self.scroll_top, len),
        }
    }

    /// The number of the row under the cursor; none while there is no cursor or no row.
    pub(super) fn cursor_row(&self) -> Option<usize> {
        let last = self.len().checked_sub(1)?;
        Some(self.position(self.cursor.as_ref()?).min(last))
    }
}

impl PageState {
    /// Measures how many rows are in sight.
    pub(super) fn measure(self) {
        const ROW_HEIGHT: i32 = 36;
        let (Some(grid), Some(body)) = (self.grid.get_untracked(), self.body.get_untracked()) else { return };
        let row_height = body.query_selector("[role=row]").ok().flatten().map_or(ROW_HEIGHT, |row| row.client_height());
        let viewport = Viewport {
            height: u32::try_from(grid.client_height() - body.offset_top()).unwrap_or(0),
            row_height: u32::try_from(row_height).unwrap_or(0).max(1),
        };
        if self.peek(|state| state.viewport != Some(viewport)) {
            self.change(|state| state.viewport = Some(viewport));
        }
    }

    /// Puts the cursor on a row, the last if there are fewer, and scrolls to it.
    pub(super) fn go(self, row: usize) {
        // A banner may have come or gone.
        self.measure();
        let len = self.peek(State::len);
        let row = row.min(len.saturating_sub(1));
        let Some(key) = self.peek(|state| state.keys(row, 1).pop()) else { return };
        self.change(|state| state.cursor = Some(key));
        if let Some(viewport) = self.peek(|state| state.viewport) {
            self.scroll_to(viewport.reveal(row, self.peek(|state| state.scroll_top), len));
        }
    }

    /// Puts the cursor on a key, if it is shown, and scrolls to it.
    pub(super) fn go_to(self, key: &Key) {
        let row = self.peek(|state| state.position(key));
        if self.peek(|state| state.keys(row, 1).first() == Some(key)) {
            self.go(row);
        }
    }

    /// Renders the rows of a scroll position, and then scrolls there.
    pub(super) fn scroll_to(self, scroll_top: u32) {
        if self.peek(|state| state.scroll_top != scroll_top) {
            self.change(|state| {
                state.scroll_top = scroll_top;
                state.scroll_target = Some(scroll_top);
            });
        }
    }

    /// Scrolls, if that was asked for.
    pub(super) fn follow_target(self) {
        let target = self.read(|state| state.scroll_target);
        if let (Some(scroll_top), Some(grid)) = (target, self.grid.get()) {
            grid.set_scroll_top(i32::try_from(scroll_top).unwrap_or(i32::MAX));
            self.forget_target();
        }
    }

    /// The person has scrolled, or [`PageState::follow_target`] has.
    pub(super) fn handle_scroll(self) {
        let Some(grid) = self.grid.get_untracked() else { return };
        let scroll_top = u32::try_from(grid.scroll_top()).unwrap_or(0);
        if self.peek(|state| state.scroll_top != scroll_top) {
            self.change(|state| state.scroll_top = scroll_top);
        }
    }

    /// Gives the grid the keys again.
    pub(super) fn focus_grid(self) {
        if let Some(grid) = self.grid.get_untracked() {
            // It fails only for an element that is not in a document.
            let _ = grid.focus();
        }
    }
}
