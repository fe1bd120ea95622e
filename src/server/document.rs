//! The documents: what surrounds the application, and the scripts that bring it to life.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderValue, Request, header},
    response::Response,
};
use keybook_core::DictionaryName;
use keybook_store::{Engine, FirstEntries, Store, StoreError};
use leptos::{hydration::AutoReload, nonce::use_nonce, prelude::*};
use leptos_axum::{ResponseOptions, render_app_to_stream_with_context};
use tracing::error;

use super::{
    Shared,
    assets::{OPTIONS, PageFiles},
    errors, policy, shell,
};
use crate::{
    app::App,
    model::{FIRST_ROWS_MAX, FirstPage, MAIN},
};

/// `/`
pub(super) async fn main(State(server): State<Arc<Shared>>, request: Request<Body>) -> Response {
    let name = DictionaryName::parse(MAIN).expect("a valid name");
    render(&server, name, request).await
}

/// `/d/{name}`
pub(super) async fn dictionary(
    State(server): State<Arc<Shared>>,
    name: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Response {
    // Percent-encoded bytes that are not UTF-8 name nothing that could be shown again.
    let Ok(Path(name)) = name else { return errors::not_found() };
    match DictionaryName::parse(&name) {
        Ok(name) => render(&server, name, request).await,
        Err(error) => errors::bad_name(&error),
    }
}

async fn render(server: &Shared, name: DictionaryName, request: Request<Body>) -> Response {
    match first_page(server, name).await {
        Ok(first) => respond(first, request).await,
        Err(error) => {
            error!("reading fails: {error}");
            errors::unreadable()
        }
    }
}

/// The document of a first page.
pub(super) async fn respond(first: FirstPage, request: Request<Body>) -> Response {
    let (title, build) = (title(&first), shell::build());
    let set_context = move || {
        set_headers();
        provide_context(first.clone());
    };
    let handler = render_app_to_stream_with_context(set_context, move || document(title.clone(), build));
    handler(request).await
}

/// The markup of a first page's document, without what differs from one response to the other, and without a build.
pub(super) fn markup(first: &FirstPage) -> String {
    Owner::new_root(None).with(|| {
        provide_context(first.clone());
        document(title(first), "").to_html()
    })
}

async fn first_page(server: &Shared, name: DictionaryName) -> Result<FirstPage, StoreError> {
    let read = move |store: &Store| {
        let FirstEntries { summary, entries } = store.first_entries(&name, FIRST_ROWS_MAX)?;
        let cursor = (summary.lineage.current, summary.counters.head);
        Ok(FirstPage::new(&name, cursor, summary.counters.live, &entries))
    };
    server.read(read).await
}

fn set_headers() {
    let nonce = use_nonce().expect("leptos_axum provides one");
    let response = expect_context::<ResponseOptions>();
    response.insert_header(header::CONTENT_SECURITY_POLICY, policy::for_document(&nonce));
    response.insert_header(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
}

fn title(first: &FirstPage) -> String {
    if first.is_shell() { "Keybook".to_owned() } else { format!("{} · Keybook", first.name) }
}

fn document(title: String, build: &'static str) -> impl IntoView + use<> {
    let PageFiles { script, wasm, style } = PageFiles::find();
    view! {
        <!DOCTYPE html>
        <html lang="en">
            <head>
                {head(title, style)}
                <AutoReload options=OPTIONS.clone() />
                {hydration(script, wasm, build)}
            </head>
            <body>
                <App />
            </body>
        </html>
    }
}

/// What the head of every page has, an error's too.
pub(super) fn head(title: String, style: String) -> impl IntoView {
    view! {
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>{title}</title>
        <link rel="icon" href="/favicon.svg" type="image/svg+xml" />
        <link rel="apple-touch-icon" href="/icon-touch.png" />
        <link rel="manifest" href="/manifest.webmanifest" />
        <link rel="stylesheet" href=style />
    }
}

/// Our own in place of Leptos' HydrationScripts, which looks for the hashes in a file beside the executable.
///
/// The WebAssembly's address is handed over: the glue's own idea of it is stale when the WebAssembly alone has changed,
/// since the glue then keeps its name, and caches keep it for ever.
///
/// The script registers the worker as well, whenever the page is connected: so the page's own loading comes first, and a new
/// build is looked for just when the server may be one. It tells a worker that is new of which build the page is, and if
/// the worker is of another, shows the notice; it reloads when its button is pressed, and never by itself.
fn hydration(script: String, wasm: String, build: &str) -> impl IntoView {
    let nonce = use_nonce();
    let start = format!("const [script, wasm, build] = {:?};\n{}", [&*script, &*wasm, build], include_str!("start.js"));
    view! {
        <link rel="modulepreload" href=script nonce=nonce.clone() />
        <link rel="preload" href=wasm r#as="fetch" r#type="application/wasm" crossorigin="anonymous" />
        <script type="module" nonce=nonce inner_html=start></script>
    }
}
