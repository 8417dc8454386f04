//! Subvolumes of btrfs, by its own ioctls (`linux/btrfs.h`).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::check;

/// `statfs` magic number.
pub(crate) const MAGIC: i64 = 0x9123_683E;
/// The root of every subvolume has this inode number.
const ROOT_INODE: u64 = 256;

/// `_IOW(0x94, 14, struct btrfs_ioctl_vol_args)`.
const SUBVOL_CREATE: u64 = 0x5000_940E;
/// `_IOW(0x94, 15, struct btrfs_ioctl_vol_args)`.
const SNAP_DESTROY: u64 = 0x5000_940F;
/// `_IOW(0x94, 23, struct btrfs_ioctl_vol_args_v2)`.
const SNAP_CREATE_V2: u64 = 0x5000_9417;
/// `_IOR(0x94, 43, struct btrfs_ioctl_qgroup_limit_args)`.
const QGROUP_LIMIT: u64 = 0x8030_942B;

/// `BTRFS_QGROUP_LIMIT_MAX_EXCL`: a bound on what only the subvolume has.
const LIMIT_EXCLUSIVE: u64 = 2;

const NAME: usize = 4088;
const NAME_V2: usize = 4040;

#[repr(C)]
struct Arguments {
    fd: i64,
    name: [u8; NAME],
}

#[repr(C)]
struct ArgumentsV2 {
    fd: i64,
    transid: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; NAME_V2],
}

#[repr(C)]
struct QgroupLimit {
    /// 0: the subvolume that the descriptor is in.
    qgroup: u64,
    flags: u64,
    max_referenced: u64,
    max_exclusive: u64,
    reserved_referenced: u64,
    reserved_exclusive: u64,
}

/// Whether a path is the root of a subvolume.
pub(crate) fn is_subvolume(path: &Path) -> bool {
    path.symlink_metadata()
        .is_ok_and(|meta| meta.is_dir() && meta.ino() == ROOT_INODE)
        && super::attribute::file_system(path).is_ok_and(|found| found.magic == MAGIC)
}

/// Makes an empty subvolume.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    by_name(path, SUBVOL_CREATE)
}

/// Removes a subvolume with everything in it. Needs root or the mount option
/// `user_subvol_rm_allowed`.
pub(crate) fn destroy(path: &Path) -> io::Result<()> {
    by_name(path, SNAP_DESTROY)
}

fn by_name(path: &Path, request: u64) -> io::Result<()> {
    let (parent, name) = split::<NAME>(path)?;
    let arguments = Arguments { fd: 0, name };
    // SAFETY: the request takes a pointer to this structure, which outlives the call.
    let result = unsafe { libc::ioctl(parent.as_raw_fd(), request, &raw const arguments) };
    check(i64::from(result)).map(drop)
}

/// Makes a writable snapshot of subvolume `from` as `to`.
pub(crate) fn snapshot(from: &Path, to: &Path) -> io::Result<()> {
    let source = File::open(from)?;
    let (parent, name) = split::<NAME_V2>(to)?;
    let arguments = ArgumentsV2 {
        fd: i64::from(source.as_raw_fd()),
        transid: 0,
        flags: 0,
        unused: [0; 4],
        name,
    };
    // SAFETY: the request takes a pointer to this structure, which outlives the call.
    let result = unsafe { libc::ioctl(parent.as_raw_fd(), SNAP_CREATE_V2, &raw const arguments) };
    check(i64::from(result)).map(drop)
}

/// Bounds what a subvolume may hold beyond what it shares with others. Needs root, and `btrfs quota enable`: accounting costs the
/// whole file system time, so turning it on is for whoever owns it.
pub(crate) fn limit(subvolume: &Path, bytes: u64) -> io::Result<()> {
    let folder = File::open(subvolume)?;
    let wanted = QgroupLimit {
        qgroup: 0,
        flags: LIMIT_EXCLUSIVE,
        max_referenced: 0,
        max_exclusive: bytes,
        reserved_referenced: 0,
        reserved_exclusive: 0,
    };
    // SAFETY: the request takes a pointer to this structure, which outlives the call.
    check(i64::from(unsafe {
        libc::ioctl(folder.as_raw_fd(), QGROUP_LIMIT, &raw const wanted)
    }))
    .map(drop)
}

/// The open parent of a path, and its last name as the kernel wants it.
fn split<const SIZE: usize>(path: &Path) -> io::Result<(File, [u8; SIZE])> {
    let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
    let parent = path.parent().ok_or_else(invalid)?;
    let name = path.file_name().ok_or_else(invalid)?.as_bytes();
    let mut buffer = [0; SIZE];
    // One byte stays for the NUL.
    buffer
        .get_mut(..name.len())
        .filter(|_| name.len() < SIZE)
        .ok_or_else(invalid)?
        .copy_from_slice(name);
    Ok((File::open(parent)?, buffer))
}
