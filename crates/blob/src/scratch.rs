//! Where half-written files live, and how leftovers are told from live ones.
//!
//! Every open store has its own folder `tmp/<number>` and holds a lock on it. A folder whose lock
//! can be taken belonged to a process that is gone; its files are leftovers. The kernel drops the
//! lock with the process, so `kill -9` needs no special case.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;

/// The folder of one open store for files that have no name yet.
#[derive(Debug)]
pub(crate) struct Scratch {
    dir: PathBuf,
    /// Held, never read: the lock lasts as long as this descriptor.
    _lock: File,
    next: AtomicU64,
}

impl Scratch {
    /// Removes leftovers under `tmp`, then claims a fresh folder there.
    pub(crate) fn claim(tmp: &Path) -> Result<Self, Error> {
        fs::create_dir_all(tmp).map_err(|e| Error::write("create", tmp, e))?;
        // Held for the rest of this function, so that nobody takes a folder that exists but is
        // not locked yet for a leftover.
        let gate = open_dir(tmp)?;
        gate.lock().map_err(|e| Error::write("lock", tmp, e))?;
        remove_leftovers(tmp)?;
        let mut number = 0_u64;
        let dir = loop {
            let dir = tmp.join(number.to_string());
            match fs::create_dir(&dir) {
                Ok(()) => break dir,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(e) => return Err(Error::write("create", &dir, e)),
            }
        };
        let lock = open_dir(&dir)?;
        lock.lock().map_err(|e| Error::write("lock", &dir, e))?;
        Ok(Self {
            dir,
            _lock: lock,
            next: AtomicU64::new(0),
        })
    }

    /// A path in the folder that no other call returns.
    pub(crate) fn path(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.dir.join(number.to_string())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // If it fails, the next store opened here removes it.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn remove_leftovers(tmp: &Path) -> Result<(), Error> {
    let entries = fs::read_dir(tmp).map_err(|e| Error::write("list", tmp, e))?;
    for entry in entries {
        let path = entry.map_err(|e| Error::write("list", tmp, e))?.path();
        if !path.is_dir() {
            fs::remove_file(&path).map_err(|e| Error::write("remove", &path, e))?;
            continue;
        }
        match open_dir(&path)?.try_lock() {
            Ok(()) => {
                fs::remove_dir_all(&path).map_err(|e| Error::write("remove", &path, e))?;
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(e)) => return Err(Error::write("lock", &path, e)),
        }
    }
    Ok(())
}

pub(crate) fn open_dir(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|e| Error::write("open", path, e))
}

/// Puts the names in a folder on the disk.
pub(crate) fn sync_dir(path: &Path) -> Result<(), Error> {
    open_dir(path)?
        .sync_all()
        .map_err(|e| Error::write("sync", path, e))
}
