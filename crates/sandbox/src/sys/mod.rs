//! Thin safe wrappers over the kernel interfaces this crate needs. All unsafe code of the project is in here.

pub(crate) mod about;
pub(crate) mod attribute;
pub(crate) mod beneath;
pub(crate) mod btrfs;
pub(crate) mod creds;
pub(crate) mod fanotify;
pub(crate) mod file;
pub(crate) mod landlock;
pub(crate) mod lease;
pub(crate) mod listen;
pub(crate) mod machine;
pub(crate) mod memory;
pub(crate) mod mount;
pub(crate) mod mounts;
pub(crate) mod net;
pub(crate) mod other;
pub(crate) mod packet;
pub(crate) mod process;
pub(crate) mod pty;
pub(crate) mod route;
pub(crate) mod seccomp;
pub(crate) mod socket;
pub(crate) mod spawn;
#[cfg(feature = "bpf-lsm")]
pub(crate) mod trial;
pub(crate) mod watch;

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Turns the C convention "negative means errno" into a result.
fn check(result: i64) -> io::Result<i64> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// A path as the kernel wants it; a NUL inside is an invalid argument.
pub(crate) fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}
