//! Facts: what was decided and seen. Append-only, versioned; old ones stay readable for ever.

use serde::{Deserialize, Serialize};

use jiff::Timestamp;

use crate::automation::CampaignRules;
use crate::change::{ChangeRef, Proposal, ReviewVerdict};
use crate::evidence::ValidatorResult;
use crate::ids::{CampaignId, EventId, RunId};
use crate::isolation::Isolation;
use crate::reason::Reason;
use crate::run::Target;
use crate::step::{Outputs, StepOutcome};
use crate::task::{Base, TaskStatus, Wait};

/// Version of the facts written today. A reader takes every version up to this one.
pub const FACT_VERSION: u32 = 1;

/// A fact with who, where and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recorded<F> {
    /// [`FACT_VERSION`] at the time of writing.
    pub v: u32,
    /// When it was decided.
    pub at: Timestamp,
    /// Who: `person:NAME`, `runner:NAME`, `system`, `forge:local`.
    pub actor: String,
    /// On whose behalf, such as `automation:NAME`.
    pub scope: String,
    /// The fact.
    pub fact: F,
}

/// Something every fact can say about itself.
pub trait Fact {
    /// Stable kind, such as `task.created`, for the ledger and for readers.
    fn kind(&self) -> &'static str;
}

/// What happened to a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum TaskFact {
    /// It was made.
    Created {
        /// Its run.
        run: RunId,
        /// Its campaign.
        campaign: CampaignId,
        /// Automation by name.
        automation: String,
        /// Version of the automation.
        version: u32,
        /// What it works on.
        target: Target,
        /// Its wave.
        wave: u32,
    },
    /// A runner took it.
    Claimed {
        /// The runner.
        runner: String,
    },
    /// Its environment stands.
    Prepared {
        /// Commit it works on.
        base: Base,
        /// Isolation reached.
        isolation: Isolation,
    },
    /// A step began.
    StepStarted {
        /// Index.
        index: u32,
        /// Id.
        id: String,
        /// Kind.
        kind: String,
        /// Attempt, from 1.
        attempt: u32,
    },
    /// A step ended.
    StepFinished {
        /// Index.
        index: u32,
        /// How.
        #[serde(flatten)]
        outcome: StepOutcome,
        /// What it put out.
        #[serde(default)]
        outputs: Outputs,
        /// Digest of its log.
        #[serde(default)]
        log: Option<String>,
        /// Wall time in milliseconds.
        #[serde(default)]
        wall_ms: u64,
    },
    /// Validators ran.
    Validated {
        /// Results.
        validators: Vec<ValidatorResult>,
    },
    /// It began to wait.
    Waited {
        /// For what.
        wait: Wait,
    },
    /// What it waited for came.
    Woken {
        /// Why.
        cause: String,
    },
    /// A person consented.
    Approved {
        /// Step that asked.
        step: u32,
        /// Who, or `silence`.
        by: String,
    },
    /// The change left the environment.
    Proposed {
        /// The change.
        proposal: Proposal,
    },
    /// The change is at the forge.
    Submitted {
        /// Where.
        change: ChangeRef,
    },
    /// Reviewers have it.
    ReviewOpened,
    /// A reviewer spoke.
    Reviewed {
        /// What.
        verdict: ReviewVerdict,
        /// Who.
        by: String,
        /// In words.
        #[serde(default)]
        text: String,
    },
    /// No step starts any more.
    Paused,
    /// Steps may start again.
    Resumed,
    /// It lost its runner and goes back to the queue.
    Interrupted {
        /// Why.
        cause: String,
        /// Whether it counts against the task.
        #[serde(default)]
        blame: bool,
    },
    /// A new round begins.
    Retried {
        /// Why.
        cause: String,
    },
    /// It ended.
    Ended {
        /// Final status.
        status: TaskStatus,
        /// Why.
        reason: Reason,
    },
}

impl Fact for TaskFact {
    fn kind(&self) -> &'static str {
        match self {
            Self::Created { .. } => "task.created",
            Self::Claimed { .. } => "task.claimed",
            Self::Prepared { .. } => "task.prepared",
            Self::StepStarted { .. } => "task.step_started",
            Self::StepFinished { .. } => "task.step_finished",
            Self::Validated { .. } => "task.validated",
            Self::Waited { .. } => "task.waited",
            Self::Woken { .. } => "task.woken",
            Self::Approved { .. } => "task.approved",
            Self::Proposed { .. } => "task.proposed",
            Self::Submitted { .. } => "task.submitted",
            Self::ReviewOpened => "task.review_opened",
            Self::Reviewed { .. } => "task.reviewed",
            Self::Paused => "task.paused",
            Self::Resumed => "task.resumed",
            Self::Interrupted { .. } => "task.interrupted",
            Self::Retried { .. } => "task.retried",
            Self::Ended { .. } => "task.ended",
        }
    }
}

/// What happened to a campaign.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum CampaignFact {
    /// It was opened.
    Opened {
        /// Automation by name.
        automation: String,
        /// Version of the automation.
        version: u32,
        /// Its rules.
        rules: CampaignRules,
    },
    /// Targets were added.
    TargetsPlanned {
        /// The run that added them.
        run: RunId,
        /// Number added.
        count: u32,
        /// Sizes of all waves afterwards.
        waves: Vec<u32>,
    },
    /// A wave was let in.
    WaveAdmitted {
        /// Which, from 0.
        wave: u32,
    },
    /// A gate was not reached.
    Held {
        /// Why, in words.
        note: String,
    },
    /// A person stopped it for now.
    Paused,
    /// A person let it go on.
    Resumed {
        /// Wave whose gate was overridden, when it was held.
        overridden: Option<u32>,
    },
    /// It ended.
    Closed {
        /// Why, in words.
        note: String,
    },
}

impl Fact for CampaignFact {
    fn kind(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "campaign.opened",
            Self::TargetsPlanned { .. } => "campaign.targets_planned",
            Self::WaveAdmitted { .. } => "campaign.wave_admitted",
            Self::Held { .. } => "campaign.held",
            Self::Paused => "campaign.paused",
            Self::Resumed { .. } => "campaign.resumed",
            Self::Closed { .. } => "campaign.closed",
        }
    }
}

/// What happened to a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum RunFact {
    /// An automation fired for an event.
    Started {
        /// Automation by name.
        automation: String,
        /// Version of the automation.
        version: u32,
        /// The event.
        event: EventId,
    },
    /// Its tasks exist.
    Planned {
        /// The campaign they belong to.
        campaign: CampaignId,
        /// Number of tasks.
        tasks: u32,
        /// What was left out, in words.
        note: Option<String>,
    },
    /// It could not be planned.
    Failed {
        /// Why, in words.
        note: String,
    },
}

impl Fact for RunFact {
    fn kind(&self) -> &'static str {
        match self {
            Self::Started { .. } => "run.started",
            Self::Planned { .. } => "run.planned",
            Self::Failed { .. } => "run.failed",
        }
    }
}
