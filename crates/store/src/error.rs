//! What can go wrong in a store.

use std::path::PathBuf;

/// Why a store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A stream or the ledger is not where the writer believed it to be: load and decide again.
    #[error("{what} has moved on")]
    Conflict {
        /// The stream, or `ledger`.
        what: String,
    },
    /// The writer's lease is no longer the current one: stop.
    #[error("the lease on {task} belongs to somebody else")]
    Fenced {
        /// The task.
        task: String,
    },
    /// Another process has this data directory.
    #[error("{path} is in use by another nightcrew (process {pid})", path = path.display())]
    InUse {
        /// The locked file.
        path: PathBuf,
        /// The process that holds it, or `?`.
        pid: String,
    },
    /// The database was written by a newer version.
    #[error("the database has schema version {found}, this program knows versions up to {known}")]
    TooNew {
        /// Version found.
        found: u32,
        /// Newest version known.
        known: u32,
    },
    /// No space left.
    #[error("the disk that holds {path} is full", path = path.display())]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// The database cannot be written.
    #[error("{path} cannot be written", path = path.display())]
    ReadOnly {
        /// The database.
        path: PathBuf,
    },
    /// The place to restore into already holds something.
    #[error("the store is not empty")]
    NotEmpty,
    /// A backup file that cannot be read back.
    #[error("line {line} of the backup is not understood: {cause}")]
    InvalidBackup {
        /// Line, from 1.
        line: u64,
        /// Why.
        cause: String,
    },
    /// A request that contradicts itself; a bug of the caller.
    #[error("the request contradicts itself: {0}")]
    Malformed(String),
    /// A store address that is not understood.
    #[error("`{0}` is no store (write sqlite:PATH or postgres://USER@HOST/DATABASE)")]
    InvalidAddress(String),
    /// What is stored cannot be what we wrote.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// SQLite failed.
    #[error("SQLite: {0}")]
    Sqlite(String),
    /// PostgreSQL failed.
    #[error("PostgreSQL: {0}")]
    Postgres(String),
    /// A file could not be read or written.
    #[error("{path}: {cause}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A cap of the budget leaves no room for what the commit holds.
    #[error("{refused}")]
    Cap {
        /// Which cap, and what to do.
        refused: model::budget::Refused,
        /// What others hold could make room.
        waits: bool,
    },
    /// The store was shut down.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the same call may go through later without anything being decided anew.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Postgres(_) | Self::Full { .. })
    }

    /// What a person can do about it.
    #[must_use]
    pub const fn cure(&self) -> Option<&'static str> {
        match self {
            Self::InUse { .. } => {
                Some("stop the other one, or choose another data directory with --data-dir")
            }
            Self::TooNew { .. } => {
                Some("run the newer nightcrew, or restore the backup made before the migration")
            }
            Self::Full { .. } => {
                Some("free some space: work goes on by itself afterwards, nothing was lost")
            }
            Self::ReadOnly { .. } => Some(
                "make the data directory writable for this user, or choose another with --data-dir",
            ),
            Self::Damaged(_) => Some(
                "leave it as it is and restore a backup into a new data directory, see docs/book/backup.md",
            ),
            Self::Postgres(_) => Some(
                "look whether that server runs and lets this user in, then try again: nothing was lost",
            ),
            Self::NotEmpty => Some("restore into a new data directory or an empty database"),
            _ => None,
        }
    }
}
