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

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

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
    link: &OwnedFd,
    mapped: &OwnedFd,
) -> ! {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        run(workshop, request, template, link, mapped);
    }));
    // Leave without destructors: they would act on things that belong to the supervisor.
    process::exit_now(i32::from(outcome.is_err()))
}

fn run(workshop: &Workshop, request: &Create, template: &CStr, link: &OwnedFd, mapped: &OwnedFd) {
    process::set_name(&short_name(&request.id));
    match become_init(workshop, request, template, link, mapped) {
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
    link: &OwnedFd,
    mapped: &OwnedFd,
) -> Result<Option<serve::Serve>, Failure> {
    let started = std::time::Instant::now();
    let mut layers = setup::build(request, template, mapped, &workshop.shares)?;
    let pidfd = process::own_pidfd().stage("name the init")?;
    let confined = confine::confine(workshop, request)?;
    let self_test = selftest::run(workshop, request, &confined);
    layers.extend(confined.layers);
    let passed = self_test.iter().all(|probe| probe.passed);
    let children = process::child_signals().stage("watch children")?;
    let reply = Reply::Ready {
        layers,
        self_test,
        weaker: confined.weaker,
    };
    socket::send(link.as_fd(), &reply.encode(), &[pidfd.as_fd()]).stage("report")?;
    drop(pidfd);
    if !passed {
        return Ok(None);
    }
    // Everything else is closed by number: nothing of the host stays open.
    let link = file::move_above(link.try_clone().stage("keep the link")?, FIRST_FREE_FD)
        .stage("keep the link")?;
    let children = file::move_above(children, FIRST_FREE_FD).stage("keep the signals")?;
    close_all_but(&link, &children)?;
    Ok(Some(serve::Serve::new(
        link,
        children,
        &request.limits,
        started,
    )))
}

fn close_all_but(link: &OwnedFd, children: &OwnedFd) -> Result<(), Failure> {
    use std::os::fd::{AsRawFd, IntoRawFd};
    let mut kept = [link.as_raw_fd(), children.as_raw_fd()];
    kept.sort_unstable();
    file::close_between(0, kept[0] - 1).stage("close descriptors")?;
    if kept[1] > kept[0] + 1 {
        file::close_between(kept[0] + 1, kept[1] - 1).stage("close descriptors")?;
    }
    file::close_between(kept[1] + 1, i32::MAX).stage("close descriptors")?;
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
