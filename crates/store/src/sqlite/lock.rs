//! The exclusive lock on a database: one process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::StoreError;

/// Held as long as the database is open. The kernel releases it when the process ends, however
/// it ends, and the descriptor is close-on-exec, so no child process can keep it.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Drop for Lock {
    /// Unlocks, and does not leave it to the closing: a child that another thread is starting
    /// right now holds a copy of the descriptor until it executes its program.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

impl Lock {
    /// Takes the lock of a database, or says who has it.
    pub(super) fn take(database: &Path) -> Result<Self, StoreError> {
        let path = lock_path(database);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|cause| unwritable(database, &path, cause))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse {
                    pid: holder(&mut file),
                    path,
                });
            }
            Err(TryLockError::Error(cause)) => return Err(StoreError::Io { path, cause }),
        }
        // The number is for people only; a full disk must not keep a store from opening.
        let _ = note_holder(&mut file);
        Ok(Self { file })
    }
}

fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(32).read_to_string(&mut text);
    let digits = text.trim();
    match read {
        Ok(_) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.to_owned()
        }
        _ => "?".to_owned(),
    }
}

fn note_holder(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// A folder that cannot be written is named by the database that was wanted there.
pub(super) fn unwritable(database: &Path, path: &Path, cause: std::io::Error) -> StoreError {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, StorageFull};
    match cause.kind() {
        PermissionDenied | ReadOnlyFilesystem => StoreError::ReadOnly {
            path: database.to_path_buf(),
        },
        StorageFull => StoreError::Full {
            path: database.to_path_buf(),
        },
        _ => StoreError::Io {
            path: path.to_path_buf(),
            cause,
        },
    }
}
