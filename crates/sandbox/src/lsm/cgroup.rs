//! Cgroups of the second version, as identities: which processes a rule is for.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::LsmError;

/// A cgroup made here. Dropping it removes it, if no process is left in it.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    id: u64,
}

impl Cgroup {
    /// Makes a cgroup at the top of the second hierarchy, or takes up the one of that name.
    ///
    /// # Errors
    /// [`LsmError::Cgroup`] where no such hierarchy is mounted, or it may not be changed.
    pub fn create(name: &str) -> Result<Self, LsmError> {
        Self::make(Path::new(""), name)
    }

    /// Makes a cgroup below the one a process is in, and moves the process into it: whatever limits
    /// hold for the process hold on.
    ///
    /// # Errors
    /// [`LsmError::Cgroup`], also when the process is gone.
    pub fn create_below(process: i32, name: &str) -> Result<Self, LsmError> {
        let cgroups = fs::read_to_string(format!("/proc/{process}/cgroup"));
        let cgroups = cgroups.map_err(|source| LsmError::Cgroup {
            action: "find what is above",
            name: name.to_owned(),
            source,
        })?;
        // The line of the second hierarchy; where there is none, making it says so.
        let above = cgroups.lines().find_map(|line| line.strip_prefix("0::/"));
        let cgroup = Self::make(Path::new(above.unwrap_or_default()), name)?;
        cgroup.add(process)?;
        Ok(cgroup)
    }

    fn make(above: &Path, name: &str) -> Result<Self, LsmError> {
        let failed = |source| LsmError::Cgroup {
            action: "make",
            name: name.to_owned(),
            source,
        };
        let root = hierarchy().ok_or_else(|| failed(io::Error::from(io::ErrorKind::NotFound)))?;
        let path = root.join(above).join(name);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => result.map_err(failed)?,
        }
        // The kernel's id of a cgroup is the number of its folder.
        let id = fs::metadata(&path).map_err(failed)?.ino();
        Ok(Self { path, id })
    }

    /// The kernel's id of it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The file that takes process ids.
    #[must_use]
    pub fn members(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// Moves a process into it; its children follow by being born.
    ///
    /// # Errors
    /// [`LsmError::Cgroup`].
    pub fn add(&self, process: i32) -> Result<(), LsmError> {
        fs::write(self.members(), process.to_string()).map_err(|source| LsmError::Cgroup {
            action: "move a process into",
            name: self.path.display().to_string(),
            source,
        })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}

/// Where the second hierarchy is mounted.
fn hierarchy() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let kind = after.split(' ').next()?;
        (kind == "cgroup2").then(|| {
            before
                .split(' ')
                .nth(4)
                .map(|path| Path::new(path).to_owned())
        })?
    })
}
