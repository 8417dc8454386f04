//! Mounts: the few calls that build an environment's root.

use std::ffi::CStr;
use std::io;
use std::ptr;

use super::check;

/// Flags every mount of an environment has.
pub(crate) const PLAIN: u64 = libc::MS_NOSUID | libc::MS_NODEV;

/// mount(2). `data` is the file system's own option string.
pub(crate) fn mount(
    source: &CStr,
    target: &CStr,
    kind: Option<&CStr>,
    flags: u64,
    data: Option<&CStr>,
) -> io::Result<()> {
    // SAFETY: every pointer is either null or a NUL-terminated string that outlives the call.
    let result = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.map_or(ptr::null(), CStr::as_ptr),
            flags,
            data.map_or(ptr::null(), |data| data.as_ptr().cast()),
        )
    };
    check(i64::from(result)).map(drop)
}

/// Binds `source` at `target`, with everything mounted below it when `recursive`.
pub(crate) fn bind(source: &CStr, target: &CStr, recursive: bool) -> io::Result<()> {
    let flags = libc::MS_BIND | if recursive { libc::MS_REC } else { 0 };
    mount(source, target, None, flags, None)
}

/// Adds attributes (`MOUNT_ATTR_*`) to the mount at `target`, and to all below it when `recursive`.
pub(crate) fn set_attributes(target: &CStr, attributes: u64, recursive: bool) -> io::Result<()> {
    let wanted = libc::mount_attr {
        attr_set: attributes,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: `target` is NUL-terminated and `wanted` is a live structure of the size given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            target.as_ptr(),
            flags,
            &raw const wanted,
            std::mem::size_of::<libc::mount_attr>(),
        )
    };
    check(result).map(drop)
}

/// Changes how mounts spread: `MS_PRIVATE` or `MS_SLAVE`, for the whole tree below `target`.
pub(crate) fn set_propagation(target: &CStr, kind: u64) -> io::Result<()> {
    mount(c"none", target, None, kind | libc::MS_REC, None)
}

/// Makes the working directory, a mount point, the root, and detaches the old root.
pub(crate) fn pivot_here() -> io::Result<()> {
    // SAFETY: both arguments are NUL-terminated constants.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) })?;
    detach(c".")
}

/// Detaches the tree mounted at `target`.
pub(crate) fn detach(target: &CStr) -> io::Result<()> {
    // SAFETY: `target` is NUL-terminated.
    let result = unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
    check(i64::from(result)).map(drop)
}
