//! Campaigns advance when their tasks settle.

use std::sync::Arc;
use std::time::Duration;

use store::Page;
use tokio_util::sync::CancellationToken;

use crate::error::ServiceError;
use crate::service::Service;

/// Look at every open campaign at least this often.
const SLOW: Duration = Duration::from_secs(60);
/// Changes within this time are looked at together.
const TOGETHER: Duration = Duration::from_millis(20);

pub(super) async fn run(service: Arc<Service>, stop: CancellationToken) {
    mark_all(&service).await;
    loop {
        let dirty = match service.dirty.lock() {
            Ok(mut dirty) => std::mem::take(&mut *dirty),
            Err(_) => return,
        };
        for campaign in dirty {
            if let Err(error) = service.advance_campaign(campaign).await {
                tracing::error!(%campaign, %error, "a campaign could not advance");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = service.dirty_wake.notified() => tokio::time::sleep(TOGETHER).await,
            () = tokio::time::sleep(SLOW) => mark_all(&service).await,
        }
    }
}

async fn mark_all(service: &Service) {
    let open = service
        .store
        .campaigns(None, true, Page::first(u32::MAX))
        .await
        .map_err(ServiceError::from);
    match open {
        Ok(rows) => rows.into_iter().for_each(|row| service.mark_dirty(row.id)),
        Err(error) => tracing::error!(%error, "campaigns cannot be listed"),
    }
}
