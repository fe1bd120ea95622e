//! The page, compiled twice: on the server into HTML, in the browser into what brings that HTML to life.
//!
//! The first render is the same at both ends. Nothing here knows how the server stores or how the browser connects.

use leptos::prelude::*;

/// The whole application, everything inside `<body>`.
#[component]
pub fn App() -> impl IntoView {
    let count = RwSignal::new(0);
    Effect::new(mark_hydrated);
    view! {
        <main class="page">
            <h1>"Keybook"</h1>
            <p>"A shared dictionary that many people and programs edit at once, online or off."</p>
            <button on:click=move |_| *count.write() += 1>"Count: " {count}</button>
        </main>
    }
}

/// Tells whoever waits for it (a test, mostly) that the page reacts from now on. Effects run in the browser alone.
fn mark_hydrated() {
    let body = document().body().expect("a document has a body");
    body.set_attribute("data-hydrated", "").expect("the name is valid");
}
