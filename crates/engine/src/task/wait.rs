//! A step asks for something that takes long: the task lets go of its environment.

use model::automation::OnTimeout;
use model::fact::TaskFact;
use model::task::{Task, TaskStatus, Wait, WaitKind};

use super::command::wrong;
use crate::context::Context;
use crate::rejection::Rejection;

pub(super) fn decide(
    task: &Task,
    wait: &Wait,
    context: &Context<'_>,
) -> Result<Vec<TaskFact>, Rejection> {
    if !matches!(task.status, TaskStatus::Running | TaskStatus::Preparing) {
        return Err(wrong(task, "wait"));
    }
    let running = task.steps.last().filter(|step| step.outcome.is_none());
    let asks = running.filter(|step| step.kind == "approve");
    let wait = match (wait.kind, asks) {
        (WaitKind::Approval, Some(step)) => asked_by(step.index, wait, context)?,
        // A consent would be kept under a step that never asked for it.
        (WaitKind::Approval, None) => {
            return Err(Rejection::Invalid(
                "only a running approve step waits for consent".to_owned(),
            ));
        }
        (_, Some(_)) => {
            return Err(Rejection::Invalid(
                "an approve step waits for consent, and nothing else".to_owned(),
            ));
        }
        (WaitKind::Timer, None) if wait.until.is_none() => {
            return Err(Rejection::Invalid(
                "a wait for a time says until when".to_owned(),
            ));
        }
        (WaitKind::Ci, None) => {
            return Err(Rejection::Invalid(
                "only a submitted change waits for checks".to_owned(),
            ));
        }
        (WaitKind::Stop, None) => {
            return Err(Rejection::Invalid(
                "only the kill switch makes a task wait for its end".to_owned(),
            ));
        }
        (_, None) => Wait {
            silence_permits: false,
            ..wait.clone()
        },
    };
    Ok(vec![TaskFact::Waited { wait }])
}

/// Who is asked and what silence means comes from the automation, not from the runner.
fn asked_by(index: u32, wait: &Wait, context: &Context<'_>) -> Result<Wait, Rejection> {
    let step = context
        .definition
        .steps
        .get(index as usize)
        .ok_or(Rejection::NoSuchStep(index))?;
    let rules = step
        .approve
        .as_ref()
        .ok_or_else(|| Rejection::Invalid(format!("step {index} of the automation asks nobody")))?;
    Ok(Wait {
        owner: Some(rules.by.clone()),
        silence_permits: rules.otherwise == OnTimeout::Permit,
        ..wait.clone()
    })
}
