//! From a disk to a snapshot.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::disk::{Disk, Record, TREES, resemble};
use super::snapshot::{Bases, Snapshot, SnapshotId, Tree, VERSION};
use super::{MAX_DEPTH, Storage, StorageError, at, files};
use crate::layer::place::{How, place};
use crate::layer::{UPPER, is_copy, make};

/// A snapshot under way: what is to become of the disk and of its written layers. Written before the
/// first rename, so that whoever finds it can finish.
#[derive(Debug, Serialize, Deserialize)]
struct Freezing {
    snapshot: Snapshot,
    disk: Record,
}

impl Storage {
    /// Takes a snapshot of a disk that no environment uses; the disk goes on over it. Costs the
    /// same however much was written, but every [`MAX_DEPTH`] snapshots of a line of disks, when
    /// the layers are made one.
    ///
    /// Where an environment is to go on at once: destroy it, freeze, and make it again over the
    /// disk and its forks; that is quicker than any copy.
    ///
    /// # Errors
    /// [`StorageError::Layer`] when an environment is using it; [`StorageError::Path`].
    pub fn freeze(&self, disk: &mut Disk) -> Result<Snapshot, StorageError> {
        if self.backend.copies_at_once() {
            let held = disk.hold()?;
            let snapshot = self.capture(disk)?;
            drop(held);
            return Ok(snapshot);
        }
        let _lock = self.lock()?;
        let _held = disk.hold()?;
        let mut trees = disk.trees().map(Tree::clone);
        for (tree, kind) in trees.iter_mut().zip(TREES) {
            tree.layers.push(new_id()?);
            tree.whole |= is_copy(&disk.folder.join(kind));
        }
        let [workspace, home] = trees;
        let snapshot = Snapshot {
            version: VERSION,
            id: SnapshotId(new_id()?),
            origin: disk.record.origin.clone(),
            workspace,
            home,
        };
        let freezing = Freezing {
            disk: Record {
                workspace: snapshot.workspace.clone(),
                home: snapshot.home.clone(),
                ..disk.record.clone()
            },
            snapshot,
        };
        let file = disk.folder.join("freezing.json");
        files::save(&file, &freezing).map_err(at("write", &file))?;
        self.finish(&disk.folder, &freezing)?;
        *disk = self.disk_of(&disk.name, freezing.disk);
        let snapshot = self.shallow(freezing.snapshot)?;
        // The disk goes on over the same one layer, or its next snapshot would be too deep again.
        if snapshot.depth() < disk.depth() {
            let record = Record {
                workspace: snapshot.workspace.clone(),
                home: snapshot.home.clone(),
                ..disk.record.clone()
            };
            let file = disk.folder.join("disk.json");
            files::save(&file, &record).map_err(at("write", &file))?;
            *disk = self.disk_of(&disk.name, record);
        }
        Ok(snapshot)
    }

    /// Takes a snapshot of a disk whose environment lives. Nothing may be writing: either no step
    /// is running, or all its processes are frozen. On btrfs this costs the same however much was
    /// written; elsewhere what was written since the last snapshot is copied.
    ///
    /// # Errors
    /// [`StorageError::Path`].
    pub fn capture(&self, disk: &Disk) -> Result<Snapshot, StorageError> {
        // Copied without the lock: it may take long.
        let staging = self.stage()?;
        let mut trees = disk.trees().map(Tree::clone);
        for kind in TREES {
            let layer = disk.folder.join(kind);
            let copied = self.backend.copy(&layer, &staging.folder.join(kind));
            copied.map_err(at("copy", &layer))?;
        }
        let _lock = self.lock()?;
        for (tree, kind) in trees.iter_mut().zip(TREES) {
            let layer = staging.folder.join(kind);
            let id = new_id()?;
            fs::rename(&layer, self.layer(&id)).map_err(at("take over", &layer))?;
            tree.layers.push(id);
            tree.whole |= is_copy(&disk.folder.join(kind));
        }
        let [workspace, home] = trees;
        self.keep(Snapshot {
            version: VERSION,
            id: SnapshotId(new_id()?),
            origin: disk.record.origin.clone(),
            workspace,
            home,
        })
    }

    /// Writes a snapshot whose layers are in place.
    pub(super) fn keep(&self, snapshot: Snapshot) -> Result<Snapshot, StorageError> {
        let snapshot = self.shallow(snapshot)?;
        let file = self.snapshot_file(&snapshot.id);
        files::save(&file, &snapshot).map_err(at("write", &file))?;
        Ok(snapshot)
    }

    /// Makes a snapshot stand on one layer, under a new id; the old one stays.
    ///
    /// # Errors
    /// [`StorageError::Path`]; [`StorageError::NoSnapshot`].
    pub fn flatten(&self, snapshot: &Snapshot) -> Result<Snapshot, StorageError> {
        let _lock = self.lock()?;
        let snapshot = self.snapshot(&snapshot.id)?;
        let flat = self.flat(&Snapshot {
            id: SnapshotId(new_id()?),
            ..snapshot
        })?;
        let file = self.snapshot_file(&flat.id);
        files::save(&file, &flat).map_err(at("write", &file))?;
        Ok(flat)
    }

    /// The same snapshot, flattened when it is too deep.
    fn shallow(&self, snapshot: Snapshot) -> Result<Snapshot, StorageError> {
        if snapshot.depth() < MAX_DEPTH {
            return Ok(snapshot);
        }
        let flat = self.flat(&snapshot)?;
        let file = self.snapshot_file(&flat.id);
        files::save(&file, &flat).map_err(at("write", &file))?;
        Ok(flat)
    }

    fn flat(&self, snapshot: &Snapshot) -> Result<Snapshot, StorageError> {
        let mut flat = snapshot.clone();
        let belows = snapshot.belows(Bases::default());
        for (tree, below) in [&mut flat.workspace, &mut flat.home]
            .into_iter()
            .zip(&belows)
        {
            if tree.layers.len() < 2 {
                continue;
            }
            let id = new_id()?;
            let folder = self.layer(&id);
            let content = folder.join(UPPER);
            self.backend.make(&folder).map_err(at("make", &folder))?;
            // Frozen files are never written, so they may have further names; but not across
            // subvolumes.
            let how = if self.backend.copies_at_once() {
                How::Copy
            } else {
                How::Link
            };
            let placed = place(&self.contents(tree), &content, how, below);
            placed.map_err(at("flatten into", &content))?;
            tree.layers = vec![id];
        }
        Ok(flat)
    }

    /// Does what a freezing says, from wherever it stopped.
    fn finish(&self, folder: &Path, freezing: &Freezing) -> Result<(), StorageError> {
        let snapshot = &freezing.snapshot;
        for (tree, kind) in snapshot.trees().into_iter().zip(TREES) {
            let Some(id) = tree.layers.last() else {
                continue;
            };
            let (layer, upper) = (self.layer(id), folder.join(kind).join(UPPER));
            let frozen = layer.join(UPPER);
            if !frozen.exists() {
                if !layer.exists() {
                    fs::create_dir(&layer).map_err(at("make", &layer))?;
                }
                fs::rename(&upper, &frozen).map_err(at("freeze", &upper))?;
            }
            // What said that the layer was a copy is true of the frozen one.
            let copied = folder.join(kind).join("copied");
            files::forget(&copied).map_err(at("remove", &copied))?;
            make(&upper).map_err(at("make", &upper))?;
            resemble(&frozen, &upper)?;
        }
        let file = self.snapshot_file(&snapshot.id);
        files::save(&file, snapshot).map_err(at("write", &file))?;
        let file = folder.join("disk.json");
        files::save(&file, &freezing.disk).map_err(at("write", &file))?;
        let file = folder.join("freezing.json");
        files::forget(&file).map_err(at("remove", &file))
    }

    /// Finishes what a process that died had begun. Under the lock.
    pub(super) fn finish_all(&self) -> Result<(), StorageError> {
        let disks = self.root.join("disks");
        for entry in fs::read_dir(&disks).map_err(at("list", &disks))? {
            let folder = entry.map_err(at("list", &disks))?.path();
            let file = folder.join("freezing.json");
            if let Some(freezing) = files::load(&file).map_err(at("read", &file))? {
                self.finish(&folder, &freezing)?;
            }
        }
        Ok(())
    }
}

fn new_id() -> Result<String, StorageError> {
    files::new_id().map_err(at("read", Path::new("/dev/urandom")))
}
