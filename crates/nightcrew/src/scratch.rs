//! Folders that live as long as one command.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::failure::{Doing, Failure};

/// A folder under the one for temporary files, removed with everything in it.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes a folder for this purpose, and removes those that killed processes left behind.
    pub(crate) fn make(purpose: &str, mode: u32) -> Result<Self, Failure> {
        let parent = std::env::temp_dir();
        let prefix = format!("nightcrew-{purpose}-");
        sweep(&parent, &prefix);
        let path = parent.join(format!("{prefix}{}", std::process::id()));
        // Fails where something is: whoever else may write here could have put it there.
        DirBuilder::new()
            .mode(mode)
            .create(&path)
            .doing(format_args!("make {}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Layers of environments are among it, which an ordinary removal may not enter.
        let _ = sandbox::remove_layer(&self.0);
    }
}

/// Removes our own folders with this prefix whose process is gone.
fn sweep(parent: &Path, prefix: &str) {
    let own = std::fs::metadata("/proc/self").map(|meta| meta.uid());
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name
            .to_str()
            .and_then(|name| name.strip_prefix(prefix))
            .and_then(|number| number.parse::<u32>().ok());
        let Some(process) = process else { continue };
        let ours = entry
            .metadata()
            .is_ok_and(|meta| meta.is_dir() && own.as_ref().is_ok_and(|own| *own == meta.uid()));
        if ours && !Path::new(&format!("/proc/{process}")).exists() {
            let _ = sandbox::remove_layer(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_dead_processes_are_swept_and_others_stay() {
        let parent = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let path = parent.path().join(name);
            std::fs::create_dir_all(path.join("inner")).unwrap();
            path
        };
        // Larger than any process id (`pid_max` is at most 2²²).
        let dead = folder("nightcrew-try-4194305");
        let living = folder(&format!("nightcrew-try-{}", std::process::id()));
        let foreign = folder("nightcrew-try-x");
        let other = folder("nightcrew-doctor-4194305");
        sweep(parent.path(), "nightcrew-try-");
        assert!(!dead.exists());
        assert!(living.exists() && foreign.exists() && other.exists());
    }
}
