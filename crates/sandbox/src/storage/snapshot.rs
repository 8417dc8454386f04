//! Snapshots: what a disk held at one moment.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Storage, StorageError, at, files};
use crate::layer::tree::Below;

/// Names a snapshot in its storage.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SnapshotId(pub(super) String);

impl SnapshotId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes an id from text; `None` when it cannot be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 32 && text.bytes().all(is_hex)).then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a disk belongs to; never looked into here, and compared when a snapshot is imported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Digest of the recipe of the environment.
    pub recipe: Option<String>,
    /// What the workspace stands on: a commit, or the digest of a tree. Absent: on nothing.
    pub base: Option<String>,
    /// What the home stands on: the digest of a recipe whose set-up commands wrote there. Absent: on
    /// nothing.
    pub home: Option<String>,
}

/// What the trees of a disk stand on, where it is at hand: folders of the host.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bases<'a> {
    /// Below the workspace.
    pub workspace: Option<&'a Path>,
    /// Below the home.
    pub home: Option<&'a Path>,
}

/// A tree: layers, lowest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tree {
    pub(super) layers: Vec<String>,
    /// Whether the layers hold everything: nothing must be underneath.
    #[serde(default)]
    pub(super) whole: bool,
}

/// What a disk held at one moment. It stays until it is removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub(super) version: u32,
    pub(super) id: SnapshotId,
    pub(super) origin: Origin,
    pub(super) workspace: Tree,
    pub(super) home: Tree,
}

/// Version of the files that this program writes.
pub(super) const VERSION: u32 = 1;

impl Snapshot {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> &SnapshotId {
        &self.id
    }

    /// What it belongs to.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// How many layers the workspace stands on.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.workspace.layers.len()
    }

    pub(super) fn trees(&self) -> [&Tree; 2] {
        [&self.workspace, &self.home]
    }

    /// What is below each tree.
    pub(super) fn belows(&self, bases: Bases<'_>) -> [Below; 2] {
        let below = |tree: &Tree, named: &Option<String>, base: Option<&Path>| match (named, base) {
            _ if tree.whole => Below::Nothing,
            (None, _) => Below::Nothing,
            (Some(_), None) => Below::Unknown,
            (Some(_), Some(base)) => Below::Folder(base.to_owned()),
        };
        [
            below(&self.workspace, &self.origin.base, bases.workspace),
            below(&self.home, &self.origin.home, bases.home),
        ]
    }
}

impl Storage {
    /// The snapshot of this id.
    ///
    /// # Errors
    /// [`StorageError::NoSnapshot`].
    pub fn snapshot(&self, id: &SnapshotId) -> Result<Snapshot, StorageError> {
        let path = self.snapshot_file(id);
        files::load(&path)
            .ok()
            .flatten()
            .filter(|found: &Snapshot| found.version == VERSION)
            .ok_or_else(|| StorageError::NoSnapshot(id.to_string()))
    }

    /// All snapshots, in the order of their ids.
    ///
    /// # Errors
    /// [`StorageError::Path`].
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, StorageError> {
        let folder = self.root.join("snapshots");
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(at("list", &folder))? {
            let name = entry.map_err(at("list", &folder))?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".json"));
            if let Some(id) = id.and_then(SnapshotId::parse) {
                found.push(self.snapshot(&id)?);
            }
        }
        found.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(found)
    }

    /// Removes a snapshot. Layers that nothing else stands on go with it; a disk forked from it
    /// stays as it is. One that does not exist is removed already.
    ///
    /// # Errors
    /// [`StorageError::Path`].
    pub fn remove_snapshot(&self, id: &SnapshotId) -> Result<(), StorageError> {
        let lock = self.lock()?;
        let path = self.snapshot_file(id);
        files::forget(&path).map_err(at("remove", &path))?;
        self.sweep_under(lock)
    }

    pub(super) fn snapshot_file(&self, id: &SnapshotId) -> PathBuf {
        self.root.join("snapshots").join(format!("{id}.json"))
    }

    /// Folders of a tree's layers, highest first.
    pub(super) fn contents(&self, tree: &Tree) -> Vec<PathBuf> {
        let layers = tree.layers.iter().rev();
        layers.map(|id| self.content(id)).collect()
    }
}
