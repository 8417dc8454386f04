//! What an environment was asked to be. Kept beside it, so that it can be made again from its layer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use model::automation::LimitsDefinition;
use model::fence::Fence;
use model::isolation::RootEvidence;
use runner::fencing;
use sandbox::{EnvironmentSpec, RootRecipe, Workspace};
use serde::{Deserialize, Serialize};

use super::home::Home;

/// Version of the file.
pub(crate) const VERSION: u32 = 1;

/// An environment as it was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// [`VERSION`] at the time of writing.
    pub(crate) v: u32,
    /// When it was made.
    pub(crate) created_at: Timestamp,
    /// What its root is made of.
    pub(crate) root: Root,
    /// The tree underneath `/work`; empty when absent.
    pub(crate) base: Option<PathBuf>,
    /// Frozen layers over it, lowest first.
    #[serde(default)]
    pub(crate) frozen: Vec<PathBuf>,
    /// The folder that `/work` began as, as a person named it.
    pub(crate) workspace: Option<PathBuf>,
    /// The environment or snapshot it was made from.
    #[serde(default)]
    pub(crate) from: Option<String>,
    /// How it is fenced.
    pub(crate) fence: Fence,
    /// What it may use.
    pub(crate) limits: LimitsDefinition,
    /// Variables given to everything that runs in it.
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, String>,
    /// Seconds it may live.
    pub(crate) life_s: u64,
}

/// What a root is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Root {
    /// For people and the evidence.
    pub(crate) evidence: RootEvidence,
    /// In whose words: `host`, the image, the folder.
    pub(crate) named: String,
    /// The tree that takes the place of the host's.
    pub(crate) tree: Option<PathBuf>,
    /// Layers over it, lowest first.
    #[serde(default)]
    pub(crate) layers: Vec<PathBuf>,
    /// Further folders of the host, read-only.
    #[serde(default)]
    pub(crate) folders: Vec<PathBuf>,
}

impl Spec {
    /// What the sandbox is told.
    pub(crate) fn environment(&self, home: &Home) -> EnvironmentSpec {
        let workspace = Workspace {
            base: self.base.clone(),
            frozen: self.frozen.clone(),
            layer: home.layer(),
        };
        let mut spec = EnvironmentSpec::new(format!("env:{}", home.name()), workspace);
        spec.program = std::env::current_exe().ok();
        spec.root = RootRecipe {
            tree: self.root.tree.clone(),
            layers: self.root.layers.clone(),
            writable: None,
            extra: self.root.folders.clone(),
        };
        spec.limits = fencing::limits(&self.limits, Duration::from_secs(self.life_s));
        spec.exec = fencing::exec_policy(&self.fence.exec);
        spec.required = fencing::required(&self.fence);
        spec.home = Some(home.agent_home());
        spec
    }
}
