//! Automations and their runs.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use model::automation::Automation;
use model::ids::RunId;
use model::rows::RunRow;
use model::run::Run;
use serde::Deserialize;

use super::{Answer, Items, Paging};
use crate::error::ServiceError;
use crate::http::{AppState, Body, Params, PathText, Problem};
use crate::service::{Admitted, Applied, Preview};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/automations", get(list).post(apply))
        .route("/automations/{name}", get(one))
        .route("/automations/{name}/start", post(start))
        .route(
            "/automations/{name}/enable",
            post(|state, name| enable(state, name, true)),
        )
        .route(
            "/automations/{name}/disable",
            post(|state, name| enable(state, name, false)),
        )
        .route("/preview", post(preview))
        .route("/runs", get(runs))
        .route("/runs/{id}", get(run))
}

async fn list(
    State(state): State<AppState>,
    Params(paging): Params<Paging>,
) -> Answer<Items<Automation>> {
    let all = state.service.automations().await?;
    Ok(Json(Items::of(paging.cut(&all), all.len() as u64)))
}

async fn one(
    State(state): State<AppState>,
    PathText(name): PathText<String>,
) -> Answer<Automation> {
    let found = state.service.automation(&name).await?;
    Ok(Json(found.ok_or_else(|| {
        ServiceError::not_found("automation", &name)
    })?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    source: String,
    #[serde(default = "unnamed")]
    file: String,
    #[serde(default)]
    files: BTreeMap<String, String>,
}

fn unnamed() -> String {
    "automation.yaml".to_owned()
}

async fn apply(State(state): State<AppState>, Body(body): Body<Source>) -> Answer<Applied> {
    let person = state.person();
    Ok(Json(
        state
            .service
            .apply_automation(&body.source, &body.file, body.files, &person)
            .await?,
    ))
}

async fn preview(State(state): State<AppState>, Body(body): Body<Source>) -> Answer<Preview> {
    Ok(Json(state.service.preview(&body.source, &body.file).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    key: String,
    #[serde(default)]
    repository: Option<String>,
}

async fn start(
    State(state): State<AppState>,
    PathText(name): PathText<String>,
    Body(body): Body<Start>,
) -> Answer<Admitted> {
    let person = state.person();
    Ok(Json(
        state
            .service
            .start_automation(&name, &body.key, body.repository, &person)
            .await?,
    ))
}

async fn enable(
    State(state): State<AppState>,
    PathText(name): PathText<String>,
    enabled: bool,
) -> Answer<Automation> {
    state
        .service
        .enable_automation(&name, enabled, &state.person())
        .await?;
    one(State(state), PathText(name)).await
}

#[derive(Deserialize)]
struct Wanted {
    automation: Option<String>,
}

async fn runs(
    State(state): State<AppState>,
    Params(wanted): Params<Wanted>,
    Params(paging): Params<Paging>,
) -> Answer<Items<RunRow>> {
    let rows = state
        .service
        .store()
        .runs(wanted.automation.as_deref(), paging.page())
        .await?;
    Ok(Json(Items::new(rows)))
}

async fn run(State(state): State<AppState>, PathText(id): PathText<String>) -> Answer<Run> {
    let id: RunId = id
        .parse()
        .map_err(|_| Problem::not_found(format!("there is no run `{id}`")))?;
    Ok(Json(state.service.run(id).await?))
}
