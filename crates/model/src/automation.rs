//! The automation file: what an engineer writes. Unknown keys are errors.
//!
//! Forms that people write in more than one way (a trigger as a word or a map, a command as a
//! line or a list) have hand-written readers, because generic "untagged" ones cannot say what
//! is wrong.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::budget::{Caps, Tokens, Usd};
use crate::duration::Length;

mod environment;
mod forms;
mod recipe;

pub use environment::{
    Cores, EnvironmentDefinition, ExecDefinition, ExecRuleDefinition, IsolationDefinition,
    LimitsDefinition,
};
pub use forms::{Command, OutputType, Trigger, Validator, Wave};
pub use recipe::{
    CacheKind, InlineRecipe, Readiness, RecipeDefinition, ServiceDefinition, ToolKind,
};

/// A versioned definition of unattended work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Name, unique; lower case letters, digits and dashes.
    pub name: String,
    /// What it is for, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What starts it.
    #[serde(default = "manual_only")]
    pub triggers: Vec<Trigger>,
    /// What it works on.
    #[serde(default)]
    pub targets: Targets,
    /// Where its steps execute.
    #[serde(default)]
    pub environment: EnvironmentDefinition,
    /// What it does, in order.
    pub steps: Vec<StepDefinition>,
    /// How it spreads over many targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<CampaignRules>,
    /// Hard caps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetRules>,
}

fn manual_only() -> Vec<Trigger> {
    vec![Trigger::Manual]
}

/// What an automation works on: exactly one of the forms, or the repository of the event.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Targets {
    /// A CEL expression over `repo`, true for each repository wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Repositories by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<Vec<String>>,
    /// `event`: the repository the event is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<TargetSource>,
}

/// Where targets come from when they are not queried or listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TargetSource {
    /// The repository the event is about.
    Event,
}

/// One step: exactly one of the kinds, with what all kinds share.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepDefinition {
    /// Id by which later steps refer to it; made from kind and place when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// A CEL condition over `steps`, `task` and `repo`; false skips the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Kind: run a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    /// Kind: check the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate: Option<Vec<Validator>>,
    /// Kind: propose the work as a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<ChangeDefinition>,
    /// Kind: put out typed values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ReportDefinition>,
    /// Kind: wait for a person's consent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve: Option<ApproveDefinition>,
    /// Wall time of one attempt, commands only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Length>,
    /// Attempts after the first, commands only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Variables given to this step, commands only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// Step kind `change`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeDefinition {
    /// Title: a template, see the book.
    pub title: String,
    /// Description: a file beside the automation, or the template itself.
    #[serde(default)]
    pub body: String,
    /// Prefix of the branch name; `nightcrew` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Paths, as globs, where what has the shape of a token is none, such as test fixtures. Values
    /// that Nightcrew knows are kept from leaving all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_secrets: Vec<String>,
}

/// Step kind `report`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportDefinition {
    /// Name and type of each value, taken from the outputs of the steps before.
    pub outputs: BTreeMap<String, OutputType>,
    /// A CEL rule over `report`; false ends the task as failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<String>,
}

/// Step kind `approve`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveDefinition {
    /// Who may: `anyone`, `person:NAME` or `role:NAME`.
    #[serde(default = "anyone")]
    pub by: String,
    /// What is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<String>,
    /// How long it waits; for ever when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Length>,
    /// What silence means.
    #[serde(default)]
    pub otherwise: OnTimeout,
}

fn anyone() -> String {
    "anyone".to_owned()
}

/// What happens when nobody answers in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnTimeout {
    /// Fail closed.
    #[default]
    Deny,
    /// Go on: for steps where a person's look is welcome but not needed.
    Permit,
}

/// How an automation spreads over its targets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CampaignRules {
    /// Targets of the first wave, tried before all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<u32>,
    /// Sizes of the further waves; `rest` takes what remains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waves: Vec<Wave>,
    /// What a wave must reach before the next is let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
    /// Tasks at work at once; the server's limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_running: Option<u32>,
    /// Changes open at once; no task starts above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_open: Option<u32>,
    /// How fast it writes to the forge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<Pace>,
}

/// What a wave must reach.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Share (0 to 1) of the wave's settled tasks that did not fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<f64>,
    /// Share (0 to 1) of the wave's changes that were merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged: Option<f64>,
}

/// How fast a campaign writes to the forge.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pace {
    /// Changes opened in a minute, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writes_per_minute: Option<u32>,
}

/// Hard caps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetRules {
    /// Money of the campaign, in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd: Option<Usd>,
    /// Tokens of the campaign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    /// Wall time of all tasks of the campaign added up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall: Option<Length>,
    /// Changes submitted by the campaign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<u32>,
    /// Writes of the campaign to the forge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forge_writes: Option<u32>,
    /// Changes of the campaign open at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_changes: Option<u32>,
    /// Environments of the campaign at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environments: Option<u32>,
    /// Caps of one task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_task: Option<TaskBudget>,
}

/// Caps of one task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskBudget {
    /// Money, in US dollars, over all its rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd: Option<Usd>,
    /// Tokens, over all its rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    /// Wall time of its steps added up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall: Option<Length>,
}

impl BudgetRules {
    /// Caps that are reserved against. Wall time and number of changes are not among them: they are
    /// asked about when a task starts.
    #[must_use]
    pub fn caps(&self) -> Caps {
        Caps {
            money: self.usd.map(|usd| usd.0.0),
            tokens: self.tokens.map(|tokens| tokens.0),
            wall: None,
            forge_writes: self.forge_writes.map(u64::from),
            open_changes: self.open_changes.map(u64::from),
            environments: self.environments.map(u64::from),
        }
    }

    /// Caps of one task that are reserved against.
    #[must_use]
    pub fn task_caps(&self) -> Caps {
        let task = self.per_task.clone().unwrap_or_default();
        Caps {
            money: task.usd.map(|usd| usd.0.0),
            tokens: task.tokens.map(|tokens| tokens.0),
            ..Caps::default()
        }
    }
}

/// A definition as stored: versioned, with the files it names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Automation {
    /// The definition.
    pub definition: Definition,
    /// Version, from 1, a new one for every different definition.
    pub version: u32,
    /// The text it was read from.
    pub source: String,
    /// Files beside it that it names (prompts, change texts), by relative path.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Switched off automations match no event.
    pub enabled: bool,
    /// Who applied it.
    pub applied_by: String,
    /// When.
    pub applied_at: jiff::Timestamp,
}

/// Kind of a step, by the key that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StepKind {
    /// Run a command.
    Command,
    /// Check the work.
    Validate,
    /// Propose the work.
    Change,
    /// Put out typed values.
    Report,
    /// Wait for consent.
    Approve,
}

impl StepKind {
    /// The key in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Validate => "validate",
            Self::Change => "change",
            Self::Report => "report",
            Self::Approve => "approve",
        }
    }
}

impl StepDefinition {
    /// The kinds this step names; a valid step names exactly one.
    #[must_use]
    pub fn kinds(&self) -> Vec<StepKind> {
        let mut kinds = Vec::new();
        if self.command.is_some() {
            kinds.push(StepKind::Command);
        }
        if self.validate.is_some() {
            kinds.push(StepKind::Validate);
        }
        if self.change.is_some() {
            kinds.push(StepKind::Change);
        }
        if self.report.is_some() {
            kinds.push(StepKind::Report);
        }
        if self.approve.is_some() {
            kinds.push(StepKind::Approve);
        }
        kinds
    }

    /// The kind of a valid step.
    #[must_use]
    pub fn kind(&self) -> Option<StepKind> {
        match self.kinds().as_slice() {
            [one] => Some(*one),
            _ => None,
        }
    }

    /// The step's id, given or made from its kind and place.
    #[must_use]
    pub fn id_at(&self, index: usize) -> String {
        match (&self.id, self.kind()) {
            (Some(id), _) => id.clone(),
            (None, Some(kind)) => format!("{}-{}", kind.as_str(), index + 1),
            (None, None) => format!("step-{}", index + 1),
        }
    }
}

impl Definition {
    /// Whether some step proposes a change.
    #[must_use]
    pub fn proposes(&self) -> bool {
        self.steps.iter().any(|step| step.change.is_some())
    }
}
