//! Where the person is in the grid: the window of rows that is rendered, and the cursor.

use keybook_core::Key;

use super::{
    act::Step,
    rows::ShownRows,
    window::{Viewport, Window},
};

/// Key, value, edited, state.
pub const COLUMNS: usize = 4;

/// A place in the grid.
#[derive(Clone, Debug, Default)]
pub struct Grid {
    /// Measured once the page is alive; until then all rows are rendered.
    viewport: Option<Viewport>,
    scroll_top: u32,
    /// Where to scroll once the rows are rendered.
    target: Option<u32>,
    /// The row under the pointer.
    pointer: Option<Key>,
    /// The key under the cursor. It may have been removed since: then the cursor is where it would be.
    cursor: Option<Key>,
    column: usize,
}

impl Grid {
    /// The part of the screen in which rows are seen; none until it is measured.
    pub fn viewport(&self) -> Option<Viewport> {
        self.viewport
    }

    /// The key under the cursor; none while there is no cursor.
    pub fn cursor(&self) -> Option<&Key> {
        self.cursor.as_ref()
    }

    /// The column under the cursor.
    pub fn column(&self) -> usize {
        self.column
    }

    /// Where to scroll now.
    pub fn target(&self) -> Option<u32> {
        self.target
    }

    /// Which of so many rows are to be rendered.
    pub fn window(&self, len: usize) -> Window {
        match self.viewport {
            None => Window { first: 0, count: len, offset: 0 },
            Some(viewport) => viewport.window(self.scroll_top, len),
        }
    }

    /// The first of so many rows that is in full sight.
    pub(super) fn first_in_sight(&self, len: usize) -> usize {
        self.viewport.map_or(0, |viewport| viewport.first_in_sight(self.scroll_top, len))
    }

    /// The number of the row under the cursor; none while there is no cursor or no row.
    pub(super) fn row(&self, rows: &ShownRows) -> Option<usize> {
        let last = rows.len().checked_sub(1)?;
        Some(rows.position(self.cursor.as_ref()?).min(last))
    }

    /// Which row the pointer is on; none if on none.
    pub(super) fn set_pointer(&mut self, key: Option<Key>) {
        self.pointer = key;
    }

    /// The row that stays where it is when others come and go: the one that is edited, under the pointer, or under the cursor, if it is in
    /// sight; else the first in sight, but at the beginning of the list, where what is new is to be seen. With its number.
    pub(super) fn anchor(&self, edited: Option<&Key>, rows: &ShownRows) -> Option<(Key, usize)> {
        let viewport = self.viewport?;
        let first = viewport.first_in_sight(self.scroll_top, rows.len());
        let in_sight = first..first + viewport.page();
        let place = |key: &Key| Some((key.clone(), rows.position(key))).filter(|(_, row)| in_sight.contains(row));
        let of_person = [edited, self.pointer.as_ref(), self.cursor.as_ref()].into_iter().flatten().find_map(place);
        of_person.or_else(|| {
            rows.keys(first..first + 1).next().filter(|_| self.scroll_top > 0).map(|key| (key.clone(), first))
        })
    }

    /// Rows have come and gone: scrolls so that a row stays where it was among `before`.
    pub(super) fn hold(&mut self, (key, from): (Key, usize), before: usize, rows: &ShownRows) {
        let to = rows.position(&key);
        if let Some(viewport) = self.viewport.filter(|_| (to, rows.len()) != (from, before)) {
            self.scroll_to(viewport.follow(self.scroll_top, from, to, before, rows.len()));
        }
    }

    /// Returns whether that is news.
    pub(super) fn set_viewport(&mut self, viewport: Viewport) -> bool {
        self.viewport.replace(viewport) != Some(viewport)
    }

    /// The page has been scrolled, by the person or as [`Grid::target`] asked. Returns whether that is news.
    pub(super) fn set_scroll_top(&mut self, scroll_top: u32) -> bool {
        std::mem::replace(&mut self.scroll_top, scroll_top) != scroll_top
    }

    pub(super) fn forget_target(&mut self) {
        self.target = None;
    }

    /// Renders the rows of a scroll position, and then scrolls there.
    pub(super) fn scroll_to(&mut self, scroll_top: u32) {
        if self.set_scroll_top(scroll_top) {
            self.target = Some(scroll_top);
        }
    }

    pub(super) fn point(&mut self, key: Key) {
        self.cursor = Some(key);
    }

    /// Moves the cursor.
    pub(super) fn step(&mut self, step: Step, rows: &ShownRows) {
        let row = self.row(rows);
        let at = row.unwrap_or(0);
        let in_sight = self.viewport.map_or(1, Viewport::page);
        let to = match step {
            Step::Up => at.saturating_sub(1),
            Step::Down => row.map_or(0, |row| row + 1),
            Step::PageUp => at.saturating_sub(in_sight),
            Step::PageDown => at + in_sight,
            Step::Home => 0,
            Step::End => usize::MAX,
            Step::Left => return self.column = self.column.saturating_sub(1),
            Step::Right => return self.column = (COLUMNS - 1).min(self.column + 1),
        };
        self.go(to, rows);
    }

    /// Puts the cursor on a row, the last if there are fewer, and scrolls to it.
    pub(super) fn go(&mut self, row: usize, rows: &ShownRows) {
        let len = rows.len();
        let row = row.min(len.saturating_sub(1));
        let Some(key) = rows.keys(row..row + 1).next() else { return };
        self.cursor = Some(key.clone());
        if let Some(viewport) = self.viewport {
            self.scroll_to(viewport.reveal(row, self.scroll_top, len));
        }
    }

    /// Puts the cursor on a key, if it is shown, and scrolls to it.
    pub(super) fn go_to(&mut self, key: &Key, rows: &ShownRows) {
        let row = rows.position(key);
        if rows.keys(row..row + 1).next() == Some(key) {
            self.go(row, rows);
        }
    }
}
