//! The init of an environment: sets it up from inside, proves it, then runs steps one at a time.
//!
//! It is a clone of the supervisor, so it starts without exec. By the time it takes its first order
//! it holds exactly the credentials that steps have, and every other process inside is its child or
//! becomes so when orphaned; when it dies the kernel kills them all.

mod confine;
mod selftest;
mod serve;
mod setup;
mod step;
mod victim;

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::cgroup::Joined;
use crate::exec_policy::{ExecMode, ExecRule, ExecTarget, RuleVerdict};
use crate::gate::door;
use crate::message::{Create, Failure, Reply, Stage};
use crate::supervisor::Workshop;
use crate::sys::{file, process, socket};

/// Descriptors of the init after set-up: its link to the client and the supervisor's sign of life.
const FIRST_FREE_FD: i32 = 32;

/// Runs the init; `mapped` closes when the user map is written.
pub(crate) fn main(
    workshop: &Workshop,
    request: &Create,
    template: &CStr,
    joined: &Joined,
    link: &OwnedFd,
    mapped: &OwnedFd,
) -> ! {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        run(workshop, request, template, joined, link, mapped);
    }));
    // Leave without destructors: they would act on things that belong to the supervisor.
    process::exit_now(i32::from(outcome.is_err()))
}

fn run(
    workshop: &Workshop,
    request: &Create,
    template: &CStr,
    joined: &Joined,
    link: &OwnedFd,
    mapped: &OwnedFd,
) {
    process::set_name(&short_name(&request.id));
    match become_init(workshop, request, template, joined, link, mapped) {
        Err(failure) => {
            let _ = socket::send(link.as_fd(), &Reply::Failed(failure).encode(), &[]);
        }
        Ok(None) => {}
        Ok(Some(serve)) => serve.run(),
    }
}

/// Sets up, confines and tests. `None` when isolation did not hold: the client was told.
fn become_init(
    workshop: &Workshop,
    request: &Create,
    template: &CStr,
    joined: &Joined,
    link: &OwnedFd,
    mapped: &OwnedFd,
) -> Result<Option<serve::Serve>, Failure> {
    let started = std::time::Instant::now();
    let setup::Built {
        mut layers,
        network,
    } = setup::build(request, template, mapped, &workshop.shares)?;
    let pidfd = process::own_pidfd().stage("name the init")?;
    let victim = victim::Victim::open()?;
    // Before anything of the environment's own runs.
    let gate = gate(workshop, request, template, &pidfd, &mut layers)?;
    let confined = confine::confine(workshop, request)?;
    let self_test = selftest::run(workshop, request, &confined, &network);
    layers.extend(confined.layers);
    layers.extend_from_slice(&joined.layers);
    let mut weaker = confined.weaker;
    weaker.extend_from_slice(&joined.weaker);
    weaker.extend(without_gate(workshop, request));
    weaker.extend_from_slice(&network.weaker);
    let passed = self_test.iter().all(|probe| probe.passed);
    let children = process::child_signals().stage("watch children")?;
    let reply = Reply::Ready {
        layers,
        self_test,
        weaker,
        cgroups: joined.places.clone(),
        network: network.kinds.clone(),
    };
    let mut fds = vec![pidfd.as_fd()];
    fds.extend(gate.as_ref().map(AsFd::as_fd));
    fds.extend(network.fds());
    socket::send(link.as_fd(), &reply.encode(), &fds).stage("report")?;
    drop((pidfd, gate, network));
    if !passed {
        return Ok(None);
    }
    // Everything else is closed by number: nothing of the host stays open.
    let link = file::move_above(link.try_clone().stage("keep the link")?, FIRST_FREE_FD)
        .stage("keep the link")?;
    let children = file::move_above(children, FIRST_FREE_FD).stage("keep the signals")?;
    let victim = victim.move_above(FIRST_FREE_FD)?;
    close_all_but([link.as_raw_fd(), children.as_raw_fd(), victim.as_raw_fd()])?;
    Ok(Some(serve::Serve::new(
        link,
        children,
        victim,
        &request.limits,
        started,
    )))
}

/// Registers with the gate where it judges this environment; the client's end of the link.
fn gate(
    workshop: &Workshop,
    request: &Create,
    template: &CStr,
    pidfd: &OwnedFd,
    layers: &mut Vec<String>,
) -> Result<Option<OwnedFd>, Failure> {
    let Some(control) = workshop.guard.control().filter(|_| request.gated) else {
        return Ok(None);
    };
    let link = door::register(request, template, control, pidfd)?;
    layers.push(door::LAYER.to_owned());
    Ok(Some(link))
}

/// What of the exec policy is not enforced without a gate.
fn without_gate(workshop: &Workshop, request: &Create) -> Vec<String> {
    if request.gated {
        return Vec::new();
    }
    let rest = match request.exec.mode {
        ExecMode::Off => return Vec::new(),
        ExecMode::Observe => "nothing is reported",
        ExecMode::DenyList => {
            "files of the root that rules refuse are hidden, but the same content elsewhere executes"
        }
        ExecMode::AllowList | ExecMode::Strict => {
            "writable folders hold nothing executable, but scripts given to interpreters are not judged"
        }
    };
    let why = workshop.guard.refusal().unwrap_or("not started");
    let mut weaker = vec![format!("no exec control by content ({why}): {rest}")];
    let denied = |rule: &&ExecRule| rule.verdict == RuleVerdict::Deny;
    let by_digest = request.exec.rules.iter().filter(denied);
    let by_digest = by_digest.filter(|rule| matches!(rule.target, ExecTarget::Digest(_)));
    if request.exec.mode >= ExecMode::DenyList {
        // What is hidden is found by name; nothing here reads the whole root for its digests.
        match by_digest.count() {
            0 => {}
            rules => weaker.push(format!(
                "{rules} denials by digest hold for nothing: without a gate, denials by name, path or package do"
            )),
        }
        match request.unhidden {
            0 => {}
            files => weaker.push(format!(
                "{files} files of the root that rules refuse are not hidden: there are too many"
            )),
        }
    }
    weaker
}

fn close_all_but<const N: usize>(mut kept: [i32; N]) -> Result<(), Failure> {
    use std::os::fd::IntoRawFd;
    let stage = "close descriptors";
    kept.sort_unstable();
    let mut first = 0;
    for fd in kept {
        if first < fd {
            file::close_between(first, fd - 1).stage(stage)?;
        }
        first = fd + 1;
    }
    file::close_between(first, i32::MAX).stage(stage)?;
    // Occupy the standard numbers, so that no descriptor of a step arrives under one of them.
    for _ in 0..3 {
        let null = file::open(c"/dev/null", libc::O_RDWR).stage("open /dev/null")?;
        file::keep_at_exec(null.as_fd()).stage("open /dev/null")?;
        let _ = null.into_raw_fd();
    }
    Ok(())
}

/// `nc:` and the end of the id, where ids differ.
fn short_name(id: &str) -> std::ffi::CString {
    let tail = id
        .char_indices()
        .rev()
        .nth(11)
        .map_or(id, |(at, _)| &id[at..]);
    std::ffi::CString::new(format!("nc:{tail}")).unwrap_or_default()
}
