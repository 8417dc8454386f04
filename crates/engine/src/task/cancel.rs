//! Stop for good, wherever it stands.

use model::fact::TaskFact;
use model::reason::ReasonCode;
use model::task::{Task, TaskStatus};

use super::command::{ended, wrong};
use crate::rejection::Rejection;

pub(super) fn decide(
    task: &Task,
    code: ReasonCode,
    sentence: &str,
) -> Result<Vec<TaskFact>, Rejection> {
    if task.status.is_final() {
        return Err(wrong(task, "cancel"));
    }
    Ok(vec![ended(TaskStatus::Cancelled, code, sentence)])
}
