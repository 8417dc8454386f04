//! A name for everything in a folder.
//!
//! The digest of a folder is SHA-256 over all its entries, sorted by path: kind, path and permission bits
//! of each, the content of files, and where symbolic links point. Times and owners are left out: they
//! change nothing of what an environment does with a read-only root, and differ between copies.

mod stamps;
mod walk;

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use sha2::{Digest as _, Sha256};

use self::stamps::{Stamp, Stamps};
use crate::files::{hash, open_beneath, open_root};
use crate::{Digest, Error};

pub(crate) use walk::walk;

/// Threads that hash. More do not help: one reader's disk is the bound.
const THREADS: usize = 2;
/// How often a file that changes while it is read is read again.
const TRIES: usize = 3;

/// What is in a folder, and how that became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// The name of all of it: two folders with the same entries have the same.
    pub digest: Digest,
    /// Files that were read.
    pub hashed: usize,
    /// Files whose content was known from before.
    pub reused: usize,
}

struct Entry {
    path: Vec<u8>,
    mode: u32,
    content: Content,
}

enum Content {
    File {
        digest: Digest,
        size: u64,
        stamp: Stamp,
        fresh: bool,
    },
    Link(Vec<u8>),
    Folder,
    /// A device, a pipe or a socket.
    Other,
}

/// Names a folder by everything in it, reading in two threads, following no symbolic link. With
/// `stamps`, a file between two calls: files whose device, inode, size and times are those of the last
/// call are not read again. Do not use stamps for a tree that an environment can write.
///
/// # Errors
/// [`Error::Unreadable`] with the first entry, by path, that cannot be read or changed while it was
/// read; [`Error::Io`] if `root` cannot be opened, has more than ten million entries or is deeper than
/// 1,000 folders, or if `stamps` cannot be written.
pub fn digest(root: &Path, stamps: Option<&Path>) -> Result<Named, Error> {
    let folder = open_root(root).map_err(Error::io("open", root))?;
    let known = stamps.map(Stamps::read).unwrap_or_default();
    let now = stamps.map(Stamps::now).transpose()?;
    let mut unreadable = Vec::new();
    let listed = walk(&folder, &mut unreadable).map_err(Error::io("list", root))?;
    let mut entries = read_all(&folder, &listed, &known, &mut unreadable);
    unreadable.sort();
    if let Some((path, problem)) = unreadable.into_iter().next() {
        return Err(Error::Unreadable {
            path: root.join(path),
            problem,
        });
    }
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    if let (Some(path), Some(now)) = (stamps, now) {
        let settled = entries.iter().filter_map(|entry| match entry.content {
            Content::File { stamp, digest, .. } if stamp.is_settled(now) => Some((stamp, digest)),
            _ => None,
        });
        Stamps::write(path, &settled.collect::<Vec<_>>())?;
    }
    let count = |wanted| {
        let is = |entry: &&Entry| matches!(entry.content, Content::File { fresh, .. } if fresh == wanted);
        entries.iter().filter(is).count()
    };
    Ok(Named {
        digest: name_of(&entries),
        hashed: count(true),
        reused: count(false),
    })
}

fn read_all(
    root: &File,
    listed: &[(Vec<u8>, Stat)],
    known: &Stamps,
    unreadable: &mut Vec<(PathBuf, String)>,
) -> Vec<Entry> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new((Vec::with_capacity(listed.len()), Vec::new()));
    let work = || {
        let (mut entries, mut failed) = (Vec::new(), Vec::new());
        while let Some((path, stat)) = listed.get(next.fetch_add(1, Ordering::Relaxed)) {
            match content(root, path, stat, known) {
                Ok((content, mode)) => entries.push(Entry {
                    path: path.clone(),
                    mode: mode & 0o7777,
                    content,
                }),
                // Gone since it was listed: as if it had never been there.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => failed.push((walk::name(path), error.to_string())),
            }
        }
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        done.0.append(&mut entries);
        done.1.append(&mut failed);
    };
    std::thread::scope(|scope| {
        for _ in 1..THREADS {
            scope.spawn(work);
        }
        work();
    });
    let (entries, mut failed) = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    unreadable.append(&mut failed);
    entries
}

/// What an entry holds, and its mode.
fn content(root: &File, path: &[u8], listed: &Stat, known: &Stamps) -> io::Result<(Content, u32)> {
    match FileType::from_raw_mode(listed.st_mode) {
        FileType::RegularFile => file(root, path, listed, known),
        FileType::Symlink => Ok((Content::Link(target(root, path)?), 0)),
        FileType::Directory => Ok((Content::Folder, listed.st_mode)),
        _ => Ok((Content::Other, listed.st_mode)),
    }
}

fn file(root: &File, path: &[u8], listed: &Stat, known: &Stamps) -> io::Result<(Content, u32)> {
    let stamp = Stamp::of_stat(listed);
    if let Some(digest) = known.get(&stamp) {
        let content = Content::File {
            digest,
            size: listed.st_size as u64,
            stamp,
            fresh: false,
        };
        return Ok((content, listed.st_mode));
    }
    for _ in 0..TRIES {
        let file = open_beneath(root, Path::new(OsStr::from_bytes(path)))?;
        let stamp = Stamp::of(&file.metadata()?);
        let (digest, size) = hash(&file)?;
        let meta = file.metadata()?;
        if stamp == Stamp::of(&meta) && size == meta.size() {
            let content = Content::File {
                digest,
                size,
                stamp,
                fresh: true,
            };
            return Ok((content, meta.mode()));
        }
    }
    Err(io::Error::other("it changed while it was read"))
}

/// Where a symbolic link points.
fn target(root: &File, path: &[u8]) -> io::Result<Vec<u8>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let link = rustix::fs::openat2(root, OsStr::from_bytes(path), flags, Mode::empty(), resolve)?;
    Ok(rustix::fs::readlinkat(&link, "", Vec::new())?.into_bytes())
}

/// Every part is preceded by its length, so that no two lists read the same.
fn name_of(entries: &[Entry]) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update(b"nightcrew folder 1");
    for entry in entries {
        let (kind, size, held): (&[u8], u64, &[u8]) = match &entry.content {
            Content::File { digest, size, .. } => (b"f", *size, digest.as_bytes().as_slice()),
            Content::Link(target) => (b"l", target.len() as u64, target),
            Content::Folder => (b"d", 0, b""),
            Content::Other => (b"o", 0, b""),
        };
        hasher.update(kind);
        hasher.update((entry.path.len() as u64).to_le_bytes());
        hasher.update(&entry.path);
        hasher.update(entry.mode.to_le_bytes());
        hasher.update(size.to_le_bytes());
        hasher.update(held);
    }
    Digest::finish(hasher)
}
