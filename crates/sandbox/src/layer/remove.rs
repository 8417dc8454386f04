//! Removing trees that hostile programs may have shaped: unreadable folders, endless nesting.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::SandboxError;

/// Paths longer than this are shortened by moving the folder up, far below the kernel's 4096.
const LONG_PATH: usize = 2048;

/// Removes a layer and everything in it: folders of mode 000, files of the environment's user, paths
/// longer than the kernel takes. Follows no link. A layer that does not exist is removed already.
///
/// No environment may be using it.
///
/// # Errors
/// [`SandboxError::Path`] when something could not be removed.
pub fn remove_layer(path: &Path) -> Result<(), SandboxError> {
    remove_tree(path).map_err(|source| SandboxError::Path {
        action: "remove",
        path: path.to_owned(),
        source,
    })
}

pub(crate) fn remove_tree(root: &Path) -> io::Result<()> {
    match fs::symlink_metadata(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(meta) if !meta.is_dir() => return fs::remove_file(root),
        Ok(_) => {}
    }
    // Every folder comes after the one it is in; removal goes backwards.
    let mut folders = vec![root.to_owned()];
    let mut next = 0;
    while let Some(folder) = folders.get(next).cloned() {
        next += 1;
        for entry in open(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(within_reach(entry.path(), root, folders.len())?);
            } else {
                fs::remove_file(entry.path())?;
            }
        }
    }
    folders.iter().rev().try_for_each(fs::remove_dir)
}

/// Lists a folder, making it ours to change first when it is not.
fn open(folder: &Path) -> io::Result<fs::ReadDir> {
    let mode = fs::symlink_metadata(folder)?.permissions().mode();
    if mode & 0o700 != 0o700 {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    }
    fs::read_dir(folder)
}

/// Moves a folder directly under `root` when its path has become too long to work with.
fn within_reach(folder: PathBuf, root: &Path, number: usize) -> io::Result<PathBuf> {
    if folder.as_os_str().as_bytes().len() < LONG_PATH.max(root.as_os_str().len() + 512) {
        return Ok(folder);
    }
    // Moving a folder writes to it.
    drop(open(&folder)?);
    let mut number = number;
    loop {
        let target = root.join(format!(".removing-{number}"));
        match fs::symlink_metadata(&target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::rename(&folder, &target)?;
                return Ok(target);
            }
            _ => number += 1_000_003,
        }
    }
}
