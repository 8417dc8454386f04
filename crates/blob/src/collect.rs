//! Remove what nothing names any more.
//!
//! A blob is stored before the fact that names it, so a young blob without a fact is normal: the
//! grace period protects it. Storing a blob again makes it young again. The race between that and
//! removal is settled without locks: a doomed blob is first moved to `condemned/`, then looked at
//! once more, and moved back if somebody touched it. What a crash leaves in `condemned/` is moved
//! back at the next open.

use std::fs::{self, TryLockError};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::scratch::{open_dir, sync_dir};
use crate::{BlobStore, Digest, Error};

/// What a collection did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs removed.
    pub removed: u64,
    /// Bytes they held.
    pub bytes: u64,
    /// Blobs left: named by something, or younger than the grace period.
    pub kept: u64,
}

impl BlobStore {
    /// Removes every blob that `live` disowns and that was last stored more than `grace` before
    /// `now`. `live` must know every name that is durable at the moment of the call.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Io`]. What was removed until then stays removed.
    pub fn collect(
        &self,
        live: impl Fn(&Digest) -> bool,
        grace: Duration,
        now: SystemTime,
    ) -> Result<Collected, Error> {
        // One collection at a time, in whatever process: two could remove behind each other's back.
        let dir = self.condemned_dir();
        let gate = open_dir(&dir)?;
        gate.lock().map_err(|e| Error::write("lock", &dir, e))?;
        self.pardon_all()?;
        let mut collected = Collected::default();
        for digest in self.iter() {
            let digest = digest?;
            let path = self.path(&digest);
            if !is_older(&path, grace, now)? || live(&digest) {
                collected.kept += 1;
                continue;
            }
            match self.condemn(&digest, &path, grace, now)? {
                Some(bytes) => {
                    collected.removed += 1;
                    collected.bytes += bytes;
                }
                None => collected.kept += 1,
            }
        }
        Ok(collected)
    }

    /// Removes one blob, unless somebody stored it again meanwhile; returns its size if removed.
    fn condemn(
        &self,
        digest: &Digest,
        path: &Path,
        grace: Duration,
        now: SystemTime,
    ) -> Result<Option<u64>, Error> {
        let cell = self.condemned_dir().join(digest.to_string());
        match fs::rename(path, &cell) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::write("remove", path, e)),
        }
        if is_older(&cell, grace, now)? {
            let size = fs::metadata(&cell).map_or(0, |meta| meta.len());
            return match fs::remove_file(&cell) {
                Ok(()) => Ok(Some(size)),
                Err(e) => Err(Error::write("remove", &cell, e)),
            };
        }
        self.pardon(digest, &cell)?;
        Ok(None)
    }

    /// Moves back, at open, what a crash during a collection left, unless a collection is at it.
    pub(crate) fn recover_condemned(&self) -> Result<(), Error> {
        let dir = self.condemned_dir();
        let gate = open_dir(&dir)?;
        match gate.try_lock() {
            Ok(()) => self.pardon_all(),
            Err(TryLockError::WouldBlock) => Ok(()),
            Err(TryLockError::Error(e)) => Err(Error::write("lock", &dir, e)),
        }
    }

    fn pardon_all(&self) -> Result<(), Error> {
        let dir = self.condemned_dir();
        let entries = fs::read_dir(&dir).map_err(|e| Error::write("list", &dir, e))?;
        for entry in entries {
            let entry = entry.map_err(|e| Error::write("list", &dir, e))?;
            if let Some(digest) = entry.file_name().to_str().and_then(|n| n.parse().ok()) {
                self.pardon(&digest, &entry.path())?;
            }
        }
        Ok(())
    }

    fn pardon(&self, digest: &Digest, cell: &Path) -> Result<(), Error> {
        match fs::rename(cell, self.path(digest)) {
            Ok(()) => sync_dir(&self.shard_dir(digest.shard())),
            Err(e) => Err(Error::write("restore", cell, e)),
        }
    }
}

/// Whether the file was last touched more than `grace` before `now`. One that is gone, or touched
/// after `now`, is not.
fn is_older(path: &Path, grace: Duration, now: SystemTime) -> Result<bool, Error> {
    match fs::metadata(path).and_then(|meta| meta.modified()) {
        Ok(touched) => Ok(now.duration_since(touched).is_ok_and(|age| age > grace)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::write("look at", path, e)),
    }
}
