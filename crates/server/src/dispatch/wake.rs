//! Effect: a wait ends by its time.

use engine::task::TaskCommand;
use model::ids::TaskId;
use model::rows::OutboxRow;

use super::outbox::Outcome;
use crate::error::ServiceError;
use crate::service::{Actor, Service};

pub(super) async fn carry_out(
    service: &Service,
    row: &OutboxRow,
    task: TaskId,
) -> Result<Outcome, ServiceError> {
    let commands = [TaskCommand::Expire];
    let executed = service
        .execute(task, &Actor::system(), None, &commands, &[row.id])
        .await?;
    if executed.rejected.is_none() {
        return Ok(Outcome::Done);
    }
    // The task moved on before its time came, or its wait runs longer than this clock believed.
    match executed.task.wait.and_then(|wait| wait.until) {
        Some(until) if until > service.now() => Ok(Outcome::Later(until)),
        _ => Ok(Outcome::Finished),
    }
}
