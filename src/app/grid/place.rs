//! What the grid's elements tell the model of the place that the person is at, and how they follow it.

use crate::{
    app::ui::Ui,
    model::{Areas, Model, Viewport},
};
use leptos::prelude::*;

impl Ui {
    /// Measures how many rows are in sight.
    pub(in crate::app) fn measure(self) {
        const ROW_HEIGHT: i32 = 36;
        let (Some(grid), Some(body)) = (self.grid.get_untracked(), self.body.get_untracked()) else { return };
        let row_height = body.query_selector("[role=row]").ok().flatten().map_or(ROW_HEIGHT, |row| row.client_height());
        let viewport = Viewport {
            height: u32::try_from(grid.client_height() - body.offset_top()).unwrap_or(0),
            row_height: u32::try_from(row_height).unwrap_or(0).max(1),
        };
        if self.peek(|model| model.grid().viewport() != Some(viewport)) {
            self.report(|model| model.handle_viewport(viewport));
        }
    }

    /// Scrolls, if that was asked for.
    pub(super) fn follow_target(self) {
        let target = self.read(Areas::ROWS, |model| model.grid().target());
        if let (Some(scroll_top), Some(grid)) = (target, self.grid.get()) {
            grid.set_scroll_top(i32::try_from(scroll_top).unwrap_or(i32::MAX));
            self.report(Model::handle_scrolled);
        }
    }

    /// The person has scrolled, or [`Ui::follow_target`] has.
    pub(super) fn handle_scroll(self) {
        let Some(grid) = self.grid.get_untracked() else { return };
        let scroll_top = u32::try_from(grid.scroll_top()).unwrap_or(0);
        self.report(|model| model.handle_scroll(scroll_top));
    }

    /// The grid has the focus.
    pub(super) fn handle_focus(self) {
        self.measure();
        self.report(Model::handle_focus);
    }
}
