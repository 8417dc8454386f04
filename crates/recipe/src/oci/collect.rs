//! Making room: trees that nobody needs, and what only they used.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW};

use super::ImageStore;
use super::layer::{Layer, Node};
use super::scratch::remove_tree;
use crate::{Digest, Error};

/// The time of now, as the kernel knows it.
const UTIME: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: UTIME_NOW,
};

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Trees.
    pub trees: usize,
    /// Contents of files.
    pub files: usize,
    /// Bytes of these.
    pub bytes: u64,
}

impl ImageStore {
    /// Removes trees that are not in `keep` and were not asked for since `before`, contents that no tree
    /// has, and fetched blobs older than that. Does nothing while somebody unpacks; who unpacks meanwhile
    /// waits. A tree that is mounted somewhere must be in `keep`: whoever calls this knows them.
    ///
    /// # Errors
    /// [`Error::Io`]. What was not removed by then is removed the next time.
    pub fn collect(&self, keep: &BTreeSet<Digest>, before: SystemTime) -> Result<Collected, Error> {
        let lock = self.lock_file()?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Collected::default()),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", self.root())(error)),
        }
        let mut collected = Collected::default();
        for (name, path) in entries(&self.owned("trees"))? {
            let kept = Digest::from_hex(&name).is_some_and(|digest| keep.contains(&digest));
            if !kept && is_older(&path, before)? {
                // Out of sight first, so that a half-removed tree is never taken for a whole one.
                let gone = self.scratch_path();
                fs::rename(&path, &gone).map_err(Error::io("remove", &path))?;
                remove_tree(&gone).map_err(Error::io("remove", &gone))?;
                collected.trees += 1;
            }
        }
        for (_, shard) in entries(&self.owned("files"))? {
            for (_, path) in entries(&shard)? {
                let meta = fs::symlink_metadata(&path).map_err(Error::io("look at", &path))?;
                // Its own name is the only one left. Where trees are copies it is always so, and no loss.
                if meta.nlink() == 1 {
                    fs::remove_file(&path).map_err(Error::io("remove", &path))?;
                    collected.files += 1;
                    collected.bytes += meta.len();
                }
            }
        }
        for (_, path) in entries(&self.owned("layers"))? {
            let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
            let whole = Layer::from_text(&text).is_some_and(|layer| {
                let has = |node: &Node| !matches!(node, Node::File(file) if !self.has(file));
                layer.nodes.values().all(has)
            });
            if !whole {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        for (_, path) in entries(&self.blobs())? {
            if is_older(&path, before)? {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(collected)
    }

    /// Notes that a tree was asked for.
    pub(super) fn touch(&self, tree: &Path) -> Result<(), Error> {
        let now = Timestamps {
            last_access: UTIME,
            last_modification: UTIME,
        };
        rustix::fs::utimensat(CWD, tree, &now, AtFlags::empty())
            .map_err(|error| Error::io("touch", tree)(error.into()))
    }

    /// Held by whoever unpacks: shared, so that [`collect`](Self::collect) takes nothing from under it.
    pub(crate) fn use_it(&self) -> Result<File, Error> {
        let lock = self.lock_file()?;
        lock.lock_shared().map_err(Error::io("lock", self.root()))?;
        Ok(lock)
    }

    fn lock_file(&self) -> Result<File, Error> {
        let path = self.root().join("lock");
        let mut options = File::options();
        let file = options.create(true).truncate(false).write(true).open(&path);
        file.map_err(Error::io("open", &path))
    }
}

/// Whether it was last used, or made, before a time.
fn is_older(path: &Path, before: SystemTime) -> Result<bool, Error> {
    let meta = fs::symlink_metadata(path).map_err(Error::io("look at", path))?;
    Ok(meta.modified().is_ok_and(|at| at < before))
}

fn entries(folder: &Path) -> Result<Vec<(String, std::path::PathBuf)>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let path = entry.map_err(Error::io("list", folder))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        found.push((name, path));
    }
    Ok(found)
}
