//! Whether this host can make environments, and how strong ones; where not, the cause and the cure.
//!
//! Every answer comes from trying, in a forked child, what an environment needs. Settings are read
//! only afterwards, to name the cause of a refusal.

mod attempt;
mod cause;
mod host;

use serde::Serialize;

use crate::report::IsolationLevel;
use crate::sys::{creds, landlock};

/// What the preflight found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Preflight {
    /// The level environments on this host can reach, short of a machine of their own; absent when
    /// none can be made.
    pub level: Option<IsolationLevel>,
    /// One per capability tried; those that environments cannot be made without first.
    pub findings: Vec<Finding>,
}

/// One thing tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable name: `user-namespace`, `mount-namespace`, `network-namespace`, `tmpfs`,
    /// `mount-attributes`, `noexec`, `terminals`, `seccomp`, `seccomp-notify`, `landlock`, `wx`,
    /// `proc`, `overlay`, `exec-gate`, `newuidmap`, and `cgroup-` with `memory`, `cpu`, `pids`, `io`,
    /// `freeze`, `kill`.
    pub name: String,
    /// Whether it is fully there: [`State::Active`].
    pub ok: bool,
    /// How far it is there.
    pub state: State,
    /// What was seen, where there is more to say than the state; may be empty.
    pub detail: String,
    /// Why it is not fully there; empty when it is.
    pub cause: String,
    /// What to do about it, as a command where there is one; empty when it is there.
    pub cure: String,
}

/// How far a layer is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It works.
    Active,
    /// It works in part.
    Weaker,
    /// It does not work.
    Absent,
}

impl Finding {
    pub(crate) fn active(name: &str, detail: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            ok: true,
            state: State::Active,
            detail: detail.into(),
            cause: String::new(),
            cure: String::new(),
        }
    }

    pub(crate) fn absent(name: &str, cause: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            ok: false,
            state: State::Absent,
            detail: String::new(),
            cause: cause.into(),
            cure: cure.into(),
        }
    }

    pub(crate) fn weaker(self) -> Self {
        Self {
            ok: false,
            state: State::Weaker,
            ..self
        }
    }
}

/// What environments cannot be made without.
const NECESSARY: [&str; 8] = [
    "user-namespace",
    "mount-namespace",
    "network-namespace",
    "tmpfs",
    "mount-attributes",
    "terminals",
    "seccomp",
    "proc",
];

/// Findings of other parts of this crate, asked in this order after those of the launcher.
const FURTHER: &[fn() -> Finding] = &[host::exec_gate, host::newuidmap];

/// Tries everything an environment needs. Takes a few milliseconds and leaves nothing behind.
#[must_use]
pub fn preflight() -> Preflight {
    let root = creds::effective_uid() == 0;
    let mut findings: Vec<Finding> = attempt::NAMES
        .iter()
        .zip(attempt::all())
        .map(|(name, errno)| match errno {
            None if *name == "landlock" => landlock(landlock::version()),
            None => Finding::active(name, ""),
            Some(errno) => cause::explain(name, errno, root),
        })
        .collect();
    // What nothing goes without first: the first refusal then says why none can be made.
    findings.sort_by_key(|finding| !NECESSARY.contains(&finding.name.as_str()));
    findings.extend(host::cgroups());
    findings.extend(FURTHER.iter().map(|find| find()));
    let possible = findings
        .iter()
        .all(|finding| finding.ok || !NECESSARY.contains(&finding.name.as_str()));
    Preflight {
        level: possible.then(|| level(&findings)),
        findings,
    }
}

/// The level that environments reach which judge programs; the others stay at L0.
fn level(findings: &[Finding]) -> IsolationLevel {
    let gate = findings.iter().find(|finding| finding.name == "exec-gate");
    match gate {
        Some(gate) if gate.ok => IsolationLevel::L1,
        _ => IsolationLevel::L0,
    }
}

/// Landlock works; how much of it.
fn landlock(version: u32) -> Finding {
    let detail = format!("version {version}");
    if version >= landlock::WHOLE {
        return Finding::active("landlock", detail);
    }
    let cause = "it covers files only in part, and neither signals nor abstract sockets";
    let cure = "Linux 6.12 or later";
    let finding = Finding::absent("landlock", cause, cure).weaker();
    Finding { detail, ..finding }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_landlock_is_weaker_and_says_why() {
        let found = landlock(3);
        assert_eq!((found.ok, found.state), (false, State::Weaker));
        assert!(!found.cause.is_empty() && !found.cure.is_empty());
        assert_eq!(landlock(7).state, State::Active);
    }
}
