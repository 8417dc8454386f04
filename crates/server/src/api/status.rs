//! Where everything stands.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Serialize;
use store::{Page, TaskFilter};

use super::Answer;
use crate::http::{AppState, stream};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/status", get(status))
        .route("/stream", get(stream))
        .route("/login", post(login))
}

#[derive(Serialize)]
struct Status {
    version: &'static str,
    now: Timestamp,
    started_at: Timestamp,
    store: String,
    ledger: Ledger,
    counts: BTreeMap<String, u64>,
    campaigns: usize,
    open_campaigns: usize,
    repositories: usize,
    automations: usize,
    pending_effects: u64,
    unsettled: u64,
    inbox: u64,
    isolation: Option<serde_json::Value>,
}

#[derive(Serialize)]
struct Ledger {
    size: u64,
    pending: u64,
    checkpoint: Option<String>,
}

async fn status(State(state): State<AppState>) -> Answer<Status> {
    let service = &state.service;
    let store = service.store();
    let now = service.now();
    let ledger = store.ledger_state().await?;
    let campaigns = store.campaigns(None, false, Page::first(u32::MAX)).await?;
    let open = campaigns
        .iter()
        .filter(|row| row.status != model::campaign::CampaignStatus::Closed)
        .count();
    let unsettled = TaskFilter {
        unsettled: true,
        ..TaskFilter::default()
    };
    let inbox = TaskFilter {
        inbox: true,
        ..TaskFilter::default()
    };
    Ok(Json(Status {
        version: state.version,
        now,
        started_at: state.started_at,
        store: store.describe(),
        ledger: Ledger {
            size: ledger.size,
            pending: ledger.pending,
            checkpoint: ledger.checkpoint,
        },
        counts: service.counts(None).await?,
        campaigns: campaigns.len(),
        open_campaigns: open,
        repositories: state.inventory.repositories(service).await?.len(),
        automations: service.automations().await?.len(),
        pending_effects: store.pending_effects(now).await?,
        unsettled: store.count_tasks(unsettled).await?,
        inbox: store.count_tasks(inbox).await? + service.credential_troubles().await?.len() as u64,
        isolation: state.isolation.clone(),
    }))
}

#[derive(Serialize)]
struct Link {
    url: String,
}

/// A link that signs one browser in, once.
async fn login(State(state): State<AppState>) -> Json<Link> {
    let token = state.auth.one_time_token();
    Json(Link {
        url: format!("http://127.0.0.1:{}/login?token={token}", state.port),
    })
}
