//! What a task waited for came by itself: a time, a place in a limit, room in a budget.

use model::fact::TaskFact;
use model::task::{Task, TaskStatus, WaitKind};

use super::command::wrong;
use crate::context::Context;
use crate::rejection::Rejection;

pub(super) fn decide(task: &Task, context: &Context<'_>) -> Result<Vec<TaskFact>, Rejection> {
    let (TaskStatus::Waiting, Some(wait)) = (task.status, &task.wait) else {
        return Err(wrong(task, "wake"));
    };
    // The timer of an earlier wait may ring late; it must not end this one early.
    if wait.until.is_some_and(|until| until > context.now) {
        return Err(Rejection::Stale("the time it waits for has not come"));
    }
    match wait.kind {
        WaitKind::Timer | WaitKind::Quota | WaitKind::Budget | WaitKind::Stop => {
            Ok(vec![TaskFact::Woken {
                cause: wait.kind.as_str().to_owned(),
            }])
        }
        WaitKind::Person | WaitKind::Approval | WaitKind::Ci => Err(wrong(task, "wake")),
    }
}
