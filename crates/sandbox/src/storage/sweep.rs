//! Removing what nothing stands on.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::disk::Record;
use super::snapshot::Snapshot;
use super::{Storage, StorageError, at, backend, files};
use crate::layer::{self, Hold};

/// A folder whose content becomes layers, or goes with this value. Held, so that nobody takes it for
/// something that was left.
pub(super) struct Staging {
    pub(super) folder: PathBuf,
    _held: Hold,
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed is rubbish that the next one to open the storage finds.
        let _ = backend::remove(&self.folder);
    }
}

impl Storage {
    /// Finishes and removes what processes that died have left.
    pub(super) fn recover(&self) -> Result<(), StorageError> {
        let lock = self.lock()?;
        self.finish_all()?;
        self.sweep_under(lock)
    }

    /// Moves everything that nothing stands on out of the way, then removes it without the lock.
    pub(super) fn sweep_under(&self, lock: Hold) -> Result<(), StorageError> {
        let used = self.used()?;
        self.sweep_imports()?;
        for (folder, is_used) in [
            (
                "layers",
                &(|name: &str| used.contains(name)) as &dyn Fn(&str) -> bool,
            ),
            ("disks", &|name: &str| self.is_disk(name)),
        ] {
            let folder = self.root.join(folder);
            for entry in fs::read_dir(&folder).map_err(at("list", &folder))? {
                let entry = entry.map_err(at("list", &folder))?;
                if !entry.file_name().to_str().is_some_and(is_used) {
                    self.discard(&entry.path())?;
                }
            }
        }
        drop(lock);
        self.empty_trash()
    }

    /// Ids of the layers that disks and snapshots stand on.
    fn used(&self) -> Result<HashSet<String>, StorageError> {
        let mut used = HashSet::new();
        for (folder, inner) in [("snapshots", None), ("disks", Some("disk.json"))] {
            let folder = self.root.join(folder);
            for entry in fs::read_dir(&folder).map_err(at("list", &folder))? {
                let path = entry.map_err(at("list", &folder))?.path();
                let path = inner.map_or(path.clone(), |inner| path.join(inner));
                if path.extension().is_none_or(|extension| extension != "json") {
                    continue;
                }
                // A file that cannot be read may name any layer: better to stop than to remove it.
                let trees = match inner {
                    None => files::load::<Snapshot>(&path)
                        .map(|found| found.map(|found| [found.workspace, found.home])),
                    Some(_) => files::load::<Record>(&path)
                        .map(|found| found.map(|found| [found.workspace, found.home])),
                };
                for tree in trees.map_err(at("read", &path))?.into_iter().flatten() {
                    used.extend(tree.layers);
                }
            }
        }
        Ok(used)
    }

    fn is_disk(&self, name: &str) -> bool {
        let folder = self.root.join("disks").join(name);
        folder.join("disk.json").exists() || folder.join("freezing.json").exists()
    }

    /// Makes a folder for layers that are being made without the lock.
    pub(super) fn stage(&self) -> Result<Staging, StorageError> {
        let id = files::new_id().map_err(at("name", &self.root))?;
        let folder = self.root.join("imports").join(id);
        // Under the lock, or it could be swept before it is held.
        let _lock = self.lock()?;
        fs::create_dir(&folder).map_err(at("make", &folder))?;
        let held = layer::hold(&folder)?;
        Ok(Staging {
            folder,
            _held: held,
        })
    }

    /// Moves something into the trash; what does not exist is there already.
    pub(super) fn discard(&self, path: &Path) -> Result<(), StorageError> {
        let id = files::new_id().map_err(at("name", path))?;
        match fs::rename(path, self.root.join("trash").join(id)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(at("discard", path)(error))
            }
            _ => Ok(()),
        }
    }

    fn empty_trash(&self) -> Result<(), StorageError> {
        let trash = self.root.join("trash");
        for entry in fs::read_dir(&trash).map_err(at("list", &trash))? {
            let path = entry.map_err(at("list", &trash))?.path();
            match backend::remove(&path) {
                // Another process is removing it as well.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                outcome => outcome.map_err(at("remove", &path))?,
            }
        }
        Ok(())
    }
}
