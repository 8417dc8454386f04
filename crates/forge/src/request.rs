//! What is asked of a forge about changes.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::git::{BytePath, Oid};
use crate::{Actor, ChangeState};

/// A change to open.
#[derive(Debug, Clone)]
pub struct NewChange {
    /// Its branch; deterministic, see [`crate::branch_name`].
    pub branch: String,
    /// The branch it is for.
    pub base_branch: String,
    /// The commit it started from.
    pub base_commit: Oid,
    /// Its head.
    pub commit: Oid,
    /// A pack (thin is fine) or a bundle with the objects the repository lacks; `None` when it has them all.
    pub bundle: Option<PathBuf>,
    /// Title, one line.
    pub title: String,
    /// Description.
    pub body: String,
    /// What was checked.
    pub evidence: Value,
    /// Labels.
    pub labels: Vec<String>,
    /// Who opens it.
    pub author: Actor,
    /// When.
    pub at: Timestamp,
}

/// A new state of a change that is open.
#[derive(Debug, Clone)]
pub struct ChangeUpdate {
    /// Where its branch must be now; anything else is [`crate::ForgeError::BranchMoved`].
    pub expected_head: Oid,
    /// The new head; equal to `expected_head` to change only the texts.
    pub commit: Oid,
    /// The commit it starts from now, when it was moved to another one.
    pub base_commit: Option<Oid>,
    /// As in [`NewChange::bundle`].
    pub bundle: Option<PathBuf>,
    /// New title.
    pub title: Option<String>,
    /// New description.
    pub body: Option<String>,
    /// New evidence.
    pub evidence: Option<Value>,
    /// Who.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
}

/// Which changes to list; every condition that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeFilter {
    /// In this state.
    pub state: Option<ChangeState>,
    /// With a branch that starts so.
    pub branch_prefix: Option<String>,
    /// With this label.
    pub label: Option<String>,
}

/// Whether a change could be merged now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "result")]
pub enum Mergeable {
    /// Yes.
    Yes,
    /// These files conflict.
    Conflicts {
        /// The files.
        files: Vec<BytePath>,
    },
}
