//! Removing trees that hostile programs may have shaped: unreadable folders, endless nesting.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::spot::{Grip, Spot};
use crate::error::SandboxError;

/// Paths from the top that are longer than this are shortened by moving the folder up, far below
/// the kernel's 4096.
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
    remove_while(root, &mut |_| {})
}

/// The same; tells of each folder before it is opened.
fn remove_while(root: &Path, next_is: &mut dyn FnMut(&Path)) -> io::Result<()> {
    match fs::symlink_metadata(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(meta) if !meta.is_dir() => return fs::remove_file(root),
        Ok(_) => {}
    }
    let top = Spot::top(root)?;
    // Every folder comes after the one it is in; removal goes backwards.
    let mut folders = vec![PathBuf::new()];
    let mut next = 0;
    while let Some(folder) = folders.get(next).cloned() {
        next += 1;
        next_is(&folder);
        let spot = top.at(folder);
        let grip = ours(&spot)?;
        for entry in grip.list()? {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type()?.is_dir() {
                folders.push(within_reach(&spot, &grip, &name, &top, folders.len())?);
            } else {
                grip.remove(&name, false)?;
            }
        }
    }
    for folder in folders.iter().skip(1).rev() {
        let parent = folder.parent().unwrap_or(Path::new(""));
        let name = folder.file_name().unwrap_or_default();
        top.at(parent.to_owned()).grip()?.remove(name, true)?;
    }
    fs::remove_dir(root)
}

/// Takes hold of a folder, making it ours to change first when it is not.
fn ours(folder: &Spot) -> io::Result<Grip> {
    let grip = folder.grip()?;
    let meta = grip.meta()?;
    if !meta.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory));
    }
    if meta.permissions().mode() & 0o700 != 0o700 {
        grip.set_mode(0o700)?;
    }
    Ok(grip)
}

/// The path from the top of a folder; moves it to the top when its path has become too long to work
/// with.
fn within_reach(
    parent: &Spot,
    grip: &Grip,
    name: &OsStr,
    top: &Spot,
    number: usize,
) -> io::Result<PathBuf> {
    let folder = parent.child(name);
    if folder.path().as_os_str().len() < LONG_PATH {
        return Ok(folder.path().to_owned());
    }
    // Moving a folder writes to it.
    ours(&folder)?;
    let root = top.grip()?;
    let mut number = number;
    loop {
        let target = format!(".removing-{number}");
        match top.child(OsStr::new(&target)).grip() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                grip.rename(name, &root, &target)?;
                return Ok(PathBuf::from(target));
            }
            _ => number += 1_000_003,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_that_is_swapped_for_a_link_while_it_is_removed_takes_nothing_else_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let (tree, host) = (folder.path().join("tree"), folder.path().join("host"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir_all(host.join("b")).unwrap();
        fs::write(host.join("b/precious"), "").unwrap();
        fs::set_permissions(host.join("b"), fs::Permissions::from_mode(0o500)).unwrap();
        let removed = remove_while(&tree, &mut |next| {
            if next == Path::new("a/b") {
                fs::rename(tree.join("a"), tree.join("c")).unwrap();
                symlink(&host, tree.join("a")).unwrap();
            }
        });
        assert!(removed.is_err());
        let meta = fs::symlink_metadata(host.join("b")).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, 0o500);
        assert!(host.join("b/precious").exists());
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert!(host.join("b/precious").exists());
    }
}
