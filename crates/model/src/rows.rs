//! Projections: one row per stream for lists and queues, written in the transaction of the facts.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::campaign::{Campaign, CampaignStatus};
use crate::ids::{CampaignId, EffectId, EventId, RunId, TaskId};
use crate::run::{Run, RunStatus, Target};
use crate::task::{Task, TaskStatus, WaitKind};

/// A stream of facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stream {
    /// A task's.
    Task(TaskId),
    /// A campaign's.
    Campaign(CampaignId),
    /// A run's.
    Run(RunId),
}

impl std::fmt::Display for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Task(id) => id.fmt(f),
            Self::Campaign(id) => id.fmt(f),
            Self::Run(id) => id.fmt(f),
        }
    }
}

/// What lists, queues and limits need of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRow {
    /// The task.
    pub id: TaskId,
    /// Its run.
    pub run: RunId,
    /// Its campaign.
    pub campaign: CampaignId,
    /// Automation by name.
    pub automation: String,
    /// What it works on.
    pub target: Target,
    /// Its wave.
    pub wave: u32,
    /// Where it stands.
    pub status: TaskStatus,
    /// For what it waits.
    pub wait: Option<WaitKind>,
    /// Settled, see [`Task::is_settled`].
    pub settled: bool,
    /// Paused by a person.
    pub paused: bool,
    /// Step to execute next.
    pub next_step: u32,
    /// Round.
    pub round: u32,
    /// Reason code, of the end or of the wait.
    pub reason: Option<String>,
    /// Sentence for people, of the end or of the wait.
    pub sentence: Option<String>,
    /// Number of the change at the forge.
    pub change: Option<u64>,
    /// Class of its diff.
    pub diff_class: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl From<&Task> for TaskRow {
    fn from(task: &Task) -> Self {
        let reason = task
            .wait
            .as_ref()
            .map(|wait| &wait.reason)
            .or(task.reason.as_ref());
        Self {
            id: task.id,
            run: task.run,
            campaign: task.campaign,
            automation: task.automation.clone(),
            target: task.target.clone(),
            wave: task.wave,
            status: task.status,
            wait: task.wait.as_ref().map(|wait| wait.kind),
            settled: task.is_settled(),
            paused: task.paused,
            next_step: task.next_step,
            round: task.round,
            reason: reason.map(|reason| reason.code.to_string()),
            sentence: reason.map(|reason| reason.sentence.clone()),
            change: task.change.as_ref().map(|change| change.number),
            diff_class: task
                .proposal
                .as_ref()
                .map(|proposal| proposal.diff_class.clone()),
            created_at: task.created_at,
            updated_at: task.updated_at,
        }
    }
}

/// What lists and queues need of a campaign.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CampaignRow {
    /// The campaign.
    pub id: CampaignId,
    /// Automation by name.
    pub automation: String,
    /// Where it stands.
    pub status: CampaignStatus,
    /// Highest wave that may be claimed.
    pub admitted_wave: u32,
    /// Targets planned.
    pub targets: u32,
    /// Tasks at work at once, at most.
    pub max_running: Option<u32>,
    /// Changes open at once, at most.
    pub max_open: Option<u32>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl From<&Campaign> for CampaignRow {
    fn from(campaign: &Campaign) -> Self {
        Self {
            id: campaign.id,
            automation: campaign.automation.clone(),
            status: campaign.status,
            admitted_wave: campaign.admitted_wave,
            targets: campaign.targets,
            max_running: campaign.rules.max_running,
            max_open: campaign.rules.max_open,
            created_at: campaign.created_at,
            updated_at: campaign.updated_at,
        }
    }
}

/// What lists need of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRow {
    /// The run.
    pub id: RunId,
    /// Automation by name.
    pub automation: String,
    /// The event it fired for.
    pub event: EventId,
    /// Where it stands.
    pub status: RunStatus,
    /// The campaign its tasks belong to.
    pub campaign: Option<CampaignId>,
    /// Number of tasks made.
    pub tasks: u32,
    /// When it was started.
    pub created_at: Timestamp,
}

impl From<&Run> for RunRow {
    fn from(run: &Run) -> Self {
        Self {
            id: run.id,
            automation: run.automation.clone(),
            event: run.event,
            status: run.status,
            campaign: run.campaign,
            tasks: run.tasks,
            created_at: run.created_at,
        }
    }
}

/// A projection row of any stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    /// Of a task.
    Task(TaskRow),
    /// Of a campaign.
    Campaign(CampaignRow),
    /// Of a run.
    Run(RunRow),
}

/// Work that a fact asks for, carried out at least once and made to happen once by its own
/// means (derived ids, look-up before create, compare-and-swap).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "effect")]
pub enum Effect {
    /// Find the targets of a run and make its tasks.
    PlanRun {
        /// The run.
        run: RunId,
    },
    /// Bring a proposal to the forge.
    SubmitChange {
        /// The task.
        task: TaskId,
    },
    /// Wake a task whose wait ends now. Stale when the task has moved past `seq`.
    Wake {
        /// The task.
        task: TaskId,
        /// Sequence number of the fact that began the wait.
        seq: u64,
    },
    /// Close the change of a task that ended otherwise, and delete its branch.
    CloseChange {
        /// The task.
        task: TaskId,
    },
    /// Cancel what is left of a closed campaign.
    CloseCampaign {
        /// The campaign.
        campaign: CampaignId,
    },
}

/// An effect as stored in the outbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutboxRow {
    /// Derived from the fact that asks for it.
    pub id: EffectId,
    /// Not before.
    pub due_at: Timestamp,
    /// Effects of one lane happen one after another.
    pub lane: String,
    /// Times it was tried.
    pub attempts: u32,
    /// What.
    pub effect: Effect,
}
