//! What the budget needs by itself: dead holders charged at the start, signs of life, and what busy
//! purses spent told to the store.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::service::Service;

/// Time between two signs of life; well below the length of a lease.
const PACE: Duration = Duration::from_secs(15);
/// What busy purses spent within this time is told together.
const TOGETHER: Duration = Duration::from_millis(50);

pub(super) async fn run(service: Arc<Service>, stop: CancellationToken, sole: bool) {
    if let Err(error) = service.budgets.recover(sole).await {
        tracing::error!(%error, "what dead processes held of the budget could not be charged");
    }
    let mut beat = tokio::time::interval(PACE);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let done = tokio::select! {
            () = stop.cancelled() => break,
            _ = beat.tick() => service.budgets.keep().await,
            () = service.budgets.told_later() => {
                tokio::time::sleep(TOGETHER).await;
                service.budgets.flush(None, false).await.map(drop)
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
