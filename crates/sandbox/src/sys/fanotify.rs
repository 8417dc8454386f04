//! Permission events of file systems: a group, its marks, its events, the answers to them.
//!
//! See fanotify(7). An opener waits in the kernel until its event is answered. An event that was read
//! and not answered stays with the *group*, found by the number of its descriptor: whoever holds the
//! group can answer it, also after the reader died.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use super::check;

/// What is asked for: opening, and opening to execute.
const WATCHED: u64 = libc::FAN_OPEN_PERM | libc::FAN_OPEN_EXEC_PERM;

/// Bytes of events taken at once: some two hundred of them.
const BATCH: usize = 4096;

/// A file somebody waits to open.
#[derive(Debug)]
pub(crate) struct Event {
    /// The file, opened for reading. Its number is the event's name too.
    pub(crate) file: Arc<File>,
    /// The thread that waits, as this process numbers it.
    pub(crate) thread: i32,
    /// Whether it wants to execute.
    pub(crate) execute: bool,
}

/// Room for a batch of events, aligned as the kernel writes them.
#[repr(C, align(8))]
pub(crate) struct Batch([u8; BATCH]);

impl Default for Batch {
    fn default() -> Self {
        Self([0; BATCH])
    }
}

/// A new group. Needs `CAP_SYS_ADMIN` in the initial user namespace.
pub(crate) fn group() -> io::Result<OwnedFd> {
    let flags = libc::FAN_CLASS_CONTENT
        | libc::FAN_CLOEXEC
        | libc::FAN_UNLIMITED_QUEUE
        | libc::FAN_UNLIMITED_MARKS
        | libc::FAN_REPORT_TID;
    let files = libc::O_RDONLY | libc::O_LARGEFILE | libc::O_CLOEXEC | libc::O_NOATIME;
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::fanotify_init(flags, files as u32) };
    check(i64::from(fd))?;
    // SAFETY: the call succeeded, so the descriptor is open and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn mark(
    group: BorrowedFd<'_>,
    flags: u32,
    mask: u64,
    at: RawFd,
    path: *const libc::c_char,
) -> io::Result<()> {
    // SAFETY: `path` is null or a NUL-terminated string that outlives the call.
    let result = unsafe { libc::fanotify_mark(group.as_raw_fd(), flags, mask, at, path) };
    check(i64::from(result)).map(drop)
}

/// Watches every file of the file system that `path` lies on, through whatever mount it is opened.
pub(crate) fn watch_file_system(group: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
    let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM;
    mark(group, flags, WATCHED, libc::AT_FDCWD, path.as_ptr())
}

/// Watches what is opened through the one mount that `path` lies on.
pub(crate) fn watch_mount(group: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
    let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_MOUNT;
    mark(group, flags, WATCHED, libc::AT_FDCWD, path.as_ptr())
}

/// Asks no more about this file, until the kernel forgets its inode or [`ask_again`] is called.
/// Only for files that cannot change.
pub(crate) fn ask_no_more(group: BorrowedFd<'_>, file: &File) -> io::Result<()> {
    let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_IGNORE_SURV | libc::FAN_MARK_EVICTABLE;
    mark(group, flags, WATCHED, file.as_raw_fd(), std::ptr::null())
}

/// Takes back every [`ask_no_more`].
pub(crate) fn ask_again(group: BorrowedFd<'_>) -> io::Result<()> {
    mark(
        group,
        libc::FAN_MARK_FLUSH,
        0,
        libc::AT_FDCWD,
        c"/".as_ptr(),
    )
}

/// Waits for events and reads a batch. Each must be answered and its descriptor closed.
pub(crate) fn read(
    group: BorrowedFd<'_>,
    batch: &mut Batch,
    events: &mut Vec<Event>,
) -> io::Result<()> {
    events.clear();
    // SAFETY: pointer and length describe the live buffer.
    let length = unsafe { libc::read(group.as_raw_fd(), batch.0.as_mut_ptr().cast(), BATCH) };
    let length = check(length as i64)? as usize;
    let size = std::mem::size_of::<libc::fanotify_event_metadata>();
    let mut at = 0;
    while at + size <= length {
        // SAFETY: the kernel wrote `length` bytes of aligned records, and this one lies inside.
        let record = unsafe {
            batch
                .0
                .as_ptr()
                .add(at)
                .cast::<libc::fanotify_event_metadata>()
                .read()
        };
        // A descriptor is absent only from a note that the queue ran over, which ours cannot.
        if record.fd >= 0 {
            events.push(Event {
                // SAFETY: the kernel installed the descriptor for us with this record.
                file: Arc::new(unsafe { File::from_raw_fd(record.fd) }),
                thread: record.pid,
                execute: record.mask & libc::FAN_OPEN_EXEC_PERM != 0,
            });
        }
        at += (record.event_len as usize).max(size);
    }
    Ok(())
}

/// Answers the event of a file; false when no such event waits.
pub(crate) fn answer(group: BorrowedFd<'_>, file: &File, permit: bool) -> bool {
    let response = libc::fanotify_response {
        fd: file.as_raw_fd(),
        response: if permit {
            libc::FAN_ALLOW
        } else {
            libc::FAN_DENY
        },
    };
    // SAFETY: pointer and length describe a live structure.
    let written = unsafe {
        libc::write(
            group.as_raw_fd(),
            (&raw const response).cast(),
            std::mem::size_of_val(&response),
        )
    };
    written > 0
}

/// Bytes of events that nobody has read yet.
pub(crate) fn unread(group: BorrowedFd<'_>) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int.
    unsafe { libc::ioctl(group.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    usize::try_from(bytes).unwrap_or(0)
}
