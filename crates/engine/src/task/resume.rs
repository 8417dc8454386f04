//! Steps may start again.

use model::fact::TaskFact;
use model::task::Task;

use super::command::wrong;
use crate::rejection::Rejection;

pub(super) fn decide(task: &Task) -> Result<Vec<TaskFact>, Rejection> {
    if !task.paused || task.status.is_final() {
        return Err(wrong(task, "resume"));
    }
    Ok(vec![TaskFact::Resumed])
}
