//! Effect: a proposal goes to the forge. The forge looks up before it creates, so that doing this
//! again after a crash finds the change that is there.

use engine::task::TaskCommand;
use forge::{ForgeError, NewChange, RepoName};
use jiff::Timestamp;
use model::change::{ChangeRef, Proposal};
use model::evidence::Evidence;
use model::ids::TaskId;
use model::reason::{Reason, ReasonCode};
use model::rows::OutboxRow;
use model::task::{Task, TaskStatus};

use super::outbox::{Outcome, back_off};
use crate::error::ServiceError;
use crate::service::{Actor, Service};

pub(super) async fn carry_out(
    service: &Service,
    row: &OutboxRow,
    id: TaskId,
) -> Result<Outcome, ServiceError> {
    let task = service.task(id).await?;
    let (TaskStatus::Ready, Some(proposal)) = (task.status, &task.proposal) else {
        return Ok(Outcome::Finished);
    };
    if task.paused {
        return Ok(Outcome::Later(back_off(service, row)));
    }
    if service.stopped(&task).await?.is_some() {
        return Ok(Outcome::Later(back_off(service, row)));
    }
    if let Some((kind, reason)) = service.hold_submission(&task).await? {
        let halt = TaskCommand::Halt { kind, reason };
        let executed = service
            .execute(id, &Actor::system(), None, &[halt], &[row.id])
            .await?;
        return Ok(if executed.rejected.is_some() {
            Outcome::Finished
        } else {
            Outcome::Done
        });
    }
    if let Some(turn) = wait_for_turn(service, &task).await? {
        return Ok(Outcome::Later(turn));
    }
    fault::point("submit.before_forge");
    let command = match open(service, &task, proposal).await {
        Ok(change) => TaskCommand::Submit { change },
        Err(ServiceError::Forge(ForgeError::RateLimited { retry_at })) => {
            return Ok(Outcome::Later(retry_at));
        }
        Err(ServiceError::Forge(error)) if error.is_retryable() => {
            tracing::warn!(task = %id, %error, "the forge did not take the change; it is tried again");
            return Ok(Outcome::Later(back_off(service, row)));
        }
        Err(ServiceError::Forge(error)) => TaskCommand::Refuse {
            reason: refusal(&error),
        },
        Err(error) => return Err(error),
    };
    fault::point("submit.after_forge");
    let executed = service
        .execute(id, &Actor::system(), None, &[command], &[row.id])
        .await?;
    fault::point("submit.after_commit");
    Ok(if executed.rejected.is_some() {
        Outcome::Finished
    } else {
        Outcome::Done
    })
}

/// When the campaign's pace lets this task write, if that is not now.
async fn wait_for_turn(service: &Service, task: &Task) -> Result<Option<Timestamp>, ServiceError> {
    let campaign = service.campaign(task.campaign).await?;
    if campaign.rules.pace.is_none() {
        return Ok(None);
    }
    let now = service.now();
    let turn = service
        .pace
        .lock()
        .ok()
        .and_then(|mut pace| pace.wait(task.campaign, task.id, &campaign.rules, now));
    Ok(turn)
}

async fn open(
    service: &Service,
    task: &Task,
    proposal: &Proposal,
) -> Result<ChangeRef, ServiceError> {
    let repository: RepoName = task.target.repository.parse()?;
    let bundle: blob::Digest = proposal
        .bundle
        .parse()
        .map_err(|_| ServiceError::Damaged("the proposal's bundle is no digest".to_owned()))?;
    let body = String::from_utf8_lossy(&service.blob(&proposal.body).await?).into_owned();
    let evidence = Evidence {
        base: proposal.base.clone(),
        isolation: task.isolation.clone(),
        validators: task.validators.clone(),
        diff: proposal.diff,
        diff_class: proposal.diff_class.clone(),
        outputs: serde_json::to_value(&task.outputs)?,
    };
    let new = NewChange {
        branch: proposal.branch.clone(),
        base_branch: task
            .base
            .as_ref()
            .map(|base| base.branch.clone())
            .unwrap_or_default(),
        base_commit: crate::service::oid(&proposal.base)?,
        commit: crate::service::oid(&proposal.commit)?,
        bundle: Some(service.blobs.path(&bundle)),
        title: proposal.title.clone(),
        body,
        evidence: serde_json::to_value(&evidence)?,
        labels: vec![format!("automation:{}", task.automation)],
        author: forge::Actor::named("nightcrew"),
        at: service.now(),
    };
    let change = service
        .forge_of(repository.as_str())
        .open_change(&repository, new)
        .await?;
    Ok(ChangeRef {
        number: change.number,
        branch: change.branch.clone(),
        commit: proposal.commit.clone(),
        url: None,
    })
}

fn refusal(error: &ForgeError) -> Reason {
    match error {
        ForgeError::BranchMoved { .. } => Reason::new(
            ReasonCode::BranchMoved,
            format!("{error}; merge or rename their branch, then retry"),
        ),
        other => Reason::new(
            ReasonCode::ForgeRefused,
            format!("the forge refused the change: {other}"),
        ),
    }
}
