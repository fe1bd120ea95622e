//! Which rows of a long list are in sight, and where they stand.
//!
//! All lengths are CSS pixels. Browsers cap how tall an element may be (Chromium at 33 554 428 px, Firefox at 17 895 698),
//! so beyond [`Viewport::HEIGHT_MAX`] the scroll position is scaled: its ends are the list's ends, and in between a pixel
//! of scrolling is more than a pixel of list. Row numbers stay exact.

/// The part of the screen in which rows are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Viewport {
    /// Its height.
    pub height: u32,
    /// The height of a row, at least 1.
    pub row_height: u32,
}

/// The rows to render.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The first of them.
    pub first: usize,
    /// How many.
    pub count: usize,
    /// Where the first stands in the list's element. When the scroll position is scaled, it can be negative: above the element.
    pub offset: i64,
}

impl Viewport {
    /// The tallest element that is made, below what browsers can do.
    pub const HEIGHT_MAX: u64 = 15_000_000;
    /// Rows beyond each edge, so that a scroll shows no gap before the next frame.
    const OVERSCAN: u64 = 10;

    /// The height of the element that holds `rows`.
    pub fn total(self, rows: usize) -> u64 {
        self.full(rows).min(Self::HEIGHT_MAX)
    }

    /// The rows to render at a scroll position.
    pub fn window(self, scroll_top: u32, rows: usize) -> Window {
        let row_height = u64::from(self.row_height);
        let top = self.top(scroll_top, rows);
        let first = (top / row_height).saturating_sub(Self::OVERSCAN);
        let end = ((top + u64::from(self.height)).div_ceil(row_height) + Self::OVERSCAN).min(rows as u64);
        let scroll_top = u64::from(scroll_top).min(self.scroll_max(rows));
        let offset = scroll_top as i64 + (first * row_height) as i64 - top as i64;
        Window { first: first as usize, count: end.saturating_sub(first) as usize, offset }
    }

    /// The scroll position nearest to `scroll_top` at which a row is in full sight.
    pub fn reveal(self, row: usize, scroll_top: u32, rows: usize) -> u32 {
        let (height, row_height) = (u64::from(self.height), u64::from(self.row_height));
        let top = self.top(scroll_top, rows);
        let row_top = row as u64 * row_height;
        let revealed = if row_top < top {
            row_top
        } else if row_top + row_height > top + height {
            row_top + row_height - height.min(row_top + row_height)
        } else {
            return scroll_top;
        };
        let (scroll_max, top_max) = (self.scroll_max(rows), self.top_max(rows));
        let position = if scroll_max == top_max {
            revealed
        } else if row_top < top {
            revealed * scroll_max / top_max
        } else {
            (revealed * scroll_max).div_ceil(top_max)
        };
        position.min(scroll_max) as u32
    }

    /// The scroll position at which what is in sight stands where it does, after the row that is now number `to` was number `from` and
    /// there were `before` rows.
    pub fn follow(self, scroll_top: u32, from: usize, to: usize, before: usize, rows: usize) -> u32 {
        let row_height = i64::from(self.row_height);
        let top = self.top(scroll_top, before) as i64 + (to as i64 - from as i64) * row_height;
        let (scroll_max, top_max) = (self.scroll_max(rows), self.top_max(rows));
        let top = u64::try_from(top).unwrap_or(0).min(top_max);
        // Rounded, so that going there and back ends where it began.
        (if scroll_max == top_max { top } else { (top * scroll_max + top_max / 2) / top_max }) as u32
    }

    /// The first row that is in full sight.
    pub fn first_in_sight(self, scroll_top: u32, rows: usize) -> usize {
        self.top(scroll_top, rows).div_ceil(u64::from(self.row_height)) as usize
    }

    /// Rows that fit in sight, at least one.
    pub fn page(self) -> usize {
        (self.height / self.row_height).max(1) as usize
    }

    /// How much of the list is above the viewport's upper edge.
    fn top(self, scroll_top: u32, rows: usize) -> u64 {
        let (scroll_max, top_max) = (self.scroll_max(rows), self.top_max(rows));
        let scroll_top = u64::from(scroll_top).min(scroll_max);
        if scroll_max == top_max { scroll_top } else { scroll_top * top_max / scroll_max }
    }

    fn full(self, rows: usize) -> u64 {
        rows as u64 * u64::from(self.row_height)
    }

    fn top_max(self, rows: usize) -> u64 {
        self.full(rows).saturating_sub(self.height.into())
    }

    fn scroll_max(self, rows: usize) -> u64 {
        self.total(rows).saturating_sub(self.height.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEWPORT: Viewport = Viewport { height: 600, row_height: 36 };

    #[test]
    fn a_short_list_is_rendered_whole() {
        let check = |rows, expected| assert_eq!(VIEWPORT.window(0, rows), expected);
        check(0, Window { first: 0, count: 0, offset: 0 });
        check(5, Window { first: 0, count: 5, offset: 0 });
        assert_eq!(VIEWPORT.window(10_000, 5), Window { first: 0, count: 5, offset: 0 });
    }

    #[test]
    fn a_long_list_is_rendered_where_it_is_seen() {
        assert_eq!(VIEWPORT.window(0, 100_000), Window { first: 0, count: 27, offset: 0 });
        assert_eq!(VIEWPORT.window(36_000, 100_000), Window { first: 990, count: 37, offset: 35_640 });
        assert_eq!(VIEWPORT.window(36_007, 100_000), Window { first: 990, count: 37, offset: 35_640 });
    }

    /// What is rendered covers the viewport, at any length and position.
    #[test]
    fn no_position_shows_a_gap() {
        for rows in [1, 16, 17, 1000, 100_000, 416_666, 416_667, 1_000_000, 10_000_000] {
            let scroll_max = VIEWPORT.total(rows).saturating_sub(600) as u32;
            for part in 0..=1000 {
                let scroll_top = (u64::from(scroll_max) * part / 1000) as u32;
                let Window { first, count, offset } = VIEWPORT.window(scroll_top, rows);
                let end = offset + count as i64 * 36;
                let seen_end = i64::from(scroll_top) + 600;
                assert!(offset <= i64::from(scroll_top), "{rows} rows at {scroll_top}: a gap above");
                assert!(end >= seen_end || first + count == rows, "{rows} rows at {scroll_top}: a gap below");
                assert!(count < 60);
            }
            let last = VIEWPORT.window(scroll_max, rows);
            assert_eq!(last.first + last.count, rows, "the last row is at the end");
            assert!(last.offset + last.count as i64 * 36 <= VIEWPORT.total(rows) as i64);
        }
    }

    #[test]
    fn the_first_row_in_sight_is_revealed_already() {
        for rows in [20, 1000, 100_000, 1_000_000] {
            for scroll_top in [0, 1, 35, 36, 37, 100, 10_000, 5_000_000] {
                let scroll_top = scroll_top.min(VIEWPORT.scroll_max(rows) as u32);
                let row = VIEWPORT.first_in_sight(scroll_top, rows);
                assert_eq!(VIEWPORT.reveal(row, scroll_top, rows), scroll_top, "row {row} of {rows} at {scroll_top}");
                let window = VIEWPORT.window(scroll_top, rows);
                assert!((window.first..window.first + window.count).contains(&row));
            }
        }
    }

    #[test]
    fn what_is_in_sight_stays_when_rows_come_and_go_above() {
        assert_eq!(VIEWPORT.follow(360, 12, 15, 1000, 1003), 360 + 3 * 36);
        assert_eq!(VIEWPORT.follow(360, 12, 10, 1000, 998), 360 - 2 * 36);
        assert_eq!(VIEWPORT.follow(36, 12, 3, 1000, 991), 0, "there is nothing above the first");
        assert_eq!(VIEWPORT.follow(0, 0, 1, 3, 4), 0, "what fits in sight does not scroll");
        let (before, rows, from) = (1_000_000, 1_000_500, 600_000);
        let scroll_top = VIEWPORT.reveal(from, 0, before);
        let at = |scroll_top, rows, row: usize| row as i64 * 36 - VIEWPORT.top(scroll_top, rows) as i64;
        let after = VIEWPORT.follow(scroll_top, from, from + 500, before, rows);
        let moved = (at(scroll_top, before, from) - at(after, rows, from + 500)).abs();
        assert!(moved <= 3, "a pixel of a scaled position is some of the list: {moved}");
    }

    #[test]
    fn a_revealed_row_is_in_full_sight() {
        for rows in [20, 1000, 100_000, 1_000_000, 10_000_000] {
            for from in [0, 500, 100_000] {
                for row in [0, 1, 15, 16, 17, rows / 3, rows - 2, rows - 1] {
                    let row = row.min(rows - 1);
                    let scroll_top = VIEWPORT.reveal(row, from, rows);
                    let top = VIEWPORT.top(scroll_top, rows);
                    let row_top = row as u64 * 36;
                    // A scaled position is a whole pixel of many: the row may stand a few pixels off.
                    let slack = VIEWPORT.top_max(rows).div_ceil(VIEWPORT.scroll_max(rows));
                    assert!(row_top + slack >= top, "row {row} of {rows} from {from}");
                    assert!(row_top + 36 <= top + 600 + slack, "row {row} of {rows} from {from}");
                }
            }
        }
        assert_eq!(VIEWPORT.reveal(10, 7, 1000), 7, "a row in sight moves nothing");
    }
}
