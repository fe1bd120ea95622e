//! What a device keeps of the page, so that it opens where its server cannot be reached (W3C Service Workers).
//!
//! The **worker** is a script that the browser runs between its pages and the network. It keeps the files of one build: those
//! whose names have a hash, and the **shell**, a document of no dictionary in particular. The shell is hydrated like any
//! document, and not mounted: so it is painted before the WebAssembly is there, and every page comes to life in one way. The
//! page takes the dictionary's name from its address and the entries from the device.
//!
//! Builds are never mixed. The worker's script holds the list of its build's files, so its bytes are others exactly when
//! one of the files has changed, and browsers install it anew. The shell's address names the build, so a server that was
//! exchanged meanwhile has no such shell, and the installation fails as a whole.
//!
//! A new worker waits beside the old one until a person has agreed (see `start.js`), or has opened a page of its build. Whoever
//! has opened such a page has the new version already, and old tabs have loaded the files that the worker then forgets. Without
//! that second way a worker would wait for as long as any tab is open, while offline the old version opens over what the new one
//! has written. The page looks for a new worker whenever its socket opens: a new build begins with a restart, which ends all
//! sockets.
//!
//! A kept shell keeps its headers, and so its nonce, which is used more than once then. That is safe here: a nonce keeps
//! markup from running that got into a document as text, and in the shell there is nothing of anybody's.
//!
//! Where names have no hashes, in a debug build, there is no worker, and a page unregisters the one that it finds: what
//! it serves would be stale after the next build.

use std::sync::LazyLock;

use axum::{
    body::Body,
    extract::Path,
    http::{Request, header},
    response::{IntoResponse, Response},
};

use keybook_core::paths;

use super::{
    assets::{self, PageFiles},
    document, errors,
};
use crate::model::FirstPage;

/// What every page shows.
const ICON: &str = "/favicon.svg";

/// What the worker does, without the list of what it keeps.
const WORKER: &str = include_str!("worker.js");

static BUILD: LazyLock<Option<String>> = LazyLock::new(|| {
    let files = PageFiles::find();
    let lasts = !cfg!(debug_assertions) && files.are_hashed();
    lasts.then(|| {
        let markup = document::markup(&FirstPage::shell());
        let icon = assets::bytes(ICON).unwrap_or_default();
        let mut hasher = blake3::Hasher::new();
        for part in [markup.as_bytes(), WORKER.as_bytes(), &icon] {
            hasher.update(part);
        }
        // As long as the hashes in the files' names.
        hasher.finalize().to_hex()[..22].to_owned()
    })
});

/// The name of what a device would keep now: another name as soon as anything of that has changed. None where a device keeps
/// nothing.
pub(super) fn build() -> Option<&'static str> {
    BUILD.as_deref()
}

/// `/worker.js`
pub(super) async fn worker() -> Response {
    let Some(build) = build() else { return errors::not_found() };
    let headers = [(header::CONTENT_TYPE, "text/javascript"), (header::CACHE_CONTROL, "no-cache")];
    (headers, script(build, PageFiles::find())).into_response()
}

/// `/shell/{build}`
pub(super) async fn document(Path(asked): Path<String>, request: Request<Body>) -> Response {
    match build() {
        Some(build) if asked == build => document::respond(FirstPage::shell(), Some(build), request).await,
        _ => errors::not_found(),
    }
}

/// The worker of a build.
fn script(build: &str, PageFiles { script, wasm, style }: PageFiles) -> String {
    let (shell, pages) = (format!("/shell/{build}"), paths::page(""));
    let files = [&*shell, &*script, &*wasm, &*style, ICON];
    format!("const build = {build:?}, pages = {pages:?}, shell = {shell:?}, files = {files:?};\n{WORKER}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_keeps_what_its_shell_needs() {
        let files = || PageFiles { script: "/pkg/a.js".into(), wasm: "/pkg/b.wasm".into(), style: "/pkg/c.css".into() };
        let worker = script("1f", files());
        let list = r#"const build = "1f", pages = "/d/", shell = "/shell/1f", files = ["/shell/1f", "/pkg/a.js", "/pkg/b.wasm", "/pkg/c.css", "/favicon.svg"];"#;
        assert_eq!(worker.lines().next(), Some(list));
        assert_ne!(worker, script("2f", files()), "another build is another worker");
    }

    #[test]
    fn the_markup_is_the_same_each_time() {
        let markup = document::markup(&FirstPage::shell());
        assert!(markup.contains("<title>Keybook</title>"), "{markup}");
        assert!(!markup.contains("nonce"), "what is random would make each start a new build: {markup}");
        assert_eq!(markup, document::markup(&FirstPage::shell()));
    }
}
