//! A runner takes a task, if policy and budget let it start.

use model::fact::TaskFact;
use model::policy::{Action, Ask, Decision};
use model::reason::{Reason, ReasonCode};
use model::task::{Task, TaskStatus, Wait, WaitKind};

use super::START_APPROVAL;
use super::command::{ended, wrong};
use crate::context::Context;
use crate::rejection::Rejection;

pub(super) fn decide(
    task: &Task,
    runner: &str,
    context: &Context<'_>,
) -> Result<Vec<TaskFact>, Rejection> {
    if task.status != TaskStatus::Queued {
        return Err(wrong(task, "claim"));
    }
    if task.paused {
        return Err(Rejection::Paused);
    }
    let ask = Ask {
        principal: format!("automation:{}", task.automation),
        action: Action::Exec,
        automation: task.automation.clone(),
        repository: Some(task.target.repository.clone()),
    };
    match context.policy.decide(&ask) {
        Decision::Forbid { rule } => {
            let sentence = format!("policy `{rule}` forbids executing on {}", task.target);
            return Ok(vec![ended(
                TaskStatus::Failed,
                ReasonCode::PolicyDenied,
                sentence,
            )]);
        }
        Decision::NeedsApproval { by, rule } if !is_approved(task) => {
            let sentence = format!(
                "policy `{rule}` asks {by} before executing on {}",
                task.target
            );
            let reason = Reason::new(ReasonCode::ApprovalNeeded, sentence);
            let wait = Wait {
                kind: WaitKind::Approval,
                reason,
                owner: Some(by),
                until: None,
                silence_permits: false,
            };
            return Ok(vec![TaskFact::Waited { wait }]);
        }
        Decision::NeedsApproval { .. } | Decision::Permit => {}
    }
    if let Err(sentence) = context.budget.may_start(
        context.definition.budget.as_ref(),
        task.spent_ms,
        context.spend,
    ) {
        let reason = Reason::new(ReasonCode::BudgetExhausted, sentence);
        let wait = Wait {
            kind: WaitKind::Budget,
            reason,
            owner: None,
            until: None,
            silence_permits: false,
        };
        return Ok(vec![TaskFact::Waited { wait }]);
    }
    Ok(vec![TaskFact::Claimed {
        runner: runner.to_owned(),
    }])
}

fn is_approved(task: &Task) -> bool {
    task.approvals
        .iter()
        .any(|approval| approval.step == START_APPROVAL)
}
