//! Leases that nobody extends: their tasks go back to the queue.

use std::sync::Arc;
use std::time::Duration;

use engine::task::TaskCommand;
use model::task::TaskStatus;
use store::Lease;
use tokio_util::sync::CancellationToken;

use crate::error::ServiceError;
use crate::service::{Actor, Service};

/// How often expired leases are looked for.
const PACE: Duration = Duration::from_secs(10);

pub(super) async fn run(service: Arc<Service>, stop: CancellationToken, sole: bool) {
    if sole && let Err(error) = end_all(&service).await {
        tracing::error!(%error, "leases of the last process could not be ended");
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PACE) => {}
        }
        if let Err(error) = end_expired(&service).await {
            tracing::error!(%error, "expired leases could not be ended");
        }
    }
}

/// The exclusive lock on the data directory proves that no runner of this store lives: every
/// lease is dead. That is not the tasks' fault.
pub(crate) async fn end_all(service: &Service) -> Result<usize, ServiceError> {
    let leases = service.store.leases().await?;
    let count = leases.len();
    for lease in leases {
        end(service, lease, "the server was restarted", false).await?;
    }
    Ok(count)
}

async fn end_expired(service: &Service) -> Result<(), ServiceError> {
    let now = service.now();
    for lease in service.store.leases().await? {
        if lease.until < now {
            let cause = format!("the runner {} was not heard of any more", lease.owner);
            end(service, lease, &cause, true).await?;
        }
    }
    Ok(())
}

async fn end(
    service: &Service,
    lease: Lease,
    cause: &str,
    blame: bool,
) -> Result<(), ServiceError> {
    let loaded = service.load_task(lease.task).await?;
    if loaded.epoch != lease.epoch {
        return Ok(());
    }
    if loaded.task.status == TaskStatus::Queued {
        // Claimed, and the runner died before it could begin.
        service.store.drop_lease(lease.task, lease.epoch).await?;
        service.work.notify_one();
        return Ok(());
    }
    let command = TaskCommand::Interrupt {
        cause: cause.to_owned(),
        blame,
    };
    match service
        .execute(
            lease.task,
            &Actor::system(),
            Some(lease.epoch),
            &[command],
            &[],
        )
        .await
    {
        Ok(executed) if executed.rejected.is_some() => {
            service.store.drop_lease(lease.task, lease.epoch).await?;
            Ok(())
        }
        Ok(_) => Ok(()),
        // Somebody else ended it, or its runner came back.
        Err(ServiceError::Store(
            store::StoreError::Fenced { .. } | store::StoreError::Conflict { .. },
        )) => Ok(()),
        Err(error) => Err(error),
    }
}
