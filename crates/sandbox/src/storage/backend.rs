//! How a tree becomes another one that is the same: what the file system offers.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::layer::place::{How, place};
use crate::layer::tree::Below;
use crate::layer::{UPPER, make, remove_tree};
use crate::sys::{attribute, btrfs};

/// How snapshots are taken, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Written layers are btrfs subvolumes: a snapshot, also of a disk in use, is one of the file
    /// system, and nothing is stacked.
    Btrfs,
    /// The written layer is frozen by renaming it, and the next one is stacked over it. A disk in
    /// use is copied, and the copy shares its blocks (xfs).
    Reflink,
    /// The same, where a copy is a copy.
    Stack,
}

impl Backend {
    /// Finds out by trying, in a folder where nothing else removes things.
    pub(super) fn probe(folder: &Path) -> io::Result<Self> {
        let trial = tried(folder)?;
        let subvolume = trial.join("subvolume");
        let outcome = (|| {
            if attribute::file_system(&trial)?.magic == btrfs::MAGIC
                && btrfs::create(&subvolume).is_ok()
            {
                // Making is for everybody, removing may not be: then the folder way does.
                remove(&subvolume)?;
                return Ok(Self::Btrfs);
            }
            fs::write(trial.join("from"), [7; 4096])?;
            let from = File::open(trial.join("from"))?;
            let to = File::create(trial.join("to"))?;
            Ok(match attribute::share_blocks(&from, &to) {
                Ok(()) => Self::Reflink,
                Err(_) => Self::Stack,
            })
        })();
        remove(&trial)?;
        outcome
    }

    /// Whether a copy costs the same however much there is.
    pub(super) fn copies_at_once(self) -> bool {
        self == Self::Btrfs
    }

    /// Makes an empty layer that can be copied later.
    pub(super) fn make(self, layer: &Path) -> io::Result<()> {
        if self == Self::Btrfs {
            btrfs::create(layer)?;
        } else {
            fs::create_dir(layer)?;
        }
        make(&layer.join(UPPER)).map(drop)
    }

    /// Makes layer `to` the same as `from`, to which nothing may be writing.
    pub(super) fn copy(self, from: &Path, to: &Path) -> io::Result<()> {
        if self == Self::Btrfs && btrfs::is_subvolume(from) {
            return btrfs::snapshot(from, to);
        }
        self.make(to)?;
        place(
            &[from.join(UPPER)],
            &to.join(UPPER),
            How::Copy,
            &Below::Unknown,
        )
    }
}

/// Removes a tree, and with it the subvolumes that it and the folders in it may be.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let on_btrfs = attribute::file_system(path).is_ok_and(|found| found.magic == btrfs::MAGIC);
    if on_btrfs {
        let inside = fs::read_dir(path)?.flatten().map(|entry| entry.path());
        let subvolumes = inside.chain([path.to_owned()]);
        for subvolume in subvolumes.filter(|path| btrfs::is_subvolume(path)) {
            // Where that is not permitted, its content is removed as that of any folder.
            let _ = btrfs::destroy(&subvolume);
        }
    }
    remove_tree(path)
}

fn tried(folder: &Path) -> io::Result<std::path::PathBuf> {
    let trial = folder.join(super::files::new_id()?);
    fs::create_dir(&trial)?;
    Ok(trial)
}
