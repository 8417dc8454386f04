//! Makes and destroys environments. The only room with unsafe code.
//!
//! An *environment* is a place where steps of a task execute: its own user, mounts, processes,
//! network, limits, and a copy-on-write workspace at `/work`. A [`Supervisor`] makes them by clone,
//! without exec; every environment proves its isolation by a self-test before
//! [`Supervisor::create`] returns, and is killed if the proof fails.
//!
//! The program that uses this crate must begin its `main` with
//! [`supervisor::run_if_requested`].

mod cgroup;
mod client;
mod error;
mod escape;
mod exec_policy;
mod gate;
mod identity;
mod init;
mod layer;
pub mod lsm;
mod message;
pub mod network;
mod preflight;
mod report;
mod spec;
pub mod storage;
pub mod supervisor;
#[expect(
    unsafe_code,
    reason = "the kernel's interface; every other module uses safe wrappers"
)]
mod sys;
pub mod vm;
mod wire;

pub use cgroup::Usage;
pub use client::{Environment, Running, Supervisor, SupervisorOptions, Terminal};
pub use error::SandboxError;
pub use escape::{EscapeAttempt, escape_attempts};
pub use exec_policy::{Digest, ExecEvent, ExecMode, ExecPolicy, ExecRule, ExecTarget, RuleVerdict};
pub use identity::{SANDBOX_UID, outside_identity};
pub use layer::{prepare_base, private_folder, remove_layer};
pub use network::{NetworkSockets, NetworkSpec};
pub use preflight::{Finding, Preflight, State, preflight};
pub use report::{IsolationLevel, IsolationReport, ProbeResult};
pub use spec::{
    EnvironmentSpec, ExecSpec, Exit, ExitStatus, FolderMount, Limits, Required, RootRecipe,
    TerminalSize, Workspace,
};
