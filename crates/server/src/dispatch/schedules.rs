//! Schedules: a time that comes due is an event, named by automation and time, so that two
//! replicas, or a restart, make it once.

use std::sync::Arc;
use std::time::Duration;

use engine::schedule::Schedule;
use jiff::Timestamp;
use model::automation::{Automation, Trigger};
use model::event::{NewEvent, Subject, types};
use serde_json::json;
use store::{Commit, DocumentWrite};
use tokio_util::sync::CancellationToken;

use crate::error::ServiceError;
use crate::service::Service;

/// Document kind of the time up to which an automation's schedules were looked at.
const SEEN: &str = "schedule_seen";
/// Look at least this often, because the machine's clock may be set.
const SLOW: Duration = Duration::from_secs(60);

pub(super) async fn run(service: Arc<Service>, stop: CancellationToken) {
    loop {
        let next = match look(&service).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(%error, "schedules could not be looked at");
                None
            }
        };
        let pause = next
            .and_then(|next| Duration::try_from(next.duration_since(service.now())).ok())
            .unwrap_or(SLOW)
            .min(SLOW);
        tokio::select! {
            () = stop.cancelled() => return,
            () = service.schedules.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Admits what came due, and returns the next time that something does.
async fn look(service: &Service) -> Result<Option<Timestamp>, ServiceError> {
    let mut next: Option<Timestamp> = None;
    for automation in service.automations().await? {
        if !automation.enabled {
            continue;
        }
        for schedule in schedules(&automation) {
            let due = look_at(service, &automation, &schedule).await?;
            next = [next, due].into_iter().flatten().min();
        }
    }
    Ok(next)
}

fn schedules(automation: &Automation) -> Vec<Schedule> {
    let triggers = automation.definition.triggers.iter();
    triggers
        .filter_map(|trigger| match trigger {
            Trigger::Schedule(schedule) => {
                Schedule::read(&schedule.cron, schedule.zone.as_deref()).ok()
            }
            _ => None,
        })
        .collect()
}

async fn look_at(
    service: &Service,
    automation: &Automation,
    schedule: &Schedule,
) -> Result<Option<Timestamp>, ServiceError> {
    let name = &automation.definition.name;
    let now = service.now();
    let seen = service.store.document(SEEN, name).await?;
    // What came due before the automation was applied is not its business.
    let seen = seen
        .and_then(|seen| seen.body.parse().ok())
        .unwrap_or(automation.applied_at);
    if let Some(due) = schedule.newest_due(seen, now) {
        let new = NewEvent {
            source: "schedule".to_owned(),
            event_type: types::SCHEDULE.to_owned(),
            subject: Subject {
                automation: Some(name.clone()),
                ..Subject::default()
            },
            dedupe_key: format!("{name}/{due}"),
            time: Some(due),
            actor: "system".to_owned(),
            data: json!({"due": due}),
        };
        service.admit(new).await?;
        let write = DocumentWrite {
            kind: SEEN.to_owned(),
            key: name.clone(),
            body: Some(now.to_string()),
        };
        service
            .store
            .commit(Commit {
                documents: vec![write],
                ..Commit::default()
            })
            .await?;
    }
    Ok(schedule.next(now))
}
