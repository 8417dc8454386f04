//! A person consents.

use model::fact::TaskFact;
use model::step::{Outputs, StepOutcome};
use model::task::{Task, TaskStatus, Wait, WaitKind};

use super::command::{is_person, wrong};
use super::{START_APPROVAL, SUBMIT_APPROVAL};
use crate::rejection::Rejection;

pub(super) fn decide(task: &Task, by: &str, roles: &[String]) -> Result<Vec<TaskFact>, Rejection> {
    let wait = waits_for_approval(task).ok_or_else(|| wrong(task, "approve"))?;
    check_may(wait, by, roles)?;
    Ok(consent(task, by))
}

/// Who may consent: the wait's owner, and nobody but a person.
fn check_may(wait: &Wait, by: &str, roles: &[String]) -> Result<(), Rejection> {
    if !is_person(by) {
        return Err(Rejection::NotAllowed(
            "only a person can consent".to_owned(),
        ));
    }
    let allowed = match wait.owner.as_deref() {
        None | Some("anyone") => true,
        Some(owner) => match owner.strip_prefix("role:") {
            Some(role) => roles.iter().any(|held| held == role),
            None => owner == by,
        },
    };
    if allowed {
        Ok(())
    } else {
        let owner = wait.owner.as_deref().unwrap_or("anyone");
        Err(Rejection::NotAllowed(format!(
            "this asks for the consent of {owner}, and {by} is not that"
        )))
    }
}

pub(super) fn waits_for_approval(task: &Task) -> Option<&Wait> {
    if task.status != TaskStatus::Waiting {
        return None;
    }
    task.wait
        .as_ref()
        .filter(|wait| wait.kind == WaitKind::Approval)
}

/// The facts of a consent: kept under what asked for it, and the task goes on.
pub(super) fn consent(task: &Task, by: &str) -> Vec<TaskFact> {
    let by = by.to_owned();
    let woken = TaskFact::Woken {
        cause: "approval".to_owned(),
    };
    if task.proposal.is_some() {
        return vec![
            TaskFact::Approved {
                step: SUBMIT_APPROVAL,
                by,
            },
            woken,
        ];
    }
    match task.steps.last() {
        Some(step) if step.outcome.is_none() && step.kind == "approve" => vec![
            TaskFact::Approved {
                step: step.index,
                by,
            },
            TaskFact::StepFinished {
                index: step.index,
                outcome: StepOutcome::Succeeded,
                outputs: Outputs::new(),
                log: None,
                wall_ms: 0,
            },
            woken,
        ],
        _ => vec![
            TaskFact::Approved {
                step: START_APPROVAL,
                by,
            },
            woken,
        ],
    }
}
