//! The document of the page: what surrounds the application, and the script that brings it to life.

use axum::{
    body::Body,
    http::{HeaderValue, Request, header},
    response::Response,
};
use keybook_server::document_policy;
use leptos::{hydration::AutoReload, nonce::use_nonce, prelude::*};
use leptos_axum::{ResponseOptions, render_app_to_stream_with_context};

use super::{
    assets::{OPTIONS, PageFiles},
    head::head,
};
use crate::{app::App, model::FirstPage};

/// The document of a first page. `build` names what a device would keep now; none where it keeps nothing.
pub(super) async fn respond(first: FirstPage, build: Option<&'static str>, request: Request<Body>) -> Response {
    let title = title(&first);
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
        document(title(first), None).to_html()
    })
}

fn set_headers() {
    let nonce = use_nonce().expect("leptos_axum provides one");
    let response = expect_context::<ResponseOptions>();
    response.insert_header(header::CONTENT_SECURITY_POLICY, document_policy(&nonce));
    response.insert_header(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
}

fn title(first: &FirstPage) -> String {
    first.name.as_ref().map_or_else(|| "Keybook".to_owned(), |name| format!("{name} · Keybook"))
}

fn document(title: String, build: Option<&'static str>) -> impl IntoView + use<> {
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

/// Our own in place of Leptos' HydrationScripts, which looks for the hashes in a file beside the executable.
///
/// The WebAssembly's address is handed over: the glue's own idea of it is stale when the WebAssembly alone has changed,
/// since the glue then keeps its name, and caches keep it for ever.
///
/// The script registers the worker as well, whenever the page is connected: so the page's own loading comes first, and a new
/// build is looked for just when the server may be one. It tells a worker that is new of which build the page is, and if
/// the worker is of another, shows the notice; it reloads when its button is pressed, and never by itself.
fn hydration(script: String, wasm: String, build: Option<&str>) -> impl IntoView {
    let nonce = use_nonce();
    // The script takes an empty text for none.
    let names = [&*script, &*wasm, build.unwrap_or_default()];
    let start = format!("const [script, wasm, build] = {names:?};\n{}", include_str!("start.js"));
    view! {
        <link rel="modulepreload" href=script nonce=nonce.clone() />
        <link rel="preload" href=wasm r#as="fetch" r#type="application/wasm" crossorigin="anonymous" />
        <script type="module" nonce=nonce inner_html=start></script>
    }
}
