//! The ledger: seen and verified.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Answer;
use crate::http::{AppState, Body, Params};
use crate::service::LedgerReport;

/// Entries of one answer, at most.
const MOST: u32 = 1000;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/ledger", get(state_of))
        .route("/ledger/entries", get(entries))
        .route("/ledger/verify", post(verify))
}

#[derive(Serialize)]
struct Standing {
    size: u64,
    pending: u64,
    checkpoint: Option<String>,
    key: String,
}

async fn state_of(State(state): State<AppState>) -> Answer<Standing> {
    let ledger = state.service.store().ledger_state().await?;
    let key = state.service.ledger_key();
    Ok(Json(Standing {
        size: ledger.size,
        pending: ledger.pending,
        checkpoint: ledger.checkpoint,
        key,
    }))
}

#[derive(Deserialize)]
struct Part {
    from: Option<u64>,
    limit: Option<u32>,
}

#[derive(Serialize)]
struct Entry {
    index: u64,
    hash: String,
    leaf: Value,
}

async fn entries(State(state): State<AppState>, Params(part): Params<Part>) -> Answer<Vec<Entry>> {
    let limit = part.limit.unwrap_or(100).min(MOST);
    let found = state
        .service
        .store()
        .ledger_entries(part.from.unwrap_or(0), limit)
        .await?;
    let entries = found.into_iter().map(|entry| Entry {
        index: entry.index,
        hash: hex::encode(entry.hash),
        // A leaf that is not JSON any more is shown as the text it is.
        leaf: serde_json::from_slice(&entry.leaf)
            .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&entry.leaf).into_owned())),
    });
    Ok(Json(entries.collect()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Checkpoints {
    #[serde(default)]
    checkpoints: Vec<String>,
}

async fn verify(
    State(state): State<AppState>,
    Body(body): Body<Checkpoints>,
) -> Answer<LedgerReport> {
    state.service.sequence_all().await?;
    Ok(Json(state.service.verify_ledger(&body.checkpoints).await?))
}
