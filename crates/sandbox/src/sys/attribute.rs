//! What files of layers are made of besides content: whiteouts, attributes, times, shared blocks.

use std::ffi::{CStr, CString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{c_path, check};

/// Most bytes of attribute names that one file is taken with, and of one value. The kernel's own
/// bounds (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const MAX_ATTRIBUTE: usize = 64 * 1024;

/// Makes a node without content: a whiteout (character device 0:0, which everybody may make), a
/// named pipe or a socket.
pub(crate) fn make_node(path: &Path, mode: u32) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: the path is NUL-terminated.
    check(i64::from(unsafe { libc::mknod(path.as_ptr(), mode, 0) })).map(drop)
}

/// Sets both times of a file to its time of modification, given in seconds and nanoseconds. Follows
/// no link.
pub(crate) fn set_modified(path: &Path, seconds: i64, nanoseconds: i64) -> io::Result<()> {
    let path = c_path(path)?;
    let time = libc::timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = [time, time];
    // SAFETY: the path is NUL-terminated and `times` is an array of two as the call wants.
    let result = unsafe {
        libc::utimensat(
            libc::AT_FDCWD,
            path.as_ptr(),
            times.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
        )
    };
    check(i64::from(result)).map(drop)
}

/// Names of the extended attributes of a file, in the kernel's order. The path is followed: it is
/// one in `/proc/self/fd`.
pub(crate) fn names(path: &Path) -> io::Result<Vec<CString>> {
    let path = c_path(path)?;
    let mut buffer = vec![0_u8; 256];
    loop {
        // SAFETY: the path is NUL-terminated; pointer and length describe live memory.
        let length =
            unsafe { libc::listxattr(path.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
        match check(length as i64) {
            Ok(length) => {
                buffer.truncate(length as usize);
                let names = buffer
                    .split(|byte| *byte == 0)
                    .filter(|name| !name.is_empty());
                return names
                    .map(|name| CString::new(name).map_err(io::Error::other))
                    .collect();
            }
            Err(error) if error.raw_os_error() == Some(libc::ERANGE) => {
                if buffer.len() >= MAX_ATTRIBUTE {
                    return Err(error);
                }
                buffer.resize(MAX_ATTRIBUTE, 0);
            }
            // A file system without attributes has none.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    }
}

/// The value of an extended attribute; `None` when the file has none of this name. The path is
/// followed: it is one in `/proc/self/fd`.
pub(crate) fn get(path: &Path, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    let path = c_path(path)?;
    let mut buffer = vec![0_u8; 256];
    loop {
        // SAFETY: both strings are NUL-terminated; pointer and length describe live memory.
        let length = unsafe {
            libc::getxattr(
                path.as_ptr(),
                name.as_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
            )
        };
        match check(length as i64) {
            Ok(length) => {
                buffer.truncate(length as usize);
                return Ok(Some(buffer));
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::ENODATA | libc::EOPNOTSUPP) => return Ok(None),
                Some(libc::ERANGE) if buffer.len() < MAX_ATTRIBUTE => {
                    buffer.resize(MAX_ATTRIBUTE, 0);
                }
                _ => return Err(error),
            },
        }
    }
}

/// Sets an extended attribute. Follows no link.
pub(crate) fn set(path: &Path, name: &CStr, value: &[u8]) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: both strings are NUL-terminated; pointer and length describe live memory.
    let result = unsafe {
        libc::lsetxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            0,
        )
    };
    check(i64::from(result)).map(drop)
}

/// What the link says that a descriptor stands for.
pub(crate) fn read_link(link: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    // The kernel's longest is one less, so this tells when something was cut off.
    let mut buffer = vec![0_u8; libc::PATH_MAX as usize];
    // SAFETY: the path is NUL-terminated; pointer and length describe live memory.
    let length = check(unsafe {
        libc::readlinkat(
            link.as_raw_fd(),
            c"".as_ptr(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
        )
    } as i64)? as usize;
    if length >= buffer.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    buffer.truncate(length);
    Ok(buffer)
}

/// Lets `to`, an empty file, share the blocks of `from`.
pub(crate) fn share_blocks(from: &File, to: &File) -> io::Result<()> {
    // SAFETY: both descriptors are open; the call takes no pointer.
    let result = unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONE, from.as_raw_fd()) };
    check(i64::from(result)).map(drop)
}

/// Opens folder `name` in `parent` without following a link, making it when it is absent.
pub(crate) fn enter_or_make(parent: &OwnedFd, name: &std::ffi::OsStr) -> io::Result<OwnedFd> {
    let name = c_path(Path::new(name))?;
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the descriptor is open and the name NUL-terminated.
    let made = unsafe { libc::mkdirat(parent.as_raw_fd(), name.as_ptr(), 0o755) };
    match check(i64::from(made)) {
        Err(error) if !matches!(error.raw_os_error(), Some(libc::EEXIST | libc::EROFS)) => {
            return Err(error);
        }
        _ => {}
    }
    // SAFETY: as above.
    let fd = unsafe { libc::openat(parent.as_raw_fd(), name.as_ptr(), flags) };
    check(i64::from(fd))?;
    // SAFETY: the call succeeded, so the descriptor is open and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What a file system says of itself.
pub(crate) struct FileSystem {
    /// Its kind.
    pub(crate) magic: i64,
    /// Bytes that are free for everybody.
    pub(crate) free_bytes: u64,
    /// Bytes in all.
    pub(crate) bytes: u64,
}

/// Asks the file system that a path is on.
pub(crate) fn file_system(path: &Path) -> io::Result<FileSystem> {
    let path = c_path(path)?;
    let mut answer = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the path is NUL-terminated and `answer` is a structure for the kernel to fill.
    check(i64::from(unsafe {
        libc::statfs(path.as_ptr(), answer.as_mut_ptr())
    }))?;
    // SAFETY: it was zeroed, which is a valid value, and then filled in.
    let answer = unsafe { answer.assume_init() };
    #[expect(
        clippy::unnecessary_cast,
        reason = "the types differ between architectures"
    )]
    Ok(FileSystem {
        magic: answer.f_type as i64,
        free_bytes: (answer.f_bavail as u64).saturating_mul(answer.f_bsize as u64),
        bytes: (answer.f_blocks as u64).saturating_mul(answer.f_bsize as u64),
    })
}

/// Forces the whole file system that `file` is on to its disk.
pub(crate) fn sync_file_system(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open; the call takes no pointer.
    check(i64::from(unsafe { libc::syncfs(file.as_raw_fd()) })).map(drop)
}

/// Whether this is the overlay's sign that a name is gone.
pub(crate) fn is_whiteout(meta: &Metadata) -> bool {
    meta.mode() & libc::S_IFMT == libc::S_IFCHR && meta.rdev() == 0
}

/// The next stretch of a file that is not a hole, from `at` on: its start and its end.
pub(crate) fn next_data(file: &File, at: u64) -> io::Result<Option<(u64, u64)>> {
    let seek = |from: u64, whence| {
        let from = i64::try_from(from).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
        // SAFETY: the descriptor is open; the call takes no pointer.
        check(unsafe { libc::lseek(file.as_raw_fd(), from, whence) })
    };
    let start = match seek(at, libc::SEEK_DATA) {
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => return Ok(None),
        result => result? as u64,
    };
    let end = seek(start, libc::SEEK_HOLE)? as u64;
    Ok(Some((start, end)))
}
