//! Making room: images, set-ups, caches and stamps that nothing stands on any more.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use recipe::Digest;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW};
use sandbox::storage::{SetUpError, forget_set_ups};

use super::{RootError, Roots, unusable};

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Unpacked images.
    pub images: usize,
    /// Set-ups, and what they put into caches.
    pub set_ups: usize,
}

impl Roots {
    /// Removes what is not in `used` (see [`Ready::stands_on`](super::Ready::stands_on)) and was not asked
    /// for since `before`. That must be long enough ago for whoever was given something to have written
    /// down that it is used.
    ///
    /// # Errors
    /// [`RootError`]. What was not removed by then is removed the next time.
    pub fn sweep(&self, used: &[PathBuf], before: SystemTime) -> Result<Swept, RootError> {
        let mut swept = Swept::default();
        if self.folder.join("images").is_dir() {
            // Below `images/OWNER/trees/`.
            let trees = used.iter().filter_map(|path| {
                let path = path.strip_prefix(self.folder.join("images")).ok()?;
                let name = path.components().nth(2)?.as_os_str().to_str()?;
                format!("sha256:{name}").parse::<Digest>().ok()
            });
            swept.images = self.images()?.collect(&trees.collect(), before)?.trees;
        }
        let keep = names(used, &self.folder.join("set-up"));
        let keep = |key: &str| keep.contains(key);
        swept.set_ups =
            forget_set_ups(&self.folder.join("set-up"), keep, before).map_err(SetUpError::Cache)?;
        for part in ["caches", "stamps"] {
            let folder = self.folder.join(part);
            let keep = names(used, &folder);
            remove_old(&folder, &keep, before).map_err(|error| unusable(&folder, error))?;
        }
        Ok(swept)
    }
}

/// Which entries of a folder these paths are in.
fn names(used: &[PathBuf], folder: &Path) -> BTreeSet<String> {
    let name = |path: &PathBuf| {
        let first = path.strip_prefix(folder).ok()?.components().next()?;
        Some(first.as_os_str().to_str()?.to_owned())
    };
    used.iter().filter_map(name).collect()
}

fn remove_old(folder: &Path, keep: &BTreeSet<String>, before: SystemTime) -> io::Result<()> {
    let listing = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        listing => listing?,
    };
    for entry in listing {
        let entry = entry?;
        let kept = entry
            .file_name()
            .to_str()
            .is_some_and(|name| keep.contains(name));
        if !kept && entry.metadata()?.modified()? < before {
            sandbox::remove_layer(&entry.path())
                .map_err(|error| io::Error::other(crate::halt::chain(&error)))?;
        }
    }
    Ok(())
}

/// Notes that something was asked for.
pub(super) fn touch(path: &Path) -> io::Result<()> {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    };
    let times = Timestamps {
        last_access: now,
        last_modification: now,
    };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::root::Registries;

    #[test]
    fn what_is_used_or_was_used_lately_stays_and_the_rest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let roots = Roots::at(folder.path(), Registries::default());
        for name in [
            "set-up/used/home",
            "set-up/gone/home",
            "caches/npm@used",
            "caches/npm@gone",
        ] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        fs::create_dir(folder.path().join("stamps")).unwrap();
        fs::write(folder.path().join("stamps/old"), "").unwrap();
        let used = ["set-up/used/home", "caches/npm@used"].map(|name| folder.path().join(name));
        assert_eq!(
            roots.sweep(&used, SystemTime::UNIX_EPOCH).unwrap(),
            Swept::default()
        );
        assert!(folder.path().join("caches/npm@gone").exists());
        let later = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert_eq!(roots.sweep(&used, later).unwrap().set_ups, 1);
        for (name, stays) in [
            ("set-up/used/home", true),
            ("set-up/gone", false),
            ("caches/npm@used", true),
            ("caches/npm@gone", false),
            ("stamps/old", false),
        ] {
            assert_eq!(folder.path().join(name).exists(), stays, "{name}");
        }
    }
}
