//! The headers that tell a browser what a response may do, on every response (W3C Content Security Policy 3, Fetch).
//!
//! No inline style is let through: a `style` attribute in rendered HTML does nothing, while a property that a script
//! sets on an element works.
//!
//! Who may ask at all (Host, Origin, tokens) is not decided here.

use axum::{
    http::{HeaderName, HeaderValue, header},
    response::Response,
};

/// What holds for every response: own files only, no plugins, no framing, nowhere else to send a form.
const EVERYWHERE: &str =
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// `cargo leptos watch` reloads the page through a socket on a port of its own.
const CONNECT: &str = if cfg!(debug_assertions) { "'self' ws:" } else { "'self'" };

/// The Content-Security-Policy of a document whose scripts carry `nonce`, in base64. They may load more scripts and compile
/// WebAssembly.
///
/// # Panics
/// When the nonce is no text of printable ASCII.
pub fn document_policy(nonce: &str) -> HeaderValue {
    let policy = format!(
        "{EVERYWHERE}; script-src 'nonce-{nonce}' 'strict-dynamic' 'wasm-unsafe-eval'; \
         connect-src {CONNECT}; worker-src 'self'; manifest-src 'self'"
    );
    HeaderValue::try_from(policy).expect("a nonce is base64")
}

/// Adds what is missing; a document brings its own Content-Security-Policy.
pub(super) async fn apply(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 4] = [
        (header::CONTENT_SECURITY_POLICY, EVERYWHERE),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
