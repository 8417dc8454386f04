//! Places in trees that environments write to, found by descriptors from the top of the tree.
//!
//! A program inside can swap a folder for a link between any two calls of ours. So no path in such a
//! tree is ever given to the host's kernel: a place is found by one look-up from the top that goes
//! through no link and onto no other file system, and what is done to it is done to what was found.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::sys::{attribute, beneath, c_path, creds};

/// A place in a tree. What lies there may change from one use to the next.
#[derive(Clone, Debug)]
pub(crate) struct Spot {
    top: Arc<OwnedFd>,
    /// From the top; empty for the top itself.
    path: PathBuf,
}

impl Spot {
    /// The top of a tree: a folder whose own path no environment can change.
    pub(crate) fn top(tree: &Path) -> io::Result<Self> {
        let folder = File::options()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
            .open(tree)?;
        Ok(Self {
            top: Arc::new(folder.into()),
            path: PathBuf::new(),
        })
    }

    /// What has this name in the folder here.
    pub(crate) fn child(&self, name: &OsStr) -> Self {
        self.at(self.path.join(name))
    }

    /// Another place in the same tree, by its path from the top.
    pub(crate) fn at(&self, path: PathBuf) -> Self {
        Self {
            top: Arc::clone(&self.top),
            path,
        }
    }

    /// Its path from the top.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes hold of what lies here now.
    pub(crate) fn grip(&self) -> io::Result<Grip> {
        let path = if self.path.as_os_str().is_empty() {
            c".".to_owned()
        } else {
            c_path(&self.path)?
        };
        beneath::point(self.top.as_fd(), &path).map(|fd| Grip(fd.into()))
    }

    /// Takes hold of a folder, open to be listed while the second value lives.
    pub(crate) fn folder(&self) -> io::Result<(Grip, Opened)> {
        let grip = self.grip()?;
        let meta = grip.meta()?;
        if !meta.is_dir() {
            return Err(io::Error::from(io::ErrorKind::NotADirectory));
        }
        let opened = self.opened(&grip, &meta, 0o500)?;
        Ok((grip, opened))
    }

    /// Opens a file for reading, also one that its owner may not read.
    pub(crate) fn read(&self) -> io::Result<File> {
        let grip = self.grip()?;
        let meta = grip.meta()?;
        if !meta.is_file() {
            return Err(io::Error::other("a file was something else meanwhile"));
        }
        let _opened = self.opened(&grip, &meta, 0o400)?;
        File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(grip.door())
    }

    /// Gives what lies here a further name: never that of a folder.
    pub(crate) fn link_to(&self, target: &Path) -> io::Result<()> {
        let name = self.path.file_name();
        let name = name.ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let folder = self.at(folder.to_owned()).grip()?;
        beneath::link(folder.as_fd(), &c_path(Path::new(name))?, &c_path(target)?)
    }

    /// What a link says.
    pub(crate) fn read_link(&self) -> io::Result<PathBuf> {
        attribute::read_link(self.grip()?.as_fd()).map(|text| OsString::from_vec(text).into())
    }

    /// Reads one attribute of a file or folder.
    pub(crate) fn attribute(&self, name: &std::ffi::CStr) -> io::Result<Option<Vec<u8>>> {
        let (grip, _opened) = self.to_read()?;
        attribute::get(&grip.door(), name)
    }

    /// Attributes of a file or folder whose name is wanted, sorted by name.
    pub(crate) fn attributes(
        &self,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> io::Result<Vec<(CString, Vec<u8>)>> {
        let (grip, _opened) = self.to_read()?;
        let mut kept = Vec::new();
        for name in attribute::names(&grip.door())? {
            if wanted(name.to_bytes())
                && let Some(value) = attribute::get(&grip.door(), &name)?
            {
                kept.push((name, value));
            }
        }
        kept.sort();
        Ok(kept)
    }

    fn to_read(&self) -> io::Result<(Grip, Opened)> {
        let grip = self.grip()?;
        let meta = grip.meta()?;
        // Attributes of what a descriptor stands for are read by its path, which a link would
        // lead on.
        if !meta.is_file() && !meta.is_dir() {
            return Err(io::Error::other("a file was something else meanwhile"));
        }
        let opened = self.opened(&grip, &meta, 0o400)?;
        Ok((grip, opened))
    }

    /// Gives the owner `bits` where he lacks them. Root needs none.
    fn opened(&self, grip: &Grip, meta: &Metadata, bits: u32) -> io::Result<Opened> {
        let mode = meta.mode() & 0o7777;
        if creds::effective_uid() == 0 || mode & bits == bits || meta.is_symlink() {
            return Ok(Opened(None));
        }
        grip.set_mode(mode | bits)?;
        Ok(Opened(Some(Closed {
            spot: self.clone(),
            mode,
            identity: (meta.dev(), meta.ino()),
        })))
    }
}

/// What was found at a place: the same whatever happens to its names.
#[derive(Debug)]
pub(crate) struct Grip(File);

impl Grip {
    pub(crate) fn meta(&self) -> io::Result<Metadata> {
        self.0.metadata()
    }

    /// Lists a folder. Kinds and metadata of its entries are right too; their paths are not.
    pub(crate) fn list(&self) -> io::Result<fs::ReadDir> {
        fs::read_dir(self.door())
    }

    /// Sets the mode of anything but a link.
    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        fs::set_permissions(self.door(), Permissions::from_mode(mode))
    }

    /// Removes a name in this folder.
    pub(crate) fn remove(&self, name: &OsStr, is_folder: bool) -> io::Result<()> {
        beneath::remove(self.as_fd(), &c_path(Path::new(name))?, is_folder)
    }

    /// Moves what has a name in this folder to another folder.
    pub(crate) fn rename(&self, name: &OsStr, to: &Self, new: &str) -> io::Result<()> {
        let new = c_path(Path::new(new))?;
        beneath::rename(self.as_fd(), &c_path(Path::new(name))?, to.as_fd(), &new)
    }

    /// A path that leads to what was found and nowhere else, while this lives.
    fn door(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

impl AsFd for Grip {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A file or folder that an ordinary user, its owner, had closed to himself, open for the life of
/// this. (An environment that looks at a frozen one for the first time meanwhile sees its mode so.)
#[derive(Debug)]
pub(crate) struct Opened(Option<Closed>);

/// Kept by place, not by descriptor: there may be as many as a tree is deep.
#[derive(Debug)]
struct Closed {
    spot: Spot,
    mode: u32,
    identity: (u64, u64),
}

impl Drop for Opened {
    fn drop(&mut self) {
        let Some(closed) = self.0.take() else {
            return;
        };
        // What was moved away meanwhile stays open to its owner, who may close it himself.
        if let Ok(grip) = closed.spot.grip()
            && let Ok(meta) = grip.meta()
            && (meta.dev(), meta.ino()) == closed.identity
        {
            let _ = grip.set_mode(closed.mode);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_that_became_a_link_leads_nowhere_and_what_it_leads_to_is_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let (tree, host) = (folder.path().join("tree"), folder.path().join("host"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir(&host).unwrap();
        fs::create_dir(host.join("b")).unwrap();
        fs::write(host.join("file"), "secret").unwrap();
        for path in ["b", "file", ""] {
            fs::set_permissions(host.join(path), Permissions::from_mode(0o100)).unwrap();
        }
        let top = Spot::top(&tree).unwrap();
        let inner = top.child(OsStr::new("a")).child(OsStr::new("b"));
        assert!(inner.folder().is_ok());
        fs::rename(tree.join("a"), tree.join("c")).unwrap();
        for target in [
            host.clone(),
            PathBuf::from("../host"),
            "/proc/self/cwd".into(),
        ] {
            symlink(&target, tree.join("a")).unwrap();
            assert!(inner.folder().is_err());
            assert!(inner.attributes(|_| true).is_err());
            let outer = top.child(OsStr::new("a"));
            assert!(outer.folder().is_err());
            assert!(outer.attribute(c"user.x").is_err());
            assert_eq!(outer.read_link().unwrap(), target);
            assert!(outer.child(OsStr::new("file")).read().is_err());
            fs::remove_file(tree.join("a")).unwrap();
        }
        for path in ["b", "file", ""] {
            let mode = fs::symlink_metadata(host.join(path)).unwrap().mode();
            assert_eq!(mode & 0o7777, 0o100, "{path:?}");
        }
    }

    #[test]
    fn a_mode_is_given_back_to_the_folder_it_was_taken_from_and_to_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir(at("closed")).unwrap();
        fs::set_permissions(at("closed"), Permissions::from_mode(0o100)).unwrap();
        let spot = Spot::top(folder.path())
            .unwrap()
            .child(OsStr::new("closed"));
        let mode = |path| fs::symlink_metadata(at(path)).unwrap().mode() & 0o7777;
        let (grip, opened) = spot.folder().unwrap();
        assert_eq!(grip.list().unwrap().count(), 0);
        drop(opened);
        assert_eq!(mode("closed"), 0o100);
        let (_grip, opened) = spot.folder().unwrap();
        fs::rename(at("closed"), at("moved")).unwrap();
        fs::create_dir(at("closed")).unwrap();
        fs::set_permissions(at("closed"), Permissions::from_mode(0o711)).unwrap();
        drop(opened);
        assert_eq!(mode("closed"), 0o711);
    }
}
