//! The page's own files: its WebAssembly, style and icon, as scripts/page.mjs, or `cargo leptos watch`, left them in the site
//! folder.
//!
//! A release binary carries them in itself and runs from any directory; a debug build reads them from the folder, so
//! that `cargo leptos watch` need not build the server again for a new style. Without a site folder (plain `cargo test`)
//! there are no files, and pages are served without life.

use std::{borrow::Cow, sync::LazyLock};

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use headers::{ETag, HeaderMapExt, IfNoneMatch};
use leptos::config::{LeptosOptions, get_config_from_str};
use rust_embed::{EmbeddedFile, RustEmbed};

/// What `cargo leptos` and the server agree on: names and ports.
pub(super) static OPTIONS: LazyLock<LeptosOptions> = LazyLock::new(|| {
    get_config_from_str(include_str!("../../Leptos.toml"))
        .expect("Leptos.toml is the build's own, and any LEPTOS_ variable is set by cargo leptos")
});

/// How a file may be encoded, the best first: its name in HTTP, and the suffix that precompression gives a file.
const ENCODINGS: [(&str, &str); 2] = [("br", "br"), ("gzip", "gz")];

/// The length of the hash that scripts/page.mjs puts into a file's name.
const HASH_LENGTH: usize = 22;

#[derive(RustEmbed)]
#[folder = "target/site"]
#[allow_missing = true]
struct Site;

/// The addresses of the files that a document names.
pub(super) struct PageFiles {
    pub(super) script: String,
    pub(super) wasm: String,
    pub(super) style: String,
}

impl PageFiles {
    /// Finds the files by their names, hashed or not, so that no list of hashes can disagree with what is served.
    pub(super) fn find() -> Self {
        let LeptosOptions { output_name, site_pkg_dir, .. } = &*OPTIONS;
        let stem = format!("{site_pkg_dir}/{output_name}.");
        let find = |extension: &str| {
            let hashed = Site::iter().find(|path| {
                path.strip_prefix(&stem)
                    .and_then(|rest| rest.strip_suffix(extension))
                    .is_some_and(|hash| hash.len() == HASH_LENGTH + 1)
            });
            hashed.map_or_else(|| format!("/{stem}{extension}"), |path| format!("/{path}"))
        };
        Self { script: find("js"), wasm: find("wasm"), style: find("css") }
    }

    /// Whether each name changes with its file's bytes.
    pub(super) fn are_hashed(&self) -> bool {
        [&self.script, &self.wasm, &self.style].iter().all(|address| is_hashed(address.trim_start_matches('/')))
    }
}

/// The bytes of the file at an address.
pub(super) fn bytes(address: &str) -> Option<Cow<'static, [u8]>> {
    Some(Site::get(address.trim_start_matches('/'))?.data)
}

/// The file at an address, in the best encoding that the client accepts.
pub(super) fn response(address: &str, headers: &HeaderMap) -> Option<Response> {
    let path = address.trim_start_matches('/');
    let file = Site::get(path)?;
    let media_type = file.metadata.mimetype().to_owned();
    let (encoding, file) = encoded(path, headers).map_or((None, file), |(name, file)| (Some(name), file));

    // Each encoding has its own tag, as RFC 9110 section 8.8.3 asks of different bytes.
    let tag = entity_tag(&file);
    let unchanged = is_known(headers, &tag);
    let about = [
        (header::CONTENT_TYPE, &*media_type),
        (header::CACHE_CONTROL, if is_hashed(path) { "public, max-age=31536000, immutable" } else { "no-cache" }),
        (header::ETAG, &tag),
        (header::VARY, "accept-encoding"),
    ];
    let encoding = encoding.map(|name| [(header::CONTENT_ENCODING, name)]);
    Some(if unchanged {
        (StatusCode::NOT_MODIFIED, about, encoding, ()).into_response()
    } else {
        (about, encoding, file.data).into_response()
    })
}

fn encoded(path: &str, headers: &HeaderMap) -> Option<(&'static str, EmbeddedFile)> {
    let accepted = headers.get(header::ACCEPT_ENCODING)?.to_str().ok()?;
    ENCODINGS
        .into_iter()
        .filter(|(name, _)| accepts(accepted, name))
        .find_map(|(name, suffix)| Some((name, Site::get(&format!("{path}.{suffix}"))?)))
}

/// Whether an Accept-Encoding names `encoding` with a weight above zero (RFC 9110, section 12.5.3). Wildcards count as
/// not named: the file as it is will always do.
fn accepts(accepted: &str, encoding: &str) -> bool {
    accepted.split(',').any(|item| {
        let (name, weight) = item.split_once(';').unwrap_or((item, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case(encoding) && weight.is_some_and(|weight| weight > 0.0)
    })
}

/// Whether the name of the file changes with its bytes: `name.hash.extension` in the folder of the build's output.
fn is_hashed(path: &str) -> bool {
    path.strip_prefix(&*OPTIONS.site_pkg_dir).and_then(|path| path.strip_prefix('/')).is_some_and(|name| {
        let parts: Vec<&str> = name.split('.').collect();
        matches!(parts[..], [_, hash, _] if hash.len() == HASH_LENGTH)
    })
}

fn entity_tag(file: &EmbeddedFile) -> String {
    // 128 bits of the SHA-256 name a file well enough.
    let hash = u128::from_be_bytes(*file.metadata.sha256_hash().first_chunk().expect("32 bytes hold 16"));
    format!("\"{hash:032x}\"")
}

/// Whether the client says that it has what this tag names: in a list too, and weakly, as a proxy that compresses makes a tag (RFC
/// 9110, section 13.1.2).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let tag: ETag = tag.parse().expect("it is in quotes");
    headers.typed_get::<IfNoneMatch>().is_some_and(|known| !known.precondition_passes(&tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A proxy that compressed a file made its tag weak, and the file was sent again each time.
    #[test]
    fn a_tag_is_known_weakly_and_in_a_list() {
        let check = |known: &[&str], expected: bool| {
            let headers = known.iter().map(|known| (header::IF_NONE_MATCH, known.parse().unwrap())).collect();
            assert_eq!(is_known(&headers, "\"1f\""), expected, "{known:?}");
        };
        check(&[], false);
        check(&["\"1f\""], true);
        check(&["W/\"1f\""], true);
        check(&["\"a,b\" , W/\"1f\""], true);
        check(&["\"2f\"", "\"1f\""], true);
        check(&["*"], true);
        check(&["\"2f\", W/\"3f\""], false);
        check(&["1f"], false);
    }

    #[test]
    fn an_encoding_counts_only_when_it_is_accepted() {
        let check = |accepted: &str, expected: [bool; 2]| {
            assert_eq!(ENCODINGS.map(|(name, _)| accepts(accepted, name)), expected, "{accepted}");
        };
        check("gzip, deflate, br, zstd", [true, true]);
        check("gzip", [false, true]);
        check("GZIP;q=0.5, br; q=0", [false, true]);
        check("br;q=0.000", [false, false]);
        check("brotli, *", [false, false]);
        check("", [false, false]);
    }

    #[test]
    fn only_a_hashed_name_is_kept_for_ever() {
        let check = |path: &str, expected: bool| assert_eq!(is_hashed(path), expected, "{path}");
        check("pkg/keybook.8kF0sbCXhd5mWz0UHuVXzA.wasm", true);
        check("pkg/keybook.wasm", false);
        check("pkg/snippets/glue/inline0.js", false);
        check("favicon.svg", false);
        check("other/keybook.8kF0sbCXhd5mWz0UHuVXzA.wasm", false);
    }
}
