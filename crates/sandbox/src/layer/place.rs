//! Making a tree again in another folder: by sharing, or by copying.

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::give;
use super::tree::{self, Below, Entry, Kind, Visit};
use crate::sys::attribute;

/// How content comes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// The same files under further names. Only from frozen to frozen: a change would show in both.
    Link,
    /// Files of their own, which share blocks where the file system can.
    Copy,
}

/// Makes in `to`, an empty folder, what `layers`, highest first, show together over what is below.
pub(crate) fn place(layers: &[PathBuf], to: &Path, how: How, below: &Below) -> io::Result<()> {
    let mut placer = Placer {
        to,
        how,
        linked: HashMap::new(),
        shares: true,
    };
    tree::walk(layers, below, &mut |visit| match visit {
        Visit::Enter(entry) => placer.enter(entry),
        Visit::Leave(entry) => placer.leave(entry),
    })
}

struct Placer<'a> {
    to: &'a Path,
    how: How,
    /// Files with several names: where the first one is.
    linked: HashMap<(u64, u64), PathBuf>,
    /// Whether sharing blocks has not failed yet.
    shares: bool,
}

impl Placer<'_> {
    fn enter(&mut self, entry: &Entry) -> io::Result<()> {
        let target = self.target(entry);
        match entry.kind {
            Kind::Folder { opaque } => {
                if !entry.path.as_os_str().is_empty() {
                    fs::create_dir(&target)?;
                    give(&target)?;
                }
                if opaque {
                    tree::make_opaque(&target)?;
                }
                Ok(())
            }
            Kind::Whiteout => {
                attribute::make_node(&target, libc::S_IFCHR)?;
                give(&target)
            }
            _ if self.how == How::Link && entry.source.link_to(&target).is_ok() => Ok(()),
            _ => self.copy(entry, &target),
        }
    }

    /// What a folder has of its own comes last: its mode may forbid filling it, and filling it
    /// changes its time.
    fn leave(&mut self, entry: &Entry) -> io::Result<()> {
        finish(entry, &self.target(entry))
    }

    fn target(&self, entry: &Entry) -> PathBuf {
        if entry.path.as_os_str().is_empty() {
            return self.to.to_owned();
        }
        self.to.join(&entry.path)
    }

    fn copy(&mut self, entry: &Entry, target: &Path) -> io::Result<()> {
        let key = (entry.meta.dev(), entry.meta.ino());
        if entry.meta.nlink() > 1 {
            if let Some(first) = self.linked.get(&key) {
                return fs::hard_link(first, target);
            }
            self.linked.insert(key, target.to_owned());
        }
        match entry.kind {
            Kind::Link => symlink(entry.source.read_link()?, target)?,
            Kind::File => self.content(entry, target)?,
            _ => attribute::make_node(target, entry.meta.mode() & libc::S_IFMT | 0o600)?,
        }
        give(target)?;
        finish(entry, target)
    }

    fn content(&mut self, entry: &Entry, target: &Path) -> io::Result<()> {
        let mut from = entry.source.read()?;
        let mut to = File::options().write(true).create_new(true).open(target)?;
        if self.shares {
            match attribute::share_blocks(&from, &to) {
                Ok(()) => return Ok(()),
                Err(_) => self.shares = false,
            }
        }
        copy_content(&mut from, &mut to, entry.meta.len())
    }
}

/// Copies a file without filling its holes: a file of a terabyte may hold a byte.
fn copy_content(from: &mut File, to: &mut File, length: u64) -> io::Result<()> {
    use std::io::{Seek, SeekFrom};
    let mut at = 0;
    while let Some((start, end)) = attribute::next_data(from, at)? {
        from.seek(SeekFrom::Start(start))?;
        to.seek(SeekFrom::Start(start))?;
        let mut part = io::Read::take(&mut *from, end - start);
        let copied = io::copy(&mut part, to)?;
        if copied == 0 {
            break;
        }
        at = start + copied;
    }
    to.set_len(length)
}

/// Gives the last: attributes, mode and time.
fn finish(entry: &Entry, target: &Path) -> io::Result<()> {
    if matches!(entry.kind, Kind::File | Kind::Folder { .. }) {
        for (name, value) in tree::attributes(&entry.source)? {
            attribute::set(target, &name, &value)?;
        }
    }
    if entry.kind != Kind::Link {
        fs::set_permissions(target, Permissions::from_mode(entry.meta.mode() & 0o7777))?;
    }
    attribute::set_modified(target, entry.meta.mtime(), entry.meta.mtime_nsec())
}
