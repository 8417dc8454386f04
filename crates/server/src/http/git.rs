//! Git over HTTP: reading is open to this machine, pushing takes the API token as password.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::any;
use forge::http::{HttpOptions, HttpRequest, SmartHttp};
use futures_util::TryStreamExt;
use tokio_util::io::{ReaderStream, StreamReader};

use super::{AppState, guard};

/// The route `/git/…`.
pub(super) fn routes(state: &AppState) -> Router<AppState> {
    let service = Arc::clone(&state.service);
    let on_push: forge::http::OnPush = Arc::new(move |name| service.look_at(name.as_str()));
    let options = HttpOptions {
        on_push: Some(on_push),
        ..HttpOptions::default()
    };
    let smart = SmartHttp::new(state.service.local_forge().clone(), options);
    Router::new().route(
        "/git/{*path}",
        any(move |State(state): State<AppState>, request: Request| {
            serve(state, smart.clone(), request)
        }),
    )
}

async fn serve(state: AppState, smart: SmartHttp, request: Request) -> axum::response::Response {
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().map(str::to_owned);
    let path = parts
        .uri
        .path()
        .strip_prefix("/git")
        .unwrap_or_default()
        .to_owned();
    let pushes = path.ends_with("/git-receive-pack")
        || query
            .as_deref()
            .is_some_and(|query| query.contains("git-receive-pack"));
    if pushes
        && !guard::basic_password(&parts.headers)
            .is_some_and(|given| state.auth.is_api_token(&given))
    {
        let ask = [(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"nightcrew\""),
        )];
        return (
            StatusCode::UNAUTHORIZED,
            ask,
            "pushing needs the API token as password\n",
        )
            .into_response();
    }
    let body = StreamReader::new(body.into_data_stream().map_err(std::io::Error::other));
    let text = |name: &str| text(&parts.headers, name);
    let answer = smart
        .serve(HttpRequest {
            method: parts.method.as_str().to_owned(),
            path,
            query,
            content_type: text("content-type"),
            content_encoding: text("content-encoding"),
            git_protocol: text("git-protocol"),
            body: Box::pin(body),
        })
        .await;
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    let body = Body::from_stream(ReaderStream::new(answer.body));
    response
        .body(body)
        .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}
