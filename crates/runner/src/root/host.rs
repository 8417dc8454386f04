//! What identifies this host's system, so that a set-up over its programs does not outlive an upgrade.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use recipe::Digest;

/// Says which system it is.
const RELEASE: &str = "/etc/os-release";
/// Most bytes of that which are looked at.
const LARGEST: u64 = 64 * 1024;
/// What package managers change whenever they change the system.
const DATABASES: &[&str] = &[
    "/var/lib/dpkg/status",
    "/var/lib/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/lib/apk/db/installed",
    "/var/lib/pacman/local",
];

/// A digest that changes with the system's packages. What was changed without a package manager does not
/// show.
pub(super) fn identity() -> Digest {
    of(Path::new(RELEASE), DATABASES.iter().map(Path::new))
}

fn of<'a>(release: &Path, databases: impl Iterator<Item = &'a Path>) -> Digest {
    let mut seen = Vec::new();
    // What is not there is not there: another host, another identity.
    if let Ok(file) = File::open(release) {
        let _ = file.take(LARGEST).read_to_end(&mut seen);
    }
    for database in databases {
        let stamp = fs::metadata(database)
            .map(|meta| (meta.size(), meta.mtime(), meta.mtime_nsec()))
            .ok();
        seen.extend_from_slice(format!("\0{stamp:?}").as_bytes());
    }
    Digest::of(&seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upgrade_changes_it_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let (release, status) = (folder.path().join("release"), folder.path().join("status"));
        let now = || of(&release, [status.as_path()].into_iter());
        let mut seen = std::collections::BTreeSet::from([now()]);
        fs::write(&release, "VERSION=12").unwrap();
        assert!(seen.insert(now()));
        fs::write(&status, "one").unwrap();
        assert!(seen.insert(now()));
        assert!(!seen.insert(now()));
        fs::write(&status, "another").unwrap();
        assert!(seen.insert(now()));
        assert_eq!(identity(), identity());
    }
}
