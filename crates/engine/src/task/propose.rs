//! The change left the environment. Without evidence it goes no further.

use model::change::Proposal;
use model::evidence::Verdict;
use model::fact::TaskFact;
use model::policy::{Action, Ask, Decision};
use model::reason::{Reason, ReasonCode};
use model::step::{Outputs, StepOutcome};
use model::task::{Task, TaskStatus, Wait, WaitKind};

use super::command::{ended, wrong};
use crate::context::Context;
use crate::rejection::Rejection;

pub(super) fn decide(
    task: &Task,
    proposal: &Proposal,
    context: &Context<'_>,
) -> Result<Vec<TaskFact>, Rejection> {
    if task.status != TaskStatus::Running {
        return Err(wrong(task, "propose"));
    }
    let index = match task.steps.last() {
        Some(step) if step.outcome.is_none() && step.kind == "change" => step.index,
        _ => {
            return Err(Rejection::Invalid(
                "only a running change step proposes".to_owned(),
            ));
        }
    };
    if task
        .base
        .as_ref()
        .is_none_or(|base| base.commit != proposal.base)
    {
        return Err(Rejection::Stale(
            "the proposal is on another base than the task",
        ));
    }
    let mut facts = vec![
        TaskFact::StepFinished {
            index,
            outcome: StepOutcome::Succeeded,
            outputs: Outputs::new(),
            log: None,
            wall_ms: 0,
        },
        TaskFact::Proposed {
            proposal: proposal.clone(),
        },
    ];
    let verified = !task.validators.is_empty()
        && task
            .validators
            .iter()
            .all(|result| result.verdict == Verdict::Passed);
    if !verified {
        let sentence = if task.validators.is_empty() {
            "no validator ran, so nothing is known about the change; add a validate step"
        } else {
            "not every validator passed, so the change is not proposed; see the evidence"
        };
        facts.push(ended(
            TaskStatus::Unverified,
            ReasonCode::NotValidated,
            sentence,
        ));
        return Ok(facts);
    }
    let ask = Ask {
        principal: format!("automation:{}", task.automation),
        action: Action::OpenChange,
        automation: task.automation.clone(),
        repository: Some(task.target.repository.clone()),
    };
    match context.policy.decide(&ask) {
        Decision::Permit => {}
        Decision::Forbid { rule } => {
            let sentence = format!(
                "policy `{rule}` forbids opening a change in {}",
                task.target.repository
            );
            facts.push(ended(
                TaskStatus::Failed,
                ReasonCode::PolicyDenied,
                sentence,
            ));
        }
        Decision::NeedsApproval { by, rule } => {
            let sentence = format!("policy `{rule}` asks {by} before a change is opened");
            let reason = Reason::new(ReasonCode::ApprovalNeeded, sentence);
            let wait = Wait {
                kind: WaitKind::Approval,
                reason,
                owner: Some(by),
                until: None,
                silence_permits: false,
            };
            facts.push(TaskFact::Waited { wait });
        }
    }
    Ok(facts)
}
