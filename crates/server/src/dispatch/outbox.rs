//! Carries out what facts ask for. At least once; each effect sees to it that twice is once.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use model::rows::{Effect, OutboxRow};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{close_campaign, close_change, plan_run, submit_change, wake};
use crate::error::ServiceError;
use crate::service::Service;

/// Look again at least this often.
const SLOW: Duration = Duration::from_secs(15);
/// Effects carried out at once.
const AT_ONCE: usize = 4;
/// How long a process may hold an effect before another may take it.
const HELD: Duration = Duration::from_secs(120);

/// What became of an effect.
pub(super) enum Outcome {
    /// Done, and taken out of the outbox in the same transaction as its consequences.
    Done,
    /// Done or pointless: take it out now.
    Finished,
    /// Not before then.
    Later(Timestamp),
}

/// Carries out effects until it is stopped. `sole` says that no other process uses this store:
/// effects that a dead one held are free at once.
pub(super) async fn run(service: Arc<Service>, stop: CancellationToken, sole: bool) {
    if sole && let Err(error) = service.store.free_effects().await {
        tracing::error!(%error, "effects that the last process held could not be freed: they wait for their leases");
    }
    let mut working: JoinSet<String> = JoinSet::new();
    let mut lanes: HashSet<String> = HashSet::new();
    let owner = format!("outbox-{}", std::process::id());
    loop {
        let mut next = None;
        if working.len() < AT_ONCE && !stop.is_cancelled() {
            match take(&service, &owner, AT_ONCE - working.len()).await {
                Ok((rows, due)) => {
                    next = due;
                    for row in rows {
                        lanes.insert(row.lane.clone());
                        working.spawn(carry_out(Arc::clone(&service), row));
                    }
                }
                Err(error) => tracing::error!(%error, "the outbox cannot be read"),
            }
        }
        if stop.is_cancelled() && working.is_empty() {
            return;
        }
        let pause = next.map_or(SLOW, |due| until(&service, due).min(SLOW));
        tokio::select! {
            Some(done) = working.join_next() => {
                if let Ok(lane) = done {
                    lanes.remove(&lane);
                }
            }
            () = service.outbox.notified(), if working.len() < AT_ONCE => {}
            () = tokio::time::sleep(pause), if working.len() < AT_ONCE => {}
            () = stop.cancelled(), if !stop.is_cancelled() => {}
        }
    }
}

async fn take(
    service: &Service,
    owner: &str,
    room: usize,
) -> Result<(Vec<OutboxRow>, Option<Timestamp>), ServiceError> {
    let now = service.now();
    let until = now.checked_add(HELD).unwrap_or(now);
    let room = u32::try_from(room).unwrap_or(1);
    Ok(service.store.due_effects(owner, now, until, room).await?)
}

fn until(service: &Service, due: Timestamp) -> Duration {
    Duration::try_from(due.duration_since(service.now())).unwrap_or(Duration::ZERO)
}

async fn carry_out(service: Arc<Service>, row: OutboxRow) -> String {
    let outcome = match &row.effect {
        Effect::PlanRun { run } => plan_run::carry_out(&service, &row, *run).await,
        Effect::SubmitChange { task } => submit_change::carry_out(&service, &row, *task).await,
        Effect::Wake { task, .. } => wake::carry_out(&service, &row, *task).await,
        Effect::CloseChange { task } => close_change::carry_out(&service, &row, *task).await,
        Effect::CloseCampaign { campaign } => {
            close_campaign::carry_out(&service, &row, *campaign).await
        }
    };
    let settled = match outcome {
        Ok(Outcome::Done) => Ok(()),
        Ok(Outcome::Finished) => {
            let commit = store::Commit {
                done: vec![row.id],
                ..store::Commit::default()
            };
            service.store.commit(commit).await.map(|_| ())
        }
        Ok(Outcome::Later(due)) => service.store.defer_effect(row.id, due).await,
        Err(error) => {
            tracing::error!(effect = ?row.effect, attempts = row.attempts, %error, "an effect failed and is tried again");
            service
                .store
                .defer_effect(row.id, back_off(&service, &row))
                .await
        }
    };
    if let Err(error) = settled {
        tracing::error!(effect = ?row.effect, %error, "an effect could not be settled");
    }
    row.lane
}

/// When to try an effect again.
pub(super) fn back_off(service: &Service, row: &OutboxRow) -> Timestamp {
    let salt = u64::from_be_bytes(row.id.uuid().as_bytes()[..8].try_into().unwrap_or([0; 8]));
    let pause = engine::retry::pause(Duration::from_secs(1), row.attempts + 1, salt);
    service
        .now()
        .checked_add(pause)
        .unwrap_or_else(|_| service.now())
}
