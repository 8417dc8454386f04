//! Making room: trees that nobody needs, and what only they used.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::ImageStore;
use super::layer::{Layer, Node};
use super::scratch::remove_tree;
use crate::{Digest, Error};

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
    /// Removes all trees but those in `keep`, and contents that no tree has. Waits until nobody unpacks;
    /// who unpacks meanwhile waits. A tree that is mounted somewhere must be in `keep`, and so must one that
    /// was just unpacked by anybody: whoever calls this knows them.
    ///
    /// # Errors
    /// [`Error::Io`]. What was not removed by then is removed the next time.
    pub fn collect(&self, keep: &BTreeSet<Digest>) -> Result<Collected, Error> {
        let lock = self.lock_file()?;
        lock.lock().map_err(Error::io("lock", self.root()))?;
        let mut collected = Collected::default();
        for (name, path) in entries(&self.owned("trees"))? {
            if !Digest::from_hex(&name).is_some_and(|digest| keep.contains(&digest)) {
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
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        Ok(collected)
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
