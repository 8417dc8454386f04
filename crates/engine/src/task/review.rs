//! A reviewer spoke at the forge.

use model::change::ReviewVerdict;
use model::fact::TaskFact;
use model::reason::{Reason, ReasonCode};
use model::task::{Task, TaskStatus, Wait, WaitKind};

use super::command::wrong;
use crate::rejection::Rejection;

pub(super) fn decide(
    task: &Task,
    verdict: ReviewVerdict,
    by: &str,
    text: &str,
) -> Result<Vec<TaskFact>, Rejection> {
    let in_review = task.status.is_open();
    let waits_for_author = waits_after_review(task);
    if !in_review && !waits_for_author {
        return Err(wrong(task, "review"));
    }
    let mut facts = vec![TaskFact::Reviewed {
        verdict,
        by: by.to_owned(),
        text: text.to_owned(),
    }];
    match verdict {
        ReviewVerdict::Approved if waits_for_author => facts.push(TaskFact::Woken {
            cause: "review".to_owned(),
        }),
        ReviewVerdict::ChangesRequested if in_review => {
            let words = if text.is_empty() {
                String::new()
            } else {
                format!(": {text}")
            };
            let sentence =
                format!("{by} wants changes{words}; retry the task, or push to its branch");
            let reason = Reason::new(ReasonCode::ChangesRequested, sentence);
            let wait = Wait {
                kind: WaitKind::Person,
                reason,
                owner: None,
                until: None,
                silence_permits: false,
            };
            facts.push(TaskFact::Waited { wait });
        }
        ReviewVerdict::Approved | ReviewVerdict::ChangesRequested => {}
    }
    Ok(facts)
}

/// Reviewers asked for changes, and nothing was done about it yet. A wait before the change left
/// the environment is none of theirs, whatever its reason says.
pub(super) fn waits_after_review(task: &Task) -> bool {
    task.status == TaskStatus::Waiting
        && task.proposal.is_some()
        && task
            .wait
            .as_ref()
            .is_some_and(|wait| wait.reason.code == ReasonCode::ChangesRequested)
}
