//! What attacks share: names of errors, children whose words are judged, raw calls.

use std::ffi::{CString, OsStr};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use super::context::MARKER;
use super::outcome::{Attempt, Outcome, Stop};

/// What a refusal looks like. Anything else is a mistake of the attacker until proven otherwise.
const REFUSALS: [i32; 6] = [
    libc::EPERM,
    libc::EACCES,
    libc::ENOSYS,
    libc::EROFS,
    libc::ENOENT,
    libc::ENXIO,
];

const NAMES: [(i32, &str); 30] = [
    (libc::EPERM, "EPERM"),
    (libc::ENOENT, "ENOENT"),
    (libc::ESRCH, "ESRCH"),
    (libc::EINTR, "EINTR"),
    (libc::EIO, "EIO"),
    (libc::ENXIO, "ENXIO"),
    (libc::E2BIG, "E2BIG"),
    (libc::ENOEXEC, "ENOEXEC"),
    (libc::EBADF, "EBADF"),
    (libc::ECHILD, "ECHILD"),
    (libc::EAGAIN, "EAGAIN"),
    (libc::ENOMEM, "ENOMEM"),
    (libc::EACCES, "EACCES"),
    (libc::EFAULT, "EFAULT"),
    (libc::EBUSY, "EBUSY"),
    (libc::EEXIST, "EEXIST"),
    (libc::EXDEV, "EXDEV"),
    (libc::ENODEV, "ENODEV"),
    (libc::ENOTDIR, "ENOTDIR"),
    (libc::EISDIR, "EISDIR"),
    (libc::EINVAL, "EINVAL"),
    (libc::EMFILE, "EMFILE"),
    (libc::ENOTTY, "ENOTTY"),
    (libc::ETXTBSY, "ETXTBSY"),
    (libc::EFBIG, "EFBIG"),
    (libc::ENOSPC, "ENOSPC"),
    (libc::EROFS, "EROFS"),
    (libc::ENOSYS, "ENOSYS"),
    (libc::EOPNOTSUPP, "EOPNOTSUPP"),
    (libc::EDQUOT, "EDQUOT"),
];

/// The name of a kernel error.
pub(crate) fn name(number: i32) -> String {
    NAMES
        .iter()
        .find(|(known, _)| *known == number)
        .map_or_else(|| format!("errno {number}"), |(_, name)| (*name).to_owned())
}

/// The number in an error, or 0.
pub(crate) fn number(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}

/// A refusal ends the attack as blocked; any other error as a fault.
pub(crate) fn stop(error: &io::Error, what: &str) -> Stop {
    let text = format!("{what}: {}", name(number(error)));
    if REFUSALS.contains(&number(error)) {
        Stop::Blocked(text)
    } else {
        Stop::Fault(text)
    }
}

/// [`stop`] with further errors that are refusals here.
pub(crate) fn stop_or(error: &io::Error, what: &str, also: &[i32]) -> Stop {
    if also.contains(&number(error)) {
        Stop::Blocked(format!("{what}: {}", name(number(error))))
    } else {
        stop(error, what)
    }
}

/// A path for the kernel.
pub(crate) fn c_path(path: impl AsRef<OsStr>) -> CString {
    CString::new(path.as_ref().as_bytes()).unwrap_or_default()
}

/// A raw system call.
pub(crate) fn call(number: libc::c_long, arguments: [usize; 6]) -> io::Result<i64> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: each attack passes numbers, or addresses of what lives longer than the call.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// The words of a child and how it ended.
pub(crate) struct Said {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) status: ExitStatus,
}

impl Said {
    fn ran(&self) -> bool {
        self.out.contains(MARKER)
    }

    fn short(&self) -> String {
        let last = self.err.trim().lines().last().unwrap_or("nothing");
        let last: String = last.chars().take(160).collect();
        format!("{} ({last})", self.status)
    }

    /// Whether its words, or its end, are those of a refusal.
    fn refused(&self) -> bool {
        const WORDS: [&str; 12] = [
            "Operation not permitted",
            "Permission denied",
            "PermissionError",
            "EPERM",
            "EACCES",
            "Function not implemented",
            "Read-only file system",
            "failed to map segment",
            "No such file or directory",
            // The dynamic loader's words for whatever stopped it, and the gate's own.
            "cannot open shared object file",
            "nightcrew: refused to ",
            // Git's, where the folder holds nothing executable.
            "because it's not set as executable",
        ];
        // Some programs put their children's words into their own output, and terminals have but one.
        WORDS
            .iter()
            .any(|word| self.err.contains(word) || self.out.contains(word))
            || self.err.contains("not found")
            || matches!(self.status.signal(), Some(libc::SIGKILL | libc::SIGSYS))
    }
}

/// Runs a command to its end; the denied tool's line in its output is a bypass.
pub(crate) fn run(command: &mut Command) -> Attempt {
    judge(&said(command)?)
}

/// What a command said.
pub(crate) fn said(command: &mut Command) -> Result<Said, Stop> {
    said_with(command, &[])
}

/// What a command said after it was told something.
pub(crate) fn said_with(command: &mut Command, input: &[u8]) -> Result<Said, Stop> {
    let program = Path::new(command.get_program()).display().to_string();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| stop(&error, &format!("execve {program}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // Who does not listen has ended already; that shows below.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output()?;
    Ok(Said {
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        status: output.status,
    })
}

/// A bypass if the tool's line is there, blocked if a refusal is, otherwise a fault.
pub(crate) fn judge(said: &Said) -> Attempt {
    if said.ran() {
        Ok(Outcome::Bypass("the denied bytes were executed".into()))
    } else if said.refused() {
        Ok(Outcome::Blocked(said.short()))
    } else {
        Err(Stop::Fault(format!(
            "neither ran nor refused: {} {:?}",
            said.short(),
            said.out.chars().take(80).collect::<String>()
        )))
    }
}

/// The path of a program, or not applicable.
pub(crate) fn program(name: &str) -> Result<PathBuf, Stop> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| Stop::NotApplicable(format!("{name} is not installed")))
}

/// What went wrong in a child, by its step.
pub(crate) struct Failed(pub(crate) &'static str, pub(crate) io::Error);

/// Names the step of a child that failed.
pub(crate) fn at<T>(what: &'static str, result: io::Result<T>) -> Result<T, Failed> {
    result.map_err(|error| Failed(what, error))
}

/// Does something in a child whose standard output is judged. What comes back without an error, or
/// never comes back, is judged by its output alone.
pub(crate) fn in_child(body: impl FnOnce() -> Result<(), Failed>) -> Attempt {
    in_child_or(&[], body)
}

/// [`in_child`] with further errors that are refusals here.
pub(crate) fn in_child_or(also: &[i32], body: impl FnOnce() -> Result<(), Failed>) -> Attempt {
    let (mut out, stdout) = io::pipe()?;
    let (mut failure, report) = io::pipe()?;
    // SAFETY: this program has one thread whenever it forks here.
    let child = unsafe { libc::fork() };
    if child < 0 {
        return Err(stop_or(&io::Error::last_os_error(), "fork", also));
    }
    if child == 0 {
        // SAFETY: plain calls on descriptors this process owns.
        unsafe { libc::dup2(stdout.as_raw_fd(), 1) };
        if let Err(Failed(what, error)) = body() {
            let mut report = report;
            let _ = write!(report, "{} {what}", number(&error));
        }
        // SAFETY: ends the child without running what belongs to its parent.
        unsafe { libc::_exit(0) };
    }
    drop((stdout, report));
    let (mut words, mut problem) = (Vec::new(), String::new());
    out.read_to_end(&mut words)?;
    failure.read_to_string(&mut problem)?;
    let mut status = 0;
    // SAFETY: waits for the child made above.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    let said = Said {
        out: String::from_utf8_lossy(&words).into_owned(),
        // Standard error of such a child is often made its output.
        err: String::from_utf8_lossy(&words).into_owned(),
        status: ExitStatus::from_raw(status),
    };
    if !said.ran()
        && let Some((errno, what)) = problem.split_once(' ')
    {
        let error = io::Error::from_raw_os_error(errno.parse().unwrap_or(0));
        return Err(stop_or(&error, what, also));
    }
    judge(&said)
}

/// Replaces this process, with an empty environment. Comes back only with an error.
pub(crate) fn exec_fd(fd: i32, path: &str, flags: i32) -> io::Result<()> {
    let path = c_path(path);
    let (arguments, environment) = ([path.as_ptr(), std::ptr::null()], [std::ptr::null::<i8>()]);
    call(
        libc::SYS_execveat,
        [
            fd as usize,
            path.as_ptr() as usize,
            arguments.as_ptr() as usize,
            environment.as_ptr() as usize,
            flags as usize,
            0,
        ],
    )
    .map(drop)
}

/// A descriptor that the kernel returned, owned.
pub(crate) fn own(fd: i64) -> std::fs::File {
    // SAFETY: the caller got it from the kernel just now and keeps no other owner.
    unsafe { std::fs::File::from_raw_fd(i32::try_from(fd).unwrap_or(-1)) }
}

/// The dynamic loader of this machine.
pub(crate) fn loader() -> Result<PathBuf, Stop> {
    [
        "/lib64/ld-linux-x86-64.so.2",
        "/lib/ld-linux-aarch64.so.1",
        "/lib/ld-musl-x86_64.so.1",
    ]
    .iter()
    .map(PathBuf::from)
    .find(|path| path.exists())
    .ok_or_else(|| Stop::NotApplicable("no known dynamic loader".into()))
}
