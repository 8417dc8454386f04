//! Environments of a task: the one it works in, and pristine ones over the same base in which
//! nothing of the task ever ran.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::automation::EnvironmentDefinition;
use model::exec::ExecMode;
use model::fence::Fence;
use model::isolation::{Isolation, RootEvidence, RootKind};
use sandbox::{Environment, EnvironmentSpec, RootRecipe, Supervisor, Workspace};

use crate::egress;
use crate::fencing;
use crate::halt::Halt;
use crate::reach::{Made, Reach, Way};
use crate::root;

/// Life of an environment; steps have their own, shorter bounds.
const LIFE: Duration = Duration::from_hours(24);

/// What an environment is made of.
pub(crate) struct Recipe {
    pub(crate) supervisor: Arc<Supervisor>,
    pub(crate) base: PathBuf,
    pub(crate) inputs: PathBuf,
    pub(crate) program: Option<PathBuf>,
    pub(crate) definition: EnvironmentDefinition,
    pub(crate) fence: Fence,
    /// Absent for the host's programs without set-up.
    pub(crate) root: Option<root::Ready>,
    pub(crate) way: Way,
}

impl Recipe {
    /// Makes an environment over the base, with its own layer and outputs, and its network if it
    /// has one. One that asks for a network and does not get it is not made.
    pub(crate) async fn make(
        &self,
        id: String,
        layer: PathBuf,
        outputs: PathBuf,
        reach: Reach,
    ) -> Result<Made, Halt> {
        let wanted = &self.definition.network;
        let outfit = self.way.prepare(&id, wanted, &self.fence, reach).await?;
        let mut spec = self.spec(id.clone(), layer, outputs);
        if let Some(outfit) = &outfit {
            egress::equip(&mut spec, outfit);
        }
        match self.create(spec).await {
            Ok(environment) => self.way.open(environment, outfit, reach).await,
            Err(halt) => {
                if outfit.is_some() {
                    self.way.close(&id).await;
                }
                Err(halt)
            }
        }
    }

    fn spec(&self, id: String, layer: PathBuf, outputs: PathBuf) -> EnvironmentSpec {
        let mut spec = EnvironmentSpec::new(
            id,
            Workspace {
                base: Some(self.base.clone()),
                frozen: Vec::new(),
                layer,
            },
        );
        spec.inputs = Some(self.inputs.clone());
        spec.outputs = Some(outputs);
        spec.program.clone_from(&self.program);
        spec.root = RootRecipe {
            extra: self.definition.folders.iter().map(PathBuf::from).collect(),
            ..RootRecipe::default()
        };
        if let Some(ready) = &self.root {
            let folder = spec.workspace.layer.with_extension("more");
            spec.workspace_also.clone_from(&ready.workspace);
            spec.root = ready.root.clone();
            spec.mounts = ready
                .caches
                .iter()
                .map(|cache| cache.mount(&folder))
                .collect();
            spec.home = ready.home.clone().map(|home| Workspace {
                base: Some(home),
                frozen: Vec::new(),
                layer: folder.join("home"),
            });
        }
        spec.limits = fencing::limits(&self.definition.limits, LIFE);
        spec.exec = fencing::exec_policy(&self.fence.exec);
        spec.required = fencing::required(&self.fence);
        spec
    }

    async fn create(&self, spec: EnvironmentSpec) -> Result<Arc<Environment>, Halt> {
        let supervisor = Arc::clone(&self.supervisor);
        let made = tokio::task::spawn_blocking(move || supervisor.create(&spec)).await;
        let made =
            made.map_err(|error| Halt::broken("the thread of an environment is lost", &error))?;
        let environment = Arc::new(made?);
        let missing = fencing::missing(environment.report(), &self.fence);
        if missing.is_empty() {
            return Ok(environment);
        }
        destroy(environment).await;
        Err(Halt::too_weak(&missing))
    }

    /// The evidence that facts keep.
    pub(crate) fn evidence(&self, made: &Made) -> Isolation {
        let host = RootEvidence {
            kind: RootKind::Host,
            digest: None,
            recipe: None,
            reproducible: false,
            toolchains: Vec::new(),
        };
        let root = self
            .root
            .as_ref()
            .map_or(host, |root| root.evidence.clone());
        let network = made.outfit().map(|outfit| outfit.evidence.clone());
        let report = made.environment.report();
        fencing::evidence(report, &self.fence, Some(root), network)
    }

    /// Whether somebody may want to know what executes.
    pub(crate) fn watches(&self) -> bool {
        self.fence.exec.effective_mode() != ExecMode::Off
    }
}

/// Destroys an environment; returns when nothing of it runs any more.
pub(crate) async fn destroy(environment: Arc<Environment>) {
    let id = environment.id().to_owned();
    // Whoever looks at its events this moment lets go at once, and destroys it then.
    let destroying = move || Arc::into_inner(environment).map_or(Ok(()), Environment::destroy);
    match tokio::task::spawn_blocking(destroying).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(id, %error, "an environment could not be destroyed"),
        Err(error) => tracing::warn!(id, %error, "an environment could not be destroyed"),
    }
}
