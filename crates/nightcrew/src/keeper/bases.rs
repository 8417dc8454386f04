//! Copies of workspaces that environments and snapshots stand on.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use runner::root::Registries;
use rustix::fs::FlockOperation;

use super::home::Homes;
use super::spec::Spec;
use crate::clock;
use crate::failure::{Doing, Failure};

/// What environments and snapshots stand on.
#[derive(Default)]
struct Used {
    bases: Vec<PathBuf>,
    /// Parts of roots.
    roots: Vec<PathBuf>,
}

/// How long images and set-ups stay that nothing stands on.
const KEEP_ROOTS: Duration = Duration::from_hours(14 * 24);

impl Homes {
    /// Keeps bases from being swept for the life of the file: from before one is made until somebody
    /// who stands on it is written down.
    pub(crate) fn hold_bases(&self) -> Result<File, Failure> {
        let folder = self.root().join(".bases");
        let held = File::open(&folder).and_then(|held| {
            rustix::fs::flock(&held, FlockOperation::LockShared)?;
            Ok(held)
        });
        held.doing(format_args!("lock {}", folder.display()))
    }

    /// A place for a copy of a workspace, which lives as long as somebody stands on it.
    pub(crate) fn new_base(&self) -> Result<PathBuf, Failure> {
        let mut bytes = [0; 12];
        getrandom::fill(&mut bytes)
            .map_err(|error| Failure::new(format!("there are no random bytes: {error}")))?;
        Ok(self.root().join(".bases").join(hex::encode(bytes)))
    }

    /// Removes bases that nothing stands on any more, and roots likewise that were not used for long. While one is being made, it may be that: then
    /// whoever sweeps next does.
    pub(super) fn sweep(&self) -> Result<(), Failure> {
        let folder = self.root().join(".bases");
        let held = File::open(&folder).doing("list bases")?;
        match rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(()),
            locked => locked.map_err(io::Error::from).doing("lock the bases")?,
        }
        // One that is being made, or cannot be read: nothing is removed under it.
        let Some(used) = self.used()? else {
            return Ok(());
        };
        for entry in fs::read_dir(&folder).doing("list bases")?.flatten() {
            if !used.bases.contains(&entry.path()) {
                sandbox::remove_layer(&entry.path()).doing("remove a base")?;
            }
        }
        let before = SystemTime::from(clock::now()).checked_sub(KEEP_ROOTS);
        self.roots(Registries::default())
            .sweep(&used.roots, before.unwrap_or(SystemTime::UNIX_EPOCH))
            .doing("remove images and set-ups that nothing uses")?;
        Ok(())
    }

    /// Bases and parts of roots that environments and snapshots stand on; `None` when one cannot be read.
    fn used(&self) -> Result<Option<Used>, Failure> {
        let mut used = Used::default();
        let mut take = |spec: Spec| {
            used.roots.extend(spec.root.stands_on());
            used.bases.extend(spec.base);
        };
        for home in self.list()? {
            match home.spec() {
                Ok(spec) => take(spec),
                Err(_) => return Ok(None),
            }
        }
        for name in self.snapshot_names()? {
            match self.snapshot(&name) {
                Ok(Some(kept)) => take(kept.spec),
                Ok(None) => {}
                Err(_) => return Ok(None),
            }
        }
        Ok(Some(used))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::DataDir;

    #[test]
    fn a_base_that_is_being_made_is_not_swept_away() {
        let folder = tempfile::tempdir().unwrap();
        let homes = Homes::open(&DataDir::open(folder.path().to_owned()).unwrap()).unwrap();
        let held = homes.hold_bases().unwrap();
        let base = homes.new_base().unwrap();
        fs::create_dir(&base).unwrap();
        homes.sweep().unwrap();
        assert!(base.exists());
        // Others may make theirs meanwhile.
        drop(homes.hold_bases().unwrap());
        homes.sweep().unwrap();
        assert!(base.exists());
        drop(held);
        homes.sweep().unwrap();
        assert!(!base.exists());
    }
}
