//! A tree in memory, written out as folders, links to the store, and symbolic links.
//!
//! Everything is made relative to the descriptor of a fresh folder that nobody else can enter, from paths
//! below which, by construction, there are folders only. So no link is ever followed.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid};

use super::layer::{FileNode, Node};
use super::store::Owner;
use super::tree::Tree;
use crate::Error;

/// Writes `tree` into the new folder `root`. `content` says where the store has a file.
pub(crate) fn materialise(
    tree: &Tree,
    root: &Path,
    owner: Option<Owner>,
    content: &dyn Fn(&FileNode) -> std::path::PathBuf,
) -> Result<(), Error> {
    rustix::fs::mkdirat(CWD, root, Mode::RWXU)
        .map_err(|error| Error::io("create", root)(error.into()))?;
    let folder = crate::files::open_root(root).map_err(Error::io("open", root))?;
    for (path, node) in &tree.nodes {
        if path.is_empty() {
            continue;
        }
        let name = Path::new(OsStr::from_bytes(path));
        let made = match node {
            // Writable until all is in it.
            Node::Folder { .. } => {
                rustix::fs::mkdirat(&folder, name, Mode::RWXU).map_err(io::Error::from)
            }
            Node::File(file) => link_or_copy(&content(file), &folder, name, file, owner),
            Node::Symlink { target, mtime } => symlink(&folder, name, target, *mtime, owner),
            Node::HardLink { .. } => Err(io::Error::other("a hard link was left unresolved")),
        };
        made.map_err(Error::io("create", root.join(name)))?;
    }
    // From the innermost, since times of folders change with what is made in them.
    for (path, node) in tree.nodes.iter().rev() {
        if let Node::Folder { mode, mtime, .. } = node {
            let name = if path.is_empty() { &b"."[..] } else { path };
            let name = Path::new(OsStr::from_bytes(name));
            finish_folder(&folder, name, *mode, *mtime, owner)
                .map_err(Error::io("finish", root.join(name)))?;
        }
    }
    if !tree.nodes.contains_key(&b""[..]) {
        finish_folder(&folder, Path::new("."), 0o755, 0, owner)
            .map_err(Error::io("finish", root))?;
    }
    Ok(())
}

fn finish_folder(
    root: &File,
    name: &Path,
    mode: u32,
    mtime: u64,
    owner: Option<Owner>,
) -> io::Result<()> {
    if let Some(owner) = owner {
        own(root, name, owner)?;
    }
    rustix::fs::chmodat(root, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
    set_time(root, name, mtime)
}

fn link_or_copy(
    content: &Path,
    root: &File,
    name: &Path,
    file: &FileNode,
    owner: Option<Owner>,
) -> io::Result<()> {
    match rustix::fs::linkat(CWD, content, root, name, AtFlags::empty()) {
        Ok(()) => return Ok(()),
        // Too many links, no links at all, or not by this user.
        Err(
            rustix::io::Errno::MLINK
            | rustix::io::Errno::PERM
            | rustix::io::Errno::NOTSUP
            | rustix::io::Errno::XDEV,
        ) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut copy: File = rustix::fs::openat(root, name, flags, Mode::RUSR | Mode::WUSR)?.into();
    io::copy(&mut File::open(content)?, &mut copy)?;
    finish_file(&copy, file, owner)
}

/// Owner, mode and time of a file that has all its content.
pub(crate) fn finish_file(file: &File, node: &FileNode, owner: Option<Owner>) -> io::Result<()> {
    if let Some(Owner { uid, gid }) = owner {
        rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    rustix::fs::fchmod(file, Mode::from_raw_mode(node.mode))?;
    rustix::fs::futimens(file, &times(node.mtime))?;
    Ok(())
}

fn symlink(
    root: &File,
    name: &Path,
    target: &[u8],
    mtime: u64,
    owner: Option<Owner>,
) -> io::Result<()> {
    rustix::fs::symlinkat(OsStr::from_bytes(target), root, name)?;
    if let Some(owner) = owner {
        own(root, name, owner)?;
    }
    set_time(root, name, mtime)
}

fn own(root: &File, name: &Path, Owner { uid, gid }: Owner) -> io::Result<()> {
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    Ok(rustix::fs::chownat(
        root,
        name,
        uid,
        gid,
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

fn set_time(root: &File, name: &Path, mtime: u64) -> io::Result<()> {
    Ok(rustix::fs::utimensat(
        root,
        name,
        &times(mtime),
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

fn times(mtime: u64) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            // Clamped when the layer was read.
            tv_sec: mtime as i64,
            tv_nsec: 0,
        },
    }
}
