//! Cgroups of the second version, as identities: which processes a rule is for.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::LsmError;

/// A cgroup. Dropping it removes it when it was made here and no process is left in it.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    id: u64,
    /// Whether it is ours to remove.
    made: bool,
}

impl Cgroup {
    /// Makes a cgroup at the top of the second hierarchy, or takes up the one of that name.
    ///
    /// # Errors
    /// [`LsmError::Cgroup`] where no such hierarchy is mounted, or it may not be changed.
    pub fn create(name: &str) -> Result<Self, LsmError> {
        Self::make(Path::new(""), name)
    }

    /// The cgroup that a process does not share with its parent: the one it is in, or where that is
    /// the parent's too, a new one below it, into which the process is moved. Whatever limits hold
    /// for the process hold on.
    ///
    /// # Errors
    /// [`LsmError::Cgroup`], also when the process is gone.
    pub fn own_of(process: i32, name: &str) -> Result<Self, LsmError> {
        let failed = |source| LsmError::Cgroup {
            action: "find what is above",
            name: name.to_owned(),
            source,
        };
        let status = fs::read_to_string(format!("/proc/{process}/status")).map_err(failed)?;
        let parent = status.lines().find_map(|line| {
            let number = line.strip_prefix("PPid:")?.trim();
            number.parse::<i32>().ok()
        });
        let present = path_of(process).map_err(failed)?;
        let shared = parent.is_none_or(|parent| path_of(parent).is_ok_and(|path| path == present));
        if shared {
            let cgroup = Self::make(&present, name)?;
            cgroup.add(process)?;
            return Ok(cgroup);
        }
        let root = hierarchy().ok_or_else(|| failed(io::Error::from(io::ErrorKind::NotFound)))?;
        let path = root.join(present);
        let id = fs::metadata(&path).map_err(failed)?.ino();
        Ok(Self {
            path,
            id,
            made: false,
        })
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
        Ok(Self {
            path,
            id,
            made: true,
        })
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
        if self.made {
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// The cgroup of a process, below the top of the second hierarchy.
fn path_of(process: i32) -> io::Result<PathBuf> {
    let cgroups = fs::read_to_string(format!("/proc/{process}/cgroup"))?;
    // Without that hierarchy there is no such line; using it will say so.
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::/"));
    Ok(PathBuf::from(path.unwrap_or_default()))
}

/// Where the second hierarchy is mounted.
fn hierarchy() -> Option<PathBuf> {
    let text = fs::read("/proc/self/mountinfo").ok()?;
    let mut all = crate::sys::mounts::parse(&text).into_iter();
    all.find(|mount| mount.kind == "cgroup2")
        .map(|mount| mount.at)
}
