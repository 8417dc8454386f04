//! Finds changes that git was made to overlook: what validators see in the workspace must be what
//! is proposed.
//!
//! A step can set index flags (`assume-unchanged`, `skip-worktree`), give a file its old size and
//! time, or define a filter. But it cannot change a file of the base without the file appearing in
//! the overlay's layer, so the cost is that of what was touched, not that of the repository.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, openat2, readlinkat};
use sha1::{Digest, Sha1};

use crate::diff::Diff;

/// Where the entries of an index begin, and where their fields are (gitformat-index(5), version 2).
const HEADER: usize = 12;
const MODE_AT: usize = 24;
const OID_AT: usize = 40;
const PATH_AT: usize = 62;
const LINK: u32 = 0o120_000;
const FILE: u32 = 0o100_000;

/// Name, mode and content of every file of the base.
type Tracked<'a> = HashMap<&'a [u8], (u32, &'a [u8])>;

/// The first tracked path that is another thing in the layer than in the base, though the diff does
/// not name it.
pub(crate) fn find(layer: &Path, index: &Path, diff: &Diff) -> io::Result<Option<String>> {
    // A layer that is a whole copy says nothing about what was touched.
    if layer.join("copied").exists() {
        return Ok(None);
    }
    let named: HashSet<&str> = diff
        .files
        .iter()
        .flat_map(|file| [Some(file.path.as_str()), file.old_path.as_deref()])
        .flatten()
        .collect();
    let upper = OwnedFd::from(File::open(layer.join("upper"))?);
    let touched = touched(&upper, &named)?;
    if touched.is_empty() {
        return Ok(None);
    }
    let bytes = fs::read(index)?;
    let tracked =
        tracked(&bytes).ok_or_else(|| io::Error::other("the index of the base cannot be read"))?;
    for path in touched {
        if let Some((mode, oid)) = tracked.get(path.as_slice())
            && !is_same(&upper, &path, *mode, oid)?
        {
            return Ok(Some(String::from_utf8_lossy(&path).into_owned()));
        }
    }
    Ok(None)
}

/// Opens what lies at a path in the layer, going through no link and leaving it by no means: a program
/// that is left over could swap a folder for a link at any moment.
fn below(upper: &OwnedFd, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    Ok(openat2(upper, path, flags, Mode::empty(), resolve)?)
}

/// Everything in the layer that the diff does not name.
fn touched(upper: &OwnedFd, named: &HashSet<&str>) -> io::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    let mut folders: Vec<Vec<u8>> = vec![Vec::new()];
    while let Some(folder) = folders.pop() {
        let opened = below(upper, &folder, OFlags::RDONLY | OFlags::DIRECTORY)?;
        for entry in Dir::read_from(opened)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let mut path = folder.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            if matches!(name, b"." | b"..") || path == b".git" {
                continue;
            }
            if !named.contains(String::from_utf8_lossy(&path).as_ref()) {
                found.push(path.clone());
            }
            let is_folder = match entry.file_type() {
                FileType::Directory => true,
                FileType::Unknown => File::from(below(upper, &path, OFlags::PATH)?)
                    .metadata()?
                    .is_dir(),
                _ => false,
            };
            if is_folder {
                folders.push(path);
            }
        }
    }
    Ok(found)
}

/// Whether what is in the layer is what the base has under the same name.
fn is_same(upper: &OwnedFd, path: &[u8], mode: u32, oid: &[u8]) -> io::Result<bool> {
    let found = below(upper, path, OFlags::PATH)?;
    let kind = File::from(found.try_clone()?).metadata()?.file_type();
    let content = match mode & 0o170_000 {
        FILE if kind.is_file() => {
            let mut content = Vec::new();
            File::from(below(upper, path, OFlags::RDONLY | OFlags::NONBLOCK)?)
                .read_to_end(&mut content)?;
            content
        }
        LINK if kind.is_symlink() => readlinkat(&found, c"", Vec::new())?.into_bytes(),
        FILE | LINK => return Ok(false),
        // Submodules are folders.
        _ => return Ok(kind.is_dir()),
    };
    if blob(&content) == oid {
        return Ok(true);
    }
    // Attributes may ask for other line ends in the workspace than in the repository.
    let mut unix = Vec::with_capacity(content.len());
    for (at, byte) in content.iter().enumerate() {
        if *byte != b'\r' || content.get(at + 1) != Some(&b'\n') {
            unix.push(*byte);
        }
    }
    Ok(blob(&unix) == oid)
}

fn blob(content: &[u8]) -> [u8; 20] {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", content.len()));
    hash.update(content);
    hash.finalize().into()
}

fn tracked(index: &[u8]) -> Option<Tracked<'_>> {
    if !index.starts_with(b"DIRC\0\0\0\x02") {
        return None;
    }
    let count = u32::from_be_bytes(index.get(8..HEADER)?.try_into().ok()?);
    let mut tracked = HashMap::new();
    let mut at = HEADER;
    for _ in 0..count {
        let entry = index.get(at..)?;
        let mode = u32::from_be_bytes(entry.get(MODE_AT..MODE_AT + 4)?.try_into().ok()?);
        let path = entry.get(PATH_AT..)?;
        let path = &path[..path.iter().position(|byte| *byte == 0)?];
        tracked.insert(path, (mode, entry.get(OID_AT..OID_AT + 20)?));
        // One to eight NULs follow, up to a multiple of eight.
        at += (PATH_AT + path.len() + 8) & !7;
    }
    Some(tracked)
}
