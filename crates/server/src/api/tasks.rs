//! Tasks: listed, seen from all sides, steered.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use model::egress::KeptEgressBatch;
use model::evidence::Evidence;
use model::exec::KeptExecBatch;
use model::fact::{Recorded, TaskFact};
use model::protocol::LogLine;
use model::rows::TaskRow;
use model::task::Task;
use serde::{Deserialize, Serialize};
use store::{TaskFilter, TaskOrder};

use super::campaigns::is_yes;
use super::{Answer, Items, Paging};
use crate::http::{AppState, Params, PathText, Problem};
use crate::service::CredentialTrouble;
use crate::terminal;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/tasks", get(list))
        .route("/inbox", get(inbox))
        .route("/tasks/{id}", get(one))
        .route("/tasks/{id}/facts", get(facts))
        .route("/tasks/{id}/log", get(log))
        .route("/tasks/{id}/log/live", get(live))
        .route("/tasks/{id}/diff", get(diff))
        .route("/tasks/{id}/evidence", get(evidence))
        .route("/tasks/{id}/exec", get(exec))
        .route("/tasks/{id}/network", get(network))
        .route("/tasks/{id}/retry", post(retry))
        .route("/tasks/{id}/cancel", post(cancel))
        .route("/tasks/{id}/pause", post(pause))
        .route("/tasks/{id}/resume", post(resume))
}

/// Which tasks, as a query says it.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) campaign: Option<String>,
    run: Option<model::RunId>,
    automation: Option<String>,
    repository: Option<String>,
    status: Option<String>,
    wave: Option<u32>,
    class: Option<String>,
    inbox: Option<String>,
    unsettled: Option<String>,
    q: Option<String>,
    order: Option<String>,
}

impl Wanted {
    async fn filter(self, state: &AppState) -> Result<(TaskFilter, TaskOrder), Problem> {
        let campaign = match self.campaign.filter(|text| !text.is_empty()) {
            Some(text) => Some(state.service.find_campaign(&text).await?),
            None => None,
        };
        let mut statuses = Vec::new();
        for word in self
            .status
            .iter()
            .flat_map(|text| text.split(','))
            .filter(|word| !word.is_empty())
        {
            statuses.push(
                word.parse()
                    .map_err(|text: String| Problem::new(422, "invalid", text))?,
            );
        }
        let order = match self.order.as_deref() {
            Some("target") => TaskOrder::Target,
            None | Some("" | "newest") => TaskOrder::Newest,
            Some(other) => {
                return Err(Problem::new(
                    422,
                    "invalid",
                    format!("`{other}` is no order: newest or target"),
                ));
            }
        };
        let filter = TaskFilter {
            campaign,
            run: self.run,
            automation: self.automation,
            repository: self.repository,
            change: None,
            statuses,
            wave: self.wave,
            diff_class: self.class,
            inbox: self.inbox.as_deref().is_some_and(is_yes),
            unsettled: self.unsettled.as_deref().is_some_and(is_yes),
            text: self.q.filter(|text| !text.is_empty()),
        };
        Ok((filter, order))
    }
}

async fn list(
    State(state): State<AppState>,
    Params(wanted): Params<Wanted>,
    Params(paging): Params<Paging>,
) -> Answer<Items<TaskRow>> {
    let (filter, order) = wanted.filter(&state).await?;
    page(&state, filter, order, &paging).await
}

#[derive(Serialize)]
struct Inbox {
    #[serde(flatten)]
    tasks: Items<TaskRow>,
    /// Entries that are no tasks: credentials to mend.
    credentials: Vec<CredentialTrouble>,
}

async fn inbox(State(state): State<AppState>, Params(paging): Params<Paging>) -> Answer<Inbox> {
    let filter = TaskFilter {
        inbox: true,
        ..TaskFilter::default()
    };
    let Json(tasks) = page(&state, filter, TaskOrder::Newest, &paging).await?;
    let credentials = state.service.credential_troubles().await?;
    Ok(Json(Inbox { tasks, credentials }))
}

async fn page(
    state: &AppState,
    filter: TaskFilter,
    order: TaskOrder,
    paging: &Paging,
) -> Answer<Items<TaskRow>> {
    let store = state.service.store();
    let total = store.count_tasks(filter.clone()).await?;
    Ok(Json(Items::of(
        store.tasks(filter, order, paging.page()).await?,
        total,
    )))
}

/// The task that a path means.
pub(super) async fn task(state: &AppState, text: &str) -> Result<Task, Problem> {
    let id = state.service.find_task(text).await?;
    Ok(state.service.task(id).await?)
}

#[derive(Deserialize)]
struct WithFacts {
    facts: Option<String>,
}

#[derive(Serialize)]
struct One {
    task: Task,
    #[serde(skip_serializing_if = "Option::is_none")]
    facts: Option<Vec<Recorded<TaskFact>>>,
}

async fn one(
    State(state): State<AppState>,
    PathText(id): PathText<String>,
    Params(with): Params<WithFacts>,
) -> Answer<One> {
    let task = task(&state, &id).await?;
    let facts = match with.facts.as_deref().is_some_and(is_yes) {
        true => Some(state.service.task_facts(task.id).await?),
        false => None,
    };
    Ok(Json(One { task, facts }))
}

async fn facts(
    State(state): State<AppState>,
    PathText(id): PathText<String>,
) -> Answer<Vec<Recorded<TaskFact>>> {
    let id = state.service.find_task(&id).await?;
    Ok(Json(state.service.task_facts(id).await?))
}

#[derive(Deserialize)]
struct OfStep {
    step: Option<u32>,
}

async fn log(
    State(state): State<AppState>,
    PathText(id): PathText<String>,
    Params(of): Params<OfStep>,
) -> Result<Response, Problem> {
    let task = task(&state, &id).await?;
    let mut text = String::new();
    let mut found = false;
    for step in task
        .steps
        .iter()
        .filter(|step| of.step.is_none_or(|index| index == step.index))
    {
        found = true;
        if of.step.is_none() {
            let heading = format!(
                "== step {} {} ({}), attempt {}\n",
                step.index, step.id, step.kind, step.attempt
            );
            text.push_str(&heading);
        }
        for line in terminal::step_log(&state.service, &task, step).await? {
            text.push_str(&terminal::as_text(&line));
        }
    }
    if let (false, Some(step)) = (found, of.step) {
        return Err(Problem::not_found(format!(
            "the task has not come to step {step}"
        )));
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

#[derive(Deserialize)]
struct From {
    from: Option<u64>,
}

#[derive(Serialize)]
struct Live {
    lines: Vec<LogLine>,
    next: u64,
}

async fn live(
    State(state): State<AppState>,
    PathText(id): PathText<String>,
    Params(from): Params<From>,
) -> Answer<Live> {
    let id = state.service.find_task(&id).await?;
    let (lines, next) = state.service.logs().since(id, from.from.unwrap_or(0));
    Ok(Json(Live { lines, next }))
}

async fn diff(
    State(state): State<AppState>,
    PathText(id): PathText<String>,
) -> Result<Response, Problem> {
    let task = task(&state, &id).await?;
    let patch = state.service.patch(&task).await?;
    Ok((
        [(header::CONTENT_TYPE, "text/x-diff; charset=utf-8")],
        patch,
    )
        .into_response())
}

async fn evidence(
    State(state): State<AppState>,
    PathText(id): PathText<String>,
) -> Answer<Evidence> {
    let task = task(&state, &id).await?;
    Ok(Json(crate::service::evidence(&task)?))
}

#[derive(Deserialize)]
struct After {
    /// The last batch seen, as `EPOCH-BATCH`.
    after: Option<String>,
    limit: Option<u32>,
}

#[derive(Serialize)]
struct ExecEvents {
    denied: u64,
    unknown: u64,
    batches: u64,
    items: Vec<KeptExecBatch>,
    /// What to ask from next; absent when this was all.
    next: Option<String>,
}

/// The batch to begin after.
#[expect(
    clippy::result_large_err,
    reason = "it is the answer of the request, made once"
)]
fn place(after: &After) -> Result<Option<(u64, u32)>, Problem> {
    let Some(text) = after.after.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let parts = text.split_once('-');
    let numbers = parts.and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    numbers.map(Some).ok_or_else(|| {
        Problem::new(
            422,
            "invalid",
            format!("`{text}` is no place: write EPOCH-BATCH, as `next` says it"),
        )
    })
}

#[derive(Serialize)]
struct NetworkEvents {
    refused: u64,
    permitted: u64,
    sent: u64,
    received: u64,
    batches: u64,
    items: Vec<KeptEgressBatch>,
    /// What to ask from next; absent when this was all.
    next: Option<String>,
}

async fn network(
    State(state): State<AppState>,
    PathText(id): PathText<String>,
    Params(after): Params<After>,
) -> Answer<NetworkEvents> {
    let id = state.service.find_task(&id).await?;
    let limit = after.limit.unwrap_or(20).clamp(1, 100);
    let from = place(&after)?;
    let total = state.service.egress_total(id).await?;
    let items = state.service.egress_batches(id, from, limit).await?;
    let full = items.len() == limit as usize;
    let last = items.last().filter(|_| full);
    let next = last.map(|last| format!("{}-{}", last.batch.epoch, last.batch.batch));
    Ok(Json(NetworkEvents {
        refused: total.refused,
        permitted: total.permitted,
        sent: total.sent,
        received: total.received,
        batches: total.batches,
        items,
        next,
    }))
}

async fn exec(
    State(state): State<AppState>,
    PathText(id): PathText<String>,
    Params(after): Params<After>,
) -> Answer<ExecEvents> {
    let id = state.service.find_task(&id).await?;
    let limit = after.limit.unwrap_or(20).clamp(1, 100);
    let from = place(&after)?;
    let total = state.service.exec_total(id).await?;
    let items = state.service.exec_batches(id, from, limit).await?;
    let full = items.len() == limit as usize;
    let next = items
        .last()
        .filter(|_| full)
        .map(|last| format!("{}-{}", last.batch.epoch, last.batch.batch));
    Ok(Json(ExecEvents {
        denied: total.denied,
        unknown: total.unknown,
        batches: total.batches,
        items,
        next,
    }))
}

async fn retry(State(state): State<AppState>, PathText(id): PathText<String>) -> Answer<Task> {
    let id = state.service.find_task(&id).await?;
    Ok(Json(state.service.retry_task(id, &state.person()).await?))
}

async fn cancel(State(state): State<AppState>, PathText(id): PathText<String>) -> Answer<Task> {
    let id = state.service.find_task(&id).await?;
    Ok(Json(state.service.cancel_task(id, &state.person()).await?))
}

async fn pause(State(state): State<AppState>, PathText(id): PathText<String>) -> Answer<Task> {
    let id = state.service.find_task(&id).await?;
    Ok(Json(state.service.pause_task(id, &state.person()).await?))
}

async fn resume(State(state): State<AppState>, PathText(id): PathText<String>) -> Answer<Task> {
    let id = state.service.find_task(&id).await?;
    Ok(Json(state.service.resume_task(id, &state.person()).await?))
}
