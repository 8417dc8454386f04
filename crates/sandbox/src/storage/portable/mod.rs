//! Snapshots as one file, which another host or another user can resume.
//!
//! A gzip stream of a tar stream. Its first entry, `nightcrew-snapshot.json`, is the manifest:
//! version, what the snapshot belongs to, and the SHA-256 and the length of the rest of the tar
//! stream. The rest is `workspace/` and `home/`: what the layers show together, folders before what
//! is in them, names in the order of their bytes. What the base has and the snapshot has not is a
//! whiteout as in OCI layers: `.wh.NAME`, and `.wh..wh..opq` in a folder that hides the base's. A
//! file that really is called so has the pax record `NIGHTCREW.literal`.
//!
//! Owners do not exist: everything belongs to the environment's user. Bits that would change the
//! user (setuid, setgid) are dropped from files, and sockets are left out. Holes in files are
//! written out as zeros. The same content, times included, gives the same bytes.

mod export;
mod import;
mod tar;
mod unpack;

use std::io;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::snapshot::Origin;
use crate::exec_policy::Digest;

/// Name of the first entry.
const MANIFEST: &str = "nightcrew-snapshot.json";
/// Largest manifest that is read.
const MAX_MANIFEST: u64 = 1 << 20;
/// How whiteouts begin, and the name of the one that makes a folder opaque.
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Version of the format that this program writes, and the newest it reads.
const VERSION: u32 = 1;

/// The first entry.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    version: u32,
    origin: Origin,
    /// Whether workspace and home stand on nothing, though they belong to something: full copies.
    whole: [bool; 2],
    /// SHA-256 of the tar stream after this entry, in hexadecimal.
    sha256: String,
    /// Its length.
    bytes: u64,
    /// Entries in it.
    entries: u64,
    /// Bytes in files.
    content: u64,
}

/// What a snapshot file must be to be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// What it must belong to; absent: whatever it says.
    pub origin: Option<Origin>,
    /// SHA-256 of the whole file, as [`Storage::export`](super::Storage::export) returned it.
    pub sha256: Option<Digest>,
}

/// How much a snapshot file may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportLimits {
    /// Bytes in files, holes included, and in attributes.
    pub bytes: u64,
    /// Files, folders and links. Names have a bound of 300 bytes times this, all together.
    pub entries: u64,
}

impl Default for ImportLimits {
    fn default() -> Self {
        Self {
            bytes: 64 << 30,
            entries: 4_000_000,
        }
    }
}

/// Why a snapshot file was not written or not taken. Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortableError {
    /// The stream cannot be read or written.
    #[error("cannot {action} the snapshot file")]
    Stream {
        /// Read or write.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// It is not a snapshot file, or a hostile one.
    #[error("this is no snapshot file that can be used: {0}")]
    Form(&'static str),
    /// A newer version wrote it.
    #[error("the snapshot file has version {0}, which a newer Nightcrew writes")]
    Version(u32),
    /// Its content is not what it says.
    #[error("the snapshot file is damaged: its content has another SHA-256 than it says")]
    Digest,
    /// It is not the file that was expected.
    #[error("this is another snapshot file than the one expected")]
    OtherFile,
    /// It belongs to another recipe or base.
    #[error("the snapshot belongs to another recipe or base than the one expected")]
    OtherOrigin,
    /// It holds more than it may.
    #[error("the snapshot file holds more than {bytes} bytes or {entries} entries")]
    TooLarge {
        /// Bytes it may hold.
        bytes: u64,
        /// Entries it may hold.
        entries: u64,
    },
    /// Its names are too long.
    #[error("the names in the snapshot file have more than {0} bytes all together")]
    Names(u64),
}

/// Counts and hashes what passes through.
struct Hashing<T> {
    inner: T,
    hash: Sha256,
    bytes: u64,
}

impl<T> Hashing<T> {
    fn new(inner: T) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            bytes: 0,
        }
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    fn digest(self) -> Digest {
        self.hash.finalize().into()
    }
}

impl<T: io::Write> io::Write for Hashing<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.pass(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: io::Read> io::Read for Hashing<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.pass(&buffer[..read]);
        Ok(read)
    }
}
