//! Whether fanotify(7) permission events can be had.

use std::io;
use std::os::fd::AsRawFd;

use super::{check, file};

/// Asks to be asked before a file that nobody executes is executed, and forgets it again.
pub(crate) fn try_permission_events() -> io::Result<()> {
    // SAFETY: takes no pointers.
    let group = check(i64::from(unsafe {
        libc::fanotify_init(
            libc::FAN_CLASS_CONTENT | libc::FAN_CLOEXEC,
            libc::O_RDONLY as u32,
        )
    }))?;
    let group = file::adopt(group as i32)?;
    let unused = file::memory_file(b"")?;
    let path = std::ffi::CString::new(format!("/proc/self/fd/{}", unused.as_raw_fd()))?;
    // SAFETY: the path is NUL-terminated.
    check(i64::from(unsafe {
        libc::fanotify_mark(
            group.as_raw_fd(),
            libc::FAN_MARK_ADD,
            libc::FAN_OPEN_EXEC_PERM,
            libc::AT_FDCWD,
            path.as_ptr(),
        )
    }))
    .map(drop)
}
