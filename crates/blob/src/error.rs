//! What can go wrong, with the cure.

use std::io;
use std::path::{Path, PathBuf};

use crate::Digest;

/// Why a blob could not be written or read. Nothing half-written is ever visible after an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No blob of that name is stored.
    #[error("no blob {digest} is stored")]
    NotFound {
        /// The name asked for.
        digest: Digest,
    },
    /// The stored bytes are not the ones the name promises: the disk or a person changed them.
    #[error(
        "blob {digest} is corrupt: its bytes have digest {found}; \
         restore {path} from a backup, or remove it so that it is written anew"
    )]
    Corrupt {
        /// The name asked for.
        digest: Digest,
        /// The digest of the bytes that are there.
        found: Digest,
        /// The file.
        path: PathBuf,
    },
    /// The file system has no room or no free inode, or a quota is used up.
    #[error("no space left for {path}; free some, or move the data directory, then try again")]
    Full {
        /// The file or folder being written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder may not be written: mounted read-only, or owned by somebody else.
    #[error(
        "{path} cannot be written; mount it writable and make it belong to the user that runs this"
    )]
    ReadOnly {
        /// The file or folder being written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The reader handed to [`put_reader`](crate::BlobStore::put_reader) failed.
    #[error("the content to store could not be read")]
    Input {
        /// What the reader said.
        source: io::Error,
    },
    /// Anything else the file system refused.
    #[error("could not {action} {path}")]
    Io {
        /// What was being done: a verb phrase.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// Sorts a failed *write* into its variant.
    pub(crate) fn write(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { path, source }
            }
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                Self::ReadOnly { path, source }
            }
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }

    /// Sorts a failed *read* of the blob `digest` into its variant.
    pub(crate) fn read(digest: Digest, path: &Path, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::NotFound {
            return Self::NotFound { digest };
        }
        Self::Io {
            action: "read",
            path: path.to_owned(),
            source,
        }
    }
}
