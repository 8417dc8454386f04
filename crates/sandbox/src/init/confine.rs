//! Giving up everything steps must not have. After this the init is as weak as they are.

use std::os::fd::AsFd;

use crate::message::{Failure, Stage};
use crate::supervisor::Workshop;
use crate::sys::{creds, process};

/// Drops privileges for good, in the order in which each still permits the next.
pub(super) fn confine(workshop: &Workshop) -> Result<(), Failure> {
    creds::drop_capabilities().stage("drop capabilities")?;
    creds::forbid_new_privileges().stage("forbid new privileges")?;
    creds::forbid_inspection().stage("close the init to inspection")?;
    // After the last change of credentials, which would clear it.
    process::die_with_parent(libc::SIGKILL).stage("die with the supervisor")?;
    if process::hung_up(workshop.alive.as_fd()) {
        return Err(Failure {
            stage: "find the supervisor".to_owned(),
            errno: libc::ESRCH,
        });
    }
    workshop.filter.apply().stage("filter system calls")
}
