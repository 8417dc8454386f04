//! Opening what lies below a folder, and nothing else; and proving which file was opened.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

/// Opens `path` below `folder` for reading, through no link and out of it by no means.
pub(crate) fn open(folder: BorrowedFd<'_>, path: &CStr) -> io::Result<OwnedFd> {
    open_with(folder, path, libc::O_RDONLY | libc::O_NONBLOCK)
}

/// A descriptor of whatever lies at `path` below `folder`, found in the same way: it stands for the
/// place, reads nothing, and needs no permission of what it stands for. Of a link, for the link.
pub(crate) fn point(folder: BorrowedFd<'_>, path: &CStr) -> io::Result<OwnedFd> {
    open_with(folder, path, libc::O_PATH | libc::O_NOFOLLOW)
}

fn open_with(folder: BorrowedFd<'_>, path: &CStr, flags: i32) -> io::Result<OwnedFd> {
    // SAFETY: an all-zero `open_how` is a valid value of the type.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_XDEV;
    // SAFETY: the path is NUL-terminated, `how` a live structure of the size given.
    let fd = check(unsafe {
        libc::syscall(
            libc::SYS_openat2,
            folder.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            std::mem::size_of::<libc::open_how>(),
        )
    })?;
    // SAFETY: the call succeeded, so the descriptor is open and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Removes a name in a folder: that of an empty folder, or that of anything else.
pub(crate) fn remove(folder: BorrowedFd<'_>, name: &CStr, is_folder: bool) -> io::Result<()> {
    let flags = if is_folder { libc::AT_REMOVEDIR } else { 0 };
    // SAFETY: the name is NUL-terminated.
    check(i64::from(unsafe {
        libc::unlinkat(folder.as_raw_fd(), name.as_ptr(), flags)
    }))
    .map(drop)
}

/// Moves a name from one folder to another.
pub(crate) fn rename(
    from: BorrowedFd<'_>,
    name: &CStr,
    to: BorrowedFd<'_>,
    new: &CStr,
) -> io::Result<()> {
    // SAFETY: both names are NUL-terminated.
    check(i64::from(unsafe {
        libc::renameat(
            from.as_raw_fd(),
            name.as_ptr(),
            to.as_raw_fd(),
            new.as_ptr(),
        )
    }))
    .map(drop)
}

/// Gives what has a name in a folder a further one, `to`. Of a link, the link gets it.
pub(crate) fn link(folder: BorrowedFd<'_>, name: &CStr, to: &CStr) -> io::Result<()> {
    // SAFETY: name and path are NUL-terminated.
    check(i64::from(unsafe {
        libc::linkat(
            folder.as_raw_fd(),
            name.as_ptr(),
            libc::AT_FDCWD,
            to.as_ptr(),
            0,
        )
    }))
    .map(drop)
}

/// Sets the time of last access to now, and by that the time of last change.
pub(crate) fn touch(file: BorrowedFd<'_>) -> io::Result<()> {
    let time = |nanoseconds| libc::timespec {
        tv_sec: 0,
        tv_nsec: nanoseconds,
    };
    let times = [time(libc::UTIME_NOW), time(libc::UTIME_OMIT)];
    // SAFETY: the array of two times is live.
    check(i64::from(unsafe {
        libc::futimens(file.as_raw_fd(), times.as_ptr())
    }))
    .map(drop)
}
