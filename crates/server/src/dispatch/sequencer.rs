//! Gives ledger leaves their indices, many at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::service::Service;

/// Leaves within this time are sequenced together: one signature and one transaction for all.
const TOGETHER: Duration = Duration::from_millis(500);
/// Look at least this often.
const SLOW: Duration = Duration::from_secs(30);

pub(super) async fn run(service: Arc<Service>, stop: CancellationToken) {
    loop {
        match service.sequence().await {
            // There may be more.
            Ok(count) if count > 0 => {}
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "the ledger cannot be sequenced"),
        }
        tokio::select! {
            () = stop.cancelled() => {
                if let Err(error) = service.sequence_all().await {
                    tracing::error!(%error, "the ledger could not be sequenced to its end");
                }
                return;
            }
            () = service.leaves.notified() => {}
            () = tokio::time::sleep(SLOW) => {}
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(TOGETHER) => {}
        }
    }
}
