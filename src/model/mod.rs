//! The page's model: what the page shows and what can be done there. Both ends compile it, and native tests reach all of it.
//!
//! [`Model`] owns the device, and so the client. What a person does comes in as an [`Act`], what the browser reports by
//! `handle_*`, and once a frame [`Model::frame`] brings what is shown up to date. What the browser has to do comes out by
//! [`Model::poll_effect`]. There is no leptos here and no web-sys.
//!
//! An edit goes from the form's [`Act::Set`] to [`Model::act`] and to `Client::put`; a delta goes from `Client::handle_message` to
//! the rows by [`Model::frame`].

mod machine;
mod shared;
mod view;

mod act;
mod areas;
mod effect;

mod status;
mod sync;

mod first_page;
mod grid;
mod listing;
mod row;
mod rows;
mod search;
mod sorted;
mod window;

mod comparison;
mod drafts;
mod form;
mod held;
mod time;

#[cfg(test)]
mod tests;

pub use self::{
    act::{Act, Compared, Focus, Step},
    areas::Areas,
    comparison::{Comparison, Writer, Written},
    drafts::Draft,
    effect::{Effect, OnChange, OpenBrowser, Opened, Room, Run},
    first_page::{FIRST_ROWS_MAX, FirstPage, FirstPageError, FirstRow},
    form::{Form, FormNote},
    grid::{COLUMNS, Grid},
    held::HeldEdit,
    machine::Model,
    row::{EntryState, Row, ValueText},
    search::{Fold, fold_ascii},
    shared::SharedModel,
    status::Status,
    sync::{Connection, Sync},
    time::{age, duration, iso_time, readable_time},
    window::{Viewport, Window},
};
