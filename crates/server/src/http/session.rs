//! Browsers: a session cookie, and a token in every form against requests forged elsewhere.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use super::AppState;
use crate::console::Page;

/// A signed-in browser.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// Goes into every form of this browser.
    pub(crate) csrf: String,
    /// `light` or `dark` where the person chose.
    pub(crate) theme: Option<&'static str>,
    /// Where the request went, with its query: forms come back here.
    pub(crate) here: String,
    /// Only the inside of the page is wanted.
    pub(crate) fragment: bool,
}

/// Name of the session cookie. Cookies know no ports, so the name holds ours.
pub(crate) fn cookie_name(port: u16) -> String {
    format!("nightcrew_{port}")
}

/// A cookie by name.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

/// The CSRF token of the browser's session.
pub(crate) fn current(state: &AppState, headers: &HeaderMap) -> Option<String> {
    cookie(headers, &cookie_name(state.port)).and_then(|cookie| state.auth.session(cookie))
}

fn of(state: &AppState, parts: &Parts) -> Option<Session> {
    let csrf = current(state, &parts.headers)?;
    let theme = match cookie(&parts.headers, "nightcrew_theme") {
        Some("dark") => Some("dark"),
        Some("light") => Some("light"),
        _ => None,
    };
    let query = parts.uri.query().unwrap_or_default();
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| !pair.is_empty() && *pair != "fragment=main")
        .collect();
    let fragment = query.split('&').any(|pair| pair == "fragment=main");
    let path = parts.uri.path();
    let here = if kept.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", kept.join("&"))
    };
    Some(Session {
        csrf,
        theme,
        here,
        fragment,
    })
}

impl FromRequestParts<AppState> for Session {
    type Rejection = Page;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Page> {
        of(state, parts).ok_or_else(Page::signed_out)
    }
}

/// A form sent by a page of ours: the session, the origin and the form's own token were checked.
pub(crate) struct Form<T>(pub(crate) Session, pub(crate) T);

#[derive(serde::Deserialize)]
struct Token {
    #[serde(default)]
    csrf: String,
}

impl<T: DeserializeOwned> FromRequest<AppState> for Form<T> {
    type Rejection = Page;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Page> {
        let (parts, body) = request.into_parts();
        let session = of(state, &parts).ok_or_else(Page::signed_out)?;
        if !from_our_page(&parts.headers) {
            return Err(Page::forged(&session));
        }
        let bytes = Bytes::from_request(Request::new(body), state)
            .await
            .map_err(|_| Page::forged(&session))?;
        let token: Token =
            serde_urlencoded::from_bytes(&bytes).map_err(|_| Page::forged(&session))?;
        if token.csrf.is_empty() || token.csrf != session.csrf {
            return Err(Page::forged(&session));
        }
        let value = serde_urlencoded::from_bytes(&bytes).map_err(|_| Page::forged(&session))?;
        Ok(Self(session, value))
    }
}

/// Whether the browser says that a page of ours sent this. A page without a referrer sends the
/// origin `null`, so that alone proves nothing; some header must speak for it, and none against.
fn from_our_page(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text("host").unwrap_or_default();
    let site = text("sec-fetch-site");
    if site.is_some_and(|site| site != "same-origin") {
        return false;
    }
    match text("origin") {
        None | Some("null") => site.is_some(),
        Some(origin) => origin.strip_prefix("http://") == Some(host),
    }
}
