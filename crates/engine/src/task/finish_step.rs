//! A step ended: on to the next, try again later, or give up.

use std::time::Duration;

use model::automation::StepKind;
use model::evidence::Verdict;
use model::fact::TaskFact;
use model::reason::{Reason, ReasonCode};
use model::step::{Outputs, StepOutcome};
use model::task::{Task, TaskStatus, Wait, WaitKind};

use super::command::{ended, wrong};
use crate::context::Context;
use crate::rejection::Rejection;

/// Pause before the first retry.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

pub(super) struct Finished {
    pub(super) index: u32,
    pub(super) outcome: StepOutcome,
    pub(super) outputs: Outputs,
    pub(super) log: Option<String>,
    pub(super) wall_ms: u64,
}

pub(super) fn decide(
    task: &Task,
    finished: Finished,
    context: &Context<'_>,
) -> Result<Vec<TaskFact>, Rejection> {
    if !matches!(task.status, TaskStatus::Running | TaskStatus::Validating) {
        return Err(wrong(task, "finish_step"));
    }
    check_is_running(task, finished.index)?;
    let index = finished.index;
    let step = context
        .definition
        .steps
        .get(index as usize)
        .ok_or(Rejection::NoSuchStep(index))?;
    let name = step.id_at(index as usize);
    let outcome = finished.outcome.clone();
    if step.kind() == Some(StepKind::Approve)
        && outcome == StepOutcome::Succeeded
        && !is_approved(task, index)
    {
        return Err(Rejection::NotAllowed(format!(
            "step `{name}` ends with a person's consent, and nobody gave it"
        )));
    }
    let mut facts = vec![TaskFact::StepFinished {
        index,
        outcome: finished.outcome,
        outputs: finished.outputs,
        log: finished.log,
        wall_ms: finished.wall_ms,
    }];
    match outcome {
        StepOutcome::Skipped => {}
        StepOutcome::Succeeded if step.kind() == Some(StepKind::Validate) => {
            facts.extend(judge(task));
        }
        StepOutcome::Succeeded => {}
        StepOutcome::Failed { .. } | StepOutcome::TimedOut
            if step.kind() == Some(StepKind::Report) =>
        {
            let sentence =
                "the report's values do not meet its `accept` rule or types; see the step's log";
            facts.push(ended(
                TaskStatus::Failed,
                ReasonCode::ReportRefused,
                sentence,
            ));
        }
        StepOutcome::Failed { .. } | StepOutcome::TimedOut => {
            let (code, what) = match outcome {
                StepOutcome::Failed { code } => (
                    ReasonCode::StepFailed,
                    format!("ended with exit code {code}"),
                ),
                _ => (ReasonCode::StepTimedOut, "ran out of time".to_owned()),
            };
            facts.push(after_failure(
                task,
                step.retries.unwrap_or(0),
                code,
                &name,
                &what,
                context,
            ));
        }
    }
    Ok(facts)
}

fn check_is_running(task: &Task, index: u32) -> Result<(), Rejection> {
    match task.steps.last() {
        Some(step) if step.index == index && step.outcome.is_none() => Ok(()),
        _ => Err(Rejection::WrongStep {
            index,
            expected: task.next_step,
        }),
    }
}

fn is_approved(task: &Task, index: u32) -> bool {
    task.approvals.iter().any(|approval| approval.step == index)
}

fn after_failure(
    task: &Task,
    retries: u32,
    code: ReasonCode,
    name: &str,
    what: &str,
    context: &Context<'_>,
) -> TaskFact {
    if task.attempt > retries {
        let attempts = if task.attempt > 1 {
            format!(", {} attempts", task.attempt)
        } else {
            String::new()
        };
        let sentence = format!("step `{name}` {what}{attempts}; see its log, then retry the task");
        return ended(TaskStatus::Failed, code, sentence);
    }
    let salt = u64::from_be_bytes(task.id.uuid().as_bytes()[..8].try_into().unwrap_or([0; 8]));
    let pause = crate::retry::pause(FIRST_PAUSE, task.attempt, salt);
    let until = context.now.checked_add(pause).unwrap_or(context.now);
    let sentence = format!(
        "step `{name}` {what}; attempt {} of {} follows",
        task.attempt.saturating_add(1),
        retries.saturating_add(1)
    );
    let reason = Reason::new(ReasonCode::RetryBackoff, sentence);
    let wait = Wait {
        kind: WaitKind::Timer,
        reason,
        owner: None,
        until: Some(until),
        silence_permits: false,
    };
    TaskFact::Waited { wait }
}

/// What the validators' verdicts mean for the task.
fn judge(task: &Task) -> Option<TaskFact> {
    let named = |verdict: Verdict| {
        let names: Vec<&str> = task
            .validators
            .iter()
            .filter(|result| result.verdict == verdict)
            .map(|result| result.name.as_str())
            .collect();
        names.join(", ")
    };
    if task
        .validators
        .iter()
        .any(|result| result.verdict == Verdict::Failed)
    {
        let news: Vec<&str> = task
            .validators
            .iter()
            .flat_map(|result| &result.new)
            .map(String::as_str)
            .take(5)
            .collect();
        let news = if news.is_empty() {
            String::new()
        } else {
            format!(" ({})", news.join("; "))
        };
        let sentence = format!(
            "{} found something the base does not have{news}",
            named(Verdict::Failed)
        );
        return Some(ended(
            TaskStatus::Failed,
            ReasonCode::ValidationFailed,
            sentence,
        ));
    }
    if task
        .validators
        .iter()
        .any(|result| result.verdict == Verdict::Missing)
    {
        let sentence = format!(
            "{} could not run here, so nothing is known",
            named(Verdict::Missing)
        );
        return Some(ended(
            TaskStatus::Unverified,
            ReasonCode::ValidatorMissing,
            sentence,
        ));
    }
    None
}
