//! Budgets: seen, raised, and what was spent.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use model::budget::{Caps, Tokens, Usd};
use model::duration::Length;
use serde::{Deserialize, Serialize};

use super::{Answer, Items};
use crate::http::{AppState, Body, Params, Problem};
use crate::service::{Raise, Shown, SpendBy, SpendRow};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/budgets", get(list))
        .route("/budgets/show", get(show))
        .route("/budgets/raise", post(raise))
        .route("/budgets/spend", get(spend))
}

async fn list(State(state): State<AppState>) -> Answer<Items<Shown>> {
    Ok(Json(Items::new(state.service.budget_list().await?)))
}

#[derive(Deserialize)]
struct Which {
    scope: String,
}

#[derive(Serialize)]
struct Whole {
    account: Shown,
    /// From the one directly above to the organisation.
    above: Vec<Shown>,
    below: Vec<Shown>,
    raises: Vec<Raise>,
}

async fn show(State(state): State<AppState>, Params(which): Params<Which>) -> Answer<Whole> {
    let (account, above, below) = state.service.budget_show(&which.scope).await?;
    let raises = state.service.raises(&account.account.scope).await?;
    Ok(Json(Whole {
        account,
        above,
        below,
        raises,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    scope: String,
    usd: Option<Usd>,
    tokens: Option<Tokens>,
    wall: Option<Length>,
    forge_writes: Option<u64>,
    open_changes: Option<u64>,
    environments: Option<u64>,
    #[serde(default)]
    because: String,
}

async fn raise(State(state): State<AppState>, Body(wanted): Body<Wanted>) -> Answer<Shown> {
    let wall = wanted
        .wall
        .map(|wall| u64::try_from(wall.0.as_millis()).unwrap_or(u64::MAX));
    let to = Caps {
        money: wanted.usd.map(|usd| usd.0.0),
        tokens: wanted.tokens.map(|tokens| tokens.0),
        wall,
        forge_writes: wanted.forge_writes,
        open_changes: wanted.open_changes,
        environments: wanted.environments,
    };
    let person = state.person();
    let raised = state
        .service
        .raise_budget(&wanted.scope, to, &wanted.because, &person)
        .await?;
    Ok(Json(raised))
}

#[derive(Deserialize)]
struct Spend {
    by: Option<SpendBy>,
    format: Option<String>,
}

async fn spend(
    State(state): State<AppState>,
    Params(wanted): Params<Spend>,
) -> Result<Response, Problem> {
    let by = wanted.by.unwrap_or(SpendBy::Automation);
    let rows = state.service.spend(by).await?;
    match wanted.format.as_deref() {
        None | Some("json") => Ok(Json(Items::new(rows)).into_response()),
        Some("csv") => {
            let headers = [
                (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
                (
                    header::CONTENT_DISPOSITION,
                    "attachment; filename=\"spend.csv\"",
                ),
            ];
            Ok((headers, csv(&rows)).into_response())
        }
        Some(other) => Err(Problem::new(
            422,
            "invalid",
            format!("`{other}` is no format: json or csv"),
        )),
    }
}

/// RFC 4180, with names that a spreadsheet cannot take for formulas.
fn csv(rows: &[SpendRow]) -> String {
    let mut text =
        String::from("name,scope,change,usd,tokens,wall_ms,forge_writes,usd_held,tokens_held\r\n");
    for row in rows {
        let change = row.change.map(|number| number.to_string());
        let cells = [
            quoted(&row.name),
            quoted(&row.scope),
            change.unwrap_or_default(),
            Usd(model::budget::MicroUsd(row.spent.money)).to_string(),
            row.spent.tokens.to_string(),
            row.spent.wall.to_string(),
            row.spent.forge_writes.to_string(),
            Usd(model::budget::MicroUsd(row.held.money)).to_string(),
            row.held.tokens.to_string(),
        ];
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text
}

fn quoted(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        "'"
    } else {
        ""
    };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}
