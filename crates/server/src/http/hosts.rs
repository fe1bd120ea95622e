//! Who may ask: the Host and the Origin of a request.
//!
//! A page of another site makes the browser send requests here. Two checks keep it from reading or writing anything:
//!
//! - **Host.** A site can point its own name at this machine (DNS rebinding). For the browser, site and server then have the
//!   same origin. So a name must be `localhost` or configured. An IP address is always good: nobody can point it elsewhere.
//! - **Origin.** Pages of other origins get no WebSocket, and only GET: an Origin must equal the Host, or be a configured name.
//!   Programs send no Origin.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header, uri::Authority},
    middleware::Next,
    response::Response,
};

use super::problem::problem;
use crate::shared::Shared;

/// Lets a request through, or refuses it.
pub(super) async fn guard(State(server): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    match check(request.method(), request.uri(), request.headers(), &server.config.hosts) {
        Ok(()) => next.run(request).await,
        Err(refusal) => problem(refusal.status(), "Not from there", &refusal.to_string()),
    }
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("the request has no Host, or its Host is not the name or address of a host")]
    NoHost,
    #[error("this server does not go by the name {0:?}; start it with --host to add one")]
    Host(String),
    #[error("a page of {origin:?} may not do this on {host:?}")]
    Origin { origin: String, host: String },
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoHost => StatusCode::BAD_REQUEST,
            Self::Host(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Origin { .. } => StatusCode::FORBIDDEN,
        }
    }
}

fn check(method: &Method, uri: &Uri, headers: &HeaderMap, hosts: &[String]) -> Result<(), Refusal> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    // HTTP/2 has it in the URI.
    let host = match text(header::HOST) {
        Some(host) => host.parse::<Authority>().ok(),
        None => uri.authority().cloned(),
    };
    let host = host.ok_or(Refusal::NoHost)?;
    if !is_ours(&host, hosts) && !is_address(host.host()) {
        return Err(Refusal::Host(host.host().to_owned()));
    }
    let harmless = matches!(*method, Method::GET | Method::HEAD) && !headers.contains_key(header::UPGRADE);
    if harmless {
        return Ok(());
    }
    let refused = |origin: &str| Err(Refusal::Origin { origin: origin.to_owned(), host: host.to_string() });
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site"))
        && !matches!(site, "same-origin" | "none")
    {
        return refused(text(header::ORIGIN).unwrap_or(site));
    }
    match headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or("?")) {
        None => Ok(()),
        Some(origin) => {
            let authority = origin.split_once("://").and_then(|(_, rest)| rest.parse::<Authority>().ok());
            // The same host and port, or, behind a proxy that says its own name, a configured name.
            let same = authority.is_some_and(|origin| origin == host || is_configured(&origin, hosts));
            if same { Ok(()) } else { refused(origin) }
        }
    }
}

fn is_ours(host: &Authority, hosts: &[String]) -> bool {
    host.host().eq_ignore_ascii_case("localhost") || is_configured(host, hosts)
}

fn is_configured(host: &Authority, hosts: &[String]) -> bool {
    hosts.iter().any(|known| known.eq_ignore_ascii_case(host.host()))
}

fn is_address(host: &str) -> bool {
    host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let check_host = |host: &str, expected: Result<(), Refusal>| {
            let headers = [(header::HOST, host.parse().unwrap())].into_iter().collect();
            let hosts = ["keybook.example".to_owned()];
            assert_eq!(check(&Method::GET, &Uri::from_static("/"), &headers, &hosts), expected, "{host}");
        };
        for good in ["localhost", "LOCALHOST:3000", "127.0.0.1:3000", "[::1]:3000", "192.168.1.5", "Keybook.example"] {
            check_host(good, Ok(()));
        }
        for bad in ["evil.example", "localhost.evil.example:3000", "127.0.0.1.evil.example", "keybook.example.evil"] {
            check_host(bad, Err(Refusal::Host(bad.split(':').next().unwrap().to_owned())));
        }
        check_host("a b", Err(Refusal::NoHost));
        let none = check(&Method::GET, &Uri::from_static("/"), &HeaderMap::new(), &[]);
        assert_eq!(none, Err(Refusal::NoHost));
    }

    #[test]
    fn origins() {
        let check_origin = |method: Method, extra: &[(&'static str, &str)], admitted: bool| {
            let mut headers = HeaderMap::new();
            for (name, value) in [("host", "127.0.0.1:3000")].iter().chain(extra) {
                headers.insert(*name, value.parse().unwrap());
            }
            let hosts = ["keybook.example".to_owned()];
            let checked = check(&method, &Uri::from_static("/"), &headers, &hosts);
            assert_eq!(checked.is_ok(), admitted, "{method} {extra:?}: {checked:?}");
        };
        let socket = ("upgrade", "websocket");
        check_origin(Method::GET, &[("origin", "http://evil.example")], true);
        check_origin(Method::GET, &[socket], true);
        check_origin(Method::GET, &[socket, ("origin", "http://127.0.0.1:3000")], true);
        check_origin(Method::GET, &[socket, ("origin", "https://keybook.example")], true);
        check_origin(Method::GET, &[socket, ("origin", "http://127.0.0.1:4000")], false);
        check_origin(Method::GET, &[socket, ("origin", "http://6.6.6.6")], false);
        check_origin(Method::GET, &[socket, ("origin", "null")], false);
        check_origin(Method::GET, &[socket, ("origin", "http://evil.example")], false);
        check_origin(Method::GET, &[socket, ("sec-fetch-site", "cross-site")], false);
        check_origin(Method::GET, &[socket, ("sec-fetch-site", "same-origin")], true);
        check_origin(Method::POST, &[("origin", "http://evil.example")], false);
        check_origin(Method::PUT, &[], true);
    }
}
