//! Opening what lies below a folder, and nothing else; and proving which file was opened.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

/// Opens `path` below `folder` for reading, through no link and out of it by no means.
pub(crate) fn open(folder: BorrowedFd<'_>, path: &std::ffi::CStr) -> io::Result<OwnedFd> {
    // SAFETY: an all-zero `open_how` is a valid value of the type.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK) as u64;
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
