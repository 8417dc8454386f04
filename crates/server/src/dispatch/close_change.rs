//! Effect: the change of a task that ended otherwise is closed, and its branch deleted unless
//! somebody else committed to it.

use forge::{ForgeError, RepoName};
use model::ids::TaskId;
use model::rows::OutboxRow;
use model::task::Task;

use super::outbox::{Outcome, back_off};
use crate::error::ServiceError;
use crate::service::Service;

pub(super) async fn carry_out(
    service: &Service,
    row: &OutboxRow,
    task: TaskId,
) -> Result<Outcome, ServiceError> {
    let task = service.task(task).await?;
    let repository: RepoName = task.target.repository.parse()?;
    let Some(number) = number(service, &task, &repository).await? else {
        return Ok(Outcome::Finished);
    };
    let actor = forge::Actor::named("nightcrew");
    let forge = service.forge_of(repository.as_str());
    match forge
        .close(&repository, number, true, actor, service.now())
        .await
    {
        Ok(_) | Err(ForgeError::Closed { .. } | ForgeError::NotFound(_)) => {
            fault::point("close.after_forge");
            service.look_at(repository.as_str());
            Ok(Outcome::Finished)
        }
        Err(ForgeError::BranchMoved { .. }) => {
            let forge = service.forge_of(repository.as_str());
            let actor = forge::Actor::named("nightcrew");
            match forge
                .close(&repository, number, false, actor, service.now())
                .await
            {
                Ok(_) | Err(ForgeError::Closed { .. }) => Ok(Outcome::Finished),
                Err(error) => Err(error.into()),
            }
        }
        Err(error) if error.is_retryable() => Ok(Outcome::Later(back_off(service, row))),
        Err(error) => Err(error.into()),
    }
}

/// The change's number: recorded, or found by the branch of a proposal that was on its way.
async fn number(
    service: &Service,
    task: &Task,
    repository: &RepoName,
) -> Result<Option<u64>, ServiceError> {
    if let Some(change) = &task.change {
        return Ok(Some(change.number));
    }
    let Some(proposal) = &task.proposal else {
        return Ok(None);
    };
    let found = service
        .forge_of(repository.as_str())
        .find_change(repository, &proposal.branch)
        .await?;
    Ok(found.value.map(|change| change.number))
}
