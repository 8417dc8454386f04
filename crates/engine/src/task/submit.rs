//! The change is at the forge, and reviewers have it.

use model::change::ChangeRef;
use model::fact::TaskFact;
use model::task::{Task, TaskStatus};

use super::command::wrong;
use crate::rejection::Rejection;

pub(super) fn decide(task: &Task, change: &ChangeRef) -> Result<Vec<TaskFact>, Rejection> {
    if task.status != TaskStatus::Ready {
        return Err(wrong(task, "submit"));
    }
    Ok(vec![
        TaskFact::Submitted {
            change: change.clone(),
        },
        TaskFact::ReviewOpened,
    ])
}
