//! Workspace, home and further folders: overlays of the environment's own, on superblocks that
//! nothing else sees, wherever something in them could execute.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::{SHOWN_READ_ONLY, SHOWN_WRITABLE, by_number, open};
use crate::exec_policy::ExecMode;
use crate::layer::UPPER;
use crate::message::{Create, Failure, OVERLAY_STAGE, Stack, Stage};
use crate::spec::FolderMount;
use crate::sys::{attribute, file, mount};

/// Folders of the host behind the trees, opened before the init becomes the environment's user.
pub(super) struct Trees {
    workspace: OpenStack,
    also: Option<PathBuf>,
    home: Option<OpenStack>,
    mounts: Vec<OpenMount>,
}

/// A [`Stack`], opened.
struct OpenStack {
    /// Highest first, as the kernel wants them.
    lowers: Vec<OwnedFd>,
    upper: OwnedFd,
    work: OwnedFd,
}

struct OpenMount {
    target: PathBuf,
    shown: Shown,
}

enum Shown {
    /// The folder itself.
    Bound { source: OwnedFd, attributes: u64 },
    /// Under a layer that receives what is written.
    Layered(OpenStack),
    /// Read-only, on a superblock of its own.
    Alone(OwnedFd),
}

impl Trees {
    pub(super) fn open(request: &Create) -> Result<Self, Failure> {
        let workspace = Stack {
            lowers: request
                .base
                .iter()
                .chain(&request.frozen)
                .cloned()
                .collect(),
            upper: request.upper.clone(),
            work: request.work.clone(),
        };
        let gated = request.exec.mode != ExecMode::Off;
        let mounts = request.mounts.iter();
        let mounts = mounts.map(|mount| OpenMount::open(mount, gated));
        Ok(Self {
            workspace: OpenStack::open(&workspace)?,
            also: request.also.clone(),
            home: request.home.as_ref().map(OpenStack::open).transpose()?,
            mounts: mounts.collect::<Result<_, _>>()?,
        })
    }

    /// Mounts them all below the working directory; whether the workspace is an overlay.
    pub(super) fn mount(&self) -> Result<bool, Failure> {
        self.workspace.mount(c"work", "mount the workspace")?;
        if let Some(home) = &self.home {
            home.mount(c"home/agent", "mount the home")?;
        }
        if let Some(also) = &self.also {
            let stage = format!("show the workspace at {}", also.display());
            // The same mount once more, with its attributes.
            mount::bind(c"work", &by_number(&place(also, &stage)?), false).stage(&stage)?;
        }
        self.mounts.iter().try_for_each(OpenMount::mount)?;
        Ok(!self.workspace.lowers.is_empty())
    }
}

impl OpenStack {
    fn open(stack: &Stack) -> Result<Self, Failure> {
        let lowers = stack.lowers.iter().rev();
        let lowers = lowers.map(|path| open(path, libc::O_DIRECTORY));
        Ok(Self {
            lowers: lowers.collect::<Result<_, _>>()?,
            upper: open_own(&stack.upper)?,
            work: open_own(&stack.work)?,
        })
    }

    fn mount(&self, target: &CStr, stage: &str) -> Result<(), Failure> {
        if self.lowers.is_empty() {
            mount::bind(&by_number(&self.upper), target, false).stage(stage)?;
            return mount::set_attributes(target, SHOWN_WRITABLE, false).stage(stage);
        }
        let lowers: Vec<String> = self.lowers.iter().map(number).collect();
        // volatile: unmounting must not sync the host's whole file system.
        let options = format!(
            "lowerdir={},upperdir={},workdir={},volatile",
            lowers.join(":"),
            number(&self.upper),
            number(&self.work)
        );
        overlay(target, options, OVERLAY_STAGE)
    }
}

impl OpenMount {
    /// `gated`: nothing may execute from a superblock that is not the environment's own.
    fn open(wanted: &FolderMount, gated: bool) -> Result<Self, Failure> {
        let source = open(&wanted.source, libc::O_DIRECTORY)?;
        let shown = match &wanted.upper {
            Some(layer) => Shown::Layered(OpenStack {
                lowers: vec![source],
                upper: open_own(&layer.join(UPPER))?,
                work: open_own(&layer.join("work"))?,
            }),
            None if wanted.writable => Shown::Bound {
                source,
                attributes: SHOWN_WRITABLE | if gated { libc::MOUNT_ATTR_NOEXEC } else { 0 },
            },
            None if gated => Shown::Alone(source),
            None => Shown::Bound {
                source,
                attributes: SHOWN_READ_ONLY,
            },
        };
        Ok(Self {
            target: wanted.target.clone(),
            shown,
        })
    }

    fn mount(&self) -> Result<(), Failure> {
        let stage = format!("mount a folder at {}", self.target.display());
        let under = place(&self.target, &stage)?;
        let target = by_number(&under);
        match &self.shown {
            Shown::Bound { source, attributes } => {
                mount::bind(&by_number(source), &target, false).stage(&stage)?;
                // That descriptor is of the folder below the mount; a new one is of the mount.
                let over = place(&self.target, &stage)?;
                mount::set_attributes(&by_number(&over), *attributes, false).stage(&stage)
            }
            Shown::Layered(stack) => stack.mount(&target, &stage),
            Shown::Alone(source) => {
                // An overlay without an upper folder wants two lower ones.
                let options = format!("lowerdir={}:sys", number(source));
                overlay(&target, options, &stage)
            }
        }
    }
}

/// Opens the folder to mount on, making it where the environment may write. No component is
/// followed when it is a link: an earlier environment may have left one in a home that is kept.
fn place(target: &Path, stage: &str) -> Result<OwnedFd, Failure> {
    let mut folder = file::open(c".", libc::O_PATH | libc::O_DIRECTORY).stage(stage)?;
    let relative = target.strip_prefix("/").unwrap_or(Path::new(""));
    for name in relative {
        folder = attribute::enter_or_make(&folder, name as &OsStr).stage(stage)?;
    }
    Ok(folder)
}

/// Opens a folder that Nightcrew made under this very name: never a link.
fn open_own(path: &Path) -> Result<OwnedFd, Failure> {
    open(path, libc::O_DIRECTORY | libc::O_NOFOLLOW)
}

/// Mounts an overlay. `userxattr`: the form user namespaces may use.
fn overlay(target: &CStr, options: String, stage: &str) -> Result<(), Failure> {
    let options = CString::new(options + ",userxattr").unwrap_or_default();
    let kind = Some(c"overlay");
    mount::mount(c"layers", target, kind, mount::PLAIN, Some(&options)).stage(stage)
}

/// A path by which mount options can name an open folder, whatever its real name.
fn number(folder: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", folder.as_raw_fd())
}
