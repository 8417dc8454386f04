//! The root tree of environments, assembled once per recipe in the supervisor's mount namespace.
//!
//! Each environment gets the tree by inheriting and binding it, so making one costs no file
//! operations. The tree is read-only and shared; what differs per environment is mounted on top.

mod etc;
mod tree;

use std::ffi::{CStr, CString};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::exec_policy::{ExecMode, ExecPolicy};
use crate::message::{Create, Failure, Stage};
use crate::spec::RootRecipe;
use crate::sys::{c_path, mount};

/// Where templates are mounted: in this mount namespace only, over a folder that no workspace is in.
const PLACE: &CStr = c"/sys";
const HOLDER: &str = "/sys";

/// Folders that environments mount something on, with their modes.
const FOLDERS: &[(&str, u32)] = &[
    ("dev", 0o755),
    ("dev/pts", 0o755),
    ("dev/shm", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("home/agent", 0o755),
    ("mnt", 0o755),
    ("nightcrew", 0o755),
    ("nightcrew/bin", 0o755),
    ("nightcrew/etc", 0o755),
    ("nightcrew/in", 0o755),
    ("nightcrew/out", 0o755),
    ("proc", 0o755),
    ("run", 0o755),
    ("sys", 0o755),
    ("tmp", 0o755),
    ("usr", 0o755),
    ("var", 0o755),
    ("var/lib", 0o755),
    ("work", 0o755),
];

/// Files that environments mount something on, or that hide something.
const FILES: &[&str] = &["nightcrew/bin/nightcrew", "mnt/empty"];

/// Device files; all harmless, all without state. `tty` is whatever terminal the asking process has.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];

/// Root folders that on merged-/usr hosts are links into it.
const LINKED: &[&str] = &["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID;

/// What a root is to be; requests with the same share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wanted {
    root: RootRecipe,
    exec: ExecPolicy,
    /// Where further folders will be mounted, as far as that is not in a tree of the environment.
    targets: Vec<PathBuf>,
}

impl Wanted {
    pub(crate) fn of(request: &Create) -> Self {
        let own = |path: &&PathBuf| {
            let own = ["/work", "/home", "/tmp"];
            !own.iter().any(|own| path.starts_with(own))
        };
        let targets = request.mounts.iter().map(|mount| &mount.target);
        let targets = request.also.iter().chain(targets);
        Self {
            root: request.root.clone(),
            exec: request.exec.clone(),
            targets: targets.filter(own).cloned().collect(),
        }
    }

    /// Whether everything executable needs a superblock that no other root has.
    fn watch(&self) -> bool {
        self.exec.mode != ExecMode::Off
    }

    /// Whether it is for one environment alone.
    pub(crate) fn is_for_one(&self) -> bool {
        self.root.writable.is_some()
    }
}

/// An assembled root.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    /// Where it is, in the supervisor's mount namespace.
    pub(crate) path: CString,
    /// How many files that rules refuse are not hidden: more than there can be masks.
    pub(crate) unhidden: usize,
}

/// Prepares the place for templates.
pub(super) fn make_place() -> Result<(), Failure> {
    let _ = mount::detach(PLACE);
    mount::mount(
        c"nightcrew",
        PLACE,
        Some(c"tmpfs"),
        mount::PLAIN,
        Some(c"mode=755,size=16m"),
    )
    .stage("mount a place for root templates")?;
    mount::set_propagation(PLACE, libc::MS_PRIVATE).stage("make the place private")
}

/// Assembles template number `number`. A root to be watched has every folder of the host behind an
/// overlay, for a superblock of its own; without it they are plain binds.
pub(super) fn build(number: usize, wanted: &Wanted) -> Result<Template, Failure> {
    if let Some(tree) = &wanted.root.tree {
        return tree::build(number, wanted, tree);
    }
    let root = Path::new(HOLDER).join(format!("root{number}"));
    fs::create_dir(&root).stage("make a root folder")?;
    let target = c_path(&root).stage("name the root folder")?;
    mount::mount(
        c"root",
        &target,
        Some(c"tmpfs"),
        mount::PLAIN,
        Some(c"mode=755,size=64m"),
    )
    .stage("mount a root")?;
    for (folder, mode) in FOLDERS {
        fs::create_dir(root.join(folder)).stage("make a folder of the root")?;
        fs::set_permissions(root.join(folder), fs::Permissions::from_mode(*mode))
            .stage("set the mode of a folder of the root")?;
    }
    for file in FILES {
        fs::write(root.join(file), "").stage("make a file of the root")?;
    }
    etc::fill(&root.join("etc")).stage("fill /etc")?;
    for name in DEVICES {
        fs::write(root.join("dev").join(name), "").stage("make a device file")?;
    }
    device_links(&root.join("dev")).stage("link in /dev")?;
    devices(&root)?;
    for target in wanted
        .targets
        .iter()
        .filter(|path| !path.starts_with("/usr"))
    {
        let inside = root.join(target.strip_prefix("/").unwrap_or(target));
        fs::create_dir_all(inside).stage("make a folder to mount on")?;
    }
    let show = Show {
        root: &root,
        watch: wanted.watch(),
        over_tree: false,
    };
    show.folder(Path::new("/usr"))?;
    for name in LINKED {
        show.link_or_folder(name)?;
    }
    for folder in &wanted.root.extra {
        show.folder(folder)?;
    }
    mount::set_attributes(&target, READ_ONLY, true).stage("make the root read-only")?;
    mount::set_propagation(&target, libc::MS_PRIVATE).stage("make the root private")?;
    Ok(Template {
        unhidden: 0,
        path: target,
    })
}

/// Gives up a root that was made for one environment alone.
pub(super) fn discard(template: &Template) {
    tree::discard(template);
}

/// Shows in `root`, an empty folder, what environments see of the host: `/etc` by its allow-list,
/// `/usr` and what links into it, and further folders. For the guests of virtual machines.
pub(crate) fn furnish(root: &Path, extra: &[PathBuf]) -> Result<(), Failure> {
    let etc = root.join("etc");
    fs::create_dir_all(&etc).stage("make /etc")?;
    etc::fill(&etc).stage("fill /etc")?;
    let show = Show {
        root,
        watch: false,
        over_tree: false,
    };
    show.folder(Path::new("/usr"))?;
    for name in LINKED {
        show.link_or_folder(name)?;
    }
    extra.iter().try_for_each(|folder| show.folder(folder))
}

/// Makes the device files of an environment in the empty folder `dev` of `root`.
pub(crate) fn equip(root: &Path) -> Result<(), Failure> {
    for name in DEVICES {
        fs::write(root.join("dev").join(name), "").stage("make a device file")?;
    }
    device_links(&root.join("dev")).stage("link in /dev")?;
    devices(root)
}

/// Binds devices to their empty files.
fn devices(root: &Path) -> Result<(), Failure> {
    for name in DEVICES {
        let stage = format!("bind /dev/{name}");
        let inside = c_path(&root.join("dev").join(name)).stage(&stage)?;
        let from = c_path(&Path::new("/dev").join(name)).stage(&stage)?;
        mount::bind(&from, &inside, false).stage(&stage)?;
    }
    Ok(())
}

fn device_links(folder: &Path) -> std::io::Result<()> {
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, folder.join(name))?;
    }
    Ok(())
}

/// Shows folders of the host in a root under assembly.
struct Show<'a> {
    root: &'a Path,
    /// Behind overlays, whose superblocks only environments of this root see: exec control marks what is
    /// mounted in an environment, so it watches environments and never the host.
    watch: bool,
    /// Over a tree of its own, which is complete: nothing of the host is in it yet.
    over_tree: bool,
}

impl Show<'_> {
    /// Reproduces a link of the host's root, or shows the folder where it is one.
    fn link_or_folder(&self, name: &str) -> Result<(), Failure> {
        let outside = Path::new("/").join(name);
        if let Ok(target) = fs::read_link(&outside) {
            return symlink(target, self.root.join(name)).stage("link in the root");
        }
        if outside.is_dir() {
            return self.folder(&outside);
        }
        Ok(())
    }

    /// Shows a folder of the host under its own path.
    fn folder(&self, outside: &Path) -> Result<(), Failure> {
        let stage = format!("show {}", outside.display());
        let relative = outside.strip_prefix("/").unwrap_or(outside);
        let inside = self.root.join(relative);
        // A folder inside /usr is there already.
        if !self.over_tree && relative.starts_with("usr") && relative != Path::new("usr") {
            return Ok(());
        }
        if !self.over_tree {
            fs::create_dir_all(&inside).stage(&stage)?;
        }
        let from = c_path(outside).stage(&stage)?;
        let to = c_path(&inside).stage(&stage)?;
        if self.watch {
            // An overlay of one folder needs a second lower one; the root's own empty folder does.
            let options = format!(
                "lowerdir={}:{}",
                escaped(outside),
                escaped(&self.root.join("sys"))
            );
            let options = CString::new(options).unwrap_or_default();
            mount::mount(c"root", &to, Some(c"overlay"), mount::PLAIN, Some(&options))
                .stage(&stage)?;
        } else {
            // With all mounted below it.
            mount::bind(&from, &to, true).stage(&stage)?;
        }
        mount::set_attributes(&to, READ_ONLY | libc::MOUNT_ATTR_NODEV, true).stage(&stage)
    }
}

/// A path inside overlay options, where commas and colons mean something.
fn escaped(path: &Path) -> String {
    path.to_string_lossy()
        .replace('\\', "\\\\")
        .replace(',', "\\,")
        .replace(':', "\\:")
}
