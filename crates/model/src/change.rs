//! Changes: a proposed set of commits on one target with its evidence.

use serde::{Deserialize, Serialize};

use crate::evidence::DiffStat;

/// A change as it left the environment, before a forge knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The commit it was made on.
    pub base: String,
    /// The commit proposed.
    pub commit: String,
    /// Blob with the objects that the base lacks (a git pack).
    pub bundle: String,
    /// Blob with the patch for people, possibly cut.
    pub patch: String,
    /// Size.
    pub diff: DiffStat,
    /// Class of diffs of the same shape.
    pub diff_class: String,
    /// Title at the forge.
    pub title: String,
    /// Blob with the description at the forge.
    pub body: String,
    /// Branch it goes to, deterministic for (campaign, target).
    pub branch: String,
}

/// A change at its forge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeRef {
    /// Number at the forge.
    pub number: u64,
    /// Its branch.
    pub branch: String,
    /// The commit at its head, as we put it there.
    pub commit: String,
    /// Where a person sees it, if the forge has such a place.
    #[serde(default)]
    pub url: Option<String>,
}

/// What a reviewer said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReviewVerdict {
    /// Agreed.
    Approved,
    /// Wants something else first.
    ChangesRequested,
}
