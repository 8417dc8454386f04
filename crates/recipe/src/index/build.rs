//! An index of a folder tree.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};

use super::stamps::{Stamp, Stamps};
use super::{FileIndex, IndexWriter};
use crate::files::{hash, open_beneath, open_root};
use crate::{Digest, Error};

/// Threads that hash. More do not help: one reader's disk is the bound.
const THREADS: usize = 2;
/// Most files of one tree.
const MOST_FILES: usize = 10_000_000;
/// Most folders within folders.
const DEEPEST: usize = 1000;
/// How often a file that changes while it is read is read again.
const TRIES: usize = 3;

/// A new index and how it came about.
#[derive(Debug)]
pub struct Built {
    /// The index.
    pub index: FileIndex,
    /// Files that were read.
    pub hashed: usize,
    /// Files whose digest was known from before.
    pub reused: usize,
    /// Files and folders that are not in the index, and why: unreadable ones, and files that changed
    /// while they were read.
    pub skipped: Vec<(PathBuf, String)>,
}

struct Hashed {
    path: Vec<u8>,
    digest: Digest,
    size: u64,
    mode: u32,
    stamp: Stamp,
    fresh: bool,
}

/// Indexes all regular files under `root`, in two threads, following no symbolic link and leaving no
/// folder's tree. With `stamps`, a file between two calls: files whose device, inode, size and times are
/// those of the last call are not read again. Do not use stamps for a tree that an environment can write.
///
/// # Errors
/// [`Error::Io`] if `root` cannot be opened, has more than ten million files or is deeper than 1,000
/// folders, or if `stamps` cannot be written.
pub fn build(root: &Path, stamps: Option<&Path>) -> Result<Built, Error> {
    let folder = open_root(root).map_err(Error::io("open", root))?;
    let known = stamps.map(Stamps::read).unwrap_or_default();
    let now = stamps.map(Stamps::now).transpose()?;
    let mut skipped = Vec::new();
    let paths = walk(&folder, &mut skipped).map_err(Error::io("list", root))?;

    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(paths.len()));
    let failures = Mutex::new(Vec::new());
    let work = || {
        let (mut hashed, mut failed) = (Vec::new(), Vec::new());
        while let Some((path, stat)) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
            match one(&folder, path, stat, &known) {
                Ok(file) => hashed.push(file),
                // Gone since it was listed: as if it had never been there.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => failed.push((name(path), error.to_string())),
            }
        }
        let mut all = results
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        all.append(&mut hashed);
        let mut all = failures
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        all.append(&mut failed);
    };
    std::thread::scope(|scope| {
        for _ in 1..THREADS {
            scope.spawn(work);
        }
        work();
    });

    let files = results
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    skipped.append(
        &mut failures
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner),
    );
    if let (Some(path), Some(now)) = (stamps, now) {
        let settled = files.iter().filter(|file| file.stamp.is_settled(now));
        let fresh: Vec<_> = settled.map(|file| (file.stamp, file.digest)).collect();
        Stamps::write(path, &fresh)?;
    }
    let hashed = files.iter().filter(|file| file.fresh).count();
    let reused = files.len() - hashed;
    let mut writer = IndexWriter::new();
    for file in files {
        writer.add(file.path, file.digest, file.size, file.mode);
    }
    let index = writer.finish().ok_or_else(|| {
        Error::io("index", root)(io::Error::other("its paths have more than 4 GiB"))
    })?;
    Ok(Built {
        index,
        hashed,
        reused,
        skipped,
    })
}

fn name(path: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from_vec(path.to_vec()))
}

/// Paths of all regular files, each with what its folder said about it.
pub(crate) fn walk(
    root: &File,
    skipped: &mut Vec<(PathBuf, String)>,
) -> io::Result<Vec<(Vec<u8>, Stat)>> {
    let mut files = Vec::new();
    let mut left: Vec<(Vec<u8>, usize)> = vec![(Vec::new(), 0)];
    while let Some((folder, depth)) = left.pop() {
        if depth > DEEPEST {
            let folder = name(&folder);
            let text = format!("{} is deeper than {DEEPEST} folders", folder.display());
            return Err(io::Error::other(text));
        }
        let listing = match list(root, &folder) {
            Ok(listing) => listing,
            Err(error) if folder.is_empty() => return Err(error),
            Err(error) => {
                skipped.push((name(&folder), error.to_string()));
                continue;
            }
        };
        for (entry, stat) in listing {
            let mut path = folder.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&entry);
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => left.push((path, depth + 1)),
                FileType::RegularFile => files.push((path, stat)),
                _ => {}
            }
        }
        if files.len() > MOST_FILES {
            let text = format!("it has more than {MOST_FILES} files");
            return Err(io::Error::other(text));
        }
    }
    Ok(files)
}

fn list(root: &File, path: &[u8]) -> io::Result<Vec<(Vec<u8>, Stat)>> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let folder = rustix::fs::openat2(root, OsStr::from_bytes(path), flags, Mode::empty(), resolve)?;
    let mut found = Vec::new();
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let bytes = entry.file_name().to_bytes();
        if bytes == b"." || bytes == b".." {
            continue;
        }
        match rustix::fs::statat(&folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => found.push((bytes.to_vec(), stat)),
            // Gone since it was listed.
            Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

fn one(root: &File, path: &[u8], listed: &Stat, known: &Stamps) -> io::Result<Hashed> {
    let hashed = |digest, size, mode, stamp, fresh| Hashed {
        path: path.to_vec(),
        digest,
        size,
        mode: mode & 0o7777,
        stamp,
        fresh,
    };
    let stamp = Stamp::of_stat(listed);
    if let Some(digest) = known.get(&stamp) {
        return Ok(hashed(
            digest,
            listed.st_size as u64,
            listed.st_mode,
            stamp,
            false,
        ));
    }
    for _ in 0..TRIES {
        let file = open_beneath(root, Path::new(OsStr::from_bytes(path)))?;
        let before = Stamp::of(&file.metadata()?);
        let (digest, size) = hash(&file)?;
        let meta = file.metadata()?;
        if before == Stamp::of(&meta) && size == meta.size() {
            return Ok(hashed(digest, size, meta.mode(), before, true));
        }
    }
    Err(io::Error::other("it changed while it was read"))
}
