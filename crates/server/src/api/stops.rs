//! The kill switch.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::{Answer, Items};
use crate::http::{AppState, Body};
use crate::service::Stopped;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/stops", get(list).post(stop))
        .route("/stops/lift", post(lift))
}

async fn list(State(state): State<AppState>) -> Answer<Items<Stopped>> {
    let stops = state.service.stops().await?;
    Ok(Json(Items::new(stops.0.values().cloned().collect())))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    scope: String,
    #[serde(default)]
    because: String,
}

async fn stop(State(state): State<AppState>, Body(wanted): Body<Wanted>) -> Answer<Stopped> {
    let person = state.person();
    let stopped = state.service.stop(&wanted.scope, &wanted.because, &person);
    Ok(Json(stopped.await?))
}

#[derive(Serialize)]
struct Lifted {
    lifted: String,
}

async fn lift(State(state): State<AppState>, Body(wanted): Body<Wanted>) -> Answer<Lifted> {
    state.service.lift(&wanted.scope, &state.person()).await?;
    Ok(Json(Lifted {
        lifted: wanted.scope,
    }))
}
