//! What a gate must know of a file, in one call: which mount it was opened through above all.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use super::check;

/// A file, as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct About {
    /// The mount, as numbered in `/proc/PID/mountinfo`.
    pub(crate) mount: u64,
    /// What tells the file from others of its mount.
    pub(crate) device: (u32, u32),
    pub(crate) inode: u64,
    pub(crate) regular: bool,
    /// Bytes.
    pub(crate) size: u64,
    /// Seconds and nanoseconds of the last change of content, and of anything.
    pub(crate) modified: (i64, u32),
    pub(crate) changed: (i64, u32),
}

/// Bits of statx(2) that libc does not name everywhere.
const MOUNT_ID: u32 = 0x1000;

/// An open file.
pub(crate) fn of(file: &File) -> io::Result<About> {
    ask(file.as_raw_fd(), c"", libc::AT_EMPTY_PATH)
}

/// What a path leads to; nothing is opened.
pub(crate) fn at(path: &std::ffi::CStr) -> io::Result<About> {
    ask(libc::AT_FDCWD, path, 0)
}

fn ask(at: RawFd, path: &std::ffi::CStr, flags: i32) -> io::Result<About> {
    // SAFETY: an all-zero `statx` is a valid value of the type.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the path is NUL-terminated, `found` a live structure.
    check(i64::from(unsafe {
        libc::statx(
            at,
            path.as_ptr(),
            flags | libc::AT_STATX_DONT_SYNC,
            libc::STATX_BASIC_STATS | MOUNT_ID,
            &raw mut found,
        )
    }))?;
    Ok(About {
        mount: found.stx_mnt_id,
        device: (found.stx_dev_major, found.stx_dev_minor),
        inode: found.stx_ino,
        regular: u32::from(found.stx_mode) & libc::S_IFMT == libc::S_IFREG,
        size: found.stx_size,
        modified: (found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec),
        changed: (found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec),
    })
}
