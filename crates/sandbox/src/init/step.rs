//! One step: a child of the init with its descriptors, its limits and nothing else.

use std::ffi::{CStr, CString};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use crate::message::Exec;
use crate::spec::Limits;
use crate::sys::file;
use crate::sys::process::{self, Forked};

/// Exit code when the step could not be set up, and when its program is not executable or absent,
/// as shells have it.
const NOT_SET_UP: i32 = 125;
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;

/// Forks the step. `fds` are stdout, stderr and, when the step has one, stdin.
pub(super) fn spawn(exec: &Exec, fds: &[OwnedFd], limits: &Limits) -> io::Result<i32> {
    let wanted = if exec.stdin { 3 } else { 2 };
    if fds.len() != wanted || exec.argv.is_empty() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    match process::fork()? {
        Forked::Parent(pid) => Ok(pid),
        Forked::Child => {
            let code = match prepare(exec, fds, limits) {
                Ok(()) => execute(exec),
                Err((what, error)) => {
                    complain(fds, &format!("cannot {what}: {error}"));
                    NOT_SET_UP
                }
            };
            process::exit_now(code)
        }
    }
}

/// Writes a line to the step's standard error.
pub(super) fn complain(fds: &[OwnedFd], message: &str) {
    if let Some(Ok(stderr)) = fds.get(1).map(OwnedFd::try_clone) {
        // Nobody listening is no reason to fail in another way.
        let _ = std::fs::File::from(stderr).write_all(format!("nightcrew: {message}\n").as_bytes());
    }
}

type Unready = (&'static str, io::Error);

fn prepare(exec: &Exec, fds: &[OwnedFd], limits: &Limits) -> Result<(), Unready> {
    process::new_session().map_err(|error| ("start a session", error))?;
    standard_files(exec, fds).map_err(|error| ("set up standard files", error))?;
    let cwd = exec.cwd.as_deref().unwrap_or(c"/work");
    file::enter(cwd).map_err(|error| ("enter the step's folder", error))?;
    process::reset_signals();
    // Last: they hold for this process too.
    set_limits(limits).map_err(|error| ("set limits", error))
}

fn standard_files(exec: &Exec, fds: &[OwnedFd]) -> io::Result<()> {
    match fds.get(2).filter(|_| exec.stdin) {
        Some(stdin) => file::duplicate_to(stdin.as_fd(), 0)?,
        None => file::duplicate_to(file::open(c"/dev/null", libc::O_RDONLY)?.as_fd(), 0)?,
    }
    file::duplicate_to(fds[0].as_fd(), 1)?;
    file::duplicate_to(fds[1].as_fd(), 2)?;
    file::close_at_exec_from(3)
}

fn set_limits(limits: &Limits) -> io::Result<()> {
    process::limit(libc::RLIMIT_CORE, 0)?;
    process::limit(libc::RLIMIT_NOFILE, limits.open_files)?;
    process::limit(libc::RLIMIT_NPROC, limits.processes)?;
    process::limit(libc::RLIMIT_FSIZE, limits.file_size)?;
    if let Some(bytes) = limits.address_space {
        process::limit(libc::RLIMIT_AS, bytes)?;
    }
    if let Some(seconds) = limits.cpu_seconds {
        process::limit(libc::RLIMIT_CPU, seconds)?;
    }
    Ok(())
}

/// Looks the program up as a shell would and becomes it; returns an exit code on failure.
fn execute(exec: &Exec) -> i32 {
    let name = exec.argv[0].as_c_str();
    let mut error = io::Error::from_raw_os_error(libc::ENOENT);
    for candidate in candidates(name, &exec.env) {
        let failed = process::execute(&candidate, &exec.argv, &exec.env);
        match failed.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => {}
            // Another folder may have one that can be executed.
            Some(libc::EACCES) => error = failed,
            _ => {
                error = failed;
                break;
            }
        }
    }
    let name = name.to_string_lossy();
    let mut stderr = io::stderr();
    if error.raw_os_error() == Some(libc::ENOENT) {
        let _ = writeln!(stderr, "nightcrew: program not found: {name}");
        NOT_FOUND
    } else {
        let _ = writeln!(stderr, "nightcrew: cannot execute {name}: {error}");
        NOT_EXECUTABLE
    }
}

fn candidates(name: &CStr, env: &[CString]) -> Vec<CString> {
    if name.to_bytes().contains(&b'/') {
        return vec![name.to_owned()];
    }
    let path = env
        .iter()
        .find_map(|variable| variable.to_bytes().strip_prefix(b"PATH="))
        .unwrap_or_default();
    path.split(|byte| *byte == b':')
        .filter(|folder| !folder.is_empty())
        .filter_map(|folder| CString::new([folder, b"/", name.to_bytes()].concat()).ok())
        .collect()
}
