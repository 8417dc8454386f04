//! Effect: a wait ends by its time.

use engine::task::TaskCommand;
use model::ids::TaskId;
use model::rows::OutboxRow;

use super::outbox::Outcome;
use crate::error::ServiceError;
use crate::service::{Actor, Service};

pub(super) async fn carry_out(service: &Service, row: &OutboxRow, task: TaskId) -> Result<Outcome, ServiceError> {
    let commands = [TaskCommand::Expire];
    let executed = service.execute(task, &Actor::system(), None, &commands, &[row.id]).await?;
    // A rejection: the task moved on before its time came.
    Ok(if executed.rejected.is_some() { Outcome::Finished } else { Outcome::Done })
}
