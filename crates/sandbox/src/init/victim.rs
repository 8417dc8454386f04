//! Who goes when memory is short: steps before the server, and before their own init, whose death
//! would end the environment.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use crate::message::{Failure, Stage};
use crate::sys::{creds, file};

/// `oom_score_adj` of steps: half of all memory counts as theirs. See proc_pid_oom_score_adj(5).
const OF_STEPS: i32 = 500;

/// The init's own `oom_score_adj`, which children inherit. Opened before /proc is closed to writes.
pub(super) struct Victim {
    file: File,
    own: i32,
}

impl Victim {
    /// Leaves this process open to inspection; its confinement closes it.
    pub(super) fn open() -> Result<Self, Failure> {
        let stage = "open the init's oom_score_adj";
        creds::permit_inspection().stage(stage)?;
        let mut file =
            File::from(file::open(c"/proc/self/oom_score_adj", libc::O_RDWR).stage(stage)?);
        let mut text = String::new();
        file.read_to_string(&mut text).stage(stage)?;
        let own = text.trim().parse().unwrap_or(0);
        Ok(Self { file, own })
    }

    /// For the length of `start`, what is born is to go first.
    pub(super) fn first<T>(&self, start: impl FnOnce() -> T) -> T {
        self.set(OF_STEPS.max(self.own));
        let started = start();
        self.set(self.own);
        started
    }

    fn set(&self, value: i32) {
        // Some kernels under kernels refuse; then all are as likely.
        let _ = self.file.write_all_at(value.to_string().as_bytes(), 0);
    }

    /// Its descriptor, moved to a number of at least `floor`.
    pub(super) fn move_above(self, floor: i32) -> Result<Self, Failure> {
        let moved = file::move_above(OwnedFd::from(self.file), floor).stage("keep a file")?;
        Ok(Self {
            file: File::from(moved),
            own: self.own,
        })
    }
}

impl std::os::fd::AsRawFd for Victim {
    fn as_raw_fd(&self) -> i32 {
        self.file.as_raw_fd()
    }
}
