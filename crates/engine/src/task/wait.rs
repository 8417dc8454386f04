//! A step asks for something that takes long: the task lets go of its environment.

use model::fact::TaskFact;
use model::task::{Task, TaskStatus, Wait};

use super::command::wrong;
use crate::rejection::Rejection;

pub(super) fn decide(task: &Task, wait: &Wait) -> Result<Vec<TaskFact>, Rejection> {
    if !matches!(task.status, TaskStatus::Running | TaskStatus::Preparing) {
        return Err(wrong(task, "wait"));
    }
    Ok(vec![TaskFact::Waited { wait: wait.clone() }])
}
