//! What environments keep: disks, the snapshots taken of them, and the layers both stand on.
//!
//! A [`Disk`] is the workspace and the home of one environment at a time. A [`Snapshot`] is what
//! both held at one moment; it never changes, and any number of disks can be forked from it. Below
//! them are frozen layers, shared by all that stand on them.
//!
//! ```text
//! lock                      held while anything below changes
//! layers/<id>/upper         a frozen layer, as overlays keep it: never written again
//! snapshots/<id>.json       the layers of workspace and home, and what they belong to
//! disks/<name>/disk.json    the same of a disk
//! disks/<name>/workspace    the layer that the disk's environment writes to; and `home`
//! disks/<name>/freezing.json  a snapshot under way
//! imports/                  layers being made: snapshot files read, disks in use copied
//! trash/                    what is being removed
//! ```
//!
//! How a disk becomes a snapshot depends on the file system, see [`Backend`]: where btrfs is, by a
//! subvolume snapshot; else the written layer is renamed to become a frozen one, and the disk goes
//! on with an empty layer over it. Either costs the same however much there is. A snapshot that
//! would stand on more than [`MAX_DEPTH`] layers is made to stand on one.
//!
//! Everything here survives the death of this program at any point: a file that names layers is
//! written, by rename, after the layers are in place, and what no file names is rubbish. It does
//! not survive the death of the machine unless [`Storage::sync`] was called after.
//!
//! Hard links: as in any overlay, a file with several names that came from a frozen layer is split
//! when it is written by one of them, and a new name of a frozen file shows another inode number
//! than the old one, though both are one file. A frozen folder is moved by copying it (`mv` does that
//! by itself), so it must be open to its owner.

mod backend;
mod disk;
mod files;
mod freeze;
pub(crate) mod nameless;
mod portable;
pub(crate) mod quota;
mod snapshot;
mod sweep;
mod warm;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

pub use backend::Backend;
pub use disk::Disk;
pub use portable::{Expected, ImportLimits, PortableError};
pub use quota::{DiskUsage, quota_kind};
pub use snapshot::{Bases, Origin, Snapshot, SnapshotId};

pub use warm::{SetUp, SetUpCommand, SetUpError, SetUpFiles, forget_set_ups, prepare_root};

use crate::error::SandboxError;
use crate::layer::Hold;

/// Most layers that a snapshot stands on: each costs a look-up in every folder that is first seen.
pub const MAX_DEPTH: usize = 16;

/// A folder of disks, snapshots and layers. May be used by several threads and processes at once.
#[derive(Clone, Debug)]
pub struct Storage {
    root: PathBuf,
    backend: Backend,
}

/// Why a storage operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// A file or folder of the storage cannot be used.
    #[error("cannot {action} {}", path.display())]
    Path {
        /// What was tried.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no snapshot of this id, or it cannot be read.
    #[error("there is no snapshot {0}")]
    NoSnapshot(String),
    /// There is no disk of this name, or it cannot be read.
    #[error("there is no disk `{0}`")]
    NoDisk(String),
    /// A disk of this name is there already.
    #[error("there is a disk `{0}` already")]
    DiskExists(String),
    /// The name of a disk is not acceptable.
    #[error(
        "`{0}` cannot name a disk: 1 to 128 characters of A-Z a-z 0-9 . _ - are needed, and a letter or digit first"
    )]
    Name(String),
    /// A layer cannot be prepared, or an environment is using it.
    #[error(transparent)]
    Layer(#[from] SandboxError),
    /// A snapshot file cannot be written, or must not be used.
    #[error(transparent)]
    Portable(#[from] PortableError),
}

impl Storage {
    /// Opens the storage in a folder, making it where it is absent, and finishes what a process that
    /// died there had begun.
    ///
    /// # Errors
    /// [`StorageError::Path`].
    pub fn open(folder: &Path) -> Result<Self, StorageError> {
        Self::open_as(folder, None)
    }

    /// The same with a back-end that is not the best that the file system offers.
    ///
    /// # Errors
    /// [`StorageError::Path`], also where the file system does not offer it.
    pub fn open_with(folder: &Path, backend: Backend) -> Result<Self, StorageError> {
        Self::open_as(folder, Some(backend))
    }

    fn open_as(folder: &Path, backend: Option<Backend>) -> Result<Self, StorageError> {
        let root = std::path::absolute(folder).map_err(at("find", folder))?;
        crate::layer::private_folder(&root).map_err(at("protect", &root))?;
        for name in ["layers", "snapshots", "disks", "imports", "trash"] {
            let path = root.join(name);
            fs::create_dir_all(&path).map_err(at("make", &path))?;
        }
        let storage = Self {
            root: root.clone(),
            backend: Backend::Stack,
        };
        // What a process that dies here leaves is a layer that nothing stands on.
        let lock = storage.lock()?;
        let best = Backend::probe(&root.join("layers")).map_err(at("try out", &root))?;
        drop(lock);
        let backend = match backend {
            None => best,
            Some(Backend::Btrfs) if best != Backend::Btrfs => {
                let source = io::Error::from(io::ErrorKind::Unsupported);
                return Err(at("use as btrfs", &root)(source));
            }
            Some(wanted) => wanted,
        };
        let storage = Self { root, backend };
        storage.recover()?;
        Ok(storage)
    }

    /// How snapshots are taken here.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Forces everything to the disk, and with it everything else on the same file system.
    ///
    /// # Errors
    /// [`StorageError::Path`].
    pub fn sync(&self) -> Result<(), StorageError> {
        let folder = File::open(&self.root).map_err(at("open", &self.root))?;
        crate::sys::attribute::sync_file_system(&folder).map_err(at("sync", &self.root))
    }

    /// Keeps other threads and processes from changing what is here.
    fn lock(&self) -> Result<Hold, StorageError> {
        let path = self.root.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(at("open", &path))?;
        Hold::wait(file).map_err(at("lock", &path))
    }

    fn layer(&self, id: &str) -> PathBuf {
        self.root.join("layers").join(id)
    }

    /// The content of a frozen layer.
    fn content(&self, id: &str) -> PathBuf {
        self.layer(id).join(crate::layer::UPPER)
    }
}

/// Names what was tried, for an I/O error.
fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StorageError + use<> {
    let path = path.to_owned();
    move |source| StorageError::Path {
        action,
        path,
        source,
    }
}
