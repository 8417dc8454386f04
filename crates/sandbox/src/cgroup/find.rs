//! Finding hierarchies in which this process may make folders, and sweeping what dead ones left.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Ability, Groups, Hierarchy, Version};
use crate::sys::mounts::{self, Mount};
use crate::sys::{c_path, creds, file};

/// What names of supervisors' folders begin with.
const PREFIX: &str = "nightcrew-";

/// Where the server and its supervisor go when the second version demands that their own folder
/// holds no process.
const OWN_LEAF: &str = "nightcrew-host";

/// Hierarchies of the first version that are of use, with what they can do.
const FIRST: [(&str, Ability); 3] = [
    ("memory", Ability::Memory),
    ("cpu", Ability::Cpu),
    ("pids", Ability::Processes),
];

/// Controllers of the second version that are of use.
const SECOND: [(&str, Ability); 4] = [
    ("memory", Ability::Memory),
    ("pids", Ability::Processes),
    ("cpu", Ability::Cpu),
    ("io", Ability::Io),
];

/// A mounted hierarchy.
#[derive(Debug, PartialEq, Eq)]
struct Mounted {
    version: Version,
    /// Controllers of the first version.
    controllers: Vec<String>,
    place: PathBuf,
    /// Which folder of the hierarchy is at `place`.
    root: PathBuf,
}

pub(super) fn find(movable: &[u32]) -> Groups {
    let mut groups = Groups::default();
    let (Ok(mounts), Ok(own)) = (
        fs::read("/proc/self/mountinfo"),
        fs::read_to_string("/proc/self/cgroup"),
    ) else {
        groups.obstacle = Some("/proc cannot be read".to_owned());
        return groups;
    };
    let Ok(name) = own_name() else {
        groups.obstacle = Some("/proc cannot be read".to_owned());
        return groups;
    };
    let mounted = mounted(&mounts);
    if mounted.is_empty() {
        groups.obstacle = Some("no cgroup file system is mounted".to_owned());
        return groups;
    }
    let mut obstacle = None;
    // The second version first: what it can do need not be looked for in the first.
    for version in [Version::Two, Version::One] {
        for hierarchy in mounted.iter().filter(|mounted| mounted.version == version) {
            let taken = groups.abilities();
            match hierarchy.open(&own, &name, movable, &taken) {
                Ok(Some(hierarchy)) => groups.hierarchies.push(hierarchy),
                Ok(None) => {}
                Err(error) => obstacle = Some(error),
            }
        }
    }
    groups.obstacle = obstacle;
    groups
}

impl Mounted {
    /// Makes the supervisor's folder. `None`: this hierarchy can do nothing that is not `taken`.
    fn open(
        &self,
        own: &str,
        name: &str,
        movable: &[u32],
        taken: &[Ability],
    ) -> Result<Option<Hierarchy>, String> {
        let present = self
            .present(own)
            .ok_or_else(|| format!("this process is outside of {}", self.place.display()))?;
        let said = |folder: &Path| {
            let folder = folder.display().to_string();
            move |error: io::Error| format!("{folder} cannot be used: {error}")
        };
        let (parent, abilities) = match self.version {
            Version::One => {
                let mut abilities: Vec<Ability> = FIRST
                    .iter()
                    .filter(|(controller, _)| self.controllers.iter().any(|own| own == controller))
                    .map(|(_, ability)| *ability)
                    .collect();
                if self.controllers.iter().any(|own| own == "freezer") {
                    abilities.push(Ability::Freeze);
                }
                abilities.retain(|ability| !taken.contains(ability));
                if abilities.is_empty() {
                    return Ok(None);
                }
                (present, abilities)
            }
            Version::Two => self.parent(present, movable),
        };
        sweep(&parent);
        let path = parent.join(name);
        match fs::create_dir(&path) {
            // Two supervisors of one process do not exist, but a probe and a supervisor may.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => result.map_err(said(&parent))?,
        }
        let mut abilities = abilities;
        if self.version == Version::Two {
            abilities = enable(&path, &abilities);
            for (file, ability) in [
                ("cgroup.freeze", Ability::Freeze),
                ("cgroup.kill", Ability::Kill),
            ] {
                if path.join(file).exists() {
                    abilities.push(ability);
                }
            }
        }
        let c = c_path(&path).map_err(said(&path))?;
        let folder = file::open(&c, libc::O_PATH | libc::O_DIRECTORY).map_err(said(&path))?;
        Ok(Some(Hierarchy {
            version: self.version,
            abilities,
            path,
            folder,
        }))
    }

    /// This process's folder, where it can be seen.
    fn present(&self, own: &str) -> Option<PathBuf> {
        let path = own.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let ours = match self.version {
                Version::Two => controllers.is_empty(),
                Version::One => controllers
                    .split(',')
                    .any(|controller| self.controllers.iter().any(|own| own == controller)),
            };
            ours.then_some(path)
        })?;
        let below = Path::new(path).strip_prefix(&self.root).ok()?;
        Some(self.place.join(below))
    }

    /// Where the supervisor's folder of the second version goes, and what its children can have:
    /// here, if this folder can hand controllers on; else, as root, at the top.
    ///
    /// A folder with processes cannot, unless it is the top. (The kernel permits it for `cpu` and
    /// `pids`, but then takes folders below for groups of threads.)
    fn parent(&self, present: PathBuf, movable: &[u32]) -> (PathBuf, Vec<Ability>) {
        let present = match present.parent() {
            Some(parent) if present.ends_with(OWN_LEAF) => parent.to_owned(),
            _ => present,
        };
        let available = controllers(&present, "cgroup.controllers");
        if available.is_empty() {
            return (present, available);
        }
        if is_top(&present) || stand_aside(&present, movable).is_ok() {
            let enabled = enable(&present, &available);
            if !enabled.is_empty() {
                return (present, enabled);
            }
        }
        if creds::effective_uid() == 0 && is_top(&self.place) {
            let top = enable(&self.place, &controllers(&self.place, "cgroup.controllers"));
            if !top.is_empty() {
                return (self.place.clone(), top);
            }
        }
        (present, Vec::new())
    }
}

/// Whether a folder of the second version is the root of the whole hierarchy, not of a part of it
/// that a container sees.
fn is_top(folder: &Path) -> bool {
    !folder.join("cgroup.type").exists()
}

/// Leaves a folder to folders, when no processes but `movable` ones are in it.
fn stand_aside(folder: &Path, movable: &[u32]) -> io::Result<()> {
    let processes = fs::read_to_string(folder.join("cgroup.procs"))?;
    let may_move = |process: &str| {
        process
            .parse()
            .is_ok_and(|process| movable.contains(&process))
    };
    if !processes.lines().all(may_move) {
        return Err(io::Error::from(io::ErrorKind::ResourceBusy));
    }
    if processes.is_empty() {
        return Ok(());
    }
    let leaf = folder.join(OWN_LEAF);
    match fs::create_dir(&leaf) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        result => result?,
    }
    for process in processes.lines() {
        fs::write(leaf.join("cgroup.procs"), process)?;
    }
    Ok(())
}

/// What a list of controllers can do.
fn controllers(folder: &Path, list: &str) -> Vec<Ability> {
    let list = fs::read_to_string(folder.join(list)).unwrap_or_default();
    let has = |controller: &str| list.split_ascii_whitespace().any(|own| own == controller);
    SECOND
        .iter()
        .filter(|(controller, _)| has(controller))
        .map(|(_, ability)| *ability)
        .collect()
}

/// Hands controllers on to the folders below; what was handed on.
fn enable(folder: &Path, abilities: &[Ability]) -> Vec<Ability> {
    let file = folder.join("cgroup.subtree_control");
    for (controller, ability) in SECOND {
        if abilities.contains(&ability) {
            // Refused or absent: seen below.
            let _ = fs::write(&file, format!("+{controller}"));
        }
    }
    let mut enabled = controllers(folder, "cgroup.subtree_control");
    enabled.retain(|ability| abilities.contains(ability));
    enabled
}

/// The mounted cgroup file systems, from the text of /proc/self/mountinfo.
fn mounted(text: &[u8]) -> Vec<Mounted> {
    let hierarchy = |mount: Mount| {
        let version = match mount.kind.as_str() {
            "cgroup" => Version::One,
            "cgroup2" => Version::Two,
            _ => return None,
        };
        let options = String::from_utf8_lossy(&mount.options);
        Some(Mounted {
            version,
            controllers: options.split(',').map(str::to_owned).collect(),
            place: mount.at,
            root: mount.root,
        })
    };
    mounts::parse(text)
        .into_iter()
        .filter_map(hierarchy)
        .collect()
}

/// `nightcrew-NAMESPACE-PROCESS-START` of this process.
fn own_name() -> io::Result<String> {
    let namespace = fs::metadata("/proc/self/ns/pid")?.ino();
    let process = std::process::id();
    let start = start_of(process)?;
    Ok(format!("{PREFIX}{namespace}-{process}-{start}"))
}

/// When a process started, in clock ticks since the machine did: proc_pid_stat(5), field 22.
fn start_of(process: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    stat.rsplit(')')
        .next()
        .and_then(|fields| fields.split_ascii_whitespace().nth(19)?.parse().ok())
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// Removes folders of supervisors of this pid namespace that are gone. Their environments died with
/// them, so the folders are empty; one that is not stays.
fn sweep(parent: &Path) {
    let Ok(namespace) = fs::metadata("/proc/self/ns/pid").map(|metadata| metadata.ino()) else {
        return;
    };
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some((process, start)) = name.to_str().and_then(|name| owner(name, namespace)) else {
            continue;
        };
        if start_of(process).is_ok_and(|present| present == start) {
            continue;
        }
        for child in fs::read_dir(entry.path()).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(child.path());
        }
        let _ = fs::remove_dir(entry.path());
    }
}

/// Process and start time in a folder's name, when it is of this pid namespace.
fn owner(name: &str, namespace: u64) -> Option<(u32, u64)> {
    let mut parts = name.strip_prefix(PREFIX)?.split('-');
    if parts.next()?.parse::<u64>().ok()? != namespace {
        return None;
    }
    let (process, start) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some((process, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
29 22 0:25 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
30 22 0:26 /docker/x /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory
31 22 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 22 0:28 / /tmp rw - tmpfs tmpfs rw
";

    #[test]
    fn hierarchies_and_the_own_folder_in_them_are_found() {
        let mounted = mounted(MOUNTS.as_bytes());
        assert_eq!(mounted.len(), 3);
        let own = "9:cpu,cpuacct:/a/b\n8:memory:/docker/x/y\n0::/user.slice/z\n";
        let present: Vec<_> = mounted.iter().map(|mounted| mounted.present(own)).collect();
        let expected = [
            "/sys/fs/cgroup/unified/user.slice/z",
            "/sys/fs/cgroup/memory/y",
            "/sys/fs/cgroup/cpu,cpuacct/a/b",
        ];
        assert_eq!(
            present,
            expected.map(|path| Some(PathBuf::from(path))).to_vec()
        );
        // Outside of what the container shows.
        assert_eq!(mounted[1].present("8:memory:/else\n"), None);
    }

    #[test]
    fn only_folders_of_dead_supervisors_of_this_namespace_are_swept() {
        let place = tempfile::tempdir().unwrap();
        let namespace = fs::metadata("/proc/self/ns/pid").unwrap().ino();
        let alive = own_name().unwrap();
        let process = std::process::id();
        let names = [
            (alive, true),
            // The number was given out again.
            (format!("{PREFIX}{namespace}-{process}-1"), false),
            (format!("{PREFIX}{namespace}-4294967295-1"), false),
            (format!("{PREFIX}{}-4294967295-1", namespace + 1), true),
            (OWN_LEAF.to_owned(), true),
            ("other-1-2-3".to_owned(), true),
        ];
        for (name, _) in &names {
            fs::create_dir_all(place.path().join(name).join("e1")).unwrap();
        }
        sweep(place.path());
        for (name, stays) in names {
            assert_eq!(place.path().join(&name).exists(), stays, "{name}");
        }
    }
}
