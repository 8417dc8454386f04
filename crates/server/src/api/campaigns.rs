//! Campaigns: seen and steered.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use model::campaign::{Campaign, WaveProgress};
use model::rows::{CampaignRow, TaskRow};
use serde::{Deserialize, Serialize};

use super::{Answer, Items, Paging};
use crate::http::{AppState, Params, PathText};
use crate::service::Forecast;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/campaigns", get(list))
        .route("/campaigns/{id}", get(one))
        .route("/campaigns/{id}/pause", post(pause))
        .route("/campaigns/{id}/resume", post(resume))
        .route("/campaigns/{id}/retry", post(retry))
        .route("/campaigns/{id}/close", post(close))
}

#[derive(Deserialize)]
struct Wanted {
    open: Option<String>,
    automation: Option<String>,
}

async fn list(
    State(state): State<AppState>,
    Params(wanted): Params<Wanted>,
    Params(paging): Params<Paging>,
) -> Answer<Items<CampaignRow>> {
    let open = wanted.open.as_deref().is_some_and(is_yes);
    let rows = state
        .service
        .store()
        .campaigns(wanted.automation.as_deref(), open, paging.page())
        .await?;
    Ok(Json(Items::new(rows)))
}

/// `?flag`, `?flag=1`, `?flag=true`.
pub(super) fn is_yes(text: &str) -> bool {
    matches!(text, "" | "1" | "true" | "yes")
}

#[derive(Serialize)]
struct Whole {
    campaign: Campaign,
    counts: BTreeMap<String, u64>,
    waves: Vec<WaveProgress>,
    classes: Vec<Class>,
    spend: Spend,
    forecast: Forecast,
}

#[derive(Serialize)]
struct Class {
    class: String,
    count: u64,
    open: u64,
    sample: TaskRow,
}

#[derive(Serialize)]
struct Spend {
    wall_ms: u64,
    changes: u64,
}

async fn one(State(state): State<AppState>, PathText(id): PathText<String>) -> Answer<Whole> {
    let service = &state.service;
    let id = service.find_campaign(&id).await?;
    let campaign = service.campaign(id).await?;
    let classes = service.store().diff_classes(id).await?.into_iter();
    let classes = classes.map(|row| Class {
        class: row.class,
        count: row.count,
        open: row.open,
        sample: row.sample,
    });
    let (wall_ms, changes) = service.store().campaign_spend(id).await?;
    Ok(Json(Whole {
        campaign,
        counts: service.counts(Some(id)).await?,
        waves: service.store().wave_progress(id).await?,
        classes: classes.collect(),
        spend: Spend { wall_ms, changes },
        forecast: service.forecast_campaign(id).await?,
    }))
}

async fn pause(State(state): State<AppState>, PathText(id): PathText<String>) -> Answer<Campaign> {
    let id = state.service.find_campaign(&id).await?;
    Ok(Json(
        state.service.pause_campaign(id, &state.person()).await?,
    ))
}

async fn resume(State(state): State<AppState>, PathText(id): PathText<String>) -> Answer<Campaign> {
    let id = state.service.find_campaign(&id).await?;
    Ok(Json(
        state.service.resume_campaign(id, &state.person()).await?,
    ))
}

async fn close(State(state): State<AppState>, PathText(id): PathText<String>) -> Answer<Campaign> {
    let id = state.service.find_campaign(&id).await?;
    Ok(Json(
        state.service.close_campaign(id, &state.person()).await?,
    ))
}

#[derive(Serialize)]
struct Retried {
    retried: u64,
}

async fn retry(State(state): State<AppState>, PathText(id): PathText<String>) -> Answer<Retried> {
    let id = state.service.find_campaign(&id).await?;
    Ok(Json(Retried {
        retried: state.service.retry_campaign(id, &state.person()).await?,
    }))
}
