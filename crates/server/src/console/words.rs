//! States in words: what they are called, what happens next, and who is waited for.

use std::fmt::Write;

use model::campaign::CampaignStatus;
use model::rows::TaskRow;
use model::run::RunStatus;
use model::task::{Task, TaskStatus, WaitKind};

use crate::terminal::visible;

/// How a state looks: a shape, a tone, a word. The word alone must be enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// Name of the glyph.
    pub(super) glyph: &'static str,
    /// Class of the colour.
    pub(super) tone: &'static str,
    /// The word.
    pub(super) word: &'static str,
}

const fn look(glyph: &'static str, tone: &'static str, word: &'static str) -> Look {
    Look { glyph, tone, word }
}

/// The look of a task.
pub(super) const fn task(status: TaskStatus, wait: Option<WaitKind>) -> Look {
    match (status, wait) {
        (TaskStatus::Queued, _) => look("queued", "idle", "queued"),
        (TaskStatus::Preparing, _) => look("preparing", "busy", "preparing"),
        (TaskStatus::Running, _) => look("running", "busy", "running"),
        (TaskStatus::Validating, _) => look("validating", "busy", "validating"),
        (TaskStatus::Ready, _) => look("ready", "busy", "ready"),
        (TaskStatus::Waiting, Some(WaitKind::Approval)) => look("you", "you", "asks for consent"),
        (TaskStatus::Waiting, Some(WaitKind::Person)) => look("you", "you", "needs a person"),
        (TaskStatus::Waiting, Some(WaitKind::Budget)) => look("you", "you", "budget used up"),
        (TaskStatus::Waiting, Some(WaitKind::Stop)) => {
            look("waiting", "off", "stopped by a person")
        }
        (TaskStatus::Waiting, Some(WaitKind::Quota)) => {
            look("waiting", "wait", "waits for a place")
        }
        (TaskStatus::Waiting, Some(WaitKind::Timer)) => look("waiting", "wait", "waits for a time"),
        (TaskStatus::Waiting, Some(WaitKind::Ci)) => look("waiting", "wait", "waits for checks"),
        (TaskStatus::Waiting, None) => look("waiting", "wait", "waiting"),
        (TaskStatus::Submitted, _) => look("ready", "busy", "submitted"),
        (TaskStatus::InReview, _) => look("review", "you", "in review"),
        (TaskStatus::Merged, _) => look("merged", "good", "merged"),
        (TaskStatus::NoChange, _) => look("nochange", "good", "nothing to do"),
        (TaskStatus::Unverified, _) => look("unverified", "bad", "unverified"),
        (TaskStatus::Failed, _) => look("failed", "bad", "failed"),
        (TaskStatus::Rejected, _) => look("rejected", "bad", "rejected"),
        (TaskStatus::Superseded, _) => look("superseded", "off", "superseded"),
        (TaskStatus::Cancelled, _) => look("cancelled", "off", "cancelled"),
    }
}

/// The look of a campaign.
pub(super) const fn campaign(status: CampaignStatus) -> Look {
    match status {
        CampaignStatus::Active => look("running", "busy", "active"),
        CampaignStatus::Paused => look("waiting", "you", "paused"),
        CampaignStatus::Held => look("you", "you", "held at a gate"),
        CampaignStatus::Closed => look("merged", "off", "closed"),
    }
}

/// The look of a run.
pub(super) const fn run(status: RunStatus) -> Look {
    match status {
        RunStatus::Planning => look("running", "busy", "planning"),
        RunStatus::Planned => look("merged", "good", "planned"),
        RunStatus::Failed => look("failed", "bad", "failed"),
    }
}

/// What happens next with a task, and who is waited for.
pub(super) fn next(task: &Task, admitted_wave: Option<u32>) -> String {
    if task.paused && !task.status.is_final() {
        return "Paused by a person: no step starts until somebody resumes it.".to_owned();
    }
    let reason = || {
        task.reason
            .as_ref()
            .map(|reason| sentence(&reason.sentence))
            .unwrap_or_default()
    };
    match task.status {
        TaskStatus::Queued => match admitted_wave {
            Some(admitted) if task.wave > admitted => {
                format!(
                    "Waits for its wave ({}); the campaign has let in waves up to {admitted}.",
                    task.wave
                )
            }
            _ => "Starts as soon as a runner has a place.".to_owned(),
        },
        TaskStatus::Preparing => {
            "A runner is making its environment; then the first step starts.".to_owned()
        }
        TaskStatus::Running => match task.steps.last().filter(|step| step.outcome.is_none()) {
            Some(step) => format!("Step “{}” is running; nobody is waited for.", step.id),
            None => "The next step is about to start.".to_owned(),
        },
        TaskStatus::Validating => {
            "Validators compare the work with the base; then it becomes a change.".to_owned()
        }
        TaskStatus::Ready => "The change goes to the forge next.".to_owned(),
        TaskStatus::Submitted => "The forge has the change; reviewers get it next.".to_owned(),
        TaskStatus::InReview => {
            "Waits for a reviewer: read the change, then approve and merge it, or ask for changes."
                .to_owned()
        }
        TaskStatus::Waiting => waiting(task),
        TaskStatus::Merged => "Done: the change is in the base branch.".to_owned(),
        TaskStatus::NoChange => format!("Done without a change. {}", reason()),
        TaskStatus::Unverified => retryable(format!("Ended without evidence. {}", reason())),
        TaskStatus::Failed | TaskStatus::Rejected => retryable(reason()),
        TaskStatus::Superseded | TaskStatus::Cancelled => reason(),
    }
}

fn retryable(text: String) -> String {
    if text.contains("retry") {
        text
    } else {
        format!("{text} A person may retry it.")
    }
}

fn waiting(task: &Task) -> String {
    let Some(wait) = &task.wait else {
        return "Waits.".to_owned();
    };
    let mut text = sentence(&wait.reason.sentence);
    if wait.kind == WaitKind::Approval {
        let who = match wait.owner.as_deref() {
            None | Some("anyone") => "anyone".to_owned(),
            Some(owner) => owner
                .replace("role:", "somebody with the role ")
                .replace("person:", ""),
        };
        let _ = write!(text, " Waits for the consent of {who}.");
        if let Some(until) = wait.until {
            let silence = if wait.silence_permits {
                "goes on"
            } else {
                "ends as rejected"
            };
            let _ = write!(
                text,
                " Without an answer it {silence} at {}.",
                moment(until)
            );
        }
    } else if let Some(until) = wait.until {
        let _ = write!(text, " Goes on by itself at {}.", moment(until));
    }
    text
}

/// What a row of a list says about itself.
pub(super) fn row(row: &TaskRow) -> String {
    match (&row.sentence, row.status) {
        (Some(text), _) => sentence(text),
        (None, TaskStatus::InReview) => {
            "Read it, then approve and merge, or ask for changes.".to_owned()
        }
        (None, _) => String::new(),
    }
}

/// A time as text, UTC.
pub(super) fn moment(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// How long ago, roughly.
pub(super) fn ago(time: jiff::Timestamp, now: jiff::Timestamp) -> String {
    let seconds = now.as_second() - time.as_second();
    match seconds {
        ..5 => "just now".to_owned(),
        5..90 => format!("{seconds} s ago"),
        90..5400 => format!("{} min ago", (seconds + 30) / 60),
        5400..129_600 => format!("{} h ago", (seconds + 1800) / 3600),
        _ => time.strftime("%Y-%m-%d").to_string(),
    }
}

/// A length of time.
pub(super) fn length(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        60_000..3_600_000 => format!("{} min {:02} s", ms / 60_000, ms / 1000 % 60),
        _ => format!("{} h {:02} min", ms / 3_600_000, ms / 60_000 % 60),
    }
}

/// `1 task`, `3 tasks`.
pub(super) fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Text from outside as it may be shown.
pub(super) fn safe(text: &str) -> String {
    text.chars().map(visible).collect()
}

/// A fragment as a sentence: a capital letter, a full stop.
pub(super) fn sentence(text: &str) -> String {
    let mut text = sentence_case(&safe(text.trim()).replace("person:", ""));
    if !text.is_empty() && !text.ends_with(['.', '!', '?', '…', ':']) {
        text.push('.');
    }
    text
}

/// The first letter as a capital.
pub(super) fn sentence_case(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_lengths_read_well() {
        let now = jiff::Timestamp::from_second(1_000_000).unwrap();
        let before = |seconds: i64| jiff::Timestamp::from_second(1_000_000 - seconds).unwrap();
        assert_eq!(ago(before(2), now), "just now");
        assert_eq!(ago(before(60), now), "60 s ago");
        assert_eq!(ago(before(600), now), "10 min ago");
        assert_eq!(ago(before(7200), now), "2 h ago");
        assert_eq!(length(61_500), "1 min 01 s");
        assert_eq!(length(1_550), "1.5 s");
    }

    #[test]
    fn fragments_become_sentences_without_control_characters() {
        assert_eq!(sentence("it broke\u{202e}"), "It broke\u{fffd}.");
        assert_eq!(sentence("Why?"), "Why?");
        assert_eq!(sentence(""), "");
    }
}
