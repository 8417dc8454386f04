//! What the budget needs by itself: dead holders charged at the start, signs of life, and what busy
//! purses spent told to the store.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::ServiceError;
use crate::service::Service;

/// Time between two signs of life; well below the length of a lease.
const PACE: Duration = Duration::from_secs(15);
/// How often stops of other processes are looked for, where there may be others.
const LOOK: Duration = Duration::from_millis(400);
/// What busy purses spent within this time is told together.
const TOGETHER: Duration = Duration::from_millis(50);

pub(super) async fn run(service: Arc<Service>, stop: CancellationToken, sole: bool) {
    if let Err(error) = service.budgets.recover(sole).await {
        tracing::error!(%error, "what dead processes held of the budget could not be charged");
    }
    if let Err(error) = service.count_open_changes().await {
        tracing::error!(%error, "open changes could not be counted");
    }
    let mut look = tokio::time::interval(if sole { PACE } else { LOOK });
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut beat = tokio::time::interval(PACE);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let done = tokio::select! {
            () = stop.cancelled() => break,
            _ = beat.tick() => service.budgets.keep().await.map_err(ServiceError::from),
            _ = look.tick() => stops(&service).await,
            () = service.places.notified() => {
                tokio::time::sleep(TOGETHER).await;
                places(&service).await
            }
            () = service.budgets.told_later() => {
                tokio::time::sleep(TOGETHER).await;
                service.budgets.flush(None, false).await.map(drop).map_err(ServiceError::from)
            }
        };
        if let Err(error) = done {
            tracing::error!(%error, "the budget cannot be kept");
        }
    }
    // What lies idle in purses need not be charged when this process is gone.
    if let Err(error) = service.budgets.flush(None, true).await {
        tracing::warn!(%error, "the last of what was spent is charged at its worst");
    }
}

/// What other processes stopped stops here too; who was not heard is told again.
async fn stops(service: &Arc<Service>) -> Result<(), ServiceError> {
    if !service.read_stops().await?.0.is_empty() {
        service.halt_stopped().await?;
    }
    Ok(())
}

/// Something in use was given back.
async fn places(service: &Arc<Service>) -> Result<(), ServiceError> {
    service.wake_for_places().await
}
