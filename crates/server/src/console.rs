//! The console: pages made on the server, live by server-sent events, without a build step.
//!
//! | file | idea |
//! |---|---|
//! | `page`, `assets`, `parts` | the frame around every page, what it is drawn with, what pages share |
//! | `words`, `facts` | states and facts as sentences |
//! | `network` | what left an environment, or was kept from leaving |
//! | `fence` | how an environment was fenced, and what exec control refused in it |
//! | `terminal_html`, `diff` | logs and patches as markup |
//! | `sign_in`, `actions`, `confirm` | browsers come in; forms; the question before what cannot be undone |
//! | the others | one page each |

mod actions;
mod assets;
mod automations;
mod board;
mod budgets;
mod campaigns;
mod class;
mod confirm;
mod diff;
mod events;
mod facts;
mod fence;
mod inbox;
mod ledger;
mod network;
mod overview;
mod page;
mod parts;
mod repositories;
mod sign_in;
mod task;
mod task_parts;
mod tasks;
mod terminal_html;
mod words;

use axum::Router;
use axum::routing::{get, post};

use crate::http::{AppState, stream};

pub(crate) use page::Page;

/// What a handler of a page answers: the page, or one that says what is wrong.
type Shown = Result<Page, Page>;

/// Everything for browsers.
pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .route("/", get(overview::show))
        .route("/inbox", get(inbox::show))
        .route("/campaigns", get(campaigns::show))
        .route("/campaigns/{id}", get(board::show))
        .route("/campaigns/{id}/confirm/{act}", get(confirm::campaign))
        .route("/campaigns/{id}/act/{act}", post(actions::campaign))
        .route(
            "/campaigns/{id}/classes/{class}",
            get(class::show).post(class::act),
        )
        .route("/tasks", get(tasks::show))
        .route("/tasks/{id}", get(task::show))
        .route("/tasks/{id}/lines", get(task::lines))
        .route("/tasks/{id}/confirm/{act}", get(confirm::task))
        .route("/tasks/{id}/act/{act}", post(actions::task))
        .route("/automations", get(automations::list))
        .route("/automations/{name}", get(automations::one))
        .route(
            "/automations/{name}/confirm/start",
            get(confirm::automation),
        )
        .route("/automations/{name}/act/{act}", post(actions::automation))
        .route("/runs/{id}", get(automations::run))
        .route("/budgets", get(budgets::show))
        .route("/budgets/raise", post(budgets::raise))
        .route("/budgets/stop", post(budgets::stop))
        .route("/budgets/lift", post(budgets::lift))
        .route("/events", get(events::list))
        .route("/events/{id}", get(events::one))
        .route("/events/{id}/replay", post(actions::replay))
        .route(
            "/repositories",
            get(repositories::list).post(actions::import),
        )
        .route("/repositories/{*name}", get(repositories::one))
        .route("/ledger", get(ledger::show))
        .route(
            "/ledger/verify",
            post(ledger::verify).get(async || Page::go("/ledger")),
        )
        .route("/stream", get(signed_in_stream))
        .route("/login", get(sign_in::sign_in))
        .route("/logout", post(sign_in::sign_out))
        .route("/theme", post(sign_in::theme))
        .route("/assets/{file}", get(assets::serve))
        .fallback(page::nowhere)
}

async fn signed_in_stream(
    _: crate::http::Session,
    state: axum::extract::State<AppState>,
    wanted: crate::http::Params<crate::http::Wanted>,
) -> impl axum::response::IntoResponse {
    stream(state, wanted).await
}
