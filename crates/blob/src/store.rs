//! Open a folder, read blobs, list them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::scratch::{Scratch, sync_dir};
use crate::{Digest, Error};

/// Content-addressed files in a folder. Cheap to share behind an `Arc`; several stores may be open
/// on one folder at once, in one process or many.
#[derive(Debug)]
pub struct BlobStore {
    root: PathBuf,
    pub(crate) scratch: Scratch,
}

impl BlobStore {
    /// Opens the store in `dir`, creating it if need be, and removes what a crashed process left
    /// half-written.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] and [`Error::Full`] tell the folder's two usual troubles apart from
    /// the rest ([`Error::Io`]).
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let root = dir.as_ref().to_owned();
        let is_new = !root.exists();
        fs::create_dir_all(&root).map_err(|e| Error::write("create", &root, e))?;
        let scratch = Scratch::claim(&root.join("tmp"))?;
        let store = Self { root, scratch };
        store.make_shards()?;
        if let (true, Some(parent)) = (is_new, store.root.parent())
            && !parent.as_os_str().is_empty()
        {
            sync_dir(parent)?;
        }
        store.recover_condemned()?;
        Ok(store)
    }

    /// All 256 shards are made once and synced at open, so that no write ever has to sync more
    /// than the shard it touches.
    fn make_shards(&self) -> Result<(), Error> {
        let shards = (0..=u8::MAX).map(|shard| self.shard_dir(shard));
        for dir in shards.chain([self.condemned_dir()]) {
            match fs::create_dir(&dir) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(Error::write("create", &dir, e));
                }
                _ => {}
            }
        }
        sync_dir(&self.root)
    }

    /// The file that holds, or would hold, the blob.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.shard_dir(digest.shard()).join(&name[2..])
    }

    /// Whether the blob is stored. Looks at the name only; see [`verify`](Self::verify).
    #[must_use]
    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// The blob's size in bytes.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`].
    pub fn len(&self, digest: &Digest) -> Result<u64, Error> {
        let path = self.path(digest);
        match fs::metadata(&path) {
            Ok(meta) => Ok(meta.len()),
            Err(e) => Err(Error::read(*digest, &path, e)),
        }
    }

    /// The blob's bytes, checked against its name.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Corrupt`], [`Error::Io`].
    pub fn get(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let path = self.path(digest);
        let bytes = fs::read(&path).map_err(|e| Error::read(*digest, &path, e))?;
        self.expect(digest, Digest::of(&bytes))?;
        Ok(bytes)
    }

    /// The blob's file, for streaming. Its bytes are *not* checked; call
    /// [`verify`](Self::verify) first where that matters.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`].
    pub fn open_blob(&self, digest: &Digest) -> Result<File, Error> {
        let path = self.path(digest);
        File::open(&path).map_err(|e| Error::read(*digest, &path, e))
    }

    /// Reads the whole blob and checks it against its name.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Corrupt`], [`Error::Io`].
    pub fn verify(&self, digest: &Digest) -> Result<(), Error> {
        let mut file = self.open_blob(digest)?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => hasher.update(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Error::read(*digest, &self.path(digest), e)),
            };
        }
        self.expect(digest, hasher.finalize().into())
    }

    fn expect(&self, digest: &Digest, found: Digest) -> Result<(), Error> {
        if found == *digest {
            return Ok(());
        }
        Err(Error::Corrupt {
            digest: *digest,
            found,
            path: self.path(digest),
        })
    }

    /// Every stored blob, shard by shard. Files that are not named like blobs are passed over.
    /// Blobs stored or removed meanwhile may or may not be seen.
    pub fn iter(&self) -> impl Iterator<Item = Result<Digest, Error>> + '_ {
        (0..=u8::MAX).flat_map(|shard| {
            let dir = self.shard_dir(shard);
            match fs::read_dir(&dir) {
                Ok(entries) => digests_in(shard, dir, entries),
                Err(e) => Box::new(std::iter::once(Err(list_error(&dir, e)))),
            }
        })
    }

    pub(crate) fn shard_dir(&self, shard: u8) -> PathBuf {
        self.root.join(hex::encode([shard]))
    }

    /// Where a blob waits for the last look before it is removed; see `collect`.
    pub(crate) fn condemned_dir(&self) -> PathBuf {
        self.root.join("condemned")
    }
}

fn digests_in(
    shard: u8,
    dir: PathBuf,
    entries: fs::ReadDir,
) -> Box<dyn Iterator<Item = Result<Digest, Error>>> {
    Box::new(entries.filter_map(move |entry| match entry {
        Ok(entry) => {
            let rest = entry.file_name().into_string().ok()?;
            let name = hex::encode([shard]) + &rest;
            name.parse().ok().map(Ok)
        }
        Err(e) => Some(Err(list_error(&dir, e))),
    }))
}

fn list_error(dir: &Path, source: io::Error) -> Error {
    Error::Io {
        action: "list",
        path: dir.to_owned(),
        source,
    }
}
