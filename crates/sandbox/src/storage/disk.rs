//! Disks: what an environment writes to, and what that stands on.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::snapshot::{Bases, Origin, Snapshot, Tree, VERSION};
use super::{Storage, StorageError, at, files};
use crate::layer::{self, Hold, UPPER};
use crate::spec::{EnvironmentSpec, Workspace};
use crate::sys::attribute;

/// The workspace and the home of one environment at a time.
#[derive(Clone, Debug)]
pub struct Disk {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    pub(super) record: Record,
    workspace: Vec<PathBuf>,
    home: Vec<PathBuf>,
}

/// What is remembered of a disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) version: u32,
    pub(super) origin: Origin,
    pub(super) workspace: Tree,
    pub(super) home: Tree,
}

/// The trees of a disk, by the names of their folders.
pub(super) const TREES: [&str; 2] = ["workspace", "home"];

impl Disk {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it belongs to.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.record.origin
    }

    /// How many frozen layers the workspace stands on.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.record.workspace.layers.len()
    }

    /// The workspace, over a base; the same base as when the disk was made.
    #[must_use]
    pub fn workspace(&self, base: Option<&Path>) -> Workspace {
        Workspace {
            base: base
                .filter(|_| !self.record.workspace.whole)
                .map(Path::to_owned),
            frozen: self.workspace.clone(),
            layer: self.folder.join(TREES[0]),
        }
    }

    /// What `/home/agent` is, over what the recipe's set-up commands left there.
    #[must_use]
    pub fn home(&self, base: Option<&Path>) -> Workspace {
        Workspace {
            base: base.filter(|_| !self.record.home.whole).map(Path::to_owned),
            frozen: self.home.clone(),
            layer: self.folder.join(TREES[1]),
        }
    }

    /// Makes it the disk of an environment to be made.
    pub fn insert_into(&self, spec: &mut EnvironmentSpec, bases: Bases<'_>) {
        spec.workspace = self.workspace(bases.workspace);
        spec.home = Some(self.home(bases.home));
    }

    pub(super) fn trees(&self) -> [&Tree; 2] {
        [&self.record.workspace, &self.record.home]
    }
}

impl Storage {
    /// Makes an empty disk.
    ///
    /// # Errors
    /// [`StorageError::Name`], [`StorageError::DiskExists`], [`StorageError::Path`].
    pub fn create_disk(&self, name: &str, origin: Origin) -> Result<Disk, StorageError> {
        let _lock = self.lock()?;
        let record = Record {
            version: VERSION,
            origin,
            workspace: Tree::default(),
            home: Tree::default(),
        };
        self.new_disk(name, &record)
    }

    /// Makes a disk that holds what a snapshot does. Costs the same however much that is.
    ///
    /// # Errors
    /// [`StorageError::NoSnapshot`] when it was removed meanwhile; as for
    /// [`create_disk`](Self::create_disk).
    pub fn fork(&self, snapshot: &Snapshot, name: &str) -> Result<Disk, StorageError> {
        let _lock = self.lock()?;
        // Under the lock: nobody sweeps its layers away.
        let snapshot = self.snapshot(&snapshot.id)?;
        let record = Record {
            version: VERSION,
            origin: snapshot.origin.clone(),
            workspace: snapshot.workspace.clone(),
            home: snapshot.home,
        };
        self.new_disk(name, &record)
    }

    /// Makes a disk over what a record says. Where copies are made at once, the highest layer is
    /// copied to become the one that is written, so that nothing ever stacks up.
    fn new_disk(&self, name: &str, record: &Record) -> Result<Disk, StorageError> {
        check(name)?;
        let folder = self.root.join("disks").join(name);
        // The record comes last and makes it a disk. Half a disk is rubbish.
        if folder.join("disk.json").exists() {
            return Err(StorageError::DiskExists(name.to_owned()));
        }
        self.discard(&folder)?;
        fs::create_dir(&folder).map_err(at("make", &folder))?;
        let mut record = record.clone();
        for (tree, kind) in [&mut record.workspace, &mut record.home]
            .into_iter()
            .zip(TREES)
        {
            let layer = folder.join(kind);
            match tree.layers.last().map(|id| self.layer(id)) {
                Some(last) if self.backend.copies_at_once() => {
                    self.backend
                        .copy(&last, &layer)
                        .map_err(at("copy", &last))?;
                    tree.layers.pop();
                }
                last => {
                    self.backend.make(&layer).map_err(at("make", &layer))?;
                    if let Some(last) = last {
                        resemble(&last.join(UPPER), &layer.join(UPPER))?;
                    }
                }
            }
        }
        let file = folder.join("disk.json");
        files::save(&file, &record).map_err(at("write", &file))?;
        Ok(self.disk_of(name, record))
    }

    pub(super) fn disk_of(&self, name: &str, record: Record) -> Disk {
        let layers =
            |tree: &Tree| -> Vec<PathBuf> { tree.layers.iter().map(|id| self.layer(id)).collect() };
        Disk {
            name: name.to_owned(),
            folder: self.root.join("disks").join(name),
            workspace: layers(&record.workspace),
            home: layers(&record.home),
            record,
        }
    }

    /// The disk of this name.
    ///
    /// # Errors
    /// [`StorageError::NoDisk`].
    pub fn disk(&self, name: &str) -> Result<Disk, StorageError> {
        let absent = || StorageError::NoDisk(name.to_owned());
        check(name).map_err(|_| absent())?;
        let file = self.root.join("disks").join(name).join("disk.json");
        files::load(&file)
            .ok()
            .flatten()
            .filter(|record: &Record| record.version == VERSION)
            .map(|record| self.disk_of(name, record))
            .ok_or_else(absent)
    }

    /// Names of all disks, sorted.
    ///
    /// # Errors
    /// [`StorageError::Path`].
    pub fn disks(&self) -> Result<Vec<String>, StorageError> {
        let folder = self.root.join("disks");
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).map_err(at("list", &folder))? {
            let entry = entry.map_err(at("list", &folder))?;
            if entry.path().join("disk.json").exists()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Removes a disk. Layers that nothing else stands on go with it.
    ///
    /// # Errors
    /// [`StorageError::Layer`] when an environment is using it; [`StorageError::Path`].
    pub fn remove_disk(&self, disk: &Disk) -> Result<(), StorageError> {
        let lock = self.lock()?;
        let held = disk.hold()?;
        self.discard(&disk.folder)?;
        drop(held);
        self.sweep_under(lock)
    }
}

impl Disk {
    /// Makes sure that no environment uses it.
    pub(super) fn hold(&self) -> Result<Vec<Hold>, StorageError> {
        let layers = TREES.iter().map(|kind| self.folder.join(kind));
        layers
            .filter(|layer| layer.exists())
            .map(|layer| layer::hold(&layer).map_err(StorageError::Layer))
            .collect()
    }
}

fn check(name: &str) -> Result<(), StorageError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let first = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && name.len() <= 128 && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(StorageError::Name(name.to_owned()))
}

/// Makes the root of an empty layer as that of the one below is: overlays show the highest.
pub(super) fn resemble(below: &Path, upper: &Path) -> Result<(), StorageError> {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::symlink_metadata(below).map_err(at("look at", below))?;
    fs::set_permissions(upper, meta.permissions())
        .and_then(|()| attribute::set_modified(upper, meta.mtime(), meta.mtime_nsec()))
        .map_err(at("set mode and time of", upper))
}
