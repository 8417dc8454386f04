//! Another round: after a failure, or because reviewers asked for changes.

use model::fact::TaskFact;
use model::task::{Task, TaskStatus, WaitKind};

use super::command::wrong;
use crate::rejection::Rejection;

pub(super) fn decide(task: &Task, cause: &str) -> Result<Vec<TaskFact>, Rejection> {
    let waits_for_person = task.status == TaskStatus::Waiting
        && task
            .wait
            .as_ref()
            .is_some_and(|wait| matches!(wait.kind, WaitKind::Person | WaitKind::Budget));
    let may = matches!(
        task.status,
        TaskStatus::Failed | TaskStatus::Unverified | TaskStatus::Rejected | TaskStatus::Cancelled
    ) || waits_for_person;
    if !may {
        return Err(wrong(task, "retry"));
    }
    Ok(vec![TaskFact::Retried {
        cause: cause.to_owned(),
    }])
}
