//! W^X: memory that was writable never becomes executable.

use std::io;

use super::check;

/// `PR_MDWE_REFUSE_EXEC_GAIN`, see prctl(2).
const REFUSE_EXEC_GAIN: libc::c_ulong = 1;

/// From here on no memory of this process, and of what it starts, becomes executable unless it was
/// so from the beginning. Irrevocable. Linux 6.3 or later.
pub(crate) fn forbid_new_code() -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(i64::from(unsafe {
        libc::prctl(libc::PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0)
    }))
    .map(drop)
}

/// Makes a page writable, then executable, and gives it back.
pub(crate) fn make_code() -> io::Result<()> {
    const PAGE: usize = 4096;
    // SAFETY: a new anonymous mapping of one page, at an address the kernel chooses.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the page is ours; nothing is executed in it.
    let result = check(i64::from(unsafe {
        libc::mprotect(page, PAGE, libc::PROT_READ | libc::PROT_EXEC)
    }));
    // SAFETY: the mapping made above, which nothing refers to.
    unsafe { libc::munmap(page, PAGE) };
    result.map(drop)
}
