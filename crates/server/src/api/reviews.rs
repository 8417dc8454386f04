//! What people say to tasks and their changes.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use forge::{Change, MergeMethod, Mergeable};
use model::change::ReviewVerdict;
use model::ids::{CampaignId, TaskId};
use model::task::{Task, TaskStatus};
use serde::{Deserialize, Serialize};
use store::{Page, TaskFilter, TaskOrder};

use super::Answer;
use super::tasks::task;
use crate::error::ServiceError;
use crate::http::{AppState, Body, PathText};
use crate::service::Service;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/tasks/{id}/approve", post(approve))
        .route("/tasks/{id}/deny", post(deny))
        .route("/tasks/{id}/review", post(review))
        .route("/tasks/{id}/comment", post(comment))
        .route("/tasks/{id}/merge", post(merge))
        .route("/tasks/{id}/close", post(close))
        .route("/tasks/{id}/change", get(change))
        .route(
            "/campaigns/{id}/classes/{class}/approve",
            post(approve_class),
        )
        .route("/campaigns/{id}/classes/{class}/merge", post(merge_class))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Review {
    verdict: ReviewVerdict,
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Merge {
    #[serde(default = "ordinary")]
    method: MergeMethod,
}

const fn ordinary() -> MergeMethod {
    MergeMethod::Merge
}

async fn approve(State(state): State<AppState>, PathText(id): PathText<String>) -> Answer<Task> {
    let id = state.service.find_task(&id).await?;
    Ok(Json(state.service.approve_step(id, &state.person()).await?))
}

async fn deny(
    State(state): State<AppState>,
    PathText(id): PathText<String>,
    Body(words): Body<Words>,
) -> Answer<Task> {
    let id = state.service.find_task(&id).await?;
    Ok(Json(
        state
            .service
            .deny_step(id, &state.person(), &words.text)
            .await?,
    ))
}

async fn review(
    State(state): State<AppState>,
    PathText(id): PathText<String>,
    Body(review): Body<Review>,
) -> Answer<Task> {
    let id = state.service.find_task(&id).await?;
    Ok(Json(
        state
            .service
            .review(id, review.verdict, &review.text, &state.person())
            .await?,
    ))
}

async fn comment(
    State(state): State<AppState>,
    PathText(id): PathText<String>,
    Body(words): Body<Words>,
) -> Answer<Task> {
    if words.text.trim().is_empty() {
        return Err(ServiceError::Invalid("a comment has a text".to_owned()).into());
    }
    let id = state.service.find_task(&id).await?;
    Ok(Json(
        state
            .service
            .comment(id, &words.text, &state.person())
            .await?,
    ))
}

async fn merge(
    State(state): State<AppState>,
    PathText(id): PathText<String>,
    Body(merge): Body<Merge>,
) -> Answer<Task> {
    let id = state.service.find_task(&id).await?;
    Ok(Json(
        state
            .service
            .merge(id, merge.method, &state.person())
            .await?,
    ))
}

async fn close(State(state): State<AppState>, PathText(id): PathText<String>) -> Answer<Task> {
    let id = state.service.find_task(&id).await?;
    Ok(Json(state.service.close_change(id, &state.person()).await?))
}

#[derive(Serialize)]
struct AtForge {
    change: Change,
    mergeable: Option<Mergeable>,
}

async fn change(State(state): State<AppState>, PathText(id): PathText<String>) -> Answer<AtForge> {
    let task = task(&state, &id).await?;
    let (change, mergeable) = state.service.change_at_forge(&task).await?;
    Ok(Json(AtForge { change, mergeable }))
}

/// The open changes of a class: one review serves all of them.
pub(crate) async fn class_members(
    service: &Service,
    campaign: CampaignId,
    class: &str,
) -> Result<Vec<(TaskId, String)>, ServiceError> {
    let filter = TaskFilter {
        campaign: Some(campaign),
        diff_class: Some(class.to_owned()),
        statuses: vec![TaskStatus::Submitted, TaskStatus::InReview],
        ..TaskFilter::default()
    };
    let rows = service
        .store()
        .tasks(filter, TaskOrder::Target, Page::first(u32::MAX))
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.id, row.target.to_string()))
        .collect())
}

#[derive(Serialize)]
struct Results {
    results: Vec<Outcome>,
}

#[derive(Serialize)]
struct Outcome {
    task: TaskId,
    repository: String,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl Outcome {
    fn of(task: TaskId, repository: String, result: Result<Task, ServiceError>) -> Self {
        let problem = result.err().map(|error| error.to_string());
        Self {
            task,
            repository,
            done: problem.is_none(),
            problem,
        }
    }
}

async fn approve_class(
    State(state): State<AppState>,
    PathText((id, class)): PathText<(String, String)>,
) -> Answer<Results> {
    let (service, person) = (&state.service, state.person());
    let campaign = service.find_campaign(&id).await?;
    let mut results = Vec::new();
    for (task, repository) in class_members(service, campaign, &class).await? {
        let result = service
            .review(task, ReviewVerdict::Approved, "", &person)
            .await;
        results.push(Outcome::of(task, repository, result));
    }
    Ok(Json(Results { results }))
}

async fn merge_class(
    State(state): State<AppState>,
    PathText((id, class)): PathText<(String, String)>,
    Body(merge): Body<Merge>,
) -> Answer<Results> {
    let (service, person) = (&state.service, state.person());
    let campaign = service.find_campaign(&id).await?;
    let mut results = Vec::new();
    for (task, repository) in class_members(service, campaign, &class).await? {
        let result = service.merge(task, merge.method, &person).await;
        results.push(Outcome::of(task, repository, result));
    }
    Ok(Json(Results { results }))
}
