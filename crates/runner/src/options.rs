//! What a runner is told at its start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::egress::{Egress, NoEgress};
use crate::mask::{Mask, NoMask};
use crate::root::Registries;

/// Tells the time; the only way a runner learns it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A check of one file: given its path and its text, what is wrong with it, one line each.
pub type FileCheck = Arc<dyn Fn(&str, &str) -> Vec<String> + Send + Sync>;

/// Checks of files by the name under which automations ask for them (`workflow`, `yaml`). The
/// names `json`, `secrets`, `whitespace` and `conflict-markers` are built in. A file that the check
/// is not about gives no problems.
pub type Checks = BTreeMap<String, FileCheck>;

/// How a runner works.
#[derive(Clone)]
pub struct RunnerOptions {
    /// Its name, under which it holds leases.
    pub name: String,
    /// Tasks at work at once.
    pub slots: u32,
    /// Folder for `bases/`, `layers/` and `scratch/`; nobody else may use it.
    pub state_dir: PathBuf,
    /// The `nightcrew` executable, shown inside environments.
    pub program: Option<PathBuf>,
    /// How registries of images are reached.
    pub registries: Registries,
    /// Time between two heartbeats; well below the length of a lease.
    pub heartbeat: Duration,
    /// Longest pause between two questions for work while there is some; six times that when idle.
    pub poll: Duration,
    /// The time.
    pub clock: Clock,
    /// Makes the networks of environments.
    pub egress: Arc<dyn Egress>,
    /// Removes secrets from logs and outputs.
    pub mask: Arc<dyn Mask>,
    /// Paths, as globs, where what has the shape of a token is none: in all repositories.
    pub allow_secrets: Vec<String>,
    /// Checks of files that are not built in.
    pub checks: Checks,
    /// Name and mail address in our commits.
    pub identity: (String, String),
    /// Commits of history in workspaces; `None` is all.
    pub history: Option<u32>,
    /// Wall time of one command when the automation says nothing.
    pub step_timeout: Duration,
    /// Bytes of a step's log that are kept when the automation says nothing.
    pub log_bytes: u64,
    /// Most bytes of git objects in one change.
    pub change_bytes: u64,
    /// Base trees kept though no task uses them.
    pub keep_bases: usize,
    /// Time after which images and set-ups that no task stands on are removed.
    pub keep_roots: Duration,
    /// Age after which the workspace of a task that waits is given up.
    pub keep_layers: Duration,
}

impl RunnerOptions {
    /// Defaults for everything that has one: slots are twice the number of cores.
    #[must_use]
    pub fn new(name: impl Into<String>, state_dir: impl Into<PathBuf>, clock: Clock) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            name: name.into(),
            slots: u32::try_from(cores * 2).unwrap_or(8),
            state_dir: state_dir.into(),
            program: None,
            registries: Registries::default(),
            heartbeat: Duration::from_secs(10),
            poll: Duration::from_secs(5),
            clock,
            egress: Arc::new(NoEgress),
            mask: Arc::new(NoMask),
            allow_secrets: Vec::new(),
            checks: Checks::new(),
            identity: ("Nightcrew".to_owned(), "nightcrew@localhost".to_owned()),
            history: Some(1),
            step_timeout: Duration::from_mins(20),
            log_bytes: 4 << 20,
            change_bytes: 64 << 20,
            keep_bases: 64,
            keep_roots: Duration::from_hours(14 * 24),
            keep_layers: Duration::from_hours(14 * 24),
        }
    }
}

impl std::fmt::Debug for RunnerOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunnerOptions")
            .field("name", &self.name)
            .field("slots", &self.slots)
            .field("state_dir", &self.state_dir)
            .finish_non_exhaustive()
    }
}
