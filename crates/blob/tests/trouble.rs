//! Full disks and folders that may not be written.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use blob::{BlobStore, Error};
use common::files_under;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

/// A small file system of its own; needs root.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount(options: &std::ffi::CStr) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        match mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), options) {
            Ok(()) => Some(Self(dir)),
            Err(e) => {
                skip(&format!("mounting a tmpfs was refused: {e}"));
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        unmount(self.0.path(), UnmountFlags::DETACH).unwrap();
    }
}

#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn skip(reason: &str) {
    assert!(
        std::env::var("NIGHTCREW_REQUIRE_ALL").as_deref() != Ok("1"),
        "required, but {reason}"
    );
    println!("SKIP {reason}");
}

#[test]
fn a_full_disk_is_told_apart_and_leaves_nothing_half_written() {
    let Some(disk) = Tmpfs::mount(c"size=64k") else {
        return;
    };
    let store = BlobStore::open(disk.path()).unwrap();
    let small = store.put(b"fits").unwrap();
    let big = vec![1; 200 * 1024];
    for error in [
        store.put(&big).unwrap_err(),
        store.put_reader(&big[..]).unwrap_err(),
        store
            .put_batch(&[b"also fits".to_vec(), big.clone()])
            .unwrap_err(),
    ] {
        assert!(matches!(error, Error::Full { .. }), "{error:?}");
        assert!(error.to_string().contains("free some"));
    }
    assert_eq!(store.iter().count(), 1, "nothing but the blob that fitted");
    assert_eq!(files_under(disk.path()).len(), 1);
    assert_eq!(store.get(&small).unwrap(), b"fits");
    store.put(b"still works").unwrap();
}

#[test]
fn a_disk_without_inodes_is_full_too() {
    let Some(disk) = Tmpfs::mount(c"nr_inodes=100") else {
        return;
    };
    let error = BlobStore::open(disk.path()).unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error:?}");
}

#[test]
fn a_read_only_file_system_is_told_apart_and_can_still_be_read() {
    let Some(disk) = Tmpfs::mount(c"") else {
        return;
    };
    let store = BlobStore::open(disk.path()).unwrap();
    let digest = store.put(b"kept").unwrap();
    mount_remount(disk.path(), MountFlags::RDONLY, c"").unwrap();
    for error in [
        store.put(b"new").unwrap_err(),
        store.put(b"kept").unwrap_err(),
        store.put_reader(&b"new"[..]).unwrap_err(),
        BlobStore::open(disk.path()).unwrap_err(),
    ] {
        assert!(matches!(error, Error::ReadOnly { .. }), "{error:?}");
        assert!(error.to_string().contains("writable"));
    }
    assert_eq!(store.get(&digest).unwrap(), b"kept");
}

#[test]
fn a_folder_of_somebody_else_is_told_apart() {
    if rustix::process::geteuid().is_root() {
        // Root may write everywhere; the read-only mount above covers the variant.
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let error = BlobStore::open(dir.path().join("blobs")).unwrap_err();
    assert!(matches!(error, Error::ReadOnly { .. }), "{error:?}");
}

#[test]
fn a_file_where_the_folder_should_be_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "").unwrap();
    assert!(matches!(BlobStore::open(&path), Err(Error::Io { .. })));
}
