//! Making one environment: clone its init, map its user, let it go.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::Workshop;
use super::template::Template;
use crate::cgroup::Joined;
use crate::exec_policy::ExecMode;
use crate::init;
use crate::message::{Create, Failure, Reply, Stage};
use crate::sys::process::{self, Forked};
use crate::sys::{file, socket};

/// Makes the environment a message asks for; `link` is the socket its client holds the other end of.
pub(super) fn accept(workshop: &mut Workshop, message: &[u8], link: &OwnedFd) {
    if let Err(failure) = make(workshop, message, link) {
        // A client that is gone has no use for the reason.
        let _ = socket::send(link.as_fd(), &Reply::Failed(failure).encode(), &[]);
    }
}

fn make(workshop: &mut Workshop, message: &[u8], link: &OwnedFd) -> Result<(), Failure> {
    let mut request = Create::decode(message).map_err(|_| Failure {
        stage: "read the request".to_owned(),
        errno: libc::EBADMSG,
    })?;
    request.gated = request.exec.mode != ExecMode::Off && workshop.guard.ready();
    let template = workshop.template(&request)?;
    request.unhidden = template.unhidden;
    let result = in_groups(workshop, &request, &template, link);
    workshop.assign(template, &request, result.as_ref().ok().copied());
    result.map(drop)
}

/// Makes the cgroups, and the environment in them; its init.
fn in_groups(
    workshop: &mut Workshop,
    request: &Create,
    template: &Template,
    link: &OwnedFd,
) -> Result<i32, Failure> {
    let joined = workshop.groups.make(&request.limits)?;
    let result = start(workshop, request, &template.path, &joined, link);
    if result.is_err() {
        workshop.groups.discard(&joined);
    }
    result
}

/// Clones the init and gives it what only this process can give: its user and its cgroups; its
/// process id.
fn start(
    workshop: &mut Workshop,
    request: &Create,
    template: &CStr,
    joined: &Joined,
    link: &OwnedFd,
) -> Result<i32, Failure> {
    let (mapped, map_now) = file::pipe().stage("make a pipe")?;
    let (cloned, cradled) = clone(workshop, joined).stage("make a user and a pid namespace")?;
    match cloned {
        Forked::Child => {
            drop(map_now);
            init::main(workshop, request, template, joined, link, &mapped)
        }
        Forked::Parent(pid) => {
            drop(mapped);
            let result =
                map_user(workshop, pid).and_then(|()| workshop.groups.adopt(joined, pid, cradled));
            if result.is_err() {
                let _ = process::kill(pid, libc::SIGKILL);
                let _: Option<process::Waited> = process::wait_for(pid).ok();
            }
            if request.gated && result.is_ok() {
                workshop.guard.rely(pid);
            }
            // Closing the pipe is the signal; without a map the init cannot become user 0.
            drop(map_now);
            result.map(|()| pid)
        }
    }
}

/// Clones right into the environment's cgroup where that is possible; whether it was.
fn clone(workshop: &mut Workshop, joined: &Joined) -> io::Result<(Forked, bool)> {
    // Only what needs this process; the init makes its other namespaces itself, in parallel.
    let flags = (libc::CLONE_NEWUSER | libc::CLONE_NEWPID) as u64;
    if let Some(cradle) = workshop.groups.cradle(joined) {
        match process::clone_with(flags, Some(cradle.as_fd())) {
            Ok(cloned) => return Ok((cloned, true)),
            // Whatever the reason: if it is not the cgroup, it comes again.
            Err(_) => workshop.groups.without_cradles(),
        }
    }
    Ok((process::clone_with(flags, None)?, false))
}

/// Gives the init of a new environment its one user and one group.
fn map_user(workshop: &Workshop, pid: i32) -> Result<(), Failure> {
    // In a user namespace of our own the identity is its user 0 already.
    let (uid, gid) = if workshop.identity.foreign {
        (workshop.identity.uid, workshop.identity.gid)
    } else {
        (0, 0)
    };
    let write = |name: &str, content: &str| {
        let path = CString::new(format!("/proc/{pid}/{name}")).unwrap_or_default();
        file::write_once(&path, content.as_bytes()).stage(&format!("write {name}"))
    };
    write("setgroups", "deny")?;
    write("gid_map", &format!("0 {gid} 1"))?;
    write("uid_map", &format!("0 {uid} 1"))
}
