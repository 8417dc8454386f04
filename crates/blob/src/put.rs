//! Write blobs durably, one or several.
//!
//! The order is what makes it durable: write to a nameless file on the same file system, sync it,
//! rename it to its name, sync the folder. Syncs are the cost, so a batch syncs each touched
//! folder once.
//!
//! **A blob's mode says whether its name is on the disk.** It is written with mode 0600 and becomes
//! 0400 only after its folder was synced. Whoever finds a blob of mode 0400 can rely on it without
//! any sync; whoever finds 0600 (a writer is just at it in another thread or process, or died
//! there) syncs the folder first.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW};

use crate::scratch::sync_dir;
use crate::{BlobStore, Digest, Error};

/// Mode of a file whose name is not known to be on the disk.
const UNSETTLED: u32 = 0o600;
/// Mode of a file whose name is on the disk; also keeps a stray editor away from it.
const SETTLED: u32 = 0o400;

/// A blob being written, without its name yet. Dropped, it is removed.
struct Nameless {
    path: PathBuf,
    file: File,
}

impl Nameless {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.file.write_all(bytes);
        written.map_err(|e| Error::write("write", &self.path, e))
    }
}

impl Drop for Nameless {
    fn drop(&mut self) {
        // After a successful rename there is nothing there; after a failure the file must go. If
        // even that fails, the next `open` removes it.
        let _ = fs::remove_file(&self.path);
    }
}

/// What is known about a name.
enum Known {
    Absent,
    Unsettled,
    Settled,
}

impl BlobStore {
    /// Stores `bytes`. When this returns, they and their name are on the disk. Storing what is
    /// already stored writes and syncs nothing; it only keeps [`collect`](Self::collect) away
    /// from it for another grace period.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::ReadOnly`], [`Error::Io`].
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, Error> {
        self.put_batch(&[bytes])?;
        Ok(Digest::of(bytes))
    }

    /// Stores several blobs, sharing the syncs of folders. The digests come in the order of
    /// `contents`. After an error some of the blobs may be stored, each of them whole.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::ReadOnly`], [`Error::Io`].
    pub fn put_batch<B: AsRef<[u8]>>(&self, contents: &[B]) -> Result<Vec<Digest>, Error> {
        let mut digests = Vec::with_capacity(contents.len());
        let mut fresh = Vec::new();
        let mut unsettled = BTreeSet::new();
        for content in contents {
            let bytes = content.as_ref();
            let digest = Digest::of(bytes);
            digests.push(digest);
            match self.look_up(&digest, bytes.len() as u64)? {
                Known::Settled => {}
                Known::Unsettled => {
                    unsettled.insert(digest);
                }
                Known::Absent => {
                    let mut nameless = self.create()?;
                    nameless.write(bytes)?;
                    fresh.push((nameless, digest));
                }
            }
        }
        // All is written before the first sync, so that the file system can flush it together.
        for (nameless, digest) in fresh {
            self.name(&nameless, &digest)?;
            unsettled.insert(digest);
        }
        self.settle(&unsettled)?;
        Ok(digests)
    }

    /// Stores the file at `path` by copying it, whatever its size; returns name and size.
    ///
    /// # Errors
    /// [`Error::Input`] if the file cannot be read; else as [`put`](Self::put).
    pub fn put_file(&self, path: impl AsRef<Path>) -> Result<(Digest, u64), Error> {
        let file = File::open(path).map_err(|source| Error::Input { source })?;
        self.put_reader(file)
    }

    /// Stores what `reader` yields, whatever its size, in constant memory; returns name and size.
    ///
    /// # Errors
    /// [`Error::Input`] if the reader fails; else as [`put`](Self::put).
    pub fn put_reader(&self, mut reader: impl Read) -> Result<(Digest, u64), Error> {
        let mut nameless = self.create()?;
        let (digest, size) = copy(&mut reader, &mut nameless)?;
        match self.look_up(&digest, size)? {
            Known::Settled => return Ok((digest, size)),
            Known::Unsettled => {}
            Known::Absent => self.name(&nameless, &digest)?,
        }
        self.settle(&BTreeSet::from([digest]))?;
        Ok((digest, size))
    }

    /// Touches the blob, then looks whether it is there. In this order, because `collect` moves a
    /// blob away first and looks at its time afterwards: either it sees the touch and moves the
    /// blob back, or the look here finds it gone.
    fn look_up(&self, digest: &Digest, size: u64) -> Result<Known, Error> {
        let path = self.path(digest);
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        };
        let times = Timestamps {
            last_access: now,
            last_modification: now,
        };
        match rustix::fs::utimensat(CWD, &path, &times, AtFlags::empty()) {
            Ok(()) => {}
            Err(rustix::io::Errno::NOENT) => return Ok(Known::Absent),
            Err(e) => return Err(Error::write("touch", &path, e.into())),
        }
        match fs::metadata(&path) {
            // A wrong size is damage; writing it anew mends it.
            Ok(meta) if meta.len() != size => Ok(Known::Absent),
            Ok(meta) if meta.mode() & 0o777 == SETTLED => Ok(Known::Settled),
            Ok(_) => Ok(Known::Unsettled),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Known::Absent),
            Err(e) => Err(Error::write("look at", &path, e)),
        }
    }

    fn create(&self) -> Result<Nameless, Error> {
        let path = self.scratch.path();
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(UNSETTLED)
            .open(&path);
        match opened {
            Ok(file) => Ok(Nameless { path, file }),
            Err(e) => Err(Error::write("create", &path, e)),
        }
    }

    /// Syncs the bytes, then gives them their name.
    fn name(&self, nameless: &Nameless, digest: &Digest) -> Result<(), Error> {
        let synced = nameless.file.sync_data();
        synced.map_err(|e| Error::write("sync", &nameless.path, e))?;
        let path = self.path(digest);
        fs::rename(&nameless.path, &path).map_err(|e| Error::write("name", &path, e))
    }

    /// Syncs each folder concerned once, then marks the blobs as settled.
    fn settle(&self, digests: &BTreeSet<Digest>) -> Result<(), Error> {
        let shards: BTreeSet<u8> = digests.iter().map(Digest::shard).collect();
        for shard in shards {
            sync_dir(&self.shard_dir(shard))?;
        }
        for digest in digests {
            let path = self.path(digest);
            // The mark saves syncs later; nothing is lost without it.
            let _ = fs::set_permissions(&path, fs::Permissions::from_mode(SETTLED));
        }
        Ok(())
    }
}

fn copy(reader: &mut impl Read, nameless: &mut Nameless) -> Result<(Digest, u64), Error> {
    let mut hasher = blake3::Hasher::new();
    let mut size = 0_u64;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = match reader.read(&mut buffer) {
            Ok(0) => return Ok((hasher.finalize().into(), size)),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(Error::Input { source }),
        };
        hasher.update(&buffer[..n]);
        nameless.write(&buffer[..n])?;
        size += n as u64;
    }
}
