//! The page, compiled twice: on the server into HTML, in the browser into what brings that HTML to life.
//!
//! The first render is the same at both ends: the entries that the server found. Then a replica is attached, and the page
//! shows what that has. Nothing here knows how the server stores or how the browser connects; see [`model`](crate::model).

// Of a component, the macro makes items that are public in a private module.
#![allow(unreachable_pub)]

mod page;
mod state;

mod author;
mod device;
mod form;
mod status;

mod cursor;
mod edit;
mod grid;
mod row;
mod search;

mod compare;
mod conflicts;

mod held;
mod plain_http;
mod toast;
mod undo;

use leptos::prelude::*;

use self::{page::Page, state::PageState};
use crate::model::FirstPage;

/// The whole application, everything inside `<body>`. On the server the context holds a [`FirstPage`], in the browser an
/// [`OpenReplica`](crate::model::OpenReplica).
#[component]
pub fn App() -> impl IntoView {
    let first = SharedValue::new_str(|| expect_context::<FirstPage>());
    let page = PageState::new(first.into_inner());
    provide_context(page);
    // Effects run in the browser alone, after it has taken over the server's HTML.
    Effect::new(move |_| {
        page.attach();
        mark_hydrated();
    });
    view! { <Page /> }
}

/// Tells whoever waits for it (a test, mostly) that the page reacts from now on.
fn mark_hydrated() {
    let body = document().body().expect("a document has a body");
    body.set_attribute("data-hydrated", "").expect("the name is valid");
}
