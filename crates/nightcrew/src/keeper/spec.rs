//! What an environment was asked to be. Kept beside it, so that it can be made again from its layer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ::egress::broker::outside::OutsideSettings;
use jiff::Timestamp;
use model::automation::LimitsDefinition;
use model::fence::Fence;
use model::isolation::RootEvidence;
use model::network::NetworkDefinition;
use runner::fencing;
use runner::root::CacheMount;
use sandbox::storage::{Bases, Origin, Storage};
use sandbox::{EnvironmentSpec, RootRecipe};
use serde::{Deserialize, Serialize};

use super::home::Home;
use crate::failure::{Doing, Failure};

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
    /// The folder that `/work` began as, as a person named it.
    pub(crate) workspace: Option<PathBuf>,
    /// The environment or snapshot it was made from.
    #[serde(default)]
    pub(crate) from: Option<String>,
    /// How it is fenced.
    pub(crate) fence: Fence,
    /// What it may reach.
    #[serde(default)]
    pub(crate) network: NetworkDefinition,
    /// How the outside is reached.
    #[serde(default)]
    pub(crate) outside: OutsideSettings,
    /// What it may use.
    pub(crate) limits: LimitsDefinition,
    /// Where the workspace appears beside `/work`.
    #[serde(default)]
    pub(crate) workspace_also: Option<PathBuf>,
    /// Where programs begin, unless in `/work`.
    #[serde(default)]
    pub(crate) workdir: Option<String>,
    /// Whether nothing was asked of its tools yet.
    #[serde(default)]
    pub(crate) fresh: bool,
    /// Commands of the recipe in a new workspace; empty when they ran.
    #[serde(default)]
    pub(crate) prepare: Vec<Vec<String>>,
    /// Commands of the recipe at every start.
    #[serde(default)]
    pub(crate) start: Vec<Vec<String>>,
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
    /// What set-up left in the home.
    #[serde(default)]
    pub(crate) home: Option<PathBuf>,
    /// Caches: name, what set-up put there, where it appears.
    #[serde(default)]
    pub(crate) caches: Vec<(String, PathBuf, PathBuf)>,
}

impl Root {
    /// Folders that it stands on.
    pub(super) fn stands_on(&self) -> Vec<PathBuf> {
        let root = self.tree.iter().chain(&self.layers).chain(&self.home);
        let caches = self.caches.iter().map(|(_, source, _)| source);
        root.chain(caches).cloned().collect()
    }
}

impl Spec {
    /// What the sandbox is told.
    pub(crate) fn environment(&self, home: &Home) -> Result<EnvironmentSpec, Failure> {
        let storage = Storage::open(&home.storage()).doing("open what environments keep")?;
        let disk = storage.disk(home.name()).doing("find what it wrote")?;
        let bases = self.bases();
        let id = format!("env:{}", home.name());
        let mut spec = EnvironmentSpec::new(id, disk.workspace(bases.workspace));
        disk.insert_into(&mut spec, bases);
        spec.workspace_also.clone_from(&self.workspace_also);
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
        spec.mounts = self
            .root
            .caches
            .iter()
            .map(|(name, source, target)| {
                let cache = CacheMount {
                    name: name.clone(),
                    source: source.clone(),
                    target: target.clone(),
                };
                cache.mount(home.folder())
            })
            .collect();
        Ok(spec)
    }

    /// What workspace and home stand on.
    pub(crate) fn bases(&self) -> Bases<'_> {
        Bases {
            workspace: self.base.as_deref(),
            home: self.root.home.as_deref(),
        }
    }

    /// What its snapshots belong to.
    pub(crate) fn origin(&self) -> Origin {
        let text = |path: &PathBuf| path.display().to_string();
        Origin {
            recipe: self.root.evidence.recipe.clone(),
            base: self.base.as_ref().map(text),
            home: self.root.home.as_ref().map(text),
        }
    }
}
