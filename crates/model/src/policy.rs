//! What policy and budget are asked, and what they may answer.

use serde::{Deserialize, Serialize};

/// Acts that policy is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// An automation fires for an event.
    Start,
    /// A task takes an environment.
    Exec,
    /// A change goes to the forge.
    OpenChange,
    /// A change is merged.
    Merge,
    /// A person consents to a step.
    Approve,
}

impl Action {
    /// The stable text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Exec => "exec",
            Self::OpenChange => "open_change",
            Self::Merge => "merge",
            Self::Approve => "approve",
        }
    }
}

/// A question to policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Who wants to act.
    pub principal: String,
    /// What.
    pub action: Action,
    /// The automation concerned.
    pub automation: String,
    /// The repository concerned, if one is.
    pub repository: Option<String>,
}

/// Policy's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "decision")]
pub enum Decision {
    /// Go on.
    Permit,
    /// Only with a person's consent.
    NeedsApproval {
        /// Who may give it.
        by: String,
        /// Rule that says so.
        rule: String,
    },
    /// No.
    Forbid {
        /// Rule that says so.
        rule: String,
    },
}
