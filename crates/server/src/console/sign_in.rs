//! Browsers come in by a link that works once.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect};
use serde::Deserialize;

use super::Page;
use crate::http::{AppState, Form, Params, cookie, cookie_name};

#[derive(Deserialize)]
pub(super) struct Link {
    #[serde(default)]
    token: String,
    to: Option<String>,
}

/// `GET /login?token=…`: the token becomes a session, and is used up.
pub(super) async fn sign_in(State(state): State<AppState>, Params(link): Params<Link>) -> Page {
    let Some(value) = state.auth.sign_in(&link.token) else {
        return Page::signed_out();
    };
    let set = format!(
        "{}={value}; HttpOnly; SameSite=Strict; Path=/",
        cookie_name(state.port)
    );
    with_cookie(local(link.to.as_deref()), &set)
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

/// Ends the session.
pub(super) async fn sign_out(
    State(state): State<AppState>,
    headers: HeaderMap,
    _: Form<Nothing>,
) -> Page {
    let name = cookie_name(state.port);
    if let Some(value) = cookie(&headers, &name) {
        state.auth.sign_out(value);
    }
    with_cookie(
        "/",
        &format!("{name}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0"),
    )
}

#[derive(Deserialize)]
pub(super) struct Theme {
    theme: String,
    #[serde(default)]
    back: String,
}

/// Remembers light or dark in a cookie.
pub(super) async fn theme(Form(_, form): Form<Theme>) -> Page {
    let set = match form.theme.as_str() {
        theme @ ("light" | "dark") => {
            format!("nightcrew_theme={theme}; SameSite=Strict; Path=/; Max-Age=31536000")
        }
        _ => "nightcrew_theme=; SameSite=Strict; Path=/; Max-Age=0".to_owned(),
    };
    with_cookie(local(Some(&form.back)), &set)
}

fn with_cookie(to: &str, cookie: &str) -> Page {
    let mut response = Redirect::to(to).into_response();
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    Page::response(response)
}

/// An address of this server, or the overview: nobody is sent elsewhere.
pub(super) fn local(to: Option<&str>) -> &str {
    let fine = |to: &&str| {
        to.starts_with('/')
            && !to.starts_with("//")
            && !to.contains('\\')
            && to.chars().all(|c| c.is_ascii_graphic())
    };
    to.filter(fine).unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn nobody_is_sent_elsewhere() {
        assert_eq!(local(Some("/inbox?x=1")), "/inbox?x=1");
        for bad in [
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "/a\nb",
            "",
        ] {
            assert_eq!(local(Some(bad)), "/", "{bad}");
        }
    }
}
