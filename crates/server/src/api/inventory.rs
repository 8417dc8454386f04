//! Repositories, and the forge that holds them.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use forge::RepoName;
use model::repository::Repository;
use serde::{Deserialize, Serialize};

use super::{Answer, Items, Paging};
use crate::error::ServiceError;
use crate::http::{AppState, Body, Params, PathText};
use crate::service::Imported;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/repositories", get(list))
        .route("/repositories/import", post(import))
        .route("/repositories/refresh", post(refresh))
        .route("/repositories/{*name}", get(one))
        .route("/forge/poll", post(poll))
}

#[derive(Deserialize)]
struct Wanted {
    q: Option<String>,
}

async fn list(
    State(state): State<AppState>,
    Params(wanted): Params<Wanted>,
    Params(paging): Params<Paging>,
) -> Answer<Items<Repository>> {
    let all = state.inventory.repositories(&state.service).await?;
    let text = wanted.q.unwrap_or_default().to_lowercase();
    let found: Vec<Repository> = all
        .iter()
        .filter(|repository| repository.name.to_lowercase().contains(&text))
        .cloned()
        .collect();
    Ok(Json(Items::of(paging.cut(&found), found.len() as u64)))
}

async fn one(
    State(state): State<AppState>,
    PathText(name): PathText<String>,
) -> Answer<Repository> {
    let found = state.service.repository(&name).await?;
    Ok(Json(found.ok_or_else(|| {
        ServiceError::not_found("repository", &name)
    })?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Import {
    source: String,
}

async fn import(State(state): State<AppState>, Body(body): Body<Import>) -> Answer<Vec<Imported>> {
    Ok(Json(state.service.import(&body.source).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    #[serde(default)]
    repository: Option<RepoName>,
}

#[derive(Serialize)]
struct Refreshed {
    refreshed: usize,
}

async fn refresh(State(state): State<AppState>, Body(which): Body<Which>) -> Answer<Refreshed> {
    let refreshed = match which.repository {
        Some(name) => state.service.refresh(&name).await.map(|_| 1)?,
        None => state.service.refresh_all().await?,
    };
    Ok(Json(Refreshed { refreshed }))
}

#[derive(Serialize)]
struct Polled {
    admitted: usize,
    problems: Vec<String>,
}

async fn poll(State(state): State<AppState>, Body(which): Body<Which>) -> Answer<Polled> {
    let names = match which.repository {
        Some(name) => vec![name],
        None => {
            let all = state.inventory.repositories(&state.service).await?;
            all.iter()
                .filter_map(|repository| repository.name.parse().ok())
                .collect()
        }
    };
    let mut polled = Polled {
        admitted: 0,
        problems: Vec::new(),
    };
    for name in names {
        match state.service.read_news(&name).await {
            Ok(count) => polled.admitted += count,
            Err(error) => polled.problems.push(format!("{name}: {error}")),
        }
    }
    Ok(Json(polled))
}
