//! Workspaces on the host's side: preparing, copying and removing what overlays are made of.

mod copy;
pub(crate) mod place;
mod remove;
pub(crate) mod spot;
pub(crate) mod tree;

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, fchown, lchown};
use std::path::{Path, PathBuf};

pub(crate) use copy::{copy_into, is_copy};
pub use remove::remove_layer;
pub(crate) use remove::remove_tree;

use crate::error::SandboxError;
use crate::identity;

/// The folder of a layer that holds what was written.
pub(crate) const UPPER: &str = "upper";

/// The folders of a layer, ready to be mounted.
pub(crate) struct Layer {
    /// What environments wrote, and the workspace itself when nothing is underneath.
    pub(crate) upper: PathBuf,
    /// The overlay's own working space; of no interest between two mounts.
    pub(crate) work: PathBuf,
    /// An empty folder, to be underneath where nothing else is.
    pub(crate) nothing: PathBuf,
    /// Keeps others from using, freezing and removing the layer.
    pub(crate) held: Hold,
}

/// A lock on a file or folder. Given up with this value even if a child process that is just being
/// started has a copy of the descriptor.
#[derive(Debug)]
pub(crate) struct Hold(fs::File);

impl Hold {
    /// Waits for the lock.
    pub(crate) fn wait(file: fs::File) -> io::Result<Self> {
        file.lock()?;
        Ok(Self(file))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Holds a layer for one user alone; [`SandboxError::LayerInUse`] when there is another.
pub(crate) fn hold(layer: &Path) -> Result<Hold, SandboxError> {
    let error = |source| SandboxError::Path {
        action: "lock",
        path: layer.to_owned(),
        source,
    };
    let folder = fs::File::open(layer).map_err(error)?;
    match folder.try_lock() {
        Ok(()) => Ok(Hold(folder)),
        Err(fs::TryLockError::WouldBlock) => Err(SandboxError::LayerInUse {
            path: layer.to_owned(),
        }),
        Err(fs::TryLockError::Error(source)) => Err(error(source)),
    }
}

/// Makes the folders of a layer, or takes up those of an earlier environment.
pub(crate) fn prepare(layer: &Path) -> Result<Layer, SandboxError> {
    let error = |source| SandboxError::Path {
        action: "prepare",
        path: layer.to_owned(),
        source,
    };
    if !layer.is_dir() {
        fs::create_dir_all(layer).map_err(error)?;
    }
    let folders = Layer {
        upper: layer.join(UPPER),
        work: layer.join("work"),
        nothing: layer.join("nothing"),
        held: hold(layer)?,
    };
    make(&folders.upper).map_err(error)?;
    make(&folders.nothing).map_err(error)?;
    if !make(&folders.work).map_err(error)? {
        // A marker in here would make the kernel refuse a volatile overlay a second time. Whether
        // the layer is whole is ours to know: it is, unless the machine itself went down.
        remove::remove_tree(&folders.work).map_err(error)?;
        make(&folders.work).map_err(error)?;
    }
    Ok(folders)
}

/// Makes a folder for the environment's user; false when there was one.
pub(crate) fn make(path: &Path) -> io::Result<bool> {
    match fs::DirBuilder::new().mode(0o755).create(path) {
        Ok(()) => give(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a folder, where it is absent, that holds what environments write, and lets nobody reach what
/// lies in it but this user and the environments' user. The latter may only pass through, and is
/// kept out too where it is this user anyway.
///
/// What a program leaves below may have any mode and be any program: other users of the host must
/// neither read nor execute it.
///
/// # Errors
/// Those of making it and of changing its mode and group.
pub fn private_folder(path: &Path) -> io::Result<()> {
    let identity = identity::current();
    fs::create_dir_all(path)?;
    let mode = if identity.foreign {
        chown(path, None, Some(identity.gid))?;
        0o710
    } else {
        0o700
    };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Gives one path to the environment's user, where that is another than ours. Follows no link.
pub(crate) fn give(path: &Path) -> io::Result<()> {
    let identity = identity::current();
    if identity.foreign {
        lchown(path, Some(identity.uid), Some(identity.gid))?;
    }
    Ok(())
}

/// Gives a pipe to the environment's user, so that programs can open it again by `/dev/stdout`.
/// Nothing but a pipe without a name: files and devices of the host stay whose they are.
pub(crate) fn give_pipe(fd: &OwnedFd) {
    let identity = identity::current();
    if !identity.foreign {
        return;
    }
    let link = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    if link.is_ok_and(|link| link.as_os_str().as_bytes().starts_with(b"pipe:[")) {
        // If it is refused, the pipe can be used and not be opened again.
        let _ = fchown(fd, Some(identity.uid), Some(identity.gid));
    }
}

/// Makes a tree usable as [`Workspace::base`](crate::Workspace::base).
///
/// As root this gives every file to the environments' user (one `lchown` each, no link followed),
/// so that steps can read what is private to the owner and change what they copy up. For an
/// ordinary user, who is the environments' user, there is nothing to do. Call it once per tree,
/// before the first environment uses it.
///
/// # Errors
/// [`SandboxError::Path`] naming the file that could not be given.
pub fn prepare_base(path: &Path) -> Result<(), SandboxError> {
    if !identity::current().foreign {
        return Ok(());
    }
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let error = |source| SandboxError::Path {
            action: "prepare",
            path: folder.clone(),
            source,
        };
        give(&folder).map_err(error)?;
        for entry in fs::read_dir(&folder).map_err(error)? {
            let entry = entry.map_err(error)?;
            if entry.file_type().map_err(error)?.is_dir() {
                folders.push(entry.path());
            } else {
                give(&entry.path()).map_err(|source| SandboxError::Path {
                    action: "prepare",
                    path: entry.path(),
                    source,
                })?;
            }
        }
    }
    Ok(())
}
