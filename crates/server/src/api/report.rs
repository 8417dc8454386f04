//! What the report steps of a campaign put out, as a table.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::{StreamExt, TryStreamExt, stream};
use model::ids::CampaignId;
use model::step::Outputs;
use model::task::TaskStatus;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{Page, TaskFilter, TaskOrder};

use crate::error::ServiceError;
use crate::http::{AppState, Params, Problem};
use crate::service::Service;

/// Tasks read at once.
const AT_ONCE: usize = 8;

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/report", get(report))
}

#[derive(Deserialize)]
struct Wanted {
    campaign: String,
    format: Option<String>,
}

#[derive(Serialize)]
struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

async fn report(
    State(state): State<AppState>,
    Params(wanted): Params<Wanted>,
) -> Result<Response, Problem> {
    let campaign = state.service.find_campaign(&wanted.campaign).await?;
    let table = table(&state.service, campaign).await?;
    match wanted.format.as_deref() {
        Some("csv") => {
            let disposition = (
                header::CONTENT_DISPOSITION,
                "attachment; filename=\"report.csv\"",
            );
            Ok((
                [
                    (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
                    disposition,
                ],
                csv(&table),
            )
                .into_response())
        }
        None | Some("json") => Ok(Json(table).into_response()),
        Some(other) => Err(Problem::new(
            422,
            "invalid",
            format!("`{other}` is no format: json or csv"),
        )),
    }
}

async fn table(service: &Service, campaign: CampaignId) -> Result<Table, ServiceError> {
    let filter = TaskFilter {
        campaign: Some(campaign),
        ..TaskFilter::default()
    };
    let rows = service
        .store()
        .tasks(filter, TaskOrder::Target, Page::first(u32::MAX))
        .await?;
    let begun = rows
        .into_iter()
        .filter(|row| row.status != TaskStatus::Queued);
    let reported: Vec<_> = stream::iter(begun)
        .map(|row| async move {
            let task = service.task(row.id).await?;
            let mut outputs = Outputs::new();
            for step in task.steps.iter().filter(|step| step.kind == "report") {
                outputs.extend(step.outputs.clone());
            }
            Ok::<_, ServiceError>((task, outputs))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let names: BTreeSet<String> = reported
        .iter()
        .flat_map(|(_, outputs)| outputs.keys().cloned())
        .collect();
    let mut columns = vec!["target".to_owned(), "status".to_owned()];
    columns.extend(names.iter().cloned());
    let rows = reported
        .into_iter()
        .filter(|(_, outputs)| !outputs.is_empty())
        .map(|(task, outputs)| {
            let mut row = vec![
                Value::from(task.target.to_string()),
                Value::from(task.status.as_str()),
            ];
            row.extend(
                names
                    .iter()
                    .map(|name| outputs.get(name).cloned().unwrap_or(Value::Null)),
            );
            row
        });
    Ok(Table {
        columns,
        rows: rows.collect(),
    })
}

/// RFC 4180. A text that a spreadsheet would take for a formula gets an apostrophe in front.
fn csv(table: &Table) -> String {
    let mut out = String::new();
    let mut line = |cells: Vec<String>| {
        out.push_str(&cells.join(","));
        out.push_str("\r\n");
    };
    line(table.columns.iter().map(|text| cell(text)).collect());
    for row in &table.rows {
        line(row.iter().map(value).collect());
    }
    out
}

fn value(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => cell(text),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => cell(&value.to_string()),
    }
}

fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_quotes_what_needs_it_and_disarms_formulas() {
        let table = Table {
            columns: vec!["target".into(), "a,b".into()],
            rows: vec![
                vec!["=cmd()".into(), Value::from(3)],
                vec!["say \"x\"".into(), Value::Null],
            ],
        };
        assert_eq!(
            csv(&table),
            "target,\"a,b\"\r\n'=cmd(),3\r\n\"say \"\"x\"\"\",\r\n"
        );
    }
}
