//! Attempts at executing things, made by a child between fork and exec, for attacks on exec control.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::process::Command;
use std::ptr;

use super::check;

/// Bytes that are mapped: one page is enough to be executed.
const PAGE: usize = 4096;

/// How a file is made executable in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mapping {
    /// Mapped executable.
    Executable,
    /// Mapped readable, then made executable.
    MadeExecutable,
    /// No file: memory that is written, then made executable.
    Anonymous,
}

/// A program about to be started first moves to the cgroup whose `cgroup.procs` is `members`, and
/// then, when `mapping` is given, maps `file` that way. A refusal is the error of starting it.
///
/// The caller keeps both descriptors open until the program is started.
pub(crate) fn attempt(
    command: &mut Command,
    members: BorrowedFd<'_>,
    mapping: Option<(Mapping, BorrowedFd<'_>)>,
) {
    use std::os::unix::process::CommandExt;
    let members = members.as_raw_fd();
    let mapping = mapping.map(|(kind, file)| (kind, file.as_raw_fd()));
    let act = move || {
        // SAFETY: the bytes are a live constant; the descriptor is open here because it is in the
        // parent. Zero means the writing process.
        check(unsafe { libc::write(members, c"0".as_ptr().cast(), 1) } as i64)?;
        match mapping {
            Some((kind, file)) => map(kind, file),
            None => Ok(()),
        }
    };
    // SAFETY: the closure makes system calls only, allocates nothing and takes no locks.
    unsafe { command.pre_exec(act) };
}

/// A program about to be started first opens `file` again, for writing. Ask for this after
/// [`attempt`], so that it happens after the mapping.
pub(crate) fn reopen_for_writing(command: &mut Command, file: BorrowedFd<'_>) {
    use std::os::unix::process::CommandExt;
    let path = std::ffi::CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let path = path.unwrap_or_default();
    let act = move || {
        // SAFETY: the path is NUL-terminated and lives as long as the closure.
        check(i64::from(unsafe {
            libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC)
        }))
        .map(drop)
    };
    // SAFETY: the closure makes one system call, allocates nothing and takes no locks.
    unsafe { command.pre_exec(act) };
}

fn map(kind: Mapping, file: i32) -> io::Result<()> {
    let (protection, flags, file) = match kind {
        Mapping::Executable => (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE, file),
        Mapping::MadeExecutable => (libc::PROT_READ, libc::MAP_PRIVATE, file),
        Mapping::Anonymous => (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
        ),
    };
    // SAFETY: a new mapping at a place of the kernel's choice touches no memory in use.
    let place = unsafe { libc::mmap(ptr::null_mut(), PAGE, protection, flags, file, 0) };
    if place == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    if kind == Mapping::Executable {
        return Ok(());
    }
    // SAFETY: the page was mapped just now, and nothing else uses it.
    check(i64::from(unsafe {
        libc::mprotect(place, PAGE, libc::PROT_READ | libc::PROT_EXEC)
    }))
    .map(drop)
}
