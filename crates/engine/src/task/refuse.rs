//! The forge did not take the change.

use model::fact::TaskFact;
use model::reason::Reason;
use model::task::{Task, TaskStatus};

use super::command::{ended, wrong};
use crate::rejection::Rejection;

pub(super) fn decide(task: &Task, reason: &Reason) -> Result<Vec<TaskFact>, Rejection> {
    if task.status != TaskStatus::Ready {
        return Err(wrong(task, "refuse"));
    }
    Ok(vec![ended(
        TaskStatus::Failed,
        reason.code,
        reason.sentence.as_str(),
    )])
}
