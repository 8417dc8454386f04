//! Read leases (fcntl(2), `F_SETLEASE`): while one is held, nobody has the file open for writing,
//! and nobody comes to: an opener waits until the lease is given up, and its holder is told.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

/// Signal that names the descriptor of a lease that somebody waits for.
fn signal() -> i32 {
    libc::SIGRTMIN() + 3
}

/// Takes a read lease. `Ok(false)` when somebody may be writing.
pub(crate) fn take(file: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: takes no pointers.
    match check(i64::from(unsafe {
        libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK)
    })) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Asks to be told, by [`notices`], when somebody waits for the lease on this file.
pub(crate) fn tell_me(file: BorrowedFd<'_>) -> io::Result<()> {
    // F_SETSIG, which libc does not name for every target.
    const SET_SIGNAL: i32 = 10;
    // SAFETY: takes no pointers.
    check(i64::from(unsafe {
        libc::fcntl(file.as_raw_fd(), SET_SIGNAL, signal())
    }))
    .map(drop)
}

/// Gives a lease up.
pub(crate) fn give_up(file: BorrowedFd<'_>) {
    // SAFETY: takes no pointers; without a lease it is an error without consequence.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
}

/// Whether a lease is still whole: nobody waits for it.
pub(crate) fn is_whole(file: BorrowedFd<'_>) -> bool {
    // SAFETY: takes no pointers.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLEASE) == libc::F_RDLCK }
}

/// Whether there is no lease on this open file.
pub(crate) fn is_free(file: BorrowedFd<'_>) -> bool {
    // SAFETY: takes no pointers.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLEASE) == libc::F_UNLCK }
}

/// Blocks the signals of leases in this thread and those it starts; the descriptor reads them.
pub(crate) fn notices() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigemptyset before use; the pointers are to live values.
    let fd = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal());
        libc::sigaddset(&raw mut set, libc::SIGIO);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    check(i64::from(fd))?;
    // SAFETY: the call succeeded, so the descriptor is open and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Descriptors of leases that somebody waits for; `None` when some may be missing from the list.
pub(crate) fn noticed(notices: BorrowedFd<'_>) -> Option<Vec<i32>> {
    let mut found = Vec::new();
    let mut complete = true;
    loop {
        // SAFETY: an all-zero record is a valid value of the type.
        let mut record: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        let size = std::mem::size_of_val(&record);
        // SAFETY: pointer and length describe the live record.
        let length = unsafe { libc::read(notices.as_raw_fd(), (&raw mut record).cast(), size) };
        if usize::try_from(length) != Ok(size) {
            return complete.then_some(found);
        }
        // The plain signal comes when there was no room for one that names a descriptor.
        complete &= record.ssi_signo != libc::SIGIO as u32;
        found.push(record.ssi_fd);
    }
}
