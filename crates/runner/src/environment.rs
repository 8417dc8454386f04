//! Environments of a task: the one it works in, and pristine ones over the same base in which
//! nothing of the task ever ran.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::automation::{EnvironmentDefinition, LimitsDefinition};
use model::isolation::{Isolation, IsolationLevel};
use sandbox::{Environment, EnvironmentSpec, Limits, RootRecipe, Supervisor, Workspace};

use crate::halt::Halt;

/// Life of an environment; steps have their own, shorter bounds.
const LIFE: Duration = Duration::from_hours(24);

/// What an environment is made of.
pub(crate) struct Recipe {
    pub(crate) supervisor: Arc<Supervisor>,
    pub(crate) base: PathBuf,
    pub(crate) inputs: PathBuf,
    pub(crate) program: Option<PathBuf>,
    pub(crate) definition: EnvironmentDefinition,
}

impl Recipe {
    /// Makes an environment over the base, with its own layer and outputs.
    pub(crate) async fn make(
        &self,
        id: String,
        layer: PathBuf,
        outputs: PathBuf,
    ) -> Result<Environment, Halt> {
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
        spec.limits = limits(&self.definition.limits);
        let supervisor = Arc::clone(&self.supervisor);
        let made = tokio::task::spawn_blocking(move || supervisor.create(&spec)).await;
        Ok(made.map_err(|error| Halt::broken("the thread of an environment is lost", &error))??)
    }
}

/// Destroys an environment; returns when nothing of it runs any more.
pub(crate) async fn destroy(environment: Environment) {
    let id = environment.id().to_owned();
    match tokio::task::spawn_blocking(move || environment.destroy()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(id, %error, "an environment could not be destroyed"),
        Err(error) => tracing::warn!(id, %error, "an environment could not be destroyed"),
    }
}

fn limits(wanted: &LimitsDefinition) -> Limits {
    let default = Limits::default();
    Limits {
        processes: wanted.processes.unwrap_or(default.processes),
        file_size: wanted.file.map_or(default.file_size, |size| size.0),
        address_space: wanted.memory.map(|size| size.0),
        wall: LIFE,
        ..default
    }
}

/// The evidence that facts keep.
pub(crate) fn isolation(report: &sandbox::IsolationReport) -> Isolation {
    let level = match report.level {
        sandbox::IsolationLevel::L0 => IsolationLevel::L0,
        sandbox::IsolationLevel::L1 => IsolationLevel::L1,
        sandbox::IsolationLevel::L2 => IsolationLevel::L2,
        sandbox::IsolationLevel::L3 => IsolationLevel::L3,
    };
    let held = report.self_test.iter().filter(|probe| probe.passed).count();
    Isolation {
        level,
        layers: report.layers.clone(),
        probes: u32::try_from(held).unwrap_or(u32::MAX),
        weaker: report.weaker.clone(),
    }
}
