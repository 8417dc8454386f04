//! Pseudo terminals (pty(7), ioctl_tty(2)).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{check, file};

/// A new pseudo terminal of the instance at /dev/pts: (the end that steers, the end for programs).
pub(crate) fn open(rows: u16, columns: u16) -> io::Result<(OwnedFd, OwnedFd)> {
    let master = file::open(c"/dev/ptmx", libc::O_RDWR | libc::O_NOCTTY)?;
    let unlocked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK takes a pointer to a live integer.
    check(i64::from(unsafe {
        libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked)
    }))?;
    resize(std::os::fd::AsFd::as_fd(&master), rows, columns)?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // By the open end and not by a name: a name could mean another instance.
    // SAFETY: TIOCGPTPEER takes open flags by value.
    let slave = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    check(i64::from(slave))?;
    // SAFETY: the call succeeded, so the descriptor is open and ours.
    Ok((master, unsafe { OwnedFd::from_raw_fd(slave) }))
}

/// Sets the size, of which programs on the terminal are told.
pub(crate) fn resize(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> io::Result<()> {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCSWINSZ takes a pointer to a live `winsize`.
    check(i64::from(unsafe {
        libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size)
    }))
    .map(drop)
}

/// Makes `terminal` the controlling one of this process, which leads a session that has none.
pub(crate) fn control(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes an integer by value; 0: never take it from another session.
    check(i64::from(unsafe {
        libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0)
    }))
    .map(drop)
}
