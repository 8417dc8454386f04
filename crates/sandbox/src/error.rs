//! What can go wrong.

use std::io;
use std::path::PathBuf;

/// Why an environment could not be made, used or destroyed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// A field of a spec is not acceptable.
    #[error("`{field}` is not acceptable: {reason}")]
    InvalidSpec {
        /// The field.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// A path named in a spec cannot be used.
    #[error("cannot {action} {}", path.display())]
    Path {
        /// What was tried.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// An environment is using a layer.
    #[error("the layer {} is in use by an environment", path.display())]
    LayerInUse {
        /// The layer.
        path: PathBuf,
    },
    /// The supervisor did not come up.
    #[error("cannot start the supervisor: {stage}")]
    Supervisor {
        /// What it was doing.
        stage: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The supervisor has ended, and every environment with it.
    #[error("the supervisor is gone")]
    SupervisorGone,
    /// The kernel refused a part of an environment's set-up.
    #[error("cannot set up environment `{id}`: {stage}")]
    Setup {
        /// The environment.
        id: String,
        /// What was refused.
        stage: String,
        /// Why.
        source: io::Error,
    },
    /// Isolation did not hold. The environment was killed before any step ran in it.
    #[error("environment `{id}` is not isolated: probe `{probe}` saw {detail}")]
    SelfTest {
        /// The environment.
        id: String,
        /// Stable name of the first probe that failed.
        probe: String,
        /// What it saw.
        detail: String,
    },
    /// The environment would be weaker than the spec requires. Nothing ran in it.
    #[error("environment `{id}` is weaker than required: {}", missing.join("; "))]
    Weaker {
        /// The environment.
        id: String,
        /// What is missing, one sentence each, with the cure.
        missing: Vec<String>,
    },
    /// A step is still running; only one runs at a time.
    #[error("environment `{id}` is busy with a step")]
    Busy {
        /// The environment.
        id: String,
    },
    /// The environment has ended.
    #[error("environment `{id}` is gone")]
    Gone {
        /// The environment.
        id: String,
    },
    /// Talking to an environment failed.
    #[error("cannot talk to environment `{id}`")]
    Talk {
        /// The environment.
        id: String,
        /// Why.
        source: io::Error,
    },
}
