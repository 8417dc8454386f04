//! Giving the files of a fresh checkout, and the entries of its index, one time in the past.
//!
//! With `checkStat=minimal` git compares times in whole seconds. A file written in the same second as the index is
//! "racily clean": git must read it again at each status. And an edit of the same length within that second would go
//! unseen. With times in the past, neither happens. It also makes checkouts of one commit equal in their times.
//! Format: gitformat-index(5), version 2.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use sha1::{Digest, Sha1};

use super::GitError;

const HEADER: usize = 12;
/// Bytes of an entry before its path.
const FIXED: usize = 62;
const MODE_AT: usize = 24;
const FLAGS_AT: usize = 60;

/// Sets the times and rewrites the index; returns the number of entries.
pub(crate) fn age_files(work: &Path, index: &Path, committed_at: i64) -> Result<u64, GitError> {
    let mut bytes = match fs::read(index) {
        Ok(bytes) => bytes,
        // The empty tree: git may write no index at all.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(GitError::io("read", index)(error)),
    };
    let written = fs::metadata(index)
        .map_err(GitError::io("read", index))?
        .mtime();
    let seconds = committed_at.min(written - 2).clamp(1, i64::from(u32::MAX));
    let count = rewrite(&mut bytes, work, seconds)?.ok_or_else(|| GitError::Unreadable {
        command: "index",
        detail: format!("{} is not an index of version 2", index.display()),
    })?;
    let end = bytes.len() - 20;
    let sum: [u8; 20] = Sha1::digest(&bytes[..end]).into();
    bytes[end..].copy_from_slice(&sum);
    fs::write(index, &bytes).map_err(GitError::io("write", index))?;
    Ok(count)
}

/// `None` when the bytes are not what we expect.
fn rewrite(bytes: &mut [u8], work: &Path, seconds: i64) -> Result<Option<u64>, GitError> {
    if bytes.len() < HEADER + 20 || &bytes[..8] != b"DIRC\0\0\0\x02" {
        return Ok(None);
    }
    let end = bytes.len() - 20;
    let count = u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    let stamp = u32::try_from(seconds).unwrap_or(1).to_be_bytes();
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        },
        last_modification: Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        },
    };
    let mut at = HEADER;
    for _ in 0..count {
        let Some(entry) = bytes.get_mut(at..end).filter(|entry| entry.len() > FIXED) else {
            return Ok(None);
        };
        let mode = u16::from_be_bytes([entry[MODE_AT + 2], entry[MODE_AT + 3]]);
        let flags = u16::from_be_bytes([entry[FLAGS_AT], entry[FLAGS_AT + 1]]);
        let Some(length) = path_length(entry, flags) else {
            return Ok(None);
        };
        // Modification time, and no nanoseconds; a submodule has no times.
        if mode & 0o170_000 != 0o160_000 {
            entry[8..12].copy_from_slice(&stamp);
            entry[12..16].fill(0);
            let path = work.join(OsStr::from_bytes(&entry[FIXED..FIXED + length]));
            utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| GitError::io("set the time of", &path)(error.into()))?;
        }
        // Entries are padded with 1 to 8 NUL bytes to a multiple of 8.
        at += (FIXED + length + 8) & !7;
    }
    Ok(Some(u64::from(count)))
}

fn path_length(entry: &[u8], flags: u16) -> Option<usize> {
    let short = usize::from(flags & 0x0fff);
    if short < 0x0fff {
        return (entry.len() > FIXED + short).then_some(short);
    }
    entry[FIXED..].iter().position(|b| *b == 0)
}
