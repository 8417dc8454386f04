//! Runs and targets.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{CampaignId, EventId, RunId};

/// What a task works on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// Repository by name.
    pub repository: String,
    /// Folder of a workspace inside it; empty for the whole repository.
    #[serde(default)]
    pub path: String,
    /// Separates several targets of one path, such as one root cause each; usually empty.
    #[serde(default)]
    pub key: String,
}

impl Target {
    /// The whole of a repository.
    pub fn repository(name: impl Into<String>) -> Self {
        Self {
            repository: name.into(),
            path: String::new(),
            key: String::new(),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.repository)?;
        if !self.path.is_empty() {
            write!(f, "//{}", self.path)?;
        }
        if !self.key.is_empty() {
            write!(f, "#{}", self.key)?;
        }
        Ok(())
    }
}

/// Where a run stands. Whether its tasks are done is derived from the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Its targets are being found.
    Planning,
    /// Its tasks exist.
    Planned,
    /// It could not be planned; the reason is kept.
    Failed,
}

impl RunStatus {
    /// The stable text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Planning => "planning",
            Self::Planned => "planned",
            Self::Failed => "failed",
        }
    }
}

/// A run: one firing of one automation for one event, folded from its facts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Derived from (automation, event).
    pub id: RunId,
    /// Automation by name.
    pub automation: String,
    /// The automation's version that fired.
    pub version: u32,
    /// The event it fired for.
    pub event: EventId,
    /// Where it stands.
    pub status: RunStatus,
    /// The campaign its tasks belong to, once planned.
    pub campaign: Option<CampaignId>,
    /// Number of tasks made.
    pub tasks: u32,
    /// Why it could not be planned, or what was left out.
    pub note: Option<String>,
    /// When it was started.
    pub created_at: Timestamp,
}
