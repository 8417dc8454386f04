//! Files and descriptors.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

/// open(2), close-on-exec.
pub(crate) fn open(path: &CStr, flags: i32) -> io::Result<OwnedFd> {
    // SAFETY: the path is NUL-terminated.
    let fd = unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, 0o644) };
    check(i64::from(fd))?;
    // SAFETY: the call succeeded, so the descriptor is open and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Writes `content` to an existing file in one write.
pub(crate) fn write_once(path: &CStr, content: &[u8]) -> io::Result<()> {
    use std::io::Write;
    File::from(open(path, libc::O_WRONLY)?).write_all(content)
}

/// Makes a folder with exactly this mode.
pub(crate) fn make_folder(path: &CStr, mode: u32) -> io::Result<()> {
    // SAFETY: the path is NUL-terminated.
    check(i64::from(unsafe { libc::mkdir(path.as_ptr(), mode) }))?;
    // SAFETY: as above; needed because mkdir applies the umask.
    check(i64::from(unsafe { libc::chmod(path.as_ptr(), mode) })).map(drop)
}

/// Changes the working directory.
pub(crate) fn enter(path: &CStr) -> io::Result<()> {
    // SAFETY: the path is NUL-terminated.
    check(i64::from(unsafe { libc::chdir(path.as_ptr()) })).map(drop)
}

/// Sets the mask for new files.
pub(crate) fn set_umask(mask: u32) {
    // SAFETY: takes no pointers and cannot fail.
    unsafe { libc::umask(mask) };
}

/// Keeps a descriptor open across exec. Async-signal-safe.
pub(crate) fn keep_at_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes no pointers; clears close-on-exec, the only descriptor flag there is.
    check(i64::from(unsafe {
        libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, 0)
    }))
    .map(drop)
}

/// Makes `to` a copy of `from`, open across exec.
pub(crate) fn duplicate_to(from: BorrowedFd<'_>, to: i32) -> io::Result<()> {
    if from.as_raw_fd() == to {
        return keep_at_exec(from);
    }
    // SAFETY: takes no pointers. Callers give numbers (0..=3) that nothing in this process owns.
    check(i64::from(unsafe { libc::dup2(from.as_raw_fd(), to) })).map(drop)
}

/// Moves a descriptor to a number of at least `floor`, out of the way of the standard ones.
pub(crate) fn move_above(fd: OwnedFd, floor: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let new = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, floor) };
    check(i64::from(new))?;
    drop(fd);
    // SAFETY: the call succeeded, so the descriptor is open and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(new) })
}

/// Closes every descriptor of this process from `first` to `last`, whoever owns it.
///
/// For a freshly cloned process that will never again touch the values that owned them.
pub(crate) fn close_between(first: i32, last: i32) -> io::Result<()> {
    // SAFETY: takes no pointers; callers never use or drop the owners afterwards.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// Marks every descriptor from `first` on as closed at exec.
pub(crate) fn close_at_exec_from(first: i32) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    })
    .map(drop)
}

/// Takes over a descriptor that this process was given by number.
///
/// The caller must be the only one to do so for this number.
pub(crate) fn adopt(fd: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers; also proves that the descriptor is open.
    check(i64::from(unsafe {
        libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC)
    }))?;
    // SAFETY: it is open, and the caller promises that nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A close-on-exec pipe: (read end, write end).
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: `fds` is a valid array of two descriptors for the kernel to fill in.
    check(i64::from(unsafe {
        libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC)
    }))?;
    // SAFETY: the call succeeded, so both descriptors are open and ours.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// A file in memory with this content, positioned at its start.
pub(crate) fn memory_file(content: &[u8]) -> io::Result<OwnedFd> {
    use std::io::{Seek, Write};
    // SAFETY: the name is a NUL-terminated constant.
    let fd = unsafe { libc::memfd_create(c"request".as_ptr(), libc::MFD_CLOEXEC) };
    check(i64::from(fd))?;
    // SAFETY: the call succeeded, so the descriptor is open and ours.
    let mut file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    file.write_all(content)?;
    file.rewind()?;
    Ok(file.into())
}

/// Removes a file.
pub(crate) fn remove(path: &CStr) -> io::Result<()> {
    // SAFETY: the path is NUL-terminated.
    check(i64::from(unsafe { libc::unlink(path.as_ptr()) })).map(drop)
}

/// Makes an empty file that its owner may execute, if a mount permits that.
pub(crate) fn make_program(path: &CStr) -> io::Result<()> {
    let file = open(path, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL)?;
    // SAFETY: takes no pointers.
    check(i64::from(unsafe { libc::fchmod(file.as_raw_fd(), 0o755) })).map(drop)
}

/// Whether a file could be executed.
pub(crate) fn executable(path: &CStr) -> io::Result<()> {
    // SAFETY: the path is NUL-terminated.
    check(i64::from(unsafe {
        libc::access(path.as_ptr(), libc::X_OK)
    }))
    .map(drop)
}

/// Makes a block device, which nobody without a capability can.
pub(crate) fn make_block_device(path: &CStr) -> io::Result<()> {
    // SAFETY: the path is NUL-terminated.
    check(i64::from(unsafe {
        libc::mknod(path.as_ptr(), libc::S_IFBLK | 0o600, libc::makedev(1, 0))
    }))
    .map(drop)
}

/// Whether a path can be looked up, and the errno when not.
pub(crate) fn reachable(path: &CStr) -> io::Result<()> {
    // SAFETY: the path is NUL-terminated.
    check(i64::from(unsafe {
        libc::access(path.as_ptr(), libc::F_OK)
    }))
    .map(drop)
}

/// Writes all bytes with plain system calls, giving up on the first error.
pub(crate) fn write_all(fd: &OwnedFd, content: &[u8]) {
    let mut rest = content;
    while !rest.is_empty() {
        // SAFETY: pointer and length describe live memory.
        let written = unsafe { libc::write(fd.as_raw_fd(), rest.as_ptr().cast(), rest.len()) };
        let Ok(written @ 1..) = usize::try_from(written) else {
            return;
        };
        rest = &rest[written..];
    }
}
