//! What every request passes first, and what every answer carries: against pages of other sites that
//! a browser on this machine has open.
//!
//! A site may point its own name at 127.0.0.1 (DNS rebinding) and then read whatever listens here.
//! The browser still says the site's name as `Host`: only addresses and `localhost` are answered,
//! unless the operator has let other machines in, who may know this one by any name.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderName,
    HeaderValue, ORIGIN, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::services;
use crate::services::http::Reply;

/// The largest body of a request, in bytes.
const BODY_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// By which names this machine may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// By address or as `localhost`: only this machine asks.
    Local,
    /// By any: other machines ask, too.
    Any,
}

/// What guards a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Guard {
    pub(super) names: Names,
    pub(super) says: Says,
}

/// How a refusal is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// In a line.
    Text,
    /// As the API of services tells all of them.
    Json,
}

/// Refuses what no tool of the user sends, and marks the answer as nothing to run or keep.
pub(super) async fn guard(State(guarded): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = match refusal(guarded.names, request.method(), request.headers()) {
        Some((code, text)) if guarded.says == Says::Text => {
            (code, format!("{text}\n")).into_response()
        }
        Some((StatusCode::PAYLOAD_TOO_LARGE, _)) => services::of(Reply::too_large()),
        Some((code, text)) => services::of(Reply::refused(code.as_u16(), "forbidden", text)),
        None => next.run(request).await,
    };
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

fn refusal(
    names: Names,
    method: &Method,
    headers: &HeaderMap,
) -> Option<(StatusCode, &'static str)> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let is_known = |host: &str| names == Names::Any || is_local(host);
    if text(&HOST).is_some_and(|host| !is_known(host)) {
        let text = "this server answers to localhost and to addresses, not to that name";
        return Some((StatusCode::FORBIDDEN, text));
    }
    // Only a page in a browser has an origin, and none of ours asks from another one.
    let is_foreign = |origin: &str| match origin.split_once("://") {
        Some((_, host)) => Some(host) != text(&HOST),
        None => true,
    };
    let fetch_site = text(&HeaderName::from_static("sec-fetch-site"));
    let fetch_mode = text(&HeaderName::from_static("sec-fetch-mode"));
    let is_cross_site = fetch_site == Some("cross-site") && fetch_mode != Some("navigate");
    if is_cross_site || text(&ORIGIN).is_some_and(is_foreign) {
        return Some((StatusCode::FORBIDDEN, "a page of another site asked"));
    }
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let length = text(&CONTENT_LENGTH).map_or(Some(0), |length| length.parse::<u64>().ok());
    if !is_read && length.is_none_or(|length| length > BODY_BYTES_MAX) {
        return Some((StatusCode::PAYLOAD_TOO_LARGE, "the body is over 2097152 bytes"));
    }
    None
}

/// Whether the host, with or without a port, is an address or `localhost`.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(name, _)| name),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: Names, headers: &[(&'static str, &'static str)], expected: Option<u16>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let found = refusal(names, &Method::GET, &map).map(|(code, _)| code.as_u16());
        assert_eq!(found, expected, "{names:?} {headers:?}");
    }

    #[test]
    fn only_our_own_names_are_answered() {
        for host in ["localhost:8080", "LOCALHOST", "127.0.0.1", "[::1]:8080", "192.168.1.7:80"] {
            check(Names::Local, &[("host", host)], None);
        }
        for host in
            ["evil.example", "evil.example:8080", "localhost.evil.example", "", "127.0.0.1.nip.io"]
        {
            check(Names::Local, &[("host", host)], Some(403));
            check(Names::Any, &[("host", host)], None);
        }
        check(Names::Local, &[], None); // HTTP/1.0: no browser.
    }

    #[test]
    fn pages_of_other_sites_get_nothing() {
        let host = ("host", "localhost:8080");
        check(Names::Local, &[host, ("origin", "http://localhost:8080")], None);
        check(Names::Local, &[host, ("origin", "http://localhost:3000")], Some(403));
        check(Names::Any, &[host, ("origin", "https://evil.example")], Some(403));
        check(Names::Local, &[host, ("origin", "null")], Some(403));
        let cross = ("sec-fetch-site", "cross-site");
        check(Names::Local, &[host, cross], Some(403));
        check(Names::Local, &[host, cross, ("sec-fetch-mode", "navigate")], None);
        check(Names::Local, &[host, ("sec-fetch-site", "none")], None);
    }

    #[test]
    fn large_bodies_are_refused_before_they_come() {
        let mut map = HeaderMap::new();
        map.insert(CONTENT_LENGTH, HeaderValue::from_static("2097153"));
        let refused = refusal(Names::Local, &Method::POST, &map).map(|(code, _)| code);
        assert_eq!(refused, Some(StatusCode::PAYLOAD_TOO_LARGE));
        map.insert(CONTENT_LENGTH, HeaderValue::from_static("2097152"));
        assert_eq!(refusal(Names::Local, &Method::POST, &map), None);
    }
}
