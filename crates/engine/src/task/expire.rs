//! Nobody answered in time. Silence means what the automation says, and no by default.

use model::fact::TaskFact;
use model::reason::ReasonCode;
use model::task::{Task, TaskStatus, WaitKind};

use super::approve::consent;
use super::command::{ended, wrong};
use crate::context::Context;
use crate::rejection::Rejection;

pub(super) fn decide(task: &Task, context: &Context<'_>) -> Result<Vec<TaskFact>, Rejection> {
    let (TaskStatus::Waiting, Some(wait)) = (task.status, &task.wait) else {
        return Err(wrong(task, "expire"));
    };
    if wait.until.is_none_or(|until| until > context.now) {
        return Err(Rejection::Stale("the wait has not run out"));
    }
    match wait.kind {
        WaitKind::Approval if wait.silence_permits => Ok(consent(task, "silence")),
        WaitKind::Approval | WaitKind::Person => {
            let sentence = "nobody answered in time; retry the task to ask again";
            Ok(vec![ended(
                TaskStatus::Rejected,
                ReasonCode::ApprovalExpired,
                sentence,
            )])
        }
        WaitKind::Timer | WaitKind::Quota | WaitKind::Budget | WaitKind::Stop => {
            super::wake::decide(task, context)
        }
        WaitKind::Ci => Err(wrong(task, "expire")),
    }
}
