//! How an environment of a tier and mode is made. The only file that knows.

use std::time::Duration;

use sandbox::{Environment, EnvironmentSpec, Limits, Supervisor, Workspace};

use crate::scene::Scene;

/// Which host makes the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    /// Root, with fanotify.
    L1,
    /// Root, without fanotify: what [`Tier::L0`] is, made by root.
    L0Root,
    /// An ordinary user.
    L0,
}

impl Tier {
    pub(crate) const ALL: [Self; 3] = [Self::L1, Self::L0Root, Self::L0];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::L1 => "L1",
            Self::L0Root => "L0 by root",
            Self::L0 => "L0",
        }
    }
}

/// What programs may be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Any.
    Off,
    /// All but the denied.
    DenyList,
    /// The allowed only.
    AllowList,
    /// The allowed only, and no memory is both written and executed.
    Strict,
}

impl Mode {
    pub(crate) const ALL: [Self; 4] = [Self::Off, Self::DenyList, Self::AllowList, Self::Strict];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::DenyList => "deny-list",
            Self::AllowList => "allow-list",
            Self::Strict => "strict",
        }
    }
}

/// Bytes that the folders in memory may hold.
pub(crate) const TMP_BYTES: u64 = 64 << 20;
/// Processes and threads.
pub(crate) const PROCESSES: u64 = 256;
/// Memory of the whole environment, where the host can limit it.
pub(crate) const MEMORY: u64 = 512 << 20;
/// Bytes and files in the workspace, where the host can limit them.
pub(crate) const WORK_BYTES: u64 = 128 << 20;
/// See [`WORK_BYTES`].
pub(crate) const WORK_INODES: u64 = 12_000;

/// Makes an environment, or says why this tier and mode cannot be made here.
///
/// What a mode must know, by digest: denied are the five files `Scene::denied`; allowed are
/// `Scene::allowed` and everything of the base (`/usr` and the recipe's folders) except the denied.
pub(crate) fn make_environment(
    supervisor: &Supervisor,
    scene: &Scene,
    tier: Tier,
    mode: Mode,
    name: &str,
) -> Result<Environment, String> {
    if mode != Mode::Off || tier == Tier::L1 {
        return Err("exec control is not built yet".into());
    }
    let mut spec = EnvironmentSpec::new(
        name,
        Workspace {
            base: Some(scene.base()),
            layer: scene.layer(name),
        },
    );
    spec.inputs = Some(scene.inputs());
    spec.outputs = Some(scene.outputs(name));
    spec.program = Some(scene.tools().join("sandbox-supervisor"));
    spec.root.extra = vec![scene.tools()];
    spec.limits = Limits {
        processes: PROCESSES,
        tmp_bytes: TMP_BYTES,
        wall: Duration::from_mins(10),
        ..Limits::default()
    };
    supervisor.create(&spec).map_err(|error| error.to_string())
}
