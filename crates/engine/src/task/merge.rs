//! The change was merged at the forge. What happened there has happened: any task that still
//! has this change open takes note.

use model::fact::TaskFact;
use model::reason::ReasonCode;
use model::task::{Task, TaskStatus};

use super::command::{ended, wrong};
use crate::rejection::Rejection;

pub(super) fn decide(task: &Task, by: &str, commit: &str) -> Result<Vec<TaskFact>, Rejection> {
    if task.status.is_final() || task.change.is_none() {
        return Err(wrong(task, "merge"));
    }
    let short: String = commit.chars().take(12).collect();
    Ok(vec![ended(
        TaskStatus::Merged,
        ReasonCode::Merged,
        format!("merged by {by} as {short}"),
    )])
}
