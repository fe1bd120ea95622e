//! What the page shows and asks for, free of browser types: the components read it, `browser` provides it.
//!
//! Everything here is pure, so it is tested natively.

mod comparison;
mod comparisons;
mod first_page;
mod held;
mod listing;
mod replica;
mod row;
mod rows;
mod time;
mod window;

pub use self::{
    comparison::{Comparison, Written},
    comparisons::{changes, conflicts, is_own},
    first_page::{FIRST_ROWS_MAX, FirstPage, FirstPageError, FirstRow},
    held::{HeldEdit, held_reason},
    listing::Listing,
    replica::{Connection, OnChange, OpenReplica, Replica, Room, Status, Sync},
    row::{EntryState, Row, ValueText},
    rows::Rows,
    time::{age, duration, iso_time, readable_time},
    window::{Viewport, Window},
};
