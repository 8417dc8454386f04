//! What was enforced for an environment, and the proof.

use serde::{Deserialize, Serialize};

/// What a host can enforce, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum IsolationLevel {
    /// Namespaces, limits and the system call filter; exec control by content is absent.
    L0,
    /// L0 and exec control by fanotify.
    L1,
    /// L0 and exec control by BPF-LSM.
    L2,
    /// A kernel of its own.
    L3,
}

/// One probe of the self-test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeResult {
    /// Stable name.
    pub name: String,
    /// Whether isolation held.
    pub passed: bool,
    /// What was seen.
    pub detail: String,
}

/// What was enforced for one environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsolationReport {
    /// The level reached.
    pub level: IsolationLevel,
    /// The layers in force, by stable name: `user`, `mount`, `pid`, `net`, `ipc`, `uts`, `cgroup`,
    /// `overlay`, `exec-gate`, `rlimits`, `no-capabilities`, `no-new-privs`, `seccomp`, `landlock`; `noexec`
    /// (writable folders hold nothing executable) and `wx` by exec mode; `cgroup-memory` and
    /// `cgroup-cpu` when limits ask for them; `cgroup-pids` (in the first version of cgroups only
    /// beside one of these two), `cgroup-io`, `cgroup-freeze`, `cgroup-kill`; `network-brokered` when the spec
    /// has a network.
    pub layers: Vec<String>,
    /// Every probe, run inside with the credentials steps have.
    pub self_test: Vec<ProbeResult>,
    /// What is weaker than it could be on another host, one sentence each.
    pub weaker: Vec<String>,
}
