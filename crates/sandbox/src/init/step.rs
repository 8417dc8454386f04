//! One step: a child of the init with its descriptors, its limits and nothing else.

use std::ffi::{CStr, CString};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use crate::message::Exec;
use crate::spec::Limits;
use crate::sys::file;
use crate::sys::process;
use crate::sys::pty;
use crate::sys::spawn::{self, Program};

/// Exit code when the step could not be set up, and when its program is not executable or absent,
/// as shells have it.
const NOT_SET_UP: i32 = 125;
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;

/// Queued signals and timers of an environment's user: each is memory of the kernel's that no other
/// limit counts. Event loops use a handful; a language's run-time at most one per thread.
const PENDING_SIGNALS: u64 = 8192;

/// Bytes of stack for the few calls between clone and exec.
const STACK: usize = 64 * 1024;

/// What a step's standard files are.
enum Standard<'a> {
    Files {
        stdin: Option<&'a OwnedFd>,
        stdout: &'a OwnedFd,
        stderr: &'a OwnedFd,
    },
    /// All three, and the controlling terminal.
    Terminal(&'a OwnedFd),
}

/// Starts the step. `fds` are stdout, stderr and, when the step has one, stdin; or its terminal.
pub(super) fn spawn(exec: Exec, fds: &[OwnedFd], limits: &Limits) -> io::Result<i32> {
    let standard = match (exec.terminal.is_some(), exec.stdin, fds) {
        (true, _, [terminal]) => Some(Standard::Terminal(terminal)),
        (false, false, [stdout, stderr]) => Some(Standard::Files {
            stdin: None,
            stdout,
            stderr,
        }),
        (false, true, [stdout, stderr, stdin]) => Some(Standard::Files {
            stdin: Some(stdin),
            stdout,
            stderr,
        }),
        _ => None,
    };
    let (Some(standard), Some(name)) = (standard, exec.argv.first().cloned()) else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    let Exec { argv, env, cwd, .. } = exec;
    let program = Program::new(candidates(&name, &env), argv, env);
    let cwd = cwd.as_deref().unwrap_or(c"/work");
    // Not zeroed by hand: fresh pages, of which two or three are ever touched.
    let mut stack = vec![0; STACK];
    spawn::vfork(&mut stack, &mut || {
        let failed = match prepare(&standard, cwd, limits) {
            Ok(()) => ("execute it", program.execute()),
            Err(unready) => unready,
        };
        give_up(&name, &failed)
    })
}

/// Says why a step did not start; the exit code that goes with it.
fn give_up(name: &CStr, (what, error): &Unready) -> i32 {
    let name = name.to_string_lossy();
    // Standard error may not be set up yet when the set-up itself failed.
    let mut stderr = io::stderr();
    let (message, code) = match (*what, error.raw_os_error()) {
        ("execute it", Some(libc::ENOENT)) => (format!("program not found: {name}"), NOT_FOUND),
        ("execute it", _) => (format!("cannot execute {name}: {error}"), NOT_EXECUTABLE),
        _ => (format!("cannot {what}: {error}"), NOT_SET_UP),
    };
    let _ = stderr.write_all(format!("nightcrew: {message}\n").as_bytes());
    code
}

/// Writes a line to the step's standard error.
pub(super) fn complain(fds: &[OwnedFd], message: &str) {
    if let Some(Ok(stderr)) = fds.get(1).map(OwnedFd::try_clone) {
        // Nobody listening is no reason to fail in another way.
        let _ = std::fs::File::from(stderr).write_all(format!("nightcrew: {message}\n").as_bytes());
    }
}

type Unready = (&'static str, io::Error);

fn prepare(standard: &Standard<'_>, cwd: &CStr, limits: &Limits) -> Result<(), Unready> {
    process::new_session().map_err(|error| ("start a session", error))?;
    standard_files(standard).map_err(|error| ("set up standard files", error))?;
    file::enter(cwd).map_err(|error| ("enter the step's folder", error))?;
    process::unblock_signals();
    // Last: they hold for this process too.
    set_limits(limits).map_err(|error| ("set limits", error))
}

fn standard_files(standard: &Standard<'_>) -> io::Result<()> {
    match standard {
        Standard::Files {
            stdin,
            stdout,
            stderr,
        } => {
            // Standard error first, so that what fails afterwards can be said. Absent standard
            // input is the init's own, which is empty.
            file::duplicate_to(stderr.as_fd(), 2)?;
            file::duplicate_to(stdout.as_fd(), 1)?;
            if let Some(stdin) = stdin {
                file::duplicate_to(stdin.as_fd(), 0)?;
            }
        }
        Standard::Terminal(terminal) => {
            for number in [2, 1, 0] {
                file::duplicate_to(terminal.as_fd(), number)?;
            }
            pty::control(terminal.as_fd())?;
        }
    }
    file::close_at_exec_from(3)
}

fn set_limits(limits: &Limits) -> io::Result<()> {
    process::limit(libc::RLIMIT_NOFILE, limits.open_files)?;
    process::limit(libc::RLIMIT_NPROC, limits.processes)?;
    process::limit(libc::RLIMIT_FSIZE, limits.file_size)?;
    process::limit(libc::RLIMIT_SIGPENDING, PENDING_SIGNALS)?;
    if let Some(bytes) = limits.address_space {
        process::limit(libc::RLIMIT_AS, bytes)?;
    }
    if let Some(seconds) = limits.cpu_seconds {
        process::limit(libc::RLIMIT_CPU, seconds)?;
    }
    Ok(())
}

/// Where a shell would look for the program, in order.
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
