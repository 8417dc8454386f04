//! Calls for virtual machines: what their keeper does on the host, and what the first process does
//! in the guest.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::process::Command;

use super::check;

/// The module file is compressed and the kernel is to decompress it (Linux 5.17).
const COMPRESSED: i32 = 4;

/// Loads a kernel module. One that is there already is no error.
pub(crate) fn load_module(file: BorrowedFd<'_>, compressed: bool) -> io::Result<()> {
    let flags = if compressed { COMPRESSED } else { 0 };
    // SAFETY: the parameters are a NUL-terminated constant.
    let result = check(unsafe {
        libc::syscall(
            libc::SYS_finit_module,
            file.as_raw_fd(),
            c"".as_ptr(),
            flags,
        )
    });
    match result {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        result => result.map(drop),
    }
}

/// Makes a character device with the number that `like` has, for `owner` alone.
pub(crate) fn copy_device(like: &CStr, path: &CStr, owner: (u32, u32)) -> io::Result<()> {
    // SAFETY: an all-zero `stat` is a valid value of the type.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the path is NUL-terminated and `status` is a live structure.
    check(i64::from(unsafe {
        libc::stat(like.as_ptr(), &raw mut status)
    }))?;
    // SAFETY: the path is NUL-terminated.
    check(i64::from(unsafe {
        libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o600, status.st_rdev)
    }))?;
    // SAFETY: the path is NUL-terminated.
    check(i64::from(unsafe {
        libc::chown(path.as_ptr(), owner.0, owner.1)
    }))
    .map(drop)
}

/// Makes the working directory the root of this process.
pub(crate) fn change_root_here() -> io::Result<()> {
    // SAFETY: the path is a NUL-terminated constant.
    check(i64::from(unsafe { libc::chroot(c".".as_ptr()) })).map(drop)
}

/// A program about to be started dies with this process, gains nothing, and keeps its capabilities
/// only where `capable`.
pub(crate) fn confine_program(command: &mut Command, capable: bool) {
    use std::os::unix::process::CommandExt;
    let confine = move || {
        super::process::unblock_signals();
        super::creds::forbid_new_privileges()?;
        if !capable {
            super::creds::drop_capabilities()?;
        }
        // After the last change of credentials, which would clear it.
        super::process::die_with_parent(libc::SIGKILL)
    };
    // SAFETY: the closure makes system calls only, allocates nothing and takes no locks.
    unsafe { command.pre_exec(confine) };
}
