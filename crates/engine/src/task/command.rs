//! The commands of a task, and the door through which all of them go.

use model::change::{ChangeRef, Proposal, ReviewVerdict};
use model::evidence::ValidatorResult;
use model::fact::TaskFact;
use model::isolation::Isolation;
use model::reason::{Reason, ReasonCode};
use model::step::{Outputs, StepOutcome};
use model::task::{Base, Task, TaskStatus, Wait, WaitKind};

use crate::context::Context;
use crate::rejection::Rejection;

/// What may be asked of a task.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskCommand {
    /// A runner takes it.
    Claim {
        /// The runner.
        runner: String,
    },
    /// Its environment stands.
    Prepare {
        /// Commit it works on.
        base: Base,
        /// Isolation reached.
        isolation: Isolation,
    },
    /// A step begins.
    StartStep {
        /// Index.
        index: u32,
    },
    /// A step ended.
    FinishStep {
        /// Index.
        index: u32,
        /// How.
        outcome: StepOutcome,
        /// What it put out.
        outputs: Outputs,
        /// Digest of its log.
        log: Option<String>,
        /// Wall time in milliseconds.
        wall_ms: u64,
    },
    /// Validators ran.
    Validate {
        /// Results.
        validators: Vec<ValidatorResult>,
    },
    /// A step asks a person.
    Wait {
        /// For what.
        wait: Wait,
    },
    /// A cap or the kill switch stops it for now.
    Halt {
        /// What ends it: `budget`, `quota` or `stop`.
        kind: WaitKind,
        /// Why.
        reason: Reason,
    },
    /// What it waited for came by itself; out of date while the wait's time lies ahead.
    Wake,
    /// Nobody answered in time.
    Expire,
    /// A person consents.
    Approve {
        /// Who, as `person:NAME`.
        by: String,
        /// Their roles.
        roles: Vec<String>,
    },
    /// A person says no.
    Deny {
        /// Who, as `person:NAME`.
        by: String,
        /// In words.
        text: String,
    },
    /// The change left the environment.
    Propose {
        /// The change.
        proposal: Proposal,
    },
    /// The change is at the forge.
    Submit {
        /// Where.
        change: ChangeRef,
    },
    /// The forge did not take the change.
    Refuse {
        /// Why.
        reason: Reason,
    },
    /// A reviewer spoke at the forge.
    Review {
        /// What.
        verdict: ReviewVerdict,
        /// Who.
        by: String,
        /// In words.
        text: String,
    },
    /// The change was merged at the forge.
    Merge {
        /// Who.
        by: String,
        /// The commit on the base branch.
        commit: String,
    },
    /// The change was closed at the forge.
    Close {
        /// Who.
        by: String,
    },
    /// The work ended without a change.
    End {
        /// `no_change`, `unverified` or `failed`.
        status: TaskStatus,
        /// Why.
        reason: Reason,
    },
    /// Its runner is gone or gave it back.
    Interrupt {
        /// Why.
        cause: String,
        /// Whether it counts against the task.
        blame: bool,
    },
    /// A person, or a rule, wants another round.
    Retry {
        /// Why.
        cause: String,
    },
    /// No step shall start any more.
    Pause,
    /// Steps may start again.
    Resume,
    /// Stop for good.
    Cancel {
        /// Why: a person, or the end of its campaign.
        code: ReasonCode,
        /// In words.
        sentence: String,
    },
    /// A newer task works on the same target.
    Supersede {
        /// The newer task, by id.
        by: String,
    },
}

/// Decides what follows from a command, without changing anything.
///
/// # Errors
/// [`Rejection`] when the command does not fit the task as it stands.
pub fn decide(
    task: &Task,
    command: &TaskCommand,
    context: &Context<'_>,
) -> Result<Vec<TaskFact>, Rejection> {
    match command {
        TaskCommand::Claim { runner } => super::claim::decide(task, runner, context),
        TaskCommand::Prepare { base, isolation } => super::prepare::decide(task, base, isolation),
        TaskCommand::StartStep { index } => super::start_step::decide(task, *index, context),
        TaskCommand::FinishStep {
            index,
            outcome,
            outputs,
            log,
            wall_ms,
        } => {
            let finished = super::finish_step::Finished {
                index: *index,
                outcome: outcome.clone(),
                outputs: outputs.clone(),
                log: log.clone(),
                wall_ms: *wall_ms,
            };
            super::finish_step::decide(task, finished, context)
        }
        TaskCommand::Validate { validators } => super::validate::decide(task, validators),
        TaskCommand::Wait { wait } => super::wait::decide(task, wait, context),
        TaskCommand::Halt { kind, reason } => super::halt::decide(task, *kind, reason),
        TaskCommand::Wake => super::wake::decide(task, context),
        TaskCommand::Expire => super::expire::decide(task, context),
        TaskCommand::Approve { by, roles } => super::approve::decide(task, by, roles),
        TaskCommand::Deny { by, text } => super::deny::decide(task, by, text),
        TaskCommand::Propose { proposal } => super::propose::decide(task, proposal, context),
        TaskCommand::Submit { change } => super::submit::decide(task, change),
        TaskCommand::Refuse { reason } => super::refuse::decide(task, reason),
        TaskCommand::Review { verdict, by, text } => {
            super::review::decide(task, *verdict, by, text)
        }
        TaskCommand::Merge { by, commit } => super::merge::decide(task, by, commit),
        TaskCommand::Close { by } => super::close::decide(task, by),
        TaskCommand::End { status, reason } => super::end::decide(task, *status, reason),
        TaskCommand::Interrupt { cause, blame } => super::interrupt::decide(task, cause, *blame),
        TaskCommand::Retry { cause } => super::retry::decide(task, cause),
        TaskCommand::Pause => super::pause::decide(task),
        TaskCommand::Resume => super::resume::decide(task),
        TaskCommand::Cancel { code, sentence } => super::cancel::decide(task, *code, sentence),
        TaskCommand::Supersede { by } => super::supersede::decide(task, by),
    }
}

/// The rejection of a command in a status where it makes no sense.
pub(super) fn wrong(task: &Task, command: &'static str) -> Rejection {
    Rejection::WrongStatus {
        command,
        status: task.status.to_string(),
    }
}

/// The fact that ends a task. An end always says why: where nobody gave words, the code stands in.
pub(super) fn ended(status: TaskStatus, code: ReasonCode, sentence: impl Into<String>) -> TaskFact {
    let mut sentence = sentence.into();
    if sentence.trim().is_empty() {
        sentence = format!("the task ended as {status} ({code}), without further words");
    }
    TaskFact::Ended {
        status,
        reason: Reason::new(code, sentence),
    }
}

/// Whether an actor is a person; runners, agents, forges and the system itself are not.
pub(super) fn is_person(by: &str) -> bool {
    by.strip_prefix("person:")
        .is_some_and(|name| !name.trim().is_empty())
}
