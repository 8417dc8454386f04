//! Cgroups: limits of a whole environment, freezing, killing and what it used, by plain writes to
//! the kernel's files (cgroups(7), both versions side by side).
//!
//! The supervisor has one folder of its own in each hierarchy, named after its pid namespace, its
//! process and when that started, so that a later one can tell what a dead one left. In it each
//! environment has a folder. Where the second version has a hierarchy, an environment's init is
//! cloned right into it; into those of the first version it is moved while it makes its namespaces.

mod find;
mod handle;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

pub(crate) use handle::Handle;
pub use handle::Usage;

use crate::message::{Failure, Stage};
use crate::spec::Limits;
use crate::sys::{c_path, file};

/// What a cgroup can do for an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ability {
    Memory,
    Cpu,
    Processes,
    Io,
    Freeze,
    Kill,
}

impl Ability {
    /// Every ability, with the name of the layer that it makes and the controller behind it.
    pub(crate) const ALL: [(Self, &'static str, &'static str); 6] = [
        (Self::Memory, "cgroup-memory", "memory"),
        (Self::Cpu, "cgroup-cpu", "cpu"),
        (Self::Processes, "cgroup-pids", "pids"),
        (Self::Io, "cgroup-io", "io"),
        (Self::Freeze, "cgroup-freeze", "freezer"),
        (Self::Kill, "cgroup-kill", ""),
    ];

    /// The name of its layer.
    pub(crate) fn layer(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(ability, ..)| *ability == self)
            .map_or("", |(_, layer, _)| layer)
    }
}

/// Which version's files a folder has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

/// The supervisor's folder in one hierarchy.
#[derive(Debug)]
struct Hierarchy {
    version: Version,
    abilities: Vec<Ability>,
    /// As the client sees it; to the supervisor, /sys is covered.
    path: PathBuf,
    folder: OwnedFd,
}

impl Hierarchy {
    /// A path of this folder that works wherever it is mounted.
    fn below(&self, name: &str) -> PathBuf {
        Path::new("/proc/self/fd")
            .join(self.folder.as_raw_fd().to_string())
            .join(name)
    }
}

/// Every hierarchy that can be used here.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    hierarchies: Vec<Hierarchy>,
    /// Why there is not more, for `doctor`.
    pub(crate) obstacle: Option<String>,
    /// Name of an environment's folder, by the process id of its init.
    present: HashMap<i32, String>,
    count: u64,
    /// Whether the kernel cannot clone into a cgroup.
    no_clone: bool,
}

/// An environment's folders, before and after its init is in them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Joined {
    /// Name of the folder; empty where there is none.
    name: String,
    /// Layers in force.
    pub(crate) layers: Vec<String>,
    /// What was asked for and is not in force.
    pub(crate) weaker: Vec<String>,
    /// `1` or `2` and a path each: how the client finds the folders.
    pub(crate) places: Vec<String>,
}

/// Whether an environment with these limits is to have an ability. The second version's cost
/// nothing, because its init is born in them. Moving it into one of the first version takes
/// milliseconds on a busy machine, in which nobody on it may fork: only for what was asked for.
/// (The number of processes is limited without cgroups too, by `RLIMIT_NPROC`.)
fn wanted(limits: &Limits, version: Version, ability: Ability) -> bool {
    match (ability, version) {
        (Ability::Memory, _) => limits.memory.is_some(),
        (Ability::Cpu, _) => limits.cpu_milli.is_some(),
        (Ability::Processes, Version::One) => limits.memory.is_some() || limits.cpu_milli.is_some(),
        (Ability::Processes | Ability::Io | Ability::Freeze | Ability::Kill, _) => true,
    }
}

impl Groups {
    /// Finds what can be used, and removes what dead supervisors left. Processes that are `movable`
    /// may be moved into a folder below their present one, where that makes more possible.
    pub(crate) fn find(movable: &[u32]) -> Self {
        find::find(movable)
    }

    /// What environments of this host can have.
    pub(crate) fn abilities(&self) -> Vec<Ability> {
        let all = self.hierarchies.iter();
        all.flat_map(|hierarchy| hierarchy.abilities.iter().copied())
            .collect()
    }

    /// Makes the folders of an environment and writes its limits.
    pub(crate) fn make(&mut self, limits: &Limits) -> Result<Joined, Failure> {
        let mut joined = Joined::default();
        if !self.hierarchies.is_empty() {
            self.count += 1;
            joined.name = format!("e{}", self.count);
        }
        for hierarchy in &self.hierarchies {
            let used: Vec<Ability> = hierarchy
                .abilities
                .iter()
                .copied()
                .filter(|ability| wanted(limits, hierarchy.version, *ability))
                .collect();
            if used.is_empty() {
                continue;
            }
            let folder = hierarchy.below(&joined.name);
            let result = fs::create_dir(&folder)
                .and_then(|()| limit(&folder, hierarchy.version, &used, limits));
            if let Err(error) = result {
                self.remove(&joined.name);
                return Err(error).stage("limit the environment by cgroups");
            }
            let layers = used.iter().map(|ability| ability.layer().to_owned());
            joined.layers.extend(layers);
            let version = match hierarchy.version {
                Version::One => '1',
                Version::Two => '2',
            };
            let path = hierarchy.path.join(&joined.name);
            joined.places.push(format!("{version}{}", path.display()));
        }
        let asked = [
            (Ability::Memory, limits.memory.is_some(), "memory"),
            (Ability::Cpu, limits.cpu_milli.is_some(), "CPU"),
        ];
        for (ability, asked, what) in asked {
            if asked && !joined.layers.iter().any(|layer| layer == ability.layer()) {
                joined.weaker.push(format!(
                    "{what} of the whole environment is not limited: no cgroup here can do that"
                ));
            }
        }
        Ok(joined)
    }

    /// The folder to clone an init into.
    pub(crate) fn cradle(&self, joined: &Joined) -> Option<OwnedFd> {
        if self.no_clone {
            return None;
        }
        let hierarchy = self
            .hierarchies
            .iter()
            .find(|hierarchy| hierarchy.version == Version::Two)?;
        let path = c_path(&hierarchy.below(&joined.name)).ok()?;
        file::open(&path, libc::O_PATH | libc::O_DIRECTORY).ok()
    }

    /// Never again clones into a folder: the kernel refused to.
    pub(crate) fn without_cradles(&mut self) {
        self.no_clone = true;
    }

    /// Moves the init `pid` into its folders; `cradled` when it was cloned into one.
    pub(crate) fn adopt(
        &mut self,
        joined: &Joined,
        pid: i32,
        cradled: bool,
    ) -> Result<(), Failure> {
        if joined.name.is_empty() {
            return Ok(());
        }
        for hierarchy in &self.hierarchies {
            if cradled && hierarchy.version == Version::Two {
                continue;
            }
            let folder = hierarchy.below(&joined.name);
            match fs::write(folder.join("cgroup.procs"), pid.to_string()) {
                // Not made: nothing in it was wanted.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result.stage("put the environment into its cgroup")?,
            }
        }
        self.present.insert(pid, joined.name.clone());
        Ok(())
    }

    /// Removes the folders of an environment whose processes are all gone.
    pub(crate) fn bury(&mut self, pid: i32) {
        if let Some(name) = self.present.remove(&pid) {
            self.remove(&name);
        }
    }

    /// Removes folders that no process came into.
    pub(crate) fn discard(&self, joined: &Joined) {
        if !joined.name.is_empty() {
            self.remove(&joined.name);
        }
    }

    fn remove(&self, name: &str) {
        for hierarchy in &self.hierarchies {
            let _ = fs::remove_dir(hierarchy.below(name));
        }
    }

    /// The inits that are in folders.
    pub(crate) fn inits(&self) -> Vec<i32> {
        self.present.keys().copied().collect()
    }

    /// Removes the supervisor's own folders, which are empty.
    pub(crate) fn finish(&self) {
        for hierarchy in &self.hierarchies {
            if let Some(name) = hierarchy.path.file_name() {
                let _ = fs::remove_dir(hierarchy.below("..").join(name));
            }
        }
    }
}

/// Writes the limits that a folder is for.
fn limit(
    folder: &Path,
    version: Version,
    abilities: &[Ability],
    limits: &Limits,
) -> io::Result<()> {
    let write = |name: &str, value: String| fs::write(folder.join(name), value);
    let optional = |name: &str, value: String| match write(name, value) {
        // Not in every kernel's configuration.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        result => result,
    };
    for ability in abilities {
        match (ability, version) {
            (Ability::Memory, Version::One) => {
                let bytes = limits.memory.unwrap_or(u64::MAX).min(i64::MAX as u64);
                write("memory.limit_in_bytes", bytes.to_string())?;
                // Memory and swap together: nothing is swapped out to get around the limit.
                optional("memory.memsw.limit_in_bytes", bytes.to_string())?;
            }
            (Ability::Memory, Version::Two) => {
                if let Some(bytes) = limits.memory {
                    write("memory.max", bytes.to_string())?;
                }
                optional("memory.swap.max", "0".to_owned())?;
            }
            (Ability::Cpu, version) => {
                // In a period of 100 ms; the kernel takes no less than 1 ms.
                let quota = (limits.cpu_milli.unwrap_or(0) * 100).max(1000);
                match version {
                    Version::One => {
                        write("cpu.cfs_period_us", "100000".to_owned())?;
                        write("cpu.cfs_quota_us", quota.to_string())?;
                    }
                    Version::Two => write("cpu.max", format!("{quota} 100000"))?,
                }
            }
            (Ability::Processes, _) => write("pids.max", limits.processes.to_string())?,
            // Below the usual 100: the host's own programs come first.
            (Ability::Io, _) => optional("io.weight", "default 50".to_owned())?,
            (Ability::Freeze | Ability::Kill, _) => {}
        }
    }
    Ok(())
}
