//! Events: sent, listed, tried, replayed.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use model::event::{Event, NewEvent};
use model::ids::EventId;
use model::run::Run;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::EventFilter;

use super::{Answer, Items, Paging};
use crate::error::ServiceError;
use crate::http::{AppState, Body, Params, PathText, Problem};
use crate::service::{Actor, Admitted, Service};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/events", get(list).post(send))
        .route("/events/test", post(test))
        .route("/events/{id}", get(one))
        .route("/events/{id}/replay", post(replay))
}

async fn send(State(state): State<AppState>, Body(new): Body<NewEvent>) -> Answer<Admitted> {
    Ok(Json(state.service.admit(new).await?))
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(rename = "type")]
    event_type: Option<String>,
    repository: Option<String>,
    before: Option<EventId>,
}

async fn list(
    State(state): State<AppState>,
    Params(wanted): Params<Wanted>,
    Params(paging): Params<Paging>,
) -> Answer<Items<Event>> {
    let filter = EventFilter {
        event_type: wanted.event_type,
        repository: wanted.repository,
        before: wanted.before,
    };
    Ok(Json(Items::new(
        state.service.store().events(filter, paging.page()).await?,
    )))
}

#[derive(Serialize)]
struct One {
    event: Event,
    runs: Vec<Run>,
}

async fn one(State(state): State<AppState>, PathText(id): PathText<String>) -> Answer<One> {
    let event = find(&state, &id).await?;
    let runs = state.service.runs_of_event(event.id).await?;
    Ok(Json(One { event, runs }))
}

#[derive(Serialize)]
struct Tested {
    fires: Vec<String>,
    problems: Vec<String>,
}

async fn test(State(state): State<AppState>, Body(new): Body<NewEvent>) -> Answer<Tested> {
    let (fires, problems) = state.service.would_fire(new).await?;
    Ok(Json(Tested { fires, problems }))
}

async fn replay(State(state): State<AppState>, PathText(id): PathText<String>) -> Answer<Admitted> {
    let event = find(&state, &id).await?;
    Ok(Json(again(&state.service, &event, &state.person()).await?))
}

static REPLAYS: AtomicU64 = AtomicU64::new(0);

/// Admits a copy of an event, which is another event.
pub(crate) async fn again(
    service: &Service,
    event: &Event,
    actor: &Actor,
) -> Result<Admitted, ServiceError> {
    let mut data = event.data.clone();
    match &mut data {
        Value::Object(map) => {
            map.insert("replay_of".to_owned(), Value::from(event.id.to_string()));
        }
        other => data = json!({"replay_of": event.id, "data": other.take()}),
    }
    // Time and count: two replays are two events, also within one tick of the clock.
    let (nanosecond, count) = (
        service.now().as_nanosecond(),
        REPLAYS.fetch_add(1, Ordering::Relaxed),
    );
    service
        .admit(NewEvent {
            source: event.source.clone(),
            event_type: event.event_type.clone(),
            subject: event.subject.clone(),
            dedupe_key: format!("replay/{}/{nanosecond}-{count}", event.id),
            time: None,
            actor: actor.name.clone(),
            data,
        })
        .await
}

async fn find(state: &AppState, id: &str) -> Result<Event, Problem> {
    let missing = || Problem::not_found(format!("there is no event `{id}`"));
    let id: EventId = id.parse().map_err(|_| missing())?;
    state.service.store().event(id).await?.ok_or_else(missing)
}
