//! Which programs may execute in an environment, and what came of it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::batch::BatchPlace;
use crate::ids::TaskId;

/// How strictly executable content is judged, weakest first.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ExecMode {
    /// Nothing is judged.
    #[default]
    Off,
    /// Everything executes; what a rule would deny, and what is unknown, is reported.
    Observe,
    /// What a rule denies does not execute; unknown content executes and is reported.
    DenyList,
    /// Only content of the root and what rules allow executes.
    AllowList,
    /// As `allow-list`; writable folders hold nothing executable, and no memory becomes executable
    /// after it was writable.
    Strict,
}

impl ExecMode {
    /// Every mode, weakest first.
    pub const ALL: [Self; 5] = [
        Self::Off,
        Self::Observe,
        Self::DenyList,
        Self::AllowList,
        Self::Strict,
    ];

    /// The stable text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Observe => "observe",
            Self::DenyList => "deny-list",
            Self::AllowList => "allow-list",
            Self::Strict => "strict",
        }
    }

    /// Whether what no rule and no root vouches for may execute.
    #[must_use]
    pub fn permits_unknown(self) -> bool {
        self < Self::AllowList
    }
}

impl fmt::Display for ExecMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ExecMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|mode| mode.as_str() == text);
        found.ok_or_else(|| {
            format!(
                "`{text}` is no mode of exec control: off, observe, deny-list, allow-list or strict"
            )
        })
    }
}

/// What a rule of exec control is about, written as one text: `npx` (every file of this name),
/// `/usr/bin/curl` (the file at this path), `package:left-pad`, `sha256:…` (this content).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExecTarget {
    /// Every file of this name, in any folder, and what it links to.
    Name(String),
    /// The file at this absolute path inside.
    Path(String),
    /// Every executable file of a package.
    Package(String),
    /// The content with this SHA-256, in lower-case hexadecimal.
    Sha256(String),
}

/// Longest name, path or package of a rule, in bytes.
const LONGEST_TARGET: usize = 4096;

/// A text that does not say what a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is nothing a rule can be about: {why}")]
pub struct InvalidTarget {
    text: String,
    why: &'static str,
}

impl ExecTarget {
    /// A target of one kind, checked.
    ///
    /// # Errors
    /// [`InvalidTarget`] for what cannot exist: an empty name, a name with a slash, a relative path,
    /// a digest that is none.
    pub fn checked(self) -> Result<Self, InvalidTarget> {
        let (text, why) = match &self {
            Self::Name(name) if name.contains('/') => {
                (name, Some("a name has no slash; a path begins with one"))
            }
            Self::Name(name) => (name, unusable(name)),
            Self::Path(path) if !path.starts_with('/') => {
                (path, Some("a path is absolute, as seen inside"))
            }
            Self::Path(path) => (path, unusable(path)),
            Self::Package(name) => (name, unusable(name)),
            Self::Sha256(digest) if !is_sha256(digest) => (
                digest,
                Some("a SHA-256 is 64 lower-case hexadecimal digits"),
            ),
            Self::Sha256(digest) => (digest, None),
        };
        match why {
            None => Ok(self),
            Some(why) => Err(InvalidTarget {
                text: shown(text),
                why,
            }),
        }
    }
}

/// Why a name or path cannot be used, if so.
fn unusable(text: &str) -> Option<&'static str> {
    if text.trim().is_empty() {
        Some("it is empty")
    } else if text.len() > LONGEST_TARGET {
        Some("it is longer than a path can be")
    } else if text.chars().any(char::is_control) {
        Some("it contains control characters")
    } else if text == "." || text == ".." {
        Some("it names a folder")
    } else {
        None
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The beginning of a text, for errors.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

impl fmt::Display for ExecTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(text) | Self::Path(text) => f.write_str(text),
            Self::Package(name) => write!(f, "package:{name}"),
            Self::Sha256(digest) => write!(f, "sha256:{digest}"),
        }
    }
}

impl FromStr for ExecTarget {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let target = if let Some(digest) = text.strip_prefix("sha256:") {
            Self::Sha256(digest.to_owned())
        } else if let Some(name) = text.strip_prefix("package:") {
            Self::Package(name.to_owned())
        } else if text.starts_with('/') {
            Self::Path(text.to_owned())
        } else {
            Self::Name(text.to_owned())
        };
        target.checked()
    }
}

impl Serialize for ExecTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ExecTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for ExecTarget {
    fn schema_name() -> Cow<'static, str> {
        "ExecTarget".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "description": "a name (npx), an absolute path, package:NAME, or sha256:DIGEST"
        })
    }
}

/// A process, as it was when something happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ExecProcess {
    /// Its id inside the environment.
    pub id: u32,
    /// Its name.
    pub name: String,
}

/// What exec control refused, or saw and let pass.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ExecEvent {
    /// Whether it was refused.
    pub denied: bool,
    /// SHA-256 of the content in hexadecimal; absent where the file could not be read, which is a
    /// denial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The path inside, as the kernel resolved it.
    pub path: String,
    /// The process and its ancestors, nearest first.
    pub processes: Vec<ExecProcess>,
    /// The rule's target and reason, or `unknown content`.
    pub rule: String,
    /// How many like it this stands for (same content, path and rule).
    pub count: u64,
    /// Milliseconds since the environment was made.
    pub at_ms: u64,
}

/// Events of one environment over a short time, as a runner reports them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecBatch {
    /// Which runner.
    pub runner: String,
    /// In which task's environment.
    pub task: TaskId,
    /// Fencing epoch of the assignment.
    pub epoch: u64,
    /// Number of the batch within the assignment, from 0. Sending a batch again is no second one.
    pub batch: u32,
    /// The step that ran, by index.
    pub step: Option<u32>,
    /// The events, at most [`MOST_EVENTS`]; like ones are one.
    pub events: Vec<ExecEvent>,
    /// Refusals beyond those listed, when there was a flood.
    #[serde(default)]
    pub more_denied: u64,
    /// Unknown content that executed, beyond what is listed.
    #[serde(default)]
    pub more_unknown: u64,
}

/// Events in one batch, at most.
pub const MOST_EVENTS: usize = 128;

impl ExecBatch {
    /// Where it stands.
    #[must_use]
    pub const fn place(&self) -> BatchPlace {
        BatchPlace {
            epoch: self.epoch,
            batch: self.batch,
        }
    }

    /// Refusals and others that it stands for.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let mut counts = (self.more_denied, self.more_unknown);
        for event in &self.events {
            let count = if event.denied {
                &mut counts.0
            } else {
                &mut counts.1
            };
            *count = count.saturating_add(event.count);
        }
        counts
    }
}

/// A batch as the control plane keeps it: what its leaf in the ledger stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptExecBatch {
    /// Version of this form.
    pub v: u32,
    /// When it arrived.
    pub at: jiff::Timestamp,
    /// Refusals that it stands for.
    pub denied: u64,
    /// Other events that it stands for.
    pub unknown: u64,
    /// Root of the Merkle tree (RFC 6962) over the listed events, each as one line of JSON.
    pub root: String,
    /// What the runner said.
    #[serde(flatten)]
    pub batch: ExecBatch,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_read_back_as_written_and_nonsense_is_refused() {
        let digest = "ab".repeat(32);
        for text in [
            "npx",
            "/usr/bin/curl",
            "package:left-pad",
            &format!("sha256:{digest}"),
        ] {
            let target: ExecTarget = text.parse().unwrap();
            assert_eq!(target.to_string(), *text);
        }
        for text in ["", " ", "bin/npx", "sha256:abc", "package:", "a\nb", ".."] {
            assert!(text.parse::<ExecTarget>().is_err(), "{text:?}");
        }
        assert!(ExecTarget::Path("x".into()).checked().is_err());
    }

    #[test]
    fn modes_are_ordered_from_weak_to_strict_and_read_back() {
        for pair in ExecMode::ALL.windows(2) {
            assert!(pair[0] < pair[1]);
        }
        for mode in ExecMode::ALL {
            assert_eq!(mode.as_str().parse(), Ok(mode));
            assert_eq!(serde_json::to_string(&mode).unwrap(), format!("\"{mode}\""));
        }
        assert!("Strict".parse::<ExecMode>().is_err());
    }

    #[test]
    fn a_batch_counts_what_it_stands_for() {
        let event = |denied, count| ExecEvent {
            denied,
            digest: None,
            path: "/x".into(),
            processes: Vec::new(),
            rule: "x".into(),
            count,
            at_ms: 0,
        };
        let batch = ExecBatch {
            runner: "r".into(),
            task: TaskId::from_uuid(uuid::Uuid::nil()),
            epoch: 1,
            batch: 0,
            step: None,
            events: vec![event(true, 3), event(false, 2), event(true, u64::MAX)],
            more_denied: 1,
            more_unknown: 5,
        };
        assert_eq!(batch.counts(), (u64::MAX, 7));
    }
}
