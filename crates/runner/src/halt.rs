//! Why work on a task stops before its last step.

use model::reason::{Reason, ReasonCode};
use model::task::TaskStatus;

/// Ends the work on a task; passed up with `?` to the one place that tells the control plane.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The control plane wants the task back, or has recorded its end.
    Released(String),
    /// The control plane wants it stopped at once, with the work kept.
    Recalled(String),
    /// The runner stops.
    Shutdown,
    /// The task ends without a change: to be reported.
    Ends(TaskStatus, Reason),
    /// The task cannot go on here: to be given back.
    Interrupted(String),
}

impl Halt {
    /// Ends the task as failed.
    pub(crate) fn failed(code: ReasonCode, sentence: impl Into<String>) -> Self {
        Self::Ends(TaskStatus::Failed, Reason::new(code, sentence))
    }

    /// Ends the task as one that had nothing to do.
    pub(crate) fn no_change(code: ReasonCode, sentence: impl Into<String>) -> Self {
        Self::Ends(TaskStatus::NoChange, Reason::new(code, sentence))
    }

    /// Ends a task whose environment would be weaker than is required. Nothing of it has run.
    pub(crate) fn too_weak(missing: &[String]) -> Self {
        let sentence = format!(
            "{}; nothing ran. `nightcrew doctor` names the cause and the cure on this host; a runner on a stronger host, or `accept_weaker` where the automation asks for it, goes on",
            missing.join("; ")
        );
        Self::failed(ReasonCode::IsolationTooWeak, sentence)
    }

    /// A bug of ours or a broken host: somebody else may succeed.
    pub(crate) fn broken(what: &str, error: &dyn std::error::Error) -> Self {
        Self::Interrupted(format!("{what}: {}", chain(error)))
    }
}

impl From<sandbox::SandboxError> for Halt {
    fn from(error: sandbox::SandboxError) -> Self {
        use sandbox::SandboxError::{Gone, SupervisorGone, Talk, Weaker};
        match error {
            // The host lost it, not the task.
            Gone { .. } | Talk { .. } | SupervisorGone => {
                Self::broken("the environment is lost", &error)
            }
            Weaker { missing, .. } => Self::too_weak(&missing),
            other => {
                let sentence = format!(
                    "{}; `nightcrew doctor` names causes and cures",
                    chain(&other)
                );
                Self::failed(ReasonCode::EnvironmentFailed, sentence)
            }
        }
    }
}

/// An error with all its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
