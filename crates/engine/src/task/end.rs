//! The work ended without a change.

use model::fact::TaskFact;
use model::reason::Reason;
use model::task::{Task, TaskStatus};

use super::command::{ended, wrong};
use crate::rejection::Rejection;

pub(super) fn decide(
    task: &Task,
    status: TaskStatus,
    reason: &Reason,
) -> Result<Vec<TaskFact>, Rejection> {
    if !task.status.is_leased() {
        return Err(wrong(task, "end"));
    }
    // The other ends are not a runner's to declare.
    if !matches!(
        status,
        TaskStatus::NoChange | TaskStatus::Unverified | TaskStatus::Failed
    ) {
        return Err(Rejection::Invalid(format!(
            "a runner cannot end a task as {status}"
        )));
    }
    Ok(vec![ended(status, reason.code, reason.sentence.as_str())])
}
