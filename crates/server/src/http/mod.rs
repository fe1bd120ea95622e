//! What is served over HTTP: which address leads where, who may ask, and what every response gets.

pub(crate) mod accept;

mod health;

mod pages;

mod hosts;

mod policy;

pub(crate) mod problem;

pub(crate) mod snapshots;

use std::{any::Any, sync::Arc};

use axum::{
    Router, middleware,
    routing::{any, get},
};
use keybook_core::paths;
use tower_http::catch_panic::CatchPanicLayer;

pub use self::{
    hosts::{HostName, HostNameError},
    pages::Pages,
    policy::document_policy,
};
use crate::{shared::Shared, socket};

/// All routes of the server.
pub(crate) fn router(server: Arc<Shared>, pages: Pages) -> Router {
    let name = "{name}";
    let api = Router::new()
        .route(&paths::snapshot(name), get(snapshots::serve).layer(snapshots::compression()))
        .route(&paths::socket(name), any(socket::open));
    let router = Router::new()
        .merge(api)
        .merge(health::routes())
        .with_state(server.clone())
        .merge((pages.routes)(server.reader.clone()))
        .layer(middleware::from_fn_with_state(server, hosts::guard));
    guarded(router, pages)
}

/// What every response gets, whoever made it: a page in place of one whose handler panicked, and the security headers.
fn guarded(router: Router, pages: Pages) -> Router {
    let broken = move |_: Box<dyn Any + Send>| (pages.broken)();
    router.layer(CatchPanicLayer::custom(broken)).layer(middleware::map_response(policy::apply))
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
    use crate::Config;

    /// Pages of which one is there and one breaks.
    const PAGES: Pages = Pages {
        routes: |_| {
            let page = ([(header::CONTENT_SECURITY_POLICY, "of its own")], "a page");
            let breaks = async || -> &'static str { panic!("on purpose") };
            Router::new()
                .route("/page", get(async move || page))
                .route("/breaks", get(breaks))
                .fallback(async || (StatusCode::NOT_FOUND, "Nothing is here"))
        },
        broken: Pages::NONE.broken,
    };

    /// A router over an empty folder, which lasts as long as the first part.
    fn router(pages: Pages) -> (tempfile::TempDir, Router) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), 1, Epoch(1)).unwrap();
        let (server, _writer) = Shared::new(Config::new(folder.path()), store).unwrap();
        (folder, super::router(server, pages))
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
    async fn each_address_has_its_status_and_the_security_headers() {
        for pages in [PAGES, Pages::NONE] {
            let (_folder, router) = router(pages);
            for (path, status, text) in [
                ("/livez", 200, "ok"),
                ("/readyz", 200, "ok"),
                ("/healthz", 200, "ok"),
                ("/api/v1/dictionaries/Main/snapshot", 400, "Bad name"),
                ("/api/v1/dictionaries/main/other", 404, "Nothing is here"),
                ("/nowhere", 404, "Nothing is here"),
                ("/../Cargo.toml", 404, "Nothing is here"),
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
    }

    #[tokio::test]
    async fn pages_are_served_beside_the_api() {
        let (_folder, router) = router(PAGES);
        let (status, headers, body) = fetch(router, Method::GET, "/page").await;
        assert_eq!((status, &*body), (StatusCode::OK, "a page"));
        assert_eq!(headers[header::CONTENT_SECURITY_POLICY], "of its own");
        assert_eq!(headers["referrer-policy"], "no-referrer");
    }

    #[tokio::test]
    async fn a_panic_becomes_a_response_that_says_nothing_of_it() {
        let (_folder, router) = router(PAGES);
        let (status, headers, body) = fetch(router, Method::GET, "/breaks").await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(body.contains("Something broke"), "{body}");
        assert!(!body.contains("on purpose"), "what broke is for the log alone");
        assert_eq!(headers["referrer-policy"], "no-referrer");
    }
}
