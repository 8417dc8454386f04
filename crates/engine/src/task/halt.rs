//! A cap or the kill switch stops it for now, wherever it stands. Its work is kept: it goes on with
//! the step that was under way, over the workspace as that step left it.

use model::fact::TaskFact;
use model::reason::Reason;
use model::task::{Task, TaskStatus, Wait, WaitKind};

use super::command::wrong;
use crate::rejection::Rejection;

pub(super) fn decide(
    task: &Task,
    kind: WaitKind,
    reason: &Reason,
) -> Result<Vec<TaskFact>, Rejection> {
    let may =
        task.status.is_leased() || matches!(task.status, TaskStatus::Queued | TaskStatus::Ready);
    if !may {
        return Err(wrong(task, "halt"));
    }
    // These end without a person's consent or answer, so that nothing is passed over by a halt.
    if !matches!(kind, WaitKind::Budget | WaitKind::Quota | WaitKind::Stop) {
        return Err(Rejection::Invalid(format!(
            "nothing is halted to wait for {}",
            kind.as_str()
        )));
    }
    Ok(vec![TaskFact::Waited {
        wait: Wait {
            kind,
            reason: reason.clone(),
            owner: None,
            until: None,
            silence_permits: false,
        },
    }])
}
