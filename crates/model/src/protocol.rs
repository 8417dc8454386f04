//! The runner protocol: what a runner and the control plane say to each other.
//!
//! The embedded runner and a remote one speak the same messages; all of them are plain
//! serialisable data. A runner only ever dials out.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::automation::Automation;
use crate::campaign::Campaign;
use crate::change::Proposal;
use crate::event::Event;
use crate::evidence::ValidatorResult;
use crate::fence::Fence;
use crate::ids::TaskId;
use crate::isolation::Isolation;
use crate::reason::Reason;
use crate::repository::Repository;
use crate::step::{Outputs, StepOutcome};
use crate::task::{Base, Task, TaskStatus, Wait};

/// "Give me work."
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClaimRequest {
    /// Who asks.
    pub runner: String,
    /// Tasks it can take.
    pub slots: u32,
}

/// A task with all that is needed to work on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// The task as it stands.
    pub task: Task,
    /// Sequence number of its newest fact.
    pub seq: u64,
    /// Fencing epoch: every report carries it.
    pub epoch: u64,
    /// The lease ends here unless a heartbeat extends it.
    pub lease_until: Timestamp,
    /// The automation in the task's version.
    pub automation: Automation,
    /// The campaign.
    pub campaign: Campaign,
    /// The repository of the target.
    pub repository: Repository,
    /// The event that started the run.
    pub event: Event,
    /// How its environment is fenced: the strictest of what server and automation say.
    #[serde(default)]
    pub fence: Fence,
}

/// What a runner says happened. The control plane decides what follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "report")]
pub enum Report {
    /// The environment stands.
    Prepared {
        /// Commit it works on.
        base: Base,
        /// Isolation reached.
        isolation: Isolation,
    },
    /// A step begins.
    StepStarted {
        /// Its index.
        index: u32,
    },
    /// A step ended.
    StepFinished {
        /// Its index.
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
    Validated {
        /// Results.
        validators: Vec<ValidatorResult>,
    },
    /// A step asks a person, or waits for a time.
    Waits {
        /// For what.
        wait: Wait,
    },
    /// It was recalled: its environment is gone, and its workspace is kept. What it waits for is
    /// known to whoever recalled it.
    Parked {
        /// Why, in words.
        cause: String,
    },
    /// The change left the environment.
    Proposed {
        /// The change.
        proposal: Proposal,
    },
    /// The work ended without a change.
    Ends {
        /// `no_change`, `unverified` or `failed`.
        status: TaskStatus,
        /// Why.
        reason: Reason,
    },
    /// The runner gives the task back unfinished.
    Interrupted {
        /// Why.
        cause: String,
    },
}

/// Reports on one task, in order, recorded in one transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportRequest {
    /// Who.
    pub runner: String,
    /// About which task.
    pub task: TaskId,
    /// Fencing epoch of the assignment.
    pub epoch: u64,
    /// What happened.
    pub reports: Vec<Report>,
}

/// A task that its runner must stop at once, with the work kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recall {
    /// Which.
    pub task: TaskId,
    /// Under which assignment.
    pub epoch: u64,
    /// Why, in words.
    pub cause: String,
}

/// What the runner shall do next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "directive")]
pub enum Directive {
    /// Go on with the task as it now stands.
    Continue {
        /// The task.
        task: Box<Task>,
    },
    /// Let go of it: it waits, ended, was cancelled or paused, or belongs to another runner.
    Release {
        /// Why.
        cause: String,
    },
}

/// "I am alive and hold these."
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Who.
    pub runner: String,
    /// Tasks held, with their epochs.
    pub tasks: Vec<(TaskId, u64)>,
}

/// Answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeartbeatAnswer {
    /// Tasks to let go of at once, with why.
    pub release: Vec<(TaskId, String)>,
}

/// A piece of a step's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Index of the step.
    pub step: u32,
    /// Milliseconds since the step began.
    pub at_ms: u64,
    /// `out`, `err` or `note` (from the runner itself).
    pub stream: LogStream,
    /// The text, ANSI colours kept, masked.
    pub text: String,
}

/// Where a log line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
    /// The runner itself.
    Note,
}

/// Live log lines of one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogChunk {
    /// The task.
    pub task: TaskId,
    /// Lines in order.
    pub lines: Vec<LogLine>,
}
