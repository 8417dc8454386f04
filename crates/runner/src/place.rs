//! The folders of a task on the host.
//!
//! `layers/<task>-<round>-<epoch>/` holds `layer` (what the environment wrote over its base), `in`
//! (shown read-only inside), `out` (written by steps) and what the runner itself wants to remember.
//! While the task waits, the folder is called `<task>-<round>.kept`; everything that is not so
//! called is rubbish when a runner starts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use model::protocol::Assignment;
use model::task::Task;

/// Ending of the folder of a task that waits.
const KEPT: &str = ".kept";

/// What the root of a task stands on.
const ROOT: &str = "root.json";

/// The folders of one task.
#[derive(Debug)]
pub(crate) struct Place {
    root: PathBuf,
    kept: PathBuf,
}

impl Place {
    /// A fresh place; `None` when the task goes on in the middle and its folder is not here.
    pub(crate) fn take(state: &Path, assignment: &Assignment) -> io::Result<Option<Self>> {
        let task = &assignment.task;
        let layers = state.join("layers");
        let name = format!("{}-{}", task.id, task.round);
        let place = Self {
            root: layers.join(format!("{name}-{}", assignment.epoch)),
            kept: layers.join(name + KEPT),
        };
        if goes_on(task) {
            return match fs::rename(&place.kept, &place.root) {
                Ok(()) => Ok(Some(place)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            };
        }
        // What an earlier attempt left has no use any more.
        remove(&place.root)?;
        remove(&place.kept)?;
        fs::create_dir(&place.root)?;
        fs::create_dir(place.outputs())?;
        fs::create_dir(place.inputs())?;
        Ok(Some(place))
    }

    /// What the environment writes over its base.
    pub(crate) fn layer(&self) -> PathBuf {
        self.root.join("layer")
    }

    /// Shown at `/nightcrew/in`.
    pub(crate) fn inputs(&self) -> PathBuf {
        self.root.join("in")
    }

    /// Shown at `/nightcrew/out`.
    pub(crate) fn outputs(&self) -> PathBuf {
        self.root.join("out")
    }

    /// A file of the runner's own.
    pub(crate) fn own(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Writes down what its root stands on, for the sweep.
    pub(crate) fn note_root(&self, stands_on: &[PathBuf]) -> io::Result<()> {
        fs::write(self.own(ROOT), serde_json::to_vec(stands_on)?)
    }

    /// A second layer and its outputs, for an environment that sees nothing of the task.
    pub(crate) fn pristine(&self, number: u32) -> (PathBuf, PathBuf) {
        (
            self.root.join(format!("pristine-{number}")),
            self.root.join(format!("pristine-{number}-out")),
        )
    }

    /// Keeps the folder for the time after a wait.
    pub(crate) fn keep(&mut self) -> io::Result<()> {
        fs::rename(&self.root, &self.kept)?;
        self.root.clone_from(&self.kept);
        Ok(())
    }

    /// Removes everything.
    pub(crate) fn remove(self) -> io::Result<()> {
        remove(&self.root)
    }
}

/// Whether a task goes on in the middle, be it of its first step: its base is known already.
pub(crate) fn goes_on(task: &Task) -> bool {
    task.next_step > 0 || task.base.is_some()
}

fn remove(path: &Path) -> io::Result<()> {
    sandbox::remove_layer(path).map_err(|error| io::Error::other(crate::halt::chain(&error)))
}

/// Makes the folders of a runner, and removes what an earlier one left.
pub(crate) fn sweep(state: &Path, now: Timestamp, keep: Duration) -> io::Result<()> {
    for folder in ["bases", "layers"] {
        sandbox::private_folder(&state.join(folder))?;
    }
    for entry in fs::read_dir(state.join("layers"))? {
        let entry = entry?;
        if !is_kept(&entry) {
            remove(&entry.path())?;
        }
    }
    sweep_kept(state, now, keep)
}

/// Removes workspaces of tasks that waited for too long.
pub(crate) fn sweep_kept(state: &Path, now: Timestamp, keep: Duration) -> io::Result<()> {
    for entry in fs::read_dir(state.join("layers"))? {
        let entry = entry?;
        if is_kept(&entry) && is_older(&entry, now, keep) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// What roots of tasks stand on, of those at work and of those that wait.
pub(crate) fn roots_in_use(state: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(state.join("layers"))? {
        match fs::read(entry?.path().join(ROOT)) {
            Ok(bytes) => all.extend(serde_json::from_slice::<Vec<PathBuf>>(&bytes)?),
            // One of the host's programs, one that is being made, one that went this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

fn is_kept(entry: &fs::DirEntry) -> bool {
    entry.file_name().to_string_lossy().ends_with(KEPT)
}

/// By the time of its last use; a clock that went backwards keeps everything.
fn is_older(entry: &fs::DirEntry, now: Timestamp, age: Duration) -> bool {
    let touched = entry.metadata().and_then(|meta| meta.modified()).ok();
    let touched = touched.and_then(|at| Timestamp::try_from(at).ok());
    touched.is_some_and(|at| {
        now.duration_since(at)
            .try_into()
            .is_ok_and(|idle: Duration| idle > age)
    })
}
