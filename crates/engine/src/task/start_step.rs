//! A step begins.

use model::automation::StepKind;
use model::fact::TaskFact;
use model::task::{Task, TaskStatus};

use super::command::wrong;
use crate::context::Context;
use crate::rejection::Rejection;

pub(super) fn decide(
    task: &Task,
    index: u32,
    context: &Context<'_>,
) -> Result<Vec<TaskFact>, Rejection> {
    if task.status != TaskStatus::Running {
        return Err(wrong(task, "start_step"));
    }
    if task.paused {
        return Err(Rejection::Paused);
    }
    // A step that asked a person was begun before; beginning it again is how it goes on.
    if index != task.next_step {
        return Err(Rejection::WrongStep {
            index,
            expected: task.next_step,
        });
    }
    let step = context
        .definition
        .steps
        .get(index as usize)
        .ok_or(Rejection::NoSuchStep(index))?;
    let kind = step.kind().unwrap_or(StepKind::Command);
    Ok(vec![TaskFact::StepStarted {
        index,
        id: step.id_at(index as usize),
        kind: kind.as_str().to_owned(),
        attempt: task.attempt,
    }])
}
