//! The steering end of a step's own terminal.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::spec::TerminalSize;
use crate::sys::pty;

/// The steering end of a terminal that belongs to the environment: what is written here is typed
/// there, and what programs print is read here. Reading fails with `EIO` once the step has ended and
/// everything was read.
///
/// What comes out of it was written by programs of the environment: any bytes, control sequences
/// among them.
#[derive(Debug)]
pub struct Terminal(pub(super) OwnedFd);

impl Terminal {
    /// Tells programs on the terminal of a new size.
    ///
    /// # Errors
    /// When the kernel refuses, as after the end of the environment.
    pub fn resize(&self, size: TerminalSize) -> io::Result<()> {
        pty::resize(self.0.as_fd(), size.rows, size.columns)
    }

    /// Another descriptor of the same end, to be read or written elsewhere.
    ///
    /// # Errors
    /// When this process has too many open files.
    pub fn try_clone(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }
}

impl AsFd for Terminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
