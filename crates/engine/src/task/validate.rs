//! Validators ran: their results are kept as evidence; the step's end draws the conclusion.

use model::evidence::ValidatorResult;
use model::fact::TaskFact;
use model::task::{Task, TaskStatus};

use super::command::wrong;
use crate::rejection::Rejection;

pub(super) fn decide(
    task: &Task,
    validators: &[ValidatorResult],
) -> Result<Vec<TaskFact>, Rejection> {
    if task.status != TaskStatus::Validating {
        return Err(wrong(task, "validate"));
    }
    Ok(vec![TaskFact::Validated {
        validators: validators.to_vec(),
    }])
}
