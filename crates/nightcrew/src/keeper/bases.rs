//! Copies of workspaces that environments and snapshots stand on.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use rustix::fs::FlockOperation;

use super::home::Homes;
use crate::failure::{Doing, Failure};

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

    /// Removes bases that nothing stands on any more. While one is being made, it may be that: then
    /// whoever sweeps next does.
    pub(super) fn sweep(&self) -> Result<(), Failure> {
        let folder = self.root().join(".bases");
        let held = File::open(&folder).doing("list bases")?;
        match rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(()),
            locked => locked.map_err(io::Error::from).doing("lock the bases")?,
        }
        let mut used: Vec<PathBuf> = Vec::new();
        for home in self.list()? {
            match home.spec() {
                Ok(spec) => used.extend(spec.base),
                // One that is being made, or cannot be read: nothing is removed under it.
                Err(_) => return Ok(()),
            }
        }
        used.extend(
            self.snapshots()?
                .into_iter()
                .filter_map(|(_, kept)| kept.spec.base),
        );
        for entry in fs::read_dir(&folder).doing("list bases")?.flatten() {
            if !used.contains(&entry.path()) {
                sandbox::remove_layer(&entry.path()).doing("remove a base")?;
            }
        }
        Ok(())
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
