//! The page, compiled twice: on the server into HTML, in the browser into what brings that HTML to life.
//!
//! The first render is the same at both ends: the entries that the server found. Then the model gets a device, and the page
//! shows what that has. Components read the [`model`](crate::model) and run [`Act`](crate::model::Act)s; nothing here knows how
//! the server stores or how the browser connects.
//!
//! The shell, which a device keeps to open any dictionary without a server, is such a document too, without entries and without a
//! name: the page takes that from its address. So it is painted before the WebAssembly is there, and every page comes to life in
//! one way.

// Of a component, the macro makes items that are public in a private module.
#![allow(unreachable_pub)]

mod page;
mod ui;

mod form;
mod grid;
mod notices;
mod side;
mod status;
mod tools;

use leptos::prelude::*;

use self::{page::Page, ui::Ui};
use crate::model::FirstPage;

/// The whole application, everything inside `<body>`. On the server the context holds a [`FirstPage`], in the browser an
/// [`OpenBrowser`](crate::model::OpenBrowser).
#[component]
pub fn App() -> impl IntoView {
    let first = SharedValue::new_str(|| expect_context::<FirstPage>());
    let ui = Ui::new(first.into_inner());
    provide_context(ui);
    // Effects run in the browser alone, after it has taken over the server's HTML.
    Ui::effect(Box::new(move || {
        ui.attach();
        mark_hydrated();
    }));
    view! { <Page /> }
}

/// Tells whoever waits for it (a test, mostly) that the page reacts from now on.
fn mark_hydrated() {
    let body = document().body().expect("a document has a body");
    body.set_attribute("data-hydrated", "").expect("the name is valid");
}
