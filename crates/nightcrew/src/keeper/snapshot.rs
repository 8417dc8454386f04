//! Names of snapshots: which one it is, and what the environment it was taken of was asked to be.

use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;
use sandbox::storage::{Snapshot, SnapshotId};
use serde::{Deserialize, Serialize};

use super::home::{Homes, check_name, write_note};
use super::spec::Spec;
use crate::failure::{Doing, Failure};

/// A snapshot with a name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Its id in the storage.
    pub(crate) id: SnapshotId,
    /// When it was taken.
    pub(crate) at: Timestamp,
    /// What environments made from it are asked to be.
    pub(crate) spec: Spec,
}

impl Homes {
    fn note(&self, name: &str) -> PathBuf {
        self.root().join(".snapshots").join(format!("{name}.json"))
    }

    /// The snapshot of this name, if there is one.
    pub(crate) fn snapshot(&self, name: &str) -> Result<Option<Kept>, Failure> {
        check_name(name)?;
        let path = self.note(name);
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .doing(format_args!("understand {}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).doing(format_args!("read {}", path.display())),
        }
    }

    /// Every snapshot with a name that can be read, by name.
    pub(crate) fn snapshots(&self) -> Result<Vec<(String, Kept)>, Failure> {
        let mut all = Vec::new();
        for name in self.snapshot_names()? {
            if let Ok(Some(kept)) = self.snapshot(&name) {
                all.push((name, kept));
            }
        }
        Ok(all)
    }

    /// Names of all snapshots, sorted.
    pub(super) fn snapshot_names(&self) -> Result<Vec<String>, Failure> {
        let mut names = Vec::new();
        let folder = self.root().join(".snapshots");
        for entry in fs::read_dir(&folder).doing("list snapshots")? {
            let name = entry.doing("list snapshots")?.file_name();
            let name = name.to_string_lossy();
            names.extend(name.strip_suffix(".json").map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    /// Gives a snapshot a name that nothing else has.
    pub(crate) fn name_snapshot(&self, name: &str, kept: &Kept) -> Result<(), Failure> {
        self.check_free(name)?;
        let text = serde_json::to_string_pretty(kept).doing("describe the snapshot")?;
        write_note(&self.note(name), &text)?;
        // Its name says that it is kept: also when the machine dies now.
        self.storage()
            .sync()
            .doing(format_args!("force the snapshot `{name}` to the disk"))
    }

    /// Whether nothing is called so.
    pub(crate) fn check_free(&self, name: &str) -> Result<(), Failure> {
        if self.snapshot(name)?.is_some() || self.get(name).is_ok() {
            let text = format!("there is an environment or a snapshot `{name}` already");
            return Err(Failure::new(text).hint("choose another name"));
        }
        Ok(())
    }

    /// Removes a snapshot and its name.
    pub(super) fn forget_snapshot(&self, name: &str, kept: &Kept) -> Result<(), Failure> {
        let path = self.note(name);
        fs::remove_file(&path).doing(format_args!("remove {}", path.display()))?;
        self.storage()
            .remove_snapshot(&kept.id)
            .doing(format_args!("remove the snapshot `{name}`"))
    }

    /// What the storage knows of a snapshot.
    pub(crate) fn stored(&self, kept: &Kept) -> Result<Snapshot, Failure> {
        self.storage().snapshot(&kept.id).doing("find the snapshot")
    }
}
