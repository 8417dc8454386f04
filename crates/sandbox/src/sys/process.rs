//! Processes: cloning, waiting, signalling, limits.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use super::check;

/// See clone3(2); Linux 5.7 or later. The C library's constant is too narrow for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of a fork this is.
pub(crate) enum Forked {
    /// The new process.
    Child,
    /// The old process, with the new one's id.
    Parent(i32),
}

/// clone3(2) in its fork form, with `CLONE_NEW*` flags and SIGCHLD at exit, into a cgroup of the
/// second version when one is given.
///
/// Only for single-threaded processes (the supervisor), so that the child may use the heap.
pub(crate) fn clone_with(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Forked> {
    // SAFETY: an all-zero `clone_args` is a valid value of the type.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = flags;
    arguments.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: no stack, no CLONE_VM: the child gets a copy of this process, as with fork(2), and
    // the process has one thread, so no lock can be held by a thread that the child lacks.
    let pid = check(unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            std::mem::size_of::<libc::clone_args>(),
        )
    })?;
    Ok(if pid == 0 {
        Forked::Child
    } else {
        Forked::Parent(pid as i32)
    })
}

/// fork(2). In a process with threads the child may only call async-signal-safe functions.
pub(crate) fn fork() -> io::Result<Forked> {
    // SAFETY: callers are single-threaded or keep the child to plain system calls.
    let pid = check(i64::from(unsafe { libc::fork() }))?;
    Ok(if pid == 0 {
        Forked::Child
    } else {
        Forked::Parent(pid as i32)
    })
}

/// unshare(2).
pub(crate) fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(i64::from(unsafe { libc::unshare(flags) })).map(drop)
}

/// Ends this process at once, without destructors.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: takes no pointers and does not return.
    unsafe { libc::_exit(code) }
}

/// kill(2); `pid` -1 is every process this one may signal, except itself.
pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(i64::from(unsafe { libc::kill(pid, signal) })).map(drop)
}

/// A descriptor that names this very process.
pub(crate) fn own_pidfd() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0) })?;
    // SAFETY: the call succeeded, so the descriptor is open and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Signals the process a descriptor names. `Ok(false)` when it is gone already.
pub(crate) fn signal_pidfd(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<bool> {
    // SAFETY: a null siginfo asks for the default one.
    let result = check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            ptr::null::<libc::siginfo_t>(),
            0,
        )
    });
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
        Err(error) => Err(error),
    }
}

/// How a reaped process ended and what it used, its reaped descendants included.
pub(crate) struct Reaped {
    pub(crate) pid: i32,
    /// Exit code, when it exited.
    pub(crate) code: Option<i32>,
    /// Signal, when one killed it.
    pub(crate) signal: Option<i32>,
    pub(crate) user: Duration,
    pub(crate) system: Duration,
    pub(crate) max_rss_kib: u64,
}

/// What waiting for children found.
pub(crate) enum Waited {
    Reaped(Reaped),
    /// Children exist, none has ended.
    None,
    /// No children exist.
    NoChildren,
}

/// Waits for any child; blocks when `block`.
pub(crate) fn wait_any(block: bool) -> io::Result<Waited> {
    wait(-1, block)
}

fn wait(child: i32, block: bool) -> io::Result<Waited> {
    let mut status = 0;
    // SAFETY: an all-zero `rusage` is a valid value of the type.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let flags = if block { 0 } else { libc::WNOHANG } | libc::__WALL;
    loop {
        // SAFETY: both pointers are to live values of the right type.
        let pid = unsafe { libc::wait4(child, &raw mut status, flags, &raw mut usage) };
        match check(i64::from(pid)) {
            Ok(0) => return Ok(Waited::None),
            Ok(pid) => {
                return Ok(Waited::Reaped(Reaped {
                    pid: pid as i32,
                    code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
                    signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
                    user: duration(usage.ru_utime),
                    system: duration(usage.ru_stime),
                    max_rss_kib: usage.ru_maxrss.max(0) as u64,
                }));
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::ECHILD) => return Ok(Waited::NoChildren),
                Some(libc::EINTR) => {}
                _ => return Err(error),
            },
        }
    }
}

fn duration(time: libc::timeval) -> Duration {
    Duration::new(time.tv_sec.max(0) as u64, time.tv_usec.max(0) as u32 * 1000)
}

/// Blocks SIGCHLD and returns a descriptor that becomes readable when a child ends.
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigemptyset before use; the pointers are to live values.
    let fd = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut());
        libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    check(i64::from(fd))?;
    // SAFETY: the call succeeded, so the descriptor is open and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Every signal to its default, whatever this process was started with.
pub(crate) fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: setting the default action runs no code of ours; invalid numbers are refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Unblocks every signal: what a program expects at its start.
pub(crate) fn unblock_signals() {
    // SAFETY: the set is initialised by sigemptyset before use.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut());
    }
}

/// Which of `fds` are readable or closed, waiting at most `timeout` (for ever when absent).
pub(crate) fn poll<const N: usize>(
    fds: [BorrowedFd<'_>; N],
    timeout: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut entries = fds.map(|fd| libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    });
    // Rounded up: waking a moment too early would spin.
    let milliseconds = timeout.map_or(-1, |timeout| {
        i32::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
    });
    // SAFETY: `entries` is a live array of N entries.
    let result = unsafe { libc::poll(entries.as_mut_ptr(), N as u64, milliseconds) };
    match check(i64::from(result)) {
        Ok(_) => Ok(entries.map(|entry| entry.revents != 0)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok([false; N]),
        Err(error) => Err(error),
    }
}

/// Waits until `fd` reports something exceptional, as files of cgroups do when they change.
pub(crate) fn wait_exceptional(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<()> {
    let mut entry = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLPRI,
        revents: 0,
    };
    let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: `entry` is one live entry.
    let result = unsafe { libc::poll(&raw mut entry, 1, milliseconds) };
    match check(i64::from(result)) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

/// Whether the other end of `fd` is closed.
pub(crate) fn hung_up(fd: BorrowedFd<'_>) -> bool {
    let mut entry = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: 0,
        revents: 0,
    };
    // SAFETY: `entry` is one live entry.
    let result = unsafe { libc::poll(&raw mut entry, 1, 0) };
    result > 0 && entry.revents & libc::POLLHUP != 0
}

/// Lowers a resource limit, soft and hard, to `value`, never above the present hard limit.
pub(crate) fn limit(resource: libc::__rlimit_resource_t, value: u64) -> io::Result<()> {
    let mut present = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `present` is a live structure.
    check(i64::from(unsafe {
        libc::getrlimit(resource, &raw mut present)
    }))?;
    let value = value.min(present.rlim_max);
    let wanted = libc::rlimit {
        rlim_cur: value,
        rlim_max: value,
    };
    // SAFETY: `wanted` is a live structure.
    check(i64::from(unsafe {
        libc::setrlimit(resource, &raw const wanted)
    }))
    .map(drop)
}

/// Starts a session of its own.
pub(crate) fn new_session() -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(i64::from(unsafe { libc::setsid() })).map(drop)
}

/// Names this process, as `ps` shows it (15 bytes at most).
pub(crate) fn set_name(name: &CStr) {
    // SAFETY: the name is NUL-terminated; the kernel copies at most 16 bytes of it.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// Asks for `signal` when the parent dies. Cleared by changes of credentials, so ask after them.
pub(crate) fn die_with_parent(signal: i32) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(i64::from(unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0)
    }))
    .map(drop)
}

/// Tries to join the mount namespace of process 1.
pub(crate) fn enter_namespace_of_init() -> io::Result<()> {
    let namespace = super::file::open(c"/proc/1/ns/mnt", libc::O_RDONLY)?;
    // SAFETY: takes no pointers.
    check(i64::from(unsafe {
        libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNS)
    }))
    .map(drop)
}

/// Waits for one child by its id.
pub(crate) fn wait_for(pid: i32) -> io::Result<Waited> {
    wait(pid, true)
}

/// The process behind a pidfd, as this process's pid namespace numbers it; `None` when it is gone.
pub(crate) fn process_of(pidfd: BorrowedFd<'_>) -> Option<u32> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(path).ok()?;
    let number = text.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    number.trim().parse().ok()
}
