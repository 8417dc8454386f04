//! The console: pages made here, live by server-sent events.
use axum::Router;
use axum::response::{Html, IntoResponse, Response};
use crate::http::{AppState, Session};
pub(crate) struct Page;
impl Page {
    pub(crate) fn signed_out() -> Self { Self }
    pub(crate) fn forged(_: &Session) -> Self { Self }
}
impl IntoResponse for Page { fn into_response(self) -> Response { Html("").into_response() } }
pub(crate) fn routes() -> Router<AppState> { Router::new() }
