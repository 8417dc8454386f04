//! No step shall start any more. A step that runs is stopped by its runner.

use model::fact::TaskFact;
use model::task::Task;

use super::command::wrong;
use crate::rejection::Rejection;

pub(super) fn decide(task: &Task) -> Result<Vec<TaskFact>, Rejection> {
    if task.status.is_final() {
        return Err(wrong(task, "pause"));
    }
    if task.paused {
        return Err(Rejection::Paused);
    }
    let mut facts = vec![TaskFact::Paused];
    if task.status.is_leased() {
        facts.push(TaskFact::Interrupted {
            cause: "paused".to_owned(),
            blame: false,
        });
    }
    Ok(facts)
}
