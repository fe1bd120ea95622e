//! The pages for what went wrong. They are plain HTML: nothing in them needs a script.

use axum::{
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};
use keybook_core::NameError;
use leptos::prelude::*;

use super::{assets::PageFiles, head::head};

/// Nothing has this address.
pub(super) fn not_found() -> Response {
    page(StatusCode::NOT_FOUND, "Nothing is here", "The address is mistyped, or what it named is gone.".into())
}

/// The address has a name that no dictionary can have.
pub(super) fn bad_name(error: &NameError) -> Response {
    page(StatusCode::BAD_REQUEST, "No dictionary can have this name", error.to_string())
}

/// The store could not be read. The log says why.
pub(super) fn unreadable() -> Response {
    page(
        StatusCode::INTERNAL_SERVER_ERROR,
        "The dictionary cannot be read",
        "The server cannot read its data. What it has acknowledged is on its disk, and the reason is in its log."
            .into(),
    )
}

/// The dictionary is damaged, and the others are not.
pub(super) fn damaged() -> Response {
    page(
        StatusCode::SERVICE_UNAVAILABLE,
        "This dictionary is damaged",
        "A part of it on the server's disk is not what was written, so nobody can read or edit it until it is restored. The \
         other dictionaries are there, and browsers keep what they have."
            .into(),
    )
}

/// A handler panicked. The panic hook has told the log; the reader learns nothing about it.
pub(super) fn broken() -> Response {
    page(
        StatusCode::INTERNAL_SERVER_ERROR,
        "Something broke",
        "The server could not make this page. The fault is ours, and it is in the server's log.".into(),
    )
}

fn page(status: StatusCode, heading: &'static str, explanation: String) -> Response {
    let title = format!("{heading} · Keybook");
    let document = view! {
        <!DOCTYPE html>
        <html lang="en">
            <head>{head(title, PageFiles::find().style)}</head>
            <body>
                <main class="notice">
                    <img src="/favicon.svg" alt="" width="64" height="64" />
                    <p class="notice-status">{status.as_u16()}</p>
                    <h1>{heading}</h1>
                    <p>{explanation}</p>
                    <p>
                        <a href="/">"Open the main dictionary"</a>
                    </p>
                </main>
            </body>
        </html>
    };
    (status, Html(document.to_html())).into_response()
}
