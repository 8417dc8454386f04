//! How strongly a host fences an environment, and the evidence for it.

use serde::{Deserialize, Serialize};

/// What a host can enforce, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
}
