//! What is in a folder.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};

/// Most entries of one tree.
const MOST_ENTRIES: usize = 10_000_000;
/// Most folders within folders.
const DEEPEST: usize = 1000;

/// A path of raw bytes.
pub(super) fn name(path: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(path.to_vec()))
}

/// Everything in a folder, each by its path with what its folder said about it. No symbolic link is
/// followed. `skipped`: folders that cannot be listed, and why.
pub(crate) fn walk(
    root: &File,
    skipped: &mut Vec<(PathBuf, String)>,
) -> io::Result<Vec<(Vec<u8>, Stat)>> {
    let mut found = Vec::new();
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
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                left.push((path.clone(), depth + 1));
            }
            found.push((path, stat));
        }
        if found.len() > MOST_ENTRIES {
            let text = format!("it has more than {MOST_ENTRIES} entries");
            return Err(io::Error::other(text));
        }
    }
    Ok(found)
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
