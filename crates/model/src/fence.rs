//! What an environment must and should be fenced by: the wishes of server and automation together.

use serde::{Deserialize, Serialize};

use crate::automation::ExecDefinition;
use crate::exec::ExecMode;
use crate::isolation::IsolationLevel;
use crate::network::NetworkLimits;

/// Wishes about the fence of an environment. What is *required* is refused where the host cannot
/// do it; what is only *wanted* is done without, and the evidence says so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fence {
    /// The least level.
    pub required_level: Option<IsolationLevel>,
    /// The level asked for; at least the required one.
    pub wanted_level: Option<IsolationLevel>,
    /// Layers that must be in force.
    pub required_layers: Vec<String>,
    /// Layers asked for; the required ones among them.
    pub wanted_layers: Vec<String>,
    /// The least mode of exec control.
    pub required_mode: ExecMode,
    /// Exec control asked for; its mode is at least the required one.
    pub exec: ExecDefinition,
    /// What may be reached at most.
    pub network: NetworkLimits,
}
