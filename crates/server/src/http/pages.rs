//! Where the server meets the pages for people: the server knows nothing of how they are made, they know nothing of sockets.

use axum::{
    Router,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::problem::problem;
use crate::Reader;

/// What is served to people beside the API.
#[derive(Clone, Copy, Debug)]
pub struct Pages {
    /// Makes the routes of documents and their files. Their fallback answers every address that no other route has. The server
    /// checks hosts before it calls them, and adds the security headers that their responses lack.
    pub routes: fn(Reader) -> Router,
    /// Answers a request whose handler panicked. The panic hook has told the log; the reader learns nothing about it.
    pub broken: fn() -> Response,
}

impl Pages {
    /// A server for programs alone: what is not there is a problem document.
    pub const NONE: Self = Self { routes: |_| Router::new().fallback(nothing), broken };
}

async fn nothing() -> Response {
    problem(StatusCode::NOT_FOUND, "Nothing is here", "nothing has this address").into_response()
}

fn broken() -> Response {
    problem(StatusCode::INTERNAL_SERVER_ERROR, "Something broke", "the fault is ours, and it is in the server's log")
}
