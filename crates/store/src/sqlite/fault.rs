//! How failures inside the SQLite rooms become errors of the store.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::error::StoreError;

/// Why work inside a transaction stopped.
#[derive(Debug)]
pub(super) enum Fault {
    /// The work itself is at fault: it fails alone.
    Refused(StoreError),
    /// The database is: everything in the transaction fails.
    Broken(rusqlite::Error),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            // Data that a constraint refuses says nothing about the database.
            Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
                Self::Refused(StoreError::Sqlite(error.to_string()))
            }
            _ => Self::Broken(error),
        }
    }
}

impl Fault {
    /// The error that a caller sees.
    pub(super) fn into_error(self, path: &Path) -> StoreError {
        match self {
            Self::Refused(error) => error,
            Self::Broken(error) => translate(&error, path),
        }
    }
}

/// Names a failure of SQLite by what a person has to do about it.
pub(super) fn translate(error: &rusqlite::Error, path: &Path) -> StoreError {
    let path = path.to_path_buf();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full { path },
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            StoreError::ReadOnly { path }
        }
        Some(ErrorCode::SystemIoFailure) => StoreError::Io {
            path,
            cause: std::io::Error::other(error.to_string()),
        },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Damaged(format!("{}: {error}", path.display()))
        }
        _ => StoreError::Sqlite(error.to_string()),
    }
}
