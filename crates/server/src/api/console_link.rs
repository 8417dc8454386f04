//! A token that opens the console once, for whoever holds the API's token.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::http::AppState;

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/console-link", post(make))
}

async fn make(State(state): State<AppState>) -> Json<Value> {
    Json(json!({"token": state.auth.one_time_token()}))
}
