//! Where half-made things are, and how leftovers are told from live ones.
//!
//! Every open store has a folder of its own under `tmp` and holds a lock on it. A folder whose lock can be
//! taken belonged to a process that is gone. The kernel drops locks with the process, so a kill needs no
//! special case.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;

/// A folder for half-made things, gone when dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: PathBuf,
    /// Held, never read.
    _lock: File,
    next: AtomicU64,
}

impl Scratch {
    /// Removes leftovers under `tmp`, then makes a fresh folder there.
    pub(crate) fn claim(tmp: &Path) -> Result<Self, Error> {
        private_folder(tmp)?;
        // Held to the end of this function, so that nobody takes a folder that exists but is not locked
        // yet for a leftover.
        let gate = File::open(tmp).map_err(Error::io("open", tmp))?;
        gate.lock().map_err(Error::io("lock", tmp))?;
        remove_leftovers(tmp)?;
        let mut number = 0_u64;
        let folder = loop {
            let folder = tmp.join(number.to_string());
            match DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => break folder,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(Error::io("create", folder)(error)),
            }
        };
        let lock = File::open(&folder).map_err(Error::io("open", &folder))?;
        lock.lock().map_err(Error::io("lock", &folder))?;
        Ok(Self {
            folder,
            _lock: lock,
            next: AtomicU64::new(0),
        })
    }

    /// A path that no other call returns.
    pub(crate) fn path(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.folder.join(number.to_string())
    }

    /// A new folder, removed with what is in it when dropped.
    pub(crate) fn part(&self) -> Result<Part, Error> {
        let path = self.path();
        private_folder(&path)?;
        Ok(Part(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // If it fails, the next store opened here removes it.
        let _ = remove_tree(&self.folder);
    }
}

/// A folder that is gone when dropped, unless it was moved away.
#[derive(Debug)]
pub(crate) struct Part(pub(crate) PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = remove_tree(&self.0);
    }
}

/// Makes a folder that only its owner may enter, or takes one that is there.
pub(crate) fn private_folder(path: &Path) -> Result<(), Error> {
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(path);
    made.map_err(Error::io("create", path))
}

fn remove_leftovers(tmp: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(tmp).map_err(Error::io("list", tmp))? {
        let path = entry.map_err(Error::io("list", tmp))?.path();
        let folder = File::open(&path).map_err(Error::io("open", &path))?;
        match folder.try_lock() {
            Ok(()) => remove_tree(&path).map_err(Error::io("remove", &path))?,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
        }
    }
    Ok(())
}

/// Removes a tree, also where its folders may not be written.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
    }
    let mut left = vec![path.to_owned()];
    while let Some(folder) = left.pop() {
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            // Of the entry itself: links are not followed.
            if entry.file_type()?.is_dir() {
                left.push(entry.path());
            }
        }
    }
    fs::remove_dir_all(path)
}
