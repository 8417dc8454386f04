//! Other processes: sharing descriptors with a child, and reaching into one that is being judged.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::check;
use super::process::Forked;

/// Forks a child that shares this process's table of descriptors: what either opens or closes, the
/// other has opened or closed, and what is open stays open when only one of them dies.
///
/// Only for single-threaded processes.
pub(crate) fn fork_sharing_descriptors() -> io::Result<Forked> {
    super::process::clone_with(libc::CLONE_FILES as u64, None)
}

/// A descriptor that names a process.
pub(crate) fn pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the call succeeded, so the descriptor is open and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A copy of another process's descriptor.
pub(crate) fn descriptor_of(process: BorrowedFd<'_>, number: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd =
        check(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) })?;
    // SAFETY: the call succeeded, so the descriptor is open and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Writes to a pipe what fits in it now; never waits.
pub(crate) fn write_now(pipe: BorrowedFd<'_>, text: &[u8]) -> io::Result<()> {
    let vector = libc::iovec {
        iov_base: text.as_ptr().cast_mut().cast(),
        iov_len: text.len(),
    };
    // SAFETY: the vector describes live memory; -1 is "at the present position".
    check(
        unsafe { libc::pwritev2(pipe.as_raw_fd(), &raw const vector, 1, -1, libc::RWF_NOWAIT) }
            as i64,
    )
    .map(drop)
}

/// Sends one packet if there is room for it now.
pub(crate) fn send_now(socket: BorrowedFd<'_>, body: &[u8]) -> io::Result<()> {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: pointer and length describe live memory.
    check(unsafe { libc::send(socket.as_raw_fd(), body.as_ptr().cast(), body.len(), flags) } as i64)
        .map(drop)
}

/// Has the calling thread run before others that want the processor, as far as that is permitted.
pub(crate) fn put_first() {
    // SAFETY: takes no pointers; 0 is the calling thread, not its process.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
}

/// Raises the limit of open files as far as it goes.
pub(crate) fn raise_file_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure is live; a refusal leaves the limit as it is.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// Time since the machine started: the same clock in every process.
pub(crate) fn uptime() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure is live.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec.max(0) as u32)
}

/// Which of `fds` are readable or closed, waiting at most `timeout` (for ever when absent).
pub(crate) fn poll(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    let mut entries: Vec<libc::pollfd> = fds
        .iter()
        .map(|fd| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let milliseconds = timeout.map_or(-1, |timeout| {
        i32::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
    });
    // SAFETY: `entries` is a live array of its length.
    let result = unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as u64, milliseconds) };
    match check(i64::from(result)) {
        Ok(_) => Ok(entries.iter().map(|entry| entry.revents != 0).collect()),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(vec![false; fds.len()]),
        Err(error) => Err(error),
    }
}

/// Numbers that this process and those it forks share.
pub(crate) struct Shared {
    numbers: std::ptr::NonNull<std::sync::atomic::AtomicU64>,
    count: usize,
}

impl Shared {
    /// So many zeros, for as long as the process lives. Memory is taken as they are used.
    pub(crate) fn new(count: usize) -> io::Result<Self> {
        // SAFETY: an anonymous mapping, which is zeroed and aligned.
        let place = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                count * std::mem::size_of::<u64>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if place == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let numbers = std::ptr::NonNull::new(place.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(Self { numbers, count })
    }

    /// The numbers.
    pub(crate) fn get(&self) -> &[std::sync::atomic::AtomicU64] {
        // SAFETY: the mapping holds `count` numbers and is never unmapped; zero bytes are valid
        // atomics.
        unsafe { std::slice::from_raw_parts(self.numbers.as_ptr(), self.count) }
    }
}

// SAFETY: what the pointer points at are atomics that are never unmapped.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}
