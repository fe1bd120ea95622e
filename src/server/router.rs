//! Which address leads where.

use std::sync::Arc;

use any_spawner::Executor;
use axum::{
    Router,
    extract::State,
    http::StatusCode,
    middleware,
    routing::{any, get},
};
use tower_http::{catch_panic::CatchPanicLayer, compression::CompressionLayer};

use super::{Shared, assets, document, errors, hosts, policy, shell, snapshots, socket};

/// All routes of the server.
pub(super) fn router(server: Arc<Shared>) -> Router {
    // Leptos renders by tasks, and asks for the executor once a process. Set already means set to the same.
    let _ = Executor::init_tokio();
    let pages = Router::new()
        .route("/", get(document::main))
        .route("/d/{name}", get(document::dictionary))
        .route("/shell/{build}", get(shell::document))
        .route("/worker.js", get(shell::worker))
        .layer(CompressionLayer::new());
    let dictionary = Router::new()
        .route("/snapshot", get(snapshots::serve).layer(CompressionLayer::new()))
        .route("/socket", any(socket::open));
    let state = Router::new().route("/livez", get(alive)).route("/readyz", get(ready)).route("/healthz", get(ready));
    let router = Router::new()
        .merge(pages)
        .merge(state)
        .nest("/api/v1/dictionaries/{name}", dictionary)
        .fallback(assets::serve)
        .layer(middleware::from_fn_with_state(server.clone(), hosts::guard))
        .with_state(server);
    guarded(router)
}

/// What every response gets, whoever made it: a designed page when its handler panicked, and the security headers.
fn guarded(router: Router) -> Router {
    router.layer(CatchPanicLayer::custom(errors::panicked)).layer(middleware::map_response(policy::apply))
}

/// The process lives when it answers at all.
async fn alive() -> &'static str {
    "ok\n"
}

/// It is of use while it can write.
async fn ready(State(server): State<Arc<Shared>>) -> (StatusCode, &'static str) {
    if server.writer.is_working() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the server cannot write and stops\n")
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{self, Body},
        http::{Method, Request, StatusCode, header},
    };
    use keybook_core::Epoch;
    use keybook_store::Store;
    use tower::ServiceExt;

    use super::*;
    use crate::server::Config;

    /// A router over an empty folder, which lasts as long as the first part.
    fn router() -> (tempfile::TempDir, Router) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), 1, Epoch(1)).unwrap();
        let (server, _writer) = Shared::new(Config::new(folder.path()), store).unwrap();
        (folder, super::router(server))
    }

    async fn fetch(router: Router, method: Method, path: &str) -> (StatusCode, header::HeaderMap, String) {
        let request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
        let request = request.body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body::to_bytes(body, 1 << 20).await.unwrap();
        (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
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
            ("/livez", 200, "ok"),
            ("/readyz", 200, "ok"),
            ("/healthz", 200, "ok"),
        ] {
            let (found, headers, body) = fetch(router.clone(), Method::GET, path).await;
            assert_eq!(found, status, "{path}");
            assert!(body.contains(text), "{path}: no {text} in {body}");
            assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
            assert_eq!(headers["cross-origin-resource-policy"], "same-origin", "{path}");
            assert!(headers.contains_key(header::CONTENT_SECURITY_POLICY), "{path}");
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
    async fn a_panic_becomes_a_page() {
        let broken = Router::new().route("/", get(async || -> &'static str { panic!("on purpose") }));
        let (status, headers, body) = fetch(guarded(broken), Method::GET, "/").await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(body.contains("Something broke"), "{body}");
        assert!(!body.contains("on purpose"), "what broke is for the log alone");
        assert_eq!(headers["referrer-policy"], "no-referrer");
    }
}
