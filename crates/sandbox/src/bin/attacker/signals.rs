//! Other processes: tracing, reading, signalling. 47 and 48 of the catalogue.

use std::io;

use super::context::Context;
use super::kit::{self, stop_or};
use super::outcome::{Attack, Attempt, Outcome, Stop};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack::new(
        "proc-ptrace-init",
        47,
        "trace the environment's first process",
        |_| {
            raw(
                "ptrace of process 1",
                libc::SYS_ptrace,
                [libc::PTRACE_SEIZE as usize, 1, 0, 0, 0, 0],
            )
        },
    )
    .uncontrolled(),
    Attack::new(
        "proc-ptrace-outsider",
        47,
        "trace a process of the host",
        |context| {
            raw(
                "ptrace of a host process",
                libc::SYS_ptrace,
                [libc::PTRACE_SEIZE as usize, outsider(context)?, 0, 0, 0, 0],
            )
        },
    )
    .root(),
    Attack::new(
        "proc-ptrace-child",
        47,
        "have an own child traced, to change its system calls",
        |_| traced_child(),
    ),
    Attack::new(
        "proc-vm-readv",
        47,
        "read another process's memory",
        |context| vm(context, libc::SYS_process_vm_readv, "process_vm_readv"),
    )
    .root(),
    Attack::new(
        "proc-vm-writev",
        47,
        "write another process's memory",
        |context| vm(context, libc::SYS_process_vm_writev, "process_vm_writev"),
    )
    .root(),
    Attack::new(
        "proc-pidfd-getfd",
        47,
        "take a descriptor out of another process",
        pidfd_getfd,
    )
    .root(),
    Attack::new(
        "proc-kcmp",
        47,
        "compare kernel objects of two processes",
        |_| {
            // SAFETY: plain calls.
            let (own, parent) = unsafe { (libc::getpid(), libc::getppid()) };
            raw(
                "kcmp",
                libc::SYS_kcmp,
                [own as usize, parent as usize, 0, 0, 0, 0],
            )
        },
    )
    .root(),
    Attack::new(
        "proc-madvise-outsider",
        47,
        "push another process's memory out",
        |context| {
            let target = pidfd(context)?;
            use std::os::fd::AsRawFd;
            raw(
                "process_madvise",
                libc::SYS_process_madvise,
                [
                    target.as_raw_fd() as usize,
                    0,
                    0,
                    libc::MADV_COLD as usize,
                    0,
                    0,
                ],
            )
        },
    )
    .root(),
    Attack::new(
        "proc-kill-outsider",
        48,
        "signal a process of the host",
        kill_outsider,
    ),
    Attack::new(
        "proc-kill-init",
        48,
        "kill the environment's first process and live on",
        kill_init,
    )
    .uncontrolled(),
    Attack::new(
        "proc-kill-all",
        48,
        "signal everything that can be signalled",
        kill_all,
    )
    .uncontrolled(),
    Attack::new(
        "proc-kill-by-owner",
        48,
        "have the kernel signal a host process through the owner of a descriptor",
        owner,
    ),
    Attack::new(
        "proc-pidfd-signal",
        48,
        "signal a host process through a process descriptor",
        |context| {
            let target = pidfd(context)?;
            use std::os::fd::AsRawFd;
            raw(
                "pidfd_send_signal",
                libc::SYS_pidfd_send_signal,
                [target.as_raw_fd() as usize, 0, 0, 0, 0, 0],
            )
        },
    ),
    Attack::new(
        "proc-priority-outsider",
        48,
        "slow down a process of the host",
        |context| {
            raw(
                "setpriority",
                libc::SYS_setpriority,
                [0, outsider(context)?, 19, 0, 0, 0],
            )
        },
    )
    .uncontrolled(),
    Attack::new(
        "proc-limits-outsider",
        48,
        "read or change the limits of a process of the host",
        |context| {
            let mut old = [0_u64; 2];
            raw(
                "prlimit",
                libc::SYS_prlimit64,
                [
                    outsider(context)?,
                    libc::RLIMIT_NOFILE as usize,
                    0,
                    old.as_mut_ptr() as usize,
                    0,
                    0,
                ],
            )
        },
    ),
    Attack::new(
        "proc-scheduling",
        48,
        "become a real-time process that starves the host",
        real_time,
    )
    .root(),
    Attack::new(
        "proc-nice",
        48,
        "run before everything else on the host",
        |_| {
            raw(
                "setpriority of itself",
                libc::SYS_setpriority,
                [0, 0, (-10_isize) as usize, 0, 0, 0],
            )
        },
    )
    .root(),
];

fn outsider(context: &Context) -> Result<usize, Stop> {
    let number: usize = context
        .variable("HOST_PID")?
        .parse()
        .map_err(|_| Stop::Fault("HOST_PID is no number".into()))?;
    let name = std::fs::read_to_string(format!("/proc/{number}/comm")).unwrap_or_default();
    // The same number may be an own process, which would prove nothing.
    if !name.is_empty() && name.trim() != context.variable("HOST_COMM")?.trim() {
        return Err(Stop::Fault(format!("process {number} is {name} here")));
    }
    Ok(number)
}

/// A call that must be refused; done is a bypass. Nothing found is refused too.
fn raw(what: &str, number: libc::c_long, arguments: [usize; 6]) -> Attempt {
    match kit::call(number, arguments) {
        Ok(result) => Ok(Outcome::Bypass(format!("{what} gave {result}"))),
        Err(error) => Err(stop_or(&error, what, &[libc::ESRCH])),
    }
}

fn traced_child() -> Attempt {
    // SAFETY: the child only asks to be traced and ends; this program has one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: plain calls.
        unsafe {
            let result = libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
            libc::_exit(if result == 0 {
                0
            } else {
                *libc::__errno_location()
            });
        }
    }
    let mut status = 0;
    // SAFETY: waits for the child made above.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    match libc::WEXITSTATUS(status) {
        0 => Ok(Outcome::Bypass("a child is traced".into())),
        number => Err(kit::stop(
            &io::Error::from_raw_os_error(number),
            "PTRACE_TRACEME",
        )),
    }
}

fn vm(context: &Context, number: libc::c_long, what: &str) -> Attempt {
    let mut buffer = [0_u8; 8];
    let local = [buffer.as_mut_ptr() as usize, 8];
    // The host's own addresses are unknown here; an unmapped one is told apart from a refusal.
    let remote = [0x1000_usize, 8];
    let target = if context.control {
        outsider(context)?
    } else {
        1
    };
    match kit::call(
        number,
        [
            target,
            local.as_ptr() as usize,
            1,
            remote.as_ptr() as usize,
            1,
            0,
        ],
    ) {
        Ok(_) => Ok(Outcome::Bypass(format!("{what} reached the process"))),
        Err(error) if kit::number(&error) == libc::EFAULT => {
            Ok(Outcome::Bypass(format!("{what} reached the process")))
        }
        Err(error) => Err(stop_or(&error, what, &[libc::ESRCH])),
    }
}

fn pidfd(context: &Context) -> Result<std::fs::File, Stop> {
    kit::call(libc::SYS_pidfd_open, [outsider(context)?, 0, 0, 0, 0, 0])
        .map(kit::own)
        .map_err(|error| stop_or(&error, "pidfd_open of a host process", &[libc::ESRCH]))
}

fn pidfd_getfd(context: &Context) -> Attempt {
    let target = if context.control {
        outsider(context)?
    } else {
        1
    };
    let process = kit::call(libc::SYS_pidfd_open, [target, 0, 0, 0, 0, 0])
        .map(kit::own)
        .map_err(|error| stop_or(&error, "pidfd_open", &[libc::ESRCH]))?;
    use std::os::fd::AsRawFd;
    match kit::call(
        libc::SYS_pidfd_getfd,
        [process.as_raw_fd() as usize, 0, 0, 0, 0, 0],
    ) {
        Ok(fd) => {
            drop(kit::own(fd));
            Ok(Outcome::Bypass("a descriptor was taken".into()))
        }
        Err(error) if kit::number(&error) == libc::EBADF => {
            Ok(Outcome::Bypass("the process was reached".into()))
        }
        Err(error) => Err(kit::stop(&error, "pidfd_getfd")),
    }
}

fn kill_outsider(context: &Context) -> Attempt {
    // Signal 0 only asks.
    raw(
        "kill of a host process",
        libc::SYS_kill,
        [outsider(context)?, 0, 0, 0, 0, 0],
    )
}

fn kill_init(_: &Context) -> Attempt {
    // SAFETY: inside an environment, where its first process is its own.
    let result = unsafe { libc::kill(1, libc::SIGKILL) };
    let error = io::Error::last_os_error();
    if result == 0 {
        // The kernel drops this signal for a first process of its own namespace.
        return Ok(Outcome::HostJudges(
            "the signal was accepted; the environment must still serve".into(),
        ));
    }
    Err(kit::stop(&error, "kill of process 1"))
}

fn kill_all(_: &Context) -> Attempt {
    // SAFETY: as above; this process itself is spared by the kernel.
    let result = unsafe { libc::kill(-1, libc::SIGKILL) };
    Ok(Outcome::HostJudges(format!(
        "kill of -1 gave {result}; host and supervisor must still be there"
    )))
}

fn owner(context: &Context) -> Attempt {
    let number = outsider(context)?;
    let (read, _write) = io::pipe()?;
    use std::os::fd::AsRawFd;
    raw(
        "F_SETOWN to a host process",
        libc::SYS_fcntl,
        [
            read.as_raw_fd() as usize,
            libc::F_SETOWN as usize,
            number,
            0,
            0,
            0,
        ],
    )
}

fn real_time(_: &Context) -> Attempt {
    let priority = 1_i32;
    raw(
        "sched_setscheduler to real time",
        libc::SYS_sched_setscheduler,
        [
            0,
            libc::SCHED_FIFO as usize,
            (&raw const priority) as usize,
            0,
            0,
            0,
        ],
    )
}
