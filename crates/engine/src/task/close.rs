//! The change was closed at the forge without being merged.

use model::fact::TaskFact;
use model::reason::ReasonCode;
use model::task::{Task, TaskStatus};

use super::command::{ended, wrong};
use crate::rejection::Rejection;

pub(super) fn decide(task: &Task, by: &str) -> Result<Vec<TaskFact>, Rejection> {
    if task.status.is_final() || task.change.is_none() {
        return Err(wrong(task, "close"));
    }
    Ok(vec![ended(
        TaskStatus::Rejected,
        ReasonCode::ChangeClosed,
        format!("{by} closed the change"),
    )])
}
