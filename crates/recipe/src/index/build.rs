//! An index of a folder tree.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags};

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
        while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
            match one(&folder, path, &known) {
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

/// Paths of all regular files.
pub(crate) fn walk(root: &File, skipped: &mut Vec<(PathBuf, String)>) -> io::Result<Vec<Vec<u8>>> {
    let mut files = Vec::new();
    let mut left: Vec<(Vec<u8>, usize)> = vec![(Vec::new(), 0)];
    while let Some((folder, depth)) = left.pop() {
        if depth > DEEPEST {
            return Err(io::Error::other(format!(
                "{} is deeper than {DEEPEST} folders",
                name(&folder).display()
            )));
        }
        let listing = match list(root, &folder) {
            Ok(listing) => listing,
            Err(error) if folder.is_empty() => return Err(error),
            Err(error) => {
                skipped.push((name(&folder), error.to_string()));
                continue;
            }
        };
        for (entry, kind) in listing {
            let mut path = folder.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&entry);
            match kind {
                FileType::Directory => left.push((path, depth + 1)),
                FileType::RegularFile => files.push(path),
                _ => {}
            }
        }
        if files.len() > MOST_FILES {
            return Err(io::Error::other(format!(
                "it has more than {MOST_FILES} files"
            )));
        }
    }
    Ok(files)
}

fn list(root: &File, path: &[u8]) -> io::Result<Vec<(Vec<u8>, FileType)>> {
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
        let kind = match entry.file_type() {
            // Some file systems do not say.
            FileType::Unknown => {
                let stat = rustix::fs::statat(
                    &folder,
                    entry.file_name(),
                    rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
                )?;
                FileType::from_raw_mode(stat.st_mode)
            }
            kind => kind,
        };
        found.push((bytes.to_vec(), kind));
    }
    Ok(found)
}

fn one(root: &File, path: &[u8], known: &Stamps) -> io::Result<Hashed> {
    let file = open_beneath(root, Path::new(OsStr::from_bytes(path)))?;
    let mut meta = file.metadata()?;
    let result = |digest, meta: &std::fs::Metadata, fresh| Hashed {
        path: path.to_vec(),
        digest,
        size: meta.size(),
        mode: meta.mode() & 0o7777,
        stamp: Stamp::of(meta),
        fresh,
    };
    if let Some(digest) = known.get(&Stamp::of(&meta)) {
        return Ok(result(digest, &meta, false));
    }
    for _ in 0..TRIES {
        let file = open_beneath(root, Path::new(OsStr::from_bytes(path)))?;
        let before = file.metadata()?;
        let (digest, size) = hash(&file)?;
        meta = file.metadata()?;
        if Stamp::of(&before) == Stamp::of(&meta) && size == meta.size() {
            return Ok(result(digest, &meta, true));
        }
    }
    Err(io::Error::other("it changed while it was read"))
}
