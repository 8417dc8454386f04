//! Updates as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt, stream as streams};
use model::ids::{CampaignId, TaskId};
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;

use super::{AppState, Params};
use crate::service::Update;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    campaign: Option<CampaignId>,
    task: Option<TaskId>,
}

/// Everything that changes from now on, or only what is about one campaign or task.
pub(crate) async fn stream(
    State(state): State<AppState>,
    Params(wanted): Params<Wanted>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let updates = state.service.updates();
    let stop = state.stop;
    let events = streams::unfold(
        (updates, wanted, true),
        |(mut updates, wanted, first)| async move {
            if first {
                // Headers go out at once, and whoever listens knows that from now on nothing is missed.
                return Some((
                    Ok(Event::default().event("ready").data("{}")),
                    (updates, wanted, false),
                ));
            }
            loop {
                match updates.recv().await {
                    Ok(update) if wanted.wants(&update) => {
                        let data = serde_json::to_string(&update).unwrap_or_default();
                        return Some((
                            Ok(Event::default().event("update").data(data)),
                            (updates, wanted, false),
                        ));
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(missed)) => {
                        let data = format!("{{\"missed\":{missed}}}");
                        return Some((
                            Ok(Event::default().event("lagged").data(data)),
                            (updates, wanted, false),
                        ));
                    }
                    Err(RecvError::Closed) => return None,
                }
            }
        },
    );
    let events = events.take_until(stop.cancelled_owned());
    Sse::new(events).keep_alive(
        KeepAlive::new()
            .interval(Duration::from_secs(15))
            .text("alive"),
    )
}

impl Wanted {
    fn wants(&self, update: &Update) -> bool {
        if let Some(wanted) = self.task {
            return matches!(update, Update::Task { id, .. } if *id == wanted)
                || matches!(update, Update::Log { task } | Update::Exec { task, .. } | Update::Network { task, .. } if *task == wanted);
        }
        match (self.campaign, update) {
            (None, _) => true,
            (Some(wanted), Update::Task { campaign, .. }) => *campaign == wanted,
            (Some(wanted), Update::Campaign { id }) => *id == wanted,
            (Some(_), _) => false,
        }
    }
}
