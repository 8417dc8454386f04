//! The system call filter: a deny list of calls no step needs and a kernel attack wants.
//!
//! Written by hand as classic BPF (seccomp(2), `linux/filter.h`): a binary search over the numbers
//! with a rule, so that permitted calls cost a handful of instructions and the kernel's allow bitmap
//! is computed quickly.

mod list;
mod program;
#[cfg(test)]
mod tests;

use std::io;

use super::check;

/// A compiled filter.
pub(crate) struct Filter(Vec<libc::sock_filter>);

impl Filter {
    /// Compiles the filter for this machine's architecture.
    pub(crate) fn compile() -> Self {
        Self(program::assemble(&list::rules()))
    }

    /// Puts the filter on this process and all it will start. Needs no-new-privileges.
    pub(crate) fn apply(&self) -> io::Result<()> {
        let program = libc::sock_fprog {
            len: self.0.len() as u16,
            filter: self.0.as_ptr().cast_mut(),
        };
        // SAFETY: `program` describes a live array of instructions, which the kernel only reads.
        let result = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                0,
                &raw const program,
            )
        };
        check(result).map(drop)
    }
}

/// Makes a filter's notification listener and closes it: whether the kernel has them. Leaves the
/// filter (which permits everything) on this process.
pub(crate) fn try_listener() -> io::Result<()> {
    let permit = [libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_ALLOW,
    }];
    let program = libc::sock_fprog {
        len: 1,
        filter: permit.as_ptr().cast_mut(),
    };
    // SAFETY: `program` describes a live array of instructions, which the kernel only reads.
    let listener = check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    })?;
    super::file::adopt(listener as i32).map(drop)
}

/// memfd_create(2) and memfd_secret(2): the errno of each. For the self-test.
pub(crate) fn make_memory_files() -> [io::Result<()>; 2] {
    // SAFETY: the name is a NUL-terminated constant.
    let file = unsafe { libc::memfd_create(c"probe".as_ptr(), libc::MFD_CLOEXEC) };
    // SAFETY: takes no pointers.
    let secret = unsafe { libc::syscall(list::MEMFD_SECRET, libc::O_CLOEXEC) };
    [i64::from(file), secret].map(|made| {
        let made = check(made)?;
        super::file::adopt(made as i32).map(drop)
    })
}

/// io_uring_setup(2). For the self-test.
pub(crate) fn make_ring() -> io::Result<()> {
    // SAFETY: a null pointer is refused by the kernel with EFAULT, were the call permitted.
    check(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, std::ptr::null::<u8>()) }).map(drop)
}

/// `TIOCSTI` on standard input. For the self-test.
pub(crate) fn inject_into_terminal() -> io::Result<()> {
    let byte = 0_u8;
    // SAFETY: TIOCSTI takes a pointer to one live byte.
    check(i64::from(unsafe {
        libc::ioctl(0, libc::TIOCSTI, &raw const byte)
    }))
    .map(drop)
}
