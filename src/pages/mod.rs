//! Where server and page meet: the documents in which the page is rendered, the files that bring it to life, and the pages that say
//! what went wrong. They read the store; of sockets and writing they know nothing.
//!
//! Each file here names only those above it in this list.

mod assets;

mod head;

mod errors;

mod document;

mod shell;

use any_spawner::Executor;
use axum::{
    Router,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, Method, Request, Uri},
    response::Response,
    routing::get,
};
use keybook_core::{DictionaryName, paths};
use keybook_server::{Pages, Reader, StoreError};
use keybook_store::{FirstEntries, FirstEntry};
use tower_http::compression::CompressionLayer;
use tracing::error;

use crate::model::{FIRST_ROWS_MAX, FirstPage, FirstRow};

/// What the server is given.
pub const PAGES: Pages = Pages { routes, broken: errors::broken };

fn routes(reader: Reader) -> Router {
    // Leptos renders by tasks, and asks for the executor once a process. Set already means set to the same.
    let _ = Executor::init_tokio();
    Router::new()
        .route("/", get(main))
        .route(&paths::page("{name}"), get(dictionary))
        .route("/shell/{build}", get(shell::document))
        .route("/worker.js", get(shell::worker))
        .layer(CompressionLayer::new())
        // Behind the compression: the files are compressed already.
        .fallback(file)
        .with_state(reader)
}

/// `/`
async fn main(State(reader): State<Reader>, request: Request<Body>) -> Response {
    let name = DictionaryName::parse(paths::MAIN).expect("a valid name");
    render(&reader, name, request).await
}

/// `/d/{name}`
async fn dictionary(
    State(reader): State<Reader>,
    name: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Response {
    // Percent-encoded bytes that are not UTF-8 name nothing that could be shown again.
    let Ok(Path(name)) = name else { return errors::not_found() };
    match DictionaryName::parse(&name) {
        Ok(name) => render(&reader, name, request).await,
        Err(error) => errors::bad_name(&error),
    }
}

/// Any other address: a file, or the page that says that there is none.
async fn file(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let reads = matches!(method, Method::GET | Method::HEAD);
    reads.then(|| assets::response(uri.path(), &headers)).flatten().unwrap_or_else(errors::not_found)
}

async fn render(reader: &Reader, name: DictionaryName, request: Request<Body>) -> Response {
    match first_page(reader, name).await {
        Ok(first) => document::respond(first, shell::build(), request).await,
        Err(StoreError::Corrupt(_)) => errors::damaged(),
        Err(error) => {
            error!("reading fails: {error}");
            errors::unreadable()
        }
    }
}

async fn first_page(reader: &Reader, name: DictionaryName) -> Result<FirstPage, StoreError> {
    let read = reader.read(&name, |dictionary| dictionary.first_entries(FIRST_ROWS_MAX)).await;
    let FirstEntries { summary, entries } = read?;
    let cursor = (summary.lineage.current, summary.counters.head);
    let rows = entries.into_iter().filter_map(|first| {
        let FirstEntry { key, entry, author, brought_back_by } = first;
        FirstRow::new(key, &entry, author, brought_back_by)
    });
    Ok(FirstPage::new(&name, cursor, summary.counters.live, rows))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::{
        body,
        http::{StatusCode, header},
    };
    use keybook_core::Epoch;
    use keybook_store::Store;
    use tower::ServiceExt;

    use super::*;

    /// The routes over an empty folder, which lasts as long as the first part.
    fn router() -> (tempfile::TempDir, Router) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), 1, Epoch(1)).unwrap();
        (folder, routes(Reader::new(Arc::new(store))))
    }

    async fn read(response: Response) -> (StatusCode, HeaderMap, String) {
        let (parts, body) = response.into_parts();
        let body = body::to_bytes(body, 1 << 20).await.unwrap();
        (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn fetch(router: Router, method: Method, path: &str) -> (StatusCode, HeaderMap, String) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        read(router.oneshot(request).await.unwrap()).await
    }

    #[tokio::test]
    async fn each_address_has_its_status_and_says_what_it_is() {
        let (_folder, router) = router();
        for (path, status, text) in [
            ("/", 200, "<title>main · Keybook</title>"),
            ("/d/price-list", 200, "<title>price-list · Keybook</title>"),
            ("/d/Price-List", 400, "Price-List"),
            ("/d/%3Cscript%3E", 400, "&lt;script&gt;"),
            ("/d/%FF", 404, "Nothing is here"),
            ("/d/", 404, "Nothing is here"),
            ("/nowhere", 404, "Nothing is here"),
            ("/../Cargo.toml", 404, "Nothing is here"),
        ] {
            let (found, _, body) = fetch(router.clone(), Method::GET, path).await;
            assert_eq!(found, status, "{path}");
            assert!(body.contains(text), "{path}: no {text} in {body}");
        }
        assert_eq!(fetch(router, Method::POST, "/nowhere").await.0, StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn a_document_runs_no_script_without_its_nonce() {
        let (_folder, router) = router();
        let (_, headers, body) = fetch(router.clone(), Method::GET, "/").await;
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        let nonce = policy.split_once("'nonce-").unwrap().1.split_once('\'').unwrap().0;
        assert!(nonce.len() >= 16, "{policy}");
        for script in body.split("<script").skip(1) {
            assert!(script.split_once('>').unwrap().0.contains(&format!("nonce=\"{nonce}\"")), "{script}");
        }
        let (_, again, _) = fetch(router, Method::GET, "/").await;
        assert_ne!(again[header::CONTENT_SECURITY_POLICY], policy, "a nonce is used once");
    }

    #[tokio::test]
    async fn what_breaks_has_a_page() {
        let (status, _, body) = read((PAGES.broken)()).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(body.contains("Something broke"), "{body}");
    }
}
