//! Facts change the state; nothing else does.

use jiff::Timestamp;
use model::fact::{Recorded, TaskFact};
use model::ids::TaskId;
use model::step::{StepOutcome, StepRecord};
use model::task::{Approval, Task, TaskStatus};

use super::review::waits_after_review;

/// Folds one fact into the state. A fact that does not fit (from a newer version, or damaged)
/// changes as much as it can and never panics.
pub fn apply(task: &mut Task, fact: &TaskFact, at: Timestamp) {
    task.updated_at = at;
    match fact {
        TaskFact::Created { .. } => {}
        TaskFact::Claimed { runner } => {
            task.status = TaskStatus::Preparing;
            task.runner = Some(runner.clone());
        }
        TaskFact::Prepared { base, isolation } => {
            task.status = TaskStatus::Running;
            task.base = Some(base.clone());
            task.isolation = Some(isolation.clone());
        }
        TaskFact::StepStarted {
            index,
            id,
            kind,
            attempt,
        } => {
            // A step that asked a person and goes on is not listed twice.
            task.steps
                .retain(|step| step.index != *index || step.attempt != *attempt);
            task.steps.push(StepRecord {
                index: *index,
                id: id.clone(),
                kind: kind.clone(),
                attempt: *attempt,
                outcome: None,
                outputs: model::step::Outputs::new(),
                log: None,
                wall_ms: 0,
            });
            task.status = if kind == "validate" {
                TaskStatus::Validating
            } else {
                TaskStatus::Running
            };
        }
        TaskFact::StepFinished {
            index,
            outcome,
            outputs,
            log,
            wall_ms,
        } => {
            finish_step(task, *index, outcome, outputs, log.as_ref(), *wall_ms);
        }
        TaskFact::Validated { validators } => task.validators.extend(validators.iter().cloned()),
        TaskFact::Waited { wait } => {
            task.status = TaskStatus::Waiting;
            task.wait = Some(wait.clone());
        }
        TaskFact::Woken { .. } => wake(task),
        TaskFact::Approved { step, by } => {
            task.approvals.push(Approval {
                step: *step,
                by: by.clone(),
                at,
            });
        }
        TaskFact::Proposed { proposal } => {
            task.proposal = Some(proposal.clone());
            task.status = TaskStatus::Ready;
        }
        TaskFact::Submitted { change } => {
            task.change = Some(change.clone());
            task.status = TaskStatus::Submitted;
        }
        TaskFact::ReviewOpened => task.status = TaskStatus::InReview,
        TaskFact::Reviewed { .. } => {}
        TaskFact::Paused => task.paused = true,
        TaskFact::Resumed => task.paused = false,
        TaskFact::Interrupted { blame, .. } => {
            start_over(task);
            if *blame {
                task.interruptions = task.interruptions.saturating_add(1);
            }
        }
        TaskFact::Retried { .. } => {
            start_over(task);
            task.round = task.round.saturating_add(1);
            task.attempt = 1;
            task.interruptions = 0;
            task.approvals.clear();
            task.proposal = None;
            task.reason = None;
        }
        TaskFact::Ended { status, reason } => {
            task.status = *status;
            task.wait = None;
            // Pausing is about what may still happen; a retry of what ended starts free.
            task.paused = false;
            task.reason = Some(reason.clone());
        }
    }
}

fn finish_step(
    task: &mut Task,
    index: u32,
    outcome: &StepOutcome,
    outputs: &model::step::Outputs,
    log: Option<&String>,
    wall_ms: u64,
) {
    task.spent_ms = task.spent_ms.saturating_add(wall_ms);
    if let Some(step) = task.steps.iter_mut().rev().find(|step| step.index == index) {
        step.outcome = Some(outcome.clone());
        step.outputs = outputs.clone();
        step.log = log.cloned();
        step.wall_ms = wall_ms;
        if !outputs.is_empty() {
            task.outputs.insert(step.id.clone(), outputs.clone());
        }
    }
    if matches!(outcome, StepOutcome::Succeeded | StepOutcome::Skipped) {
        task.next_step = index.saturating_add(1);
        if task.status == TaskStatus::Validating {
            task.status = TaskStatus::Running;
        }
    }
}

/// Where a wait leads back to.
fn wake(task: &mut Task) {
    let after_review = waits_after_review(task);
    let failed = task.steps.last().is_some_and(|step| {
        matches!(
            step.outcome,
            Some(StepOutcome::Failed { .. } | StepOutcome::TimedOut)
        )
    });
    task.wait = None;
    task.status = if after_review {
        TaskStatus::InReview
    } else if task.proposal.is_some() {
        TaskStatus::Ready
    } else {
        TaskStatus::Queued
    };
    if failed && task.status == TaskStatus::Queued {
        start_over(task);
        task.attempt = task.attempt.saturating_add(1);
    }
}

/// Back to the queue, from the first step in a fresh environment. Consents stay.
fn start_over(task: &mut Task) {
    task.status = TaskStatus::Queued;
    task.wait = None;
    task.next_step = 0;
    task.base = None;
    task.isolation = None;
    task.steps.clear();
    task.outputs.clear();
    task.validators.clear();
}

/// The state after all facts of a stream, or `None` when the first is not a creation.
#[must_use]
pub fn replay(id: TaskId, facts: &[Recorded<TaskFact>]) -> Option<Task> {
    let (first, rest) = facts.split_first()?;
    let mut task = super::create::initial(id, &first.fact, first.at)?;
    for fact in rest {
        apply(&mut task, &fact.fact, fact.at);
    }
    Some(task)
}
