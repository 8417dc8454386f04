//! What can go wrong with a virtual machine.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::SandboxError;

/// Why a virtual machine could not be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VmError {
    /// A field of a spec is not acceptable.
    #[error("`{field}` is not acceptable: {reason}")]
    InvalidSpec {
        /// The field.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// Something a machine needs is not on this host.
    #[error("{what} is not there; {cure}")]
    Missing {
        /// What.
        what: String,
        /// What to do, as a command where there is one.
        cure: String,
    },
    /// A file for the guest cannot be used.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The place for the machine could not be made.
    #[error("cannot start the machine: {stage}")]
    Start {
        /// What was refused.
        stage: String,
        /// Why.
        source: io::Error,
    },
    /// The guest's kernel gave up.
    #[error("the guest's kernel panicked: {message}")]
    Panic {
        /// The kernel's own words.
        message: String,
    },
    /// The guest has less memory than it needs.
    #[error("the guest has too little memory ({memory_mib} MiB): {message}")]
    MemoryTooSmall {
        /// What it was given, in MiB.
        memory_mib: u64,
        /// What its kernel said.
        message: String,
    },
    /// One of the machine's programs ended.
    #[error("{program} ended ({status}): {tail}")]
    Ended {
        /// Which: `qemu`, `root` or `work` (the two virtiofsd), `keeper`.
        program: String,
        /// How.
        status: String,
        /// The last lines of the console.
        tail: String,
    },
    /// The guest did not answer in time; it was killed.
    #[error("the guest did not answer within {} seconds while it should {what}: {tail}", limit.as_secs())]
    Silent {
        /// What was waited for.
        what: &'static str,
        /// How long.
        limit: Duration,
        /// The last lines of the console.
        tail: String,
    },
    /// The guest refused.
    #[error("the guest cannot {stage}")]
    Guest {
        /// What it tried.
        stage: String,
        /// Why not.
        source: io::Error,
    },
    /// What the guest says makes no sense; it was killed.
    #[error("the guest does not follow the protocol")]
    Nonsense,
    /// An environment in the guest could not be made or used.
    #[error(transparent)]
    Environment(#[from] SandboxError),
}
