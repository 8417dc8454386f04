//! Whether a file of an overlay can be changed through a mapping.
//!
//! A shared writable mapping of an overlay's file holds the *real* file open for writing, and the
//! overlay does not know it once the descriptor is closed: no lease on the overlay's file is refused,
//! no time changes. So the lease is tried on the real file too. An overlay made in a user namespace
//! has no file handles, so the real file is found by its path, which the environment can swap at any
//! moment: what is found counts only when it is proven to be the one.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::sys::about::{self, About};
use crate::sys::{beneath, c_path, file, lease};

/// The real folders behind one overlay.
#[derive(Debug)]
pub(super) struct Behind {
    /// Where the overlay is, inside.
    at: PathBuf,
    /// The folder that receives writes.
    upper: OwnedFd,
    /// The folders under it.
    lowers: Vec<OwnedFd>,
}

impl Behind {
    pub(super) fn open(at: PathBuf, upper: &Path, lowers: &[PathBuf]) -> io::Result<Self> {
        let folder = |path: &Path| file::open(&c_path(path)?, libc::O_PATH | libc::O_DIRECTORY);
        Ok(Self {
            at,
            upper: folder(upper)?,
            lowers: lowers
                .iter()
                .map(|path| folder(path))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Whether nobody can change the file through a mapping made earlier. Needs a lease on the
    /// overlay's file, which keeps later ones away. What cannot be said is false.
    pub(super) fn is_still(&self, overlay: &File, about: &About, path: &[u8]) -> bool {
        let inside = Path::new(OsStr::from_bytes(path));
        let Some(below) = inside
            .strip_prefix(&self.at)
            .ok()
            .and_then(|below| CString::new(below.as_os_str().as_bytes()).ok())
        else {
            return false;
        };
        if let Ok(real) = beneath::open(self.upper.as_fd(), &below) {
            let real = File::from(real);
            return is_same(&real, overlay, about) && is_unmapped(&real);
        }
        // Nothing was copied up: what is below never changes. The times of a copy would be later.
        self.lowers
            .iter()
            .filter_map(|lower| beneath::open(lower.as_fd(), &below).ok())
            .filter_map(|real| about::of(&File::from(real)).ok())
            .any(|real| real.inode == about.inode && times(&real) == times(about))
    }
}

type Times = (u64, (i64, u32), (i64, u32));

fn times(about: &About) -> Times {
    (about.size, about.modified, about.changed)
}

/// Whether an upper file is the one behind the overlay's.
fn is_same(real: &File, overlay: &File, about: &About) -> bool {
    let Ok(found) = about::of(real) else {
        return false;
    };
    if !found.regular || times(&found) != times(about) {
        return false;
    }
    // The overlay shows the number of the real file.
    if found.inode == about.inode {
        return true;
    }
    // But for a file copied up lately, it keeps the number of the lower one. What is changed of the
    // one must then show in the other.
    if beneath::touch(overlay.as_fd()).is_err() {
        return false;
    }
    match (about::of(real), about::of(overlay)) {
        (Ok(real), Ok(overlay)) => real.changed != found.changed && times(&real) == times(&overlay),
        _ => false,
    }
}

/// Whether nobody has a real file open for writing, by whatever way.
fn is_unmapped(real: &File) -> bool {
    // Its loss is of no interest, but its signal must not be the one that kills.
    if lease::tell_me(real.as_fd()).is_err() {
        return false;
    }
    let free = lease::take(real.as_fd()).unwrap_or(false);
    lease::give_up(real.as_fd());
    free
}
