//! The runner is gone, or gave the task back: it goes back to the queue and starts over in a
//! fresh environment. Nothing outside was touched, so starting over is always right.

use model::fact::TaskFact;
use model::reason::ReasonCode;
use model::task::{Task, TaskStatus};

use super::MOST_INTERRUPTIONS;
use super::command::{ended, wrong};
use crate::rejection::Rejection;

pub(super) fn decide(task: &Task, cause: &str, blame: bool) -> Result<Vec<TaskFact>, Rejection> {
    if !task.status.is_leased() {
        return Err(wrong(task, "interrupt"));
    }
    if blame && task.interruptions >= MOST_INTERRUPTIONS {
        let sentence = format!(
            "its runner was lost {} times in a row, last: {cause}; look at the runner",
            task.interruptions.saturating_add(1)
        );
        return Ok(vec![ended(
            TaskStatus::Failed,
            ReasonCode::Interrupted,
            sentence,
        )]);
    }
    Ok(vec![TaskFact::Interrupted {
        cause: cause.to_owned(),
        blame,
    }])
}
