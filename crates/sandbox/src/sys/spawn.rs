//! Starting programs: from the init without copying its memory, and the supervisor itself.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::check;

/// A program to become, with everything execve(2) wants laid out beforehand.
pub(crate) struct Program {
    candidates: Vec<CString>,
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    // What the pointers point at.
    _strings: [Vec<CString>; 2],
}

impl Program {
    /// A program that may be at any of `candidates`.
    pub(crate) fn new(
        candidates: Vec<CString>,
        arguments: Vec<CString>,
        variables: Vec<CString>,
    ) -> Self {
        // The strings' bytes stay where they are when the vectors move.
        let (argv, envp) = (pointers(&arguments), pointers(&variables));
        Self {
            candidates,
            argv,
            envp,
            _strings: [arguments, variables],
        }
    }

    /// Becomes the program; returns only on failure. Allocates nothing.
    pub(crate) fn execute(&self) -> io::Error {
        let mut error = io::Error::from_raw_os_error(libc::ENOENT);
        for candidate in &self.candidates {
            // SAFETY: both arrays end with a null pointer and hold NUL-terminated strings that
            // live as long as `self`.
            unsafe { libc::execve(candidate.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr()) };
            let failed = io::Error::last_os_error();
            match failed.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => {}
                // Another folder may have one that can be executed.
                Some(libc::EACCES) => error = failed,
                _ => return failed,
            }
        }
        error
    }
}

/// Runs `child` in a new process that shares this one's memory, and waits until it has executed a
/// program or ended: as vfork(2) does, which spares copying the page tables.
///
/// `child` returns an exit code if it executes nothing. It must allocate nothing: what it leaves in
/// memory stays. It runs on `stack`.
pub(crate) fn vfork(stack: &mut [u8], child: &mut dyn FnMut() -> i32) -> io::Result<i32> {
    extern "C" fn enter(argument: *mut libc::c_void) -> libc::c_int {
        // SAFETY: `argument` is the pointer given to clone below, to a value that the suspended
        // parent keeps alive.
        let child = unsafe { &mut *argument.cast::<&mut dyn FnMut() -> i32>() };
        child()
    }
    let mut child: &mut dyn FnMut() -> i32 = child;
    // The stack grows downwards from an aligned end.
    let end = stack.as_mut_ptr_range().end;
    let top = end.wrapping_sub(end as usize % 16);
    // SAFETY: the stack is exclusively the child's while it runs; CLONE_VFORK suspends this
    // process, which has one thread, until the child no longer uses its memory.
    let pid = unsafe {
        libc::clone(
            enter,
            top.cast(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            (&raw mut child).cast(),
        )
    };
    check(i64::from(pid)).map(|pid| pid as i32)
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([ptr::null()])
        .collect()
}

/// Lets a program that is about to be started keep descriptor `fd`, under the same number.
///
/// The caller keeps `fd` open until the program is started.
pub(crate) fn pass_descriptor(command: &mut std::process::Command, fd: BorrowedFd<'_>) {
    use std::os::unix::process::CommandExt;
    let number = fd.as_raw_fd();
    let keep = move || {
        // SAFETY: the descriptor is open here, in the forked child, because it is in the parent.
        super::file::keep_at_exec(unsafe { BorrowedFd::borrow_raw(number) })
    };
    // SAFETY: the closure makes one system call, allocates nothing and takes no locks.
    unsafe { command.pre_exec(keep) };
}
