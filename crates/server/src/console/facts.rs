//! Facts in words.

use model::change::ReviewVerdict;
use model::evidence::Verdict;
use model::fact::{CampaignFact, Recorded, TaskFact};
use model::step::StepOutcome;

use super::words::{self, count, length, safe, sentence};

/// What happened to a task, as a sentence; `step` gives the name of a step.
pub(super) fn task(fact: &TaskFact, step: impl Fn(u32) -> String) -> String {
    let text = match fact {
        TaskFact::Created {
            automation,
            version,
            wave,
            ..
        } => {
            format!("made by the automation {automation} (version {version}), in wave {wave}")
        }
        TaskFact::Claimed { runner } => format!("taken by the runner {runner}"),
        TaskFact::Prepared { base, isolation } => format!(
            "environment stands on {} of {} with isolation {:?}, {} held",
            base.commit.get(..10).unwrap_or(&base.commit),
            base.branch,
            isolation.level,
            count(
                isolation.probes.into(),
                "self-test probe",
                "self-test probes"
            )
        ),
        TaskFact::StepStarted { id, attempt: 1, .. } => format!("step “{id}” began"),
        TaskFact::StepStarted { id, attempt, .. } => {
            format!("step “{id}” began, attempt {attempt}")
        }
        TaskFact::StepFinished {
            index,
            outcome,
            wall_ms: 0,
            ..
        } => {
            format!("step “{}” {}", step(*index), self::outcome(outcome))
        }
        TaskFact::StepFinished {
            index,
            outcome,
            wall_ms,
            ..
        } => {
            format!(
                "step “{}” {} after {}",
                step(*index),
                self::outcome(outcome),
                length(*wall_ms)
            )
        }
        TaskFact::Validated { validators } => {
            let of = |verdict| {
                validators
                    .iter()
                    .filter(|result| result.verdict == verdict)
                    .count() as u64
            };
            format!(
                "{} ran: {} passed, {} failed, {} missing",
                count(validators.len() as u64, "validator", "validators"),
                of(Verdict::Passed),
                of(Verdict::Failed),
                of(Verdict::Missing)
            )
        }
        TaskFact::Waited { wait } => wait.reason.sentence.clone(),
        TaskFact::Woken { cause } => format!("woken by {}", cause.replace('_', " ")),
        TaskFact::Approved { by, .. } if by == "silence" => {
            "nobody answered in time, which here means yes".to_owned()
        }
        TaskFact::Approved { by, .. } => format!("{} consented", person(by)),
        TaskFact::Proposed { proposal } => format!(
            "change proposed: “{}”, {} touched, +{} −{}",
            proposal.title,
            count(proposal.diff.files.into(), "file", "files"),
            proposal.diff.insertions,
            proposal.diff.deletions
        ),
        TaskFact::Submitted { change } => format!(
            "change {} opened at the forge on {}",
            change.number, change.branch
        ),
        TaskFact::ReviewOpened => "reviewers have it".to_owned(),
        TaskFact::Reviewed {
            verdict: ReviewVerdict::Approved,
            by,
            ..
        } => format!("{} approved the change", person(by)),
        TaskFact::Reviewed {
            verdict: ReviewVerdict::ChangesRequested,
            by,
            text,
        } => {
            format!("{} asked for changes: {text}", person(by))
        }
        TaskFact::Paused => "paused".to_owned(),
        TaskFact::Resumed => "resumed".to_owned(),
        TaskFact::Interrupted { cause, .. } => format!("interrupted and queued again: {cause}"),
        TaskFact::Retried { cause } => format!("new round: {cause}"),
        TaskFact::Ended { status, reason } => {
            format!(
                "{}: {}",
                words::task(*status, None).word,
                sentence(&reason.sentence)
            )
        }
    };
    sentence(&text)
}

/// Beginnings of steps whose end follows say nothing new.
pub(super) fn is_told_later(fact: &TaskFact, later: &[Recorded<TaskFact>]) -> bool {
    let TaskFact::StepStarted { index, .. } = fact else {
        return false;
    };
    later.iter().any(|later| matches!(&later.fact, TaskFact::StepFinished { index: ended, .. } if ended == index))
}

/// The glyph and tone beside a fact.
pub(super) const fn mark(fact: &TaskFact) -> (&'static str, &'static str) {
    match fact {
        TaskFact::Ended { status, .. } => {
            let look = words::task(*status, None);
            (look.glyph, look.tone)
        }
        TaskFact::Waited { .. } => ("waiting", "you"),
        TaskFact::Approved { .. } | TaskFact::Reviewed { .. } => ("you", "you"),
        TaskFact::StepFinished {
            outcome: StepOutcome::Failed { .. } | StepOutcome::TimedOut,
            ..
        } => ("failed", "bad"),
        TaskFact::StepFinished { .. } | TaskFact::Validated { .. } => ("merged", "good"),
        TaskFact::Submitted { .. } | TaskFact::ReviewOpened | TaskFact::Proposed { .. } => {
            ("ready", "busy")
        }
        TaskFact::Interrupted { .. } | TaskFact::Retried { .. } => ("superseded", "wait"),
        _ => ("queued", "idle"),
    }
}

/// How a step ended.
pub(super) fn outcome(outcome: &StepOutcome) -> String {
    match outcome {
        StepOutcome::Succeeded => "succeeded".to_owned(),
        StepOutcome::Skipped => "was skipped".to_owned(),
        StepOutcome::Failed { code } => format!("failed with exit code {code}"),
        StepOutcome::TimedOut => "ran out of time".to_owned(),
    }
}

/// Somebody's name without its kind.
pub(super) fn person(actor: &str) -> String {
    safe(actor.strip_prefix("person:").unwrap_or(actor))
}

/// What happened to a campaign, as a sentence.
pub(super) fn campaign(fact: &CampaignFact) -> String {
    let text = match fact {
        CampaignFact::Opened {
            automation,
            version,
            ..
        } => format!("opened for {automation} (version {version})"),
        CampaignFact::TargetsPlanned {
            count: n, waves, ..
        } => {
            let sizes: Vec<String> = waves.iter().map(ToString::to_string).collect();
            format!(
                "{} planned; waves of {}",
                count((*n).into(), "target", "targets"),
                sizes.join(", ")
            )
        }
        CampaignFact::WaveAdmitted { wave } => format!("wave {wave} let in"),
        CampaignFact::Held { note } => format!("held: {note}"),
        CampaignFact::Paused => "paused".to_owned(),
        CampaignFact::Resumed {
            overridden: Some(wave),
        } => format!("resumed, past the gate of wave {wave}"),
        CampaignFact::Resumed { overridden: None } => "resumed".to_owned(),
        CampaignFact::Closed { note } => format!("closed: {note}"),
    };
    sentence(&text)
}
