//! How much environments may add on disk, and who keeps them to it.
//!
//! Where the file system can, it does: writing beyond the quota fails inside. That is btrfs with
//! quotas enabled, for bytes and as root. Everywhere else, and for files, the client looks at what
//! was written several times a second while a step runs (`client/watch.rs`) and kills a step that
//! goes beyond: what it writes between two looks is on the disk by then.

use std::collections::HashSet;
use std::io;
use std::ops::{AddAssign, Sub};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Disk, Storage, backend, files};
use crate::layer::spot::Spot;
use crate::layer::tree;
use crate::sys::{attribute, btrfs};

/// Bytes of a block as `stat` counts them.
pub(super) const BLOCK: u64 = 512;

/// Who keeps environments to `disk_bytes` and `disk_inodes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaKind {
    /// Whether the file system itself refuses bytes beyond the quota; else, and for files always,
    /// it is noticed soon after, and the step is killed.
    pub hard: bool,
    /// What keeps it, in words.
    pub by: String,
    /// What would make it hard, where it is not.
    pub cure: Option<String>,
}

/// What trees take on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Bytes in blocks; holes take none.
    pub bytes: u64,
    /// Files and folders.
    pub inodes: u64,
}

impl AddAssign for DiskUsage {
    fn add_assign(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.inodes = self.inodes.saturating_add(other.inodes);
    }
}

impl Sub for DiskUsage {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(other.bytes),
            inodes: self.inodes.saturating_sub(other.inodes),
        }
    }
}

impl DiskUsage {
    /// Whether either is more than a bound.
    pub(crate) fn exceeds(self, bytes: Option<u64>, inodes: Option<u64>) -> bool {
        bytes.is_some_and(|most| self.bytes > most) || inodes.is_some_and(|most| self.inodes > most)
    }
}

/// Finds out by trying who would keep environments to their quota whose layers lie in a folder.
#[must_use]
pub fn quota_kind(folder: &Path) -> QuotaKind {
    let on_btrfs = attribute::file_system(folder).is_ok_and(|found| found.magic == btrfs::MAGIC);
    if !on_btrfs {
        return QuotaKind {
            hard: false,
            by: "what was written is looked at while steps run".to_owned(),
            cure: Some(
                "keep the state directory on btrfs with quotas enabled, and run as root".to_owned(),
            ),
        };
    }
    match tried(folder) {
        Ok(()) => QuotaKind {
            hard: true,
            by: "btrfs qgroups, for bytes".to_owned(),
            cure: None,
        },
        Err(error) => QuotaKind {
            hard: false,
            by: format!(
                "what was written is looked at while steps run (btrfs refuses a quota: {error})"
            ),
            cure: Some(format!(
                "as root: btrfs quota enable {}; and run as root",
                folder.display()
            )),
        },
    }
}

fn tried(folder: &Path) -> io::Result<()> {
    let trial = folder.join(files::new_id()?);
    btrfs::create(&trial)?;
    let outcome = btrfs::limit(&trial, 1 << 20);
    backend::remove(&trial)?;
    outcome
}

/// Measures trees that may be changing. Stops counting when there is more than `most`: it is over
/// then, whatever else is there.
pub(crate) fn measure(
    trees: &[PathBuf],
    most: &dyn Fn(DiskUsage) -> bool,
) -> Result<DiskUsage, Unmeasurable> {
    let mut measuring = Measuring {
        usage: DiskUsage::default(),
        seen: HashSet::new(),
        most,
    };
    for tree in trees {
        match Spot::top(tree) {
            Ok(top) => measuring.folder(&top, tree::MAX_DEPTH)?,
            Err(error) => passed(&error)?,
        }
    }
    Ok(measuring.usage)
}

/// Files and folders of a disk that are looked at to say what it takes up.
const LOOKED_AT: u64 = 200_000;

impl Storage {
    /// What a disk's own layers take up, and whether there was more than is worth looking at.
    #[must_use]
    pub fn usage(&self, disk: &Disk) -> (DiskUsage, bool) {
        let folder = self.root.join("disks").join(disk.name());
        let beyond = |used: DiskUsage| used.inodes > LOOKED_AT;
        // What hides something is more than is worth looking at.
        let usage = measure(&[folder], &beyond).ok();
        let cut = usage.is_none_or(beyond);
        (usage.unwrap_or_default(), cut)
    }
}

struct Measuring<'a> {
    usage: DiskUsage,
    /// Files with several names, whose blocks count once.
    seen: HashSet<(u64, u64)>,
    most: &'a dyn Fn(DiskUsage) -> bool,
}

impl Measuring<'_> {
    fn folder(&mut self, folder: &Spot, depth: usize) -> Result<(), Unmeasurable> {
        let depth = depth.checked_sub(1).ok_or(Unmeasurable)?;
        // An ordinary user's environment may have closed it.
        let listed = folder
            .folder()
            .and_then(|(grip, opened)| Ok((grip.list()?, opened)));
        let (entries, _opened) = match listed {
            Ok(listed) => listed,
            Err(error) => return passed(&error),
        };
        // Told apart first: so no more than one folder is open at a time, however deep they lie.
        let mut inner = Vec::new();
        for entry in entries {
            let found = entry.and_then(|entry| Ok((entry.file_name(), entry.metadata()?)));
            let (name, meta) = match found {
                Ok(found) => found,
                Err(error) => {
                    passed(&error)?;
                    continue;
                }
            };
            let again = meta.nlink() > 1 && !meta.is_dir();
            if again && !self.seen.insert((meta.dev(), meta.ino())) {
                continue;
            }
            self.usage += DiskUsage {
                bytes: meta.blocks().saturating_mul(BLOCK),
                inodes: 1,
            };
            if (self.most)(self.usage) {
                return Ok(());
            }
            if meta.is_dir() {
                inner.push(name);
            }
        }
        for name in inner {
            self.folder(&folder.child(&name), depth)?;
            if (self.most)(self.usage) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// A tree hides something from whoever measures it: it is deeper than any tool makes.
#[derive(Debug)]
pub(crate) struct Unmeasurable;

/// What is gone meanwhile is no error.
fn passed(error: &io::Error) -> Result<(), Unmeasurable> {
    match error.raw_os_error() {
        Some(libc::ENAMETOOLONG) => Err(Unmeasurable),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_folder_that_is_swapped_for_a_link_while_it_is_measured_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let (tree, host) = (folder.path().join("tree"), folder.path().join("host"));
        fs::create_dir_all(tree.join("a")).unwrap();
        fs::create_dir(&host).unwrap();
        for number in 0..10 {
            fs::write(host.join(number.to_string()), [7; 4096]).unwrap();
        }
        fs::set_permissions(&host, fs::Permissions::from_mode(0o500)).unwrap();
        let looks = Cell::new(0);
        let used = measure(std::slice::from_ref(&tree), &|_| {
            // Asked after an entry was looked at and before it is entered.
            if looks.replace(looks.get() + 1) == 0 {
                fs::rename(tree.join("a"), folder.path().join("away")).unwrap();
                symlink(&host, tree.join("a")).unwrap();
            }
            false
        });
        let mode = fs::symlink_metadata(&host).unwrap().permissions().mode();
        fs::set_permissions(&host, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(mode & 0o7777, 0o500);
        assert_eq!(used.unwrap().inodes, 1);
        assert!(looks.get() > 0);
    }
}
