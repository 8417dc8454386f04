//! What holds for every request: the right host, the right headers, a token where one is needed.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;

use super::{AppState, Problem, session};

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The host must be ours (a page elsewhere whose name was pointed at this machine is refused), and
/// every answer carries the headers that fence a browser in.
pub(super) async fn every(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let mut response = if is_ours(&request, state.port) {
        next.run(request).await
    } else {
        let hint = format!("open http://127.0.0.1:{}/ instead", state.port);
        Problem::new(
            403,
            "wrong_host",
            "this server answers on loopback under its own name only",
        )
        .hint(hint)
        .into_response()
    };
    let headers = response.headers_mut();
    let set = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in set {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

fn is_ours(request: &Request, port: u16) -> bool {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let host = host.or_else(|| {
        request
            .uri()
            .authority()
            .map(|authority| authority.as_str())
    });
    host.is_some_and(|host| is_loopback(host, port))
}

fn is_loopback(host: &str, port: u16) -> bool {
    let host = host.to_ascii_lowercase();
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|name| {
        host.strip_prefix(name)
            .is_some_and(|rest| match rest.strip_prefix(':') {
                Some(given) => given.parse() == Ok(port),
                None => rest.is_empty() && port == 80,
            })
    })
}

/// Lets in whoever has the API token; a signed-in browser may read as well.
pub(super) async fn bearer(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let token = token
        .and_then(|value| value.strip_prefix("Bearer "))
        .map(str::trim);
    let allowed = token.is_some_and(|token| state.auth.is_api_token(token))
        || (request.method() == Method::GET
            && session::current(&state, request.headers()).is_some());
    if allowed {
        return next.run(request).await;
    }
    let mut response = Problem::new(401, "unauthorized", "this needs the API token")
        .hint("send `Authorization: Bearer TOKEN` with the token of the data directory")
        .into_response();
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// The password of HTTP's basic scheme, as git sends it.
pub(super) fn basic_password(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let encoded = value.strip_prefix("Basic ")?.trim();
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .ok()?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':')
        .map(|(_, password)| password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_loopback_names_with_our_port_are_ours() {
        for host in [
            "127.0.0.1:7070",
            "localhost:7070",
            "LOCALHOST:7070",
            "[::1]:7070",
        ] {
            assert!(is_loopback(host, 7070), "{host}");
        }
        for host in [
            "127.0.0.1",
            "127.0.0.1:7071",
            "evil.example:7070",
            "127.0.0.1.evil.example:7070",
            "localhost:7070x",
        ] {
            assert!(!is_loopback(host, 7070), "{host}");
        }
    }
}
