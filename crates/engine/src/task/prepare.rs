//! The environment stands.

use model::fact::TaskFact;
use model::isolation::Isolation;
use model::task::{Base, Task, TaskStatus};

use super::command::wrong;
use crate::rejection::Rejection;

pub(super) fn decide(
    task: &Task,
    base: &Base,
    isolation: &Isolation,
) -> Result<Vec<TaskFact>, Rejection> {
    if task.status != TaskStatus::Preparing {
        return Err(wrong(task, "prepare"));
    }
    // A task that goes on in the middle, be it of its first step, must go on over the same base.
    if (task.next_step > 0 || task.base.is_some()) && task.base.as_ref() != Some(base) {
        return Err(Rejection::Stale(
            "the base is not the one the earlier steps worked on",
        ));
    }
    Ok(vec![TaskFact::Prepared {
        base: base.clone(),
        isolation: isolation.clone(),
    }])
}
