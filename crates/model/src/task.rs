//! Tasks: a run's work on one target, folded from its facts.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::change::{ChangeRef, Proposal};
use crate::evidence::ValidatorResult;
use crate::ids::{CampaignId, RunId, TaskId};
use crate::isolation::Isolation;
use crate::reason::Reason;
use crate::run::Target;
use crate::step::{Outputs, StepRecord};

macro_rules! statuses {
    ($($(#[$doc:meta])* $variant:ident => $text:literal),+ $(,)?) => {
        /// Where a task stands.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum TaskStatus {
            $($(#[$doc])* $variant),+
        }

        impl TaskStatus {
            /// Every status, in the order of a task's life.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable text form.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl std::str::FromStr for TaskStatus {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    other => Err(format!("`{other}` is no task status")),
                }
            }
        }
    };
}

statuses! {
    /// Waits for a runner.
    Queued => "queued",
    /// Its environment is being made.
    Preparing => "preparing",
    /// Its steps execute.
    Running => "running",
    /// Waits for somebody or something; holds no environment and no lease.
    Waiting => "waiting",
    /// Its validators execute.
    Validating => "validating",
    /// The change left the environment and waits for the forge writer.
    Ready => "ready",
    /// The change is at the forge.
    Submitted => "submitted",
    /// Reviewers have it.
    InReview => "in_review",
    /// Final: merged.
    Merged => "merged",
    /// Final: nothing had to be changed.
    NoChange => "no_change",
    /// Final: there is work, but no evidence for it.
    Unverified => "unverified",
    /// Final: it could not be done.
    Failed => "failed",
    /// Final: a person said no.
    Rejected => "rejected",
    /// Final: a newer task took over.
    Superseded => "superseded",
    /// Final: stopped by a person or its campaign.
    Cancelled => "cancelled",
}

impl TaskStatus {
    /// Nothing follows, except a person's retry.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Merged
                | Self::NoChange
                | Self::Unverified
                | Self::Failed
                | Self::Rejected
                | Self::Superseded
                | Self::Cancelled
        )
    }

    /// A runner holds it.
    #[must_use]
    pub const fn is_leased(self) -> bool {
        matches!(self, Self::Preparing | Self::Running | Self::Validating)
    }

    /// Its change is at the forge and undecided.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Submitted | Self::InReview)
    }
}

impl std::fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a waiting task waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitKind {
    /// A person must act.
    Person,
    /// A person must consent.
    Approval,
    /// Money or another cap.
    Budget,
    /// A place in a limit.
    Quota,
    /// A time.
    Timer,
    /// The forge's checks.
    Ci,
    /// The end of a stop by the kill switch.
    Stop,
}

impl WaitKind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::Person,
        Self::Approval,
        Self::Budget,
        Self::Quota,
        Self::Timer,
        Self::Ci,
        Self::Stop,
    ];

    /// The stable text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Approval => "approval",
            Self::Budget => "budget",
            Self::Quota => "quota",
            Self::Timer => "timer",
            Self::Ci => "ci",
            Self::Stop => "stop",
        }
    }

    /// Whether a person is waited for, so that it belongs into the inbox.
    #[must_use]
    pub const fn is_for_person(self) -> bool {
        matches!(self, Self::Person | Self::Approval | Self::Budget)
    }
}

/// A wait: for what, why, who is asked, until when, and what silence means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// For what.
    pub kind: WaitKind,
    /// Why.
    pub reason: Reason,
    /// Who is asked, such as `anyone` or `role:author`.
    #[serde(default)]
    pub owner: Option<String>,
    /// When it ends by itself.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// Whether silence means yes (only for approvals).
    #[serde(default)]
    pub silence_permits: bool,
}

/// The commit a task works on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Commit id.
    pub commit: String,
    /// Branch it was the head of.
    pub branch: String,
}

/// A consent that was given to a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Step it was asked by.
    pub step: u32,
    /// Who gave it.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// A task, folded from its facts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Derived from (run, target).
    pub id: TaskId,
    /// Its run.
    pub run: RunId,
    /// Its campaign.
    pub campaign: CampaignId,
    /// Automation by name.
    pub automation: String,
    /// Version of the automation it follows to its end.
    pub version: u32,
    /// What it works on.
    pub target: Target,
    /// Wave it belongs to, from 0 (the canary).
    pub wave: u32,
    /// Where it stands.
    pub status: TaskStatus,
    /// What it waits for, while `status` is `waiting`.
    pub wait: Option<Wait>,
    /// Paused by a person: no step starts.
    pub paused: bool,
    /// Index of the step to execute next.
    pub next_step: u32,
    /// Attempt at that step, from 1.
    pub attempt: u32,
    /// Round, from 1; a retry or a repair begins a new one.
    pub round: u32,
    /// Times it lost its runner in this round.
    pub interruptions: u32,
    /// Runner that holds it or held it last.
    pub runner: Option<String>,
    /// The commit it works on in this round.
    pub base: Option<Base>,
    /// Isolation reached in this round.
    pub isolation: Option<Isolation>,
    /// Steps of this round.
    pub steps: Vec<StepRecord>,
    /// Outputs of finished steps, by step id.
    pub outputs: BTreeMap<String, Outputs>,
    /// Validators of this round with their results.
    pub validators: Vec<ValidatorResult>,
    /// Approvals of this round.
    pub approvals: Vec<Approval>,
    /// Wall time of finished steps of all rounds, in milliseconds.
    pub spent_ms: u64,
    /// The change as it left the environment.
    pub proposal: Option<Proposal>,
    /// The change at its forge.
    pub change: Option<ChangeRef>,
    /// Why it ended.
    pub reason: Option<Reason>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Task {
    /// Final, waiting for a person, or in review: nothing more happens by itself.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.status.is_final()
            || self.status == TaskStatus::InReview
            || (self.status == TaskStatus::Waiting
                && self
                    .wait
                    .as_ref()
                    .is_some_and(|wait| wait.kind.is_for_person()))
    }
}
