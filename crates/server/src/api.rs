//! The JSON API, version 1: one file per part of the table in `docs/book/api.md`.

mod automations;
mod budgets;
mod campaigns;
mod console_link;
mod events;
mod inventory;
mod ledger;
mod list;
mod report;
mod reviews;
mod status;
mod stops;
mod tasks;

use axum::{Json, Router};

use crate::http::{AppState, Problem};

pub(crate) use events::again;
pub(crate) use list::{Items, Paging};
pub(crate) use reviews::class_members;

/// What handlers answer.
type Answer<T> = Result<Json<T>, Problem>;

/// Everything below `/api/v1`.
pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .merge(status::routes())
        .merge(events::routes())
        .merge(automations::routes())
        .merge(budgets::routes())
        .merge(campaigns::routes())
        .merge(console_link::routes())
        .merge(tasks::routes())
        .merge(reviews::routes())
        .merge(report::routes())
        .merge(stops::routes())
        .merge(inventory::routes())
        .merge(ledger::routes())
        .fallback(|| async { Problem::not_found("there is no such path in this API") })
        .method_not_allowed_fallback(|| async {
            Problem::new(405, "malformed", "this path does not take that method")
        })
}
