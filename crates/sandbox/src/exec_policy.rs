//! Which programs may execute in an environment, judged by the bytes that execute and not by a path.
//!
//! Pure data: the gate (`gate/`) enforces it, tasks and evidence show it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// SHA-256 of a file's content.
pub type Digest = [u8; 32];

/// How strictly executable content is judged, weakest first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum ExecMode {
    /// Nothing is judged.
    #[default]
    Off,
    /// Everything executes; what a rule would deny, and what is unknown, is reported.
    Observe,
    /// What a rule denies does not execute and cannot even be read; unknown content executes and is
    /// reported.
    DenyList,
    /// Only content of the root (the base index) and what rules allow executes.
    AllowList,
    /// [`AllowList`](Self::AllowList), and writable folders hold nothing executable, and no memory
    /// becomes executable after it was writable.
    Strict,
}

/// The policy of one environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ExecPolicy {
    /// How strictly.
    pub mode: ExecMode,
    /// Rules; a denial always wins over a permission.
    pub rules: Vec<ExecRule>,
    /// In [`ExecMode::AllowList`]: programs of the root (by rule target) whose output may execute,
    /// such as a compiler. Empty: unknown content is denied.
    pub trusted_producers: Vec<ExecTarget>,
    /// Interpreters (by rule target) whose scripts count as executable content, besides `#!` files.
    pub interpreters: Vec<ExecTarget>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ExecRule {
    /// What it decides.
    pub verdict: RuleVerdict,
    /// What it is about.
    pub target: ExecTarget,
    /// Said to whoever is refused: why, and how to ask.
    pub reason: String,
}

/// What a rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleVerdict {
    /// It may execute.
    Allow,
    /// It may not.
    Deny,
    /// It may, and is reported: for trying a denial out.
    Report,
}

/// What a rule is about. All but digests are resolved to digests over the whole environment, and
/// again as files appear.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExecTarget {
    /// Every file of this name (`npx`), in any folder, and what it links to.
    Name(String),
    /// The file at this absolute path inside.
    Path(String),
    /// Every executable file of a package: a folder `node_modules/NAME`, a Debian package by its
    /// file list, a Python distribution by its `RECORD`.
    Package(String),
    /// This content, wherever it is.
    Digest(Digest),
}

/// What the gate did, or saw and let pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecEvent {
    /// The environment's id.
    pub environment: String,
    /// Whether it was refused.
    pub denied: bool,
    /// Content; absent where the file could not be hashed (which is a denial).
    pub digest: Option<Digest>,
    /// As the kernel resolved it, inside the environment. Raw bytes, lossily.
    pub path: String,
    /// The process, and its ancestors up to the environment's init: (id inside, name).
    pub processes: Vec<(u32, String)>,
    /// The rule's target and reason, or `unknown content`.
    pub rule: String,
    /// How many like it this stands for (same digest, path and rule), when there was a flood.
    pub count: u64,
    /// Time since the environment was made.
    pub at: Duration,
}
