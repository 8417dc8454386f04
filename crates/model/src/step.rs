//! What a step did.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Typed values that a step put out, by name.
pub type Outputs = BTreeMap<String, serde_json::Value>;

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum StepOutcome {
    /// It did what it should.
    Succeeded,
    /// Its condition (`when`) was false.
    Skipped,
    /// Its command ended with this exit code.
    Failed {
        /// Exit code, 128 + signal for a signal.
        code: i32,
    },
    /// It ran out of time.
    TimedOut,
}

/// Record of one attempt at one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Index in the automation's list of steps.
    pub index: u32,
    /// Its id: given, or made from kind and index.
    pub id: String,
    /// Its kind: `command`, `validate`, `change`, `report`, `approve`.
    pub kind: String,
    /// Attempt, from 1.
    pub attempt: u32,
    /// How it ended; `None` while it runs.
    pub outcome: Option<StepOutcome>,
    /// What it put out.
    #[serde(default)]
    pub outputs: Outputs,
    /// Digest of its log, once it ended.
    #[serde(default)]
    pub log: Option<String>,
    /// Wall time in milliseconds.
    #[serde(default)]
    pub wall_ms: u64,
}
