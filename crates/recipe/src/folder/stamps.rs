//! What is remembered of files between two times that a folder is named, so that an unchanged one is
//! not read again: its identity and times, and its SHA-256.
//!
//! Equal times do not prove equal bytes where somebody writes through a mapping. That is good enough for
//! trees that nobody below root can write, such as the host's `/usr`, and for nothing else.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::Stat;

use crate::{Digest, Error};

const MAGIC: &[u8; 8] = b"NCSTAMP1";
const RECORD: usize = 7 * 8 + 32;

/// Everything about a file that changes when its bytes are changed in the ordinary way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Stamp([u64; 7]);

/// Stamps and digests of an earlier run.
#[derive(Debug, Default)]
pub(super) struct Stamps(HashMap<Stamp, Digest>);

impl Stamp {
    pub(super) fn of(meta: &Metadata) -> Self {
        Self([
            meta.dev(),
            meta.ino(),
            meta.size(),
            meta.mtime() as u64,
            meta.mtime_nsec() as u64,
            meta.ctime() as u64,
            meta.ctime_nsec() as u64,
        ])
    }

    /// The same, as a folder's listing has it.
    pub(super) fn of_stat(stat: &Stat) -> Self {
        Self([
            stat.st_dev,
            stat.st_ino,
            stat.st_size as u64,
            stat.st_mtime as u64,
            stat.st_mtime_nsec,
            stat.st_ctime as u64,
            stat.st_ctime_nsec,
        ])
    }

    /// Whether a change after `now` would show. A change within the same tick of the kernel's clock
    /// gives the same times.
    pub(super) fn is_settled(&self, now: u64) -> bool {
        self.0[5].saturating_add(2) <= now
    }
}

impl Stamps {
    /// The file system's time of now, in seconds: that of a file which is made beside `path`.
    pub(super) fn now(path: &Path) -> Result<u64, Error> {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".now-{}", std::process::id()));
        let probe = Path::new(&name);
        let seconds = fs::write(probe, b"").and_then(|()| Ok(fs::metadata(probe)?.mtime() as u64));
        let _ = fs::remove_file(probe);
        seconds.map_err(Error::io("write beside", path))
    }

    /// Those of a file; none if it is absent, damaged or from another version: it only saves work.
    pub(super) fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_default();
        let Some(body) = bytes.len().checked_sub(32).map(|end| &bytes[..end]) else {
            return Self::default();
        };
        if !body.starts_with(MAGIC) || Digest::of(body).as_bytes() != &bytes[body.len()..] {
            return Self::default();
        }
        let records = body[MAGIC.len()..].chunks_exact(RECORD).map(|record| {
            let mut stamp = [0; 7];
            for (value, bytes) in stamp.iter_mut().zip(record.chunks_exact(8)) {
                *value = number(bytes);
            }
            let mut digest = [0; 32];
            digest.copy_from_slice(&record[56..]);
            (Stamp(stamp), Digest::from_bytes(digest))
        });
        Self(records.collect())
    }

    pub(super) fn get(&self, stamp: &Stamp) -> Option<Digest> {
        self.0.get(stamp).copied()
    }

    pub(super) fn write(path: &Path, stamps: &[(Stamp, Digest)]) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(MAGIC.len() + stamps.len() * RECORD + 32);
        bytes.extend_from_slice(MAGIC);
        for (stamp, digest) in stamps {
            for value in stamp.0 {
                bytes.extend_from_slice(&value.to_le_bytes());
            }
            bytes.extend_from_slice(digest.as_bytes());
        }
        let sum = Digest::of(&bytes);
        bytes.extend_from_slice(sum.as_bytes());
        write_whole(path, &bytes)
    }
}

/// A little-endian number of up to eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Keeps two threads from one name.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Writes a file under a name of this process, then gives it its name.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(
        ".new-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    ));
    let new = Path::new(&name);
    let result = write_new(new, bytes).and_then(|()| fs::rename(new, path));
    if result.is_err() {
        let _ = fs::remove_file(new);
    }
    result.map_err(Error::io("write", path))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}
