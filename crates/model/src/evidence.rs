//! Evidence: what was seen about a change, by whom, compared with what was there before.

use serde::{Deserialize, Serialize};

use crate::isolation::Isolation;

/// What a validator concluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing fails that did not fail on the base.
    Passed,
    /// Something fails that did not fail on the base.
    Failed,
    /// It could not run here, so nothing is known.
    Missing,
}

impl Verdict {
    /// The stable text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Missing => "missing",
        }
    }
}

/// Result of one validator on one change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorResult {
    /// Name as in the automation, such as `./ci/smoke.sh` or `builtin:workflow`.
    pub name: String,
    /// Its conclusion.
    pub verdict: Verdict,
    /// One line for people.
    pub detail: String,
    /// Failures on the base, by name: known before, never blamed on the change.
    #[serde(default)]
    pub before: Vec<String>,
    /// Failures with the change, by name.
    #[serde(default)]
    pub after: Vec<String>,
    /// Failures that are new: `after` without `before`.
    #[serde(default)]
    pub new: Vec<String>,
    /// Digest of its log.
    #[serde(default)]
    pub log: Option<String>,
    /// Wall time of the run on the change, in milliseconds.
    #[serde(default)]
    pub wall_ms: u64,
}

/// Size of a diff.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffStat {
    /// Files touched.
    pub files: u32,
    /// Lines added.
    pub insertions: u32,
    /// Lines removed.
    pub deletions: u32,
}

/// All that is known about a change when it is proposed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Commit the work started from.
    pub base: String,
    /// Isolation the steps ran under.
    pub isolation: Option<Isolation>,
    /// Validators with their results.
    pub validators: Vec<ValidatorResult>,
    /// Size of the diff.
    pub diff: DiffStat,
    /// Class of diffs of the same shape.
    pub diff_class: String,
    /// What the steps put out, by step id.
    pub outputs: serde_json::Value,
}
