//! Who may ask: the Host and the Origin of a request.
//!
//! A page of another site makes the browser send requests here. Two checks keep it from reading or writing anything:
//!
//! - **Host.** A site can point its own name at this machine (DNS rebinding). For the browser, site and server then have the
//!   same origin. So a name must be `localhost` or configured. An IP address is always good: nobody can point it elsewhere.
//! - **Origin.** Pages of other origins may link here, and GET what is no API; there is no WebSocket for them. An Origin must equal
//!   the Host, or be a configured name, and what browsers say of the asking site must agree. Programs say neither.

use std::{str::FromStr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header, uri::Authority},
    middleware::Next,
    response::Response,
};

use keybook_core::paths;

use super::problem::problem;
use crate::shared::Shared;

/// A name under which people reach the server: what a Host and an Origin have between scheme and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

/// Why a text is no [`HostName`]. The message says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the name of a host: write {instead}")]
pub struct HostNameError {
    text: String,
    instead: String,
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, HostNameError> {
        if is_name(text) {
            return Ok(Self(text.to_owned()));
        }
        // What is left of an address, or of a Host with its port.
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let rest = rest.parse::<Authority>().map_or(String::new(), |authority| authority.host().to_owned());
        let rest = rest.trim_end_matches('.');
        let instead = if is_name(rest) {
            format!("{rest:?} alone")
        } else if text.is_ascii() {
            "each name in full, such as \"keybook.example\"".to_owned()
        } else {
            "it as browsers send it, in ASCII (\"xn--...\")".to_owned()
        };
        Err(HostNameError { text: text.to_owned(), instead })
    }
}

/// Whether a text is a host name (RFC 1123, with the underscore that is in use) or an address.
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len())
            && label.bytes().all(is_inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (text.len() <= 253 && text.split('.').all(is_label)) || (text.starts_with('[') && is_address(text))
}

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
    #[error("the request has more than one Host")]
    Hosts,
    #[error("this server does not go by the name {0:?}; start it with --host to add one")]
    Host(String),
    #[error("a page of {origin:?} may not do this on {host:?}")]
    Origin { origin: String, host: String },
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoHost | Self::Hosts => StatusCode::BAD_REQUEST,
            Self::Host(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Origin { .. } => StatusCode::FORBIDDEN,
        }
    }
}

fn check(method: &Method, uri: &Uri, headers: &HeaderMap, hosts: &[HostName]) -> Result<(), Refusal> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    // Whoever stands before the server may have looked at the other one (RFC 9112, section 3.2).
    if headers.get_all(header::HOST).iter().count() > 1 {
        return Err(Refusal::Hosts);
    }
    // HTTP/2 has it in the URI.
    let host = match text(header::HOST) {
        Some(host) => host.parse::<Authority>().ok(),
        None => uri.authority().cloned(),
    };
    let host = host.ok_or(Refusal::NoHost)?;
    if !is_ours(&host, hosts) && !is_address(host.host()) {
        return Err(Refusal::Host(host.host().to_owned()));
    }
    // A link leads to pages and their files. What programs read is for no page of another site, not even to look at.
    let is_linked = matches!(*method, Method::GET | Method::HEAD)
        && !headers.contains_key(header::UPGRADE)
        && !uri.path().starts_with(paths::API);
    if is_linked {
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

fn is_ours(host: &Authority, hosts: &[HostName]) -> bool {
    host.host().eq_ignore_ascii_case("localhost") || is_configured(host, hosts)
}

fn is_configured(host: &Authority, hosts: &[HostName]) -> bool {
    hosts.iter().any(|HostName(known)| known.eq_ignore_ascii_case(host.host()))
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
            let hosts = ["keybook.example".parse().unwrap()];
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

    /// A proxy that looks at the last Host let through what a server that looks at the first one took for another.
    #[test]
    fn a_request_has_one_host() {
        let mut headers = HeaderMap::new();
        for host in ["localhost", "localhost"] {
            headers.append(header::HOST, host.parse().unwrap());
        }
        let refusal = check(&Method::GET, &Uri::from_static("/"), &headers, &[]).unwrap_err();
        assert_eq!((refusal.status(), refusal), (StatusCode::BAD_REQUEST, Refusal::Hosts));
    }

    /// They were accepted, and no Host ever equalled them.
    #[test]
    fn names_that_no_host_can_have() {
        let check = |text: &str, instead: &str| {
            let error = text.parse::<HostName>().unwrap_err().to_string();
            assert_eq!(error, format!("{text:?} is not the name of a host: write {instead}"));
        };
        for text in ["https://x", "x:443", "https://x:443/d/main", "x/", "me@x", "x."] {
            check(text, r#""x" alone"#);
        }
        check("https://[::1]:3000/", r#""[::1]" alone"#);
        for text in ["*", "*.example", "", " x", "a..b", "-a", "http://"] {
            check(text, r#"each name in full, such as "keybook.example""#);
        }
        check("bücher.example", r#"it as browsers send it, in ASCII ("xn--...")"#);
        for good in ["x", "keybook.example", "KEYBOOK", "my_box.local", "10.0.0.1", "[::1]", "xn--bcher-kva.example"] {
            assert!(good.parse::<HostName>().is_ok(), "{good}");
        }
    }

    #[test]
    fn origins() {
        let check_at = |path: &'static str, method: Method, extra: &[(&'static str, &str)], admitted: bool| {
            let mut headers = HeaderMap::new();
            for (name, value) in [("host", "127.0.0.1:3000")].iter().chain(extra) {
                headers.insert(*name, value.parse().unwrap());
            }
            let hosts = ["keybook.example".parse().unwrap()];
            let checked = check(&method, &Uri::from_static(path), &headers, &hosts);
            assert_eq!(checked.is_ok(), admitted, "{method} {path} {extra:?}: {checked:?}");
        };
        let check_origin =
            |method: Method, extra: &[(&'static str, &str)], admitted: bool| check_at("/", method, extra, admitted);
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
        // A link of another site leads to a page; a snapshot, and what else is for programs, it may not even ask for.
        check_origin(Method::GET, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], true);
        let snapshot = "/api/v1/dictionaries/main/snapshot";
        for method in [Method::GET, Method::HEAD] {
            check_at(snapshot, method.clone(), &[], true);
            check_at(snapshot, method.clone(), &[("sec-fetch-site", "same-origin")], true);
            check_at(snapshot, method.clone(), &[("sec-fetch-site", "none")], true);
            check_at(snapshot, method.clone(), &[("sec-fetch-site", "same-site")], false);
            check_at(snapshot, method.clone(), &[("sec-fetch-site", "cross-site")], false);
            check_at(snapshot, method, &[("origin", "http://evil.example")], false);
        }
    }
}
