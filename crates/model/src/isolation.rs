//! How strongly a host fences an environment, and the evidence for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::exec::ExecMode;

/// What a host can enforce, weakest first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum IsolationLevel {
    /// Unprivileged namespaces.
    L0,
    /// Root and fanotify.
    L1,
    /// Root and BPF-LSM.
    L2,
    /// A virtual machine.
    L3,
}

impl IsolationLevel {
    /// The stable text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::L0 => "L0",
            Self::L1 => "L1",
            Self::L2 => "L2",
            Self::L3 => "L3",
        }
    }
}

impl std::fmt::Display for IsolationLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One question that the environment asked itself before its first step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Stable name.
    pub name: String,
    /// Whether the fence held.
    pub passed: bool,
    /// What was seen.
    pub detail: String,
}

/// The level an environment reached, recorded as evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// The level.
    pub level: IsolationLevel,
    /// Names of the layers in force.
    pub layers: Vec<String>,
    /// Number of self-test probes that held.
    pub probes: u32,
    /// What was accepted though weaker than asked for.
    #[serde(default)]
    pub weaker: Vec<String>,
    /// Which programs could execute; absent where nothing was judged, and in older facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecEvidence>,
    /// What the root was made of; absent in older facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<RootEvidence>,
    /// What could be reached; absent where nothing could, and in older facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkEvidence>,
}

/// What an environment could reach.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkEvidence {
    /// SHA-256 of the rules in force, in hexadecimal: the same rules have the same digest.
    pub policy: String,
    /// Number of rules.
    pub rules: u32,
    /// What the server's limits took away, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub narrowed: Vec<String>,
}

/// How executable content was judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecEvidence {
    /// How strictly.
    pub mode: ExecMode,
    /// SHA-256 of the policy in force, in hexadecimal: the same rules have the same digest.
    pub policy: String,
    /// Number of rules.
    pub rules: u32,
}

/// What an environment's root was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootEvidence {
    /// Where it came from.
    pub kind: RootKind,
    /// Digest of the image, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Digest of the whole recipe (root, set-up commands, caches), where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// Whether another host makes the same environment of the same recipe. Never so for roots
    /// that show the host's programs.
    pub reproducible: bool,
    /// Versions of tools that files of the repository ask for and that are not there, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub toolchains: Vec<String>,
}

/// Where a root came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RootKind {
    /// The host's `/usr` and what belongs to it, read-only.
    Host,
    /// An OCI image.
    Image,
    /// A folder of the host.
    Folder,
}

impl RootKind {
    /// The stable text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Image => "image",
            Self::Folder => "folder",
        }
    }
}
