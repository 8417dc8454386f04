//! A newer task works on the same target and takes the change over.

use model::fact::TaskFact;
use model::reason::ReasonCode;
use model::task::{Task, TaskStatus};

use super::command::{ended, wrong};
use crate::rejection::Rejection;

pub(super) fn decide(task: &Task, by: &str) -> Result<Vec<TaskFact>, Rejection> {
    if task.status.is_final() {
        return Err(wrong(task, "supersede"));
    }
    let sentence = format!("{by} works on the same target and takes over");
    Ok(vec![ended(
        TaskStatus::Superseded,
        ReasonCode::NewerTask,
        sentence,
    )])
}
