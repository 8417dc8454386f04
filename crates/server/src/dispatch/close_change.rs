//! Effect: the change of a task that ended otherwise is closed, and its branch deleted unless
//! somebody else committed to it.

use forge::{ForgeError, RepoName};
use model::ids::TaskId;
use model::rows::OutboxRow;

use super::outbox::{Outcome, back_off};
use crate::error::ServiceError;
use crate::service::Service;

pub(super) async fn carry_out(service: &Service, row: &OutboxRow, task: TaskId) -> Result<Outcome, ServiceError> {
    let task = service.task(task).await?;
    let Some(change) = &task.change else { return Ok(Outcome::Finished) };
    let repository: RepoName = task.target.repository.parse()?;
    let actor = forge::Actor::named("nightcrew");
    let forge = service.forge_of(repository.as_str());
    match forge.close(&repository, change.number, true, actor, service.now()).await {
        Ok(_) | Err(ForgeError::Closed { .. } | ForgeError::NotFound(_)) => {
            fault::point("close.after_forge");
            service.look_at(repository.as_str());
            Ok(Outcome::Finished)
        }
        Err(ForgeError::BranchMoved { .. }) => {
            let forge = service.forge_of(repository.as_str());
            let actor = forge::Actor::named("nightcrew");
            match forge.close(&repository, change.number, false, actor, service.now()).await {
                Ok(_) | Err(ForgeError::Closed { .. }) => Ok(Outcome::Finished),
                Err(error) => Err(error.into()),
            }
        }
        Err(error) if error.is_retryable() => Ok(Outcome::Later(back_off(service, row))),
        Err(error) => Err(error.into()),
    }
}
