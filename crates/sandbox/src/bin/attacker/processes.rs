//! Outliving, terminals, filters, cgroups, the launcher's seams: 50, 51, 54 to 58 of the catalogue.

use std::fs;
use std::io;

use super::exec_ldso::myself;
use super::kit::{self, stop, stop_or};
use super::outcome::{Attack, Attempt, Outcome, Stop};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack::new(
        "proc-daemonise",
        50,
        "leave a process behind by double fork and a new session",
        |_| survive(true),
    )
    .uncontrolled(),
    Attack::new(
        "proc-survive-signals",
        50,
        "leave a process behind that ignores every signal it may",
        |_| survive(false),
    )
    .uncontrolled(),
    Attack::new(
        "proc-survive-storm",
        50,
        "leave processes behind that fork faster than one can kill",
        |_| storm(),
    )
    .uncontrolled(),
    Attack::new(
        "proc-tiocsti",
        51,
        "type into the terminal of the caller",
        |_| terminal(libc::TIOCSTI, "TIOCSTI"),
    )
    .uncontrolled(),
    Attack::new(
        "proc-tioclinux",
        51,
        "paste into the terminal of the caller",
        |_| terminal(0x541C, "TIOCLINUX"),
    )
    .uncontrolled(),
    Attack::new("proc-tty", 51, "open the terminal of the caller", |_| {
        open_terminal()
    })
    .uncontrolled(),
    Attack::new(
        "proc-seccomp-thread",
        54,
        "make a refused call in a new thread",
        |_| in_thread(),
    ),
    Attack::new(
        "proc-seccomp-exec",
        54,
        "make a refused call after exec",
        |_| after_exec(),
    ),
    Attack::new(
        "proc-seccomp-replace",
        54,
        "lay a filter over the filter that allows everything",
        |_| replace_filter(),
    ),
    Attack::new(
        "proc-seccomp-listener",
        54,
        "answer own system calls through a listener",
        |_| listener(),
    ),
    Attack::new(
        "proc-seccomp-32-bit",
        54,
        "make a refused call through the 32-bit door",
        |_| int80(),
    ),
    Attack::new(
        "proc-seccomp-x32",
        54,
        "make a refused call under its x32 number",
        |_| x32(),
    )
    .uncontrolled(),
];

/// The name under which the host looks for what was left behind.
const SURVIVOR: &str = "nc-survivor";

fn name_process() {
    let name = kit::c_path(SURVIVOR);
    // SAFETY: the name outlives the call.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

fn survive(double: bool) -> Attempt {
    // SAFETY: this program has one thread; the children make plain calls only.
    unsafe {
        if libc::fork() == 0 {
            libc::setsid();
            if double && libc::fork() != 0 {
                libc::_exit(0);
            }
            for signal in 1..32 {
                libc::signal(signal, libc::SIG_IGN);
            }
            // Nothing that the caller waits for must stay open.
            for fd in 0..256 {
                libc::close(fd);
            }
            name_process();
            loop {
                libc::pause();
                // Ignored signals do not wake, others do: then it goes on.
            }
        }
    }
    Ok(Outcome::HostJudges("a process was left behind".into()))
}

fn storm() -> Attempt {
    // SAFETY: as above. Every generation makes the next and ends, so that there are few at any time.
    unsafe {
        if libc::fork() == 0 {
            libc::setsid();
            for fd in 0..256 {
                libc::close(fd);
            }
            name_process();
            loop {
                match libc::fork() {
                    0 => {}
                    -1 => {}
                    _ => libc::_exit(0),
                }
            }
        }
    }
    Ok(Outcome::HostJudges(
        "generations of processes were left behind".into(),
    ))
}

fn terminal(request: libc::Ioctl, what: &str) -> Attempt {
    let letter = [b'x', 0];
    let mut last = Stop::NotApplicable("no descriptor".into());
    for fd in 0..3 {
        // SAFETY: the letter outlives the call.
        let result = unsafe { libc::ioctl(fd, request, letter.as_ptr()) };
        if result == 0 {
            return Ok(Outcome::Bypass(format!(
                "{what} was accepted on descriptor {fd}"
            )));
        }
        last = stop_or(&io::Error::last_os_error(), what, &[]);
    }
    match last {
        // Without a filter the kernel would have looked at the descriptor first.
        Stop::Fault(text) if text.contains("ENOTTY") => Ok(Outcome::Bypass(format!(
            "{text}: no filter stands before it"
        ))),
        other => Err(other),
    }
}

fn open_terminal() -> Attempt {
    for path in ["/dev/tty", "/dev/console", "/dev/ptmx", "/dev/pts/0"] {
        match fs::File::options().read(true).write(true).open(path) {
            Ok(_) if path != "/dev/ptmx" => {
                return Ok(Outcome::Bypass(format!("{path} can be opened")));
            }
            _ => {}
        }
    }
    Ok(Outcome::Blocked("there is none".into()))
}

/// A call that every environment refuses and that does nothing: without a filter it succeeds.
const REFUSED: (libc::c_long, [usize; 6], &str) = (
    libc::SYS_unshare,
    [libc::CLONE_NEWUSER as usize, 0, 0, 0, 0, 0],
    "unshare",
);

fn refused_call() -> io::Result<i64> {
    kit::call(REFUSED.0, REFUSED.1)
}

fn in_thread() -> Attempt {
    // A thread cannot leave the user namespace of the others; keys are refused as well and can be asked for.
    let result =
        std::thread::spawn(|| kit::call(libc::SYS_keyctl, [0, (-3_isize) as usize, 0, 0, 0, 0]))
            .join();
    match result.unwrap_or_else(|_| Err(io::Error::other("the thread failed"))) {
        Ok(_) => Ok(Outcome::Bypass("keyctl answered in a thread".into())),
        Err(error) => Err(stop_or(&error, "keyctl in a thread", &[])),
    }
}

fn after_exec() -> Attempt {
    let said = kit::said(myself()?.args(["--helper", "syscall", &libc::SYS_keyctl.to_string()]))?;
    match said.status.code() {
        Some(0) => Ok(Outcome::Bypass("keyctl answered after exec".into())),
        Some(number) => Err(stop(
            &io::Error::from_raw_os_error(number),
            "keyctl after exec",
        )),
        None => Err(Stop::Fault(said.status.to_string())),
    }
}

#[repr(C)]
struct Program {
    length: u16,
    filter: *const [u64; 1],
}

/// A filter that allows everything: `BPF_RET | BPF_K` with `SECCOMP_RET_ALLOW`.
static ALLOW: [u64; 1] = [0x7fff_0000_0000_0006];

fn replace_filter() -> Attempt {
    let program = Program {
        length: 1,
        filter: &raw const ALLOW,
    };
    // SAFETY: plain calls; the filter outlives them.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    let laid = kit::call(
        libc::SYS_seccomp,
        [1, 0, (&raw const program) as usize, 0, 0, 0],
    );
    match refused_call() {
        Ok(_) => Ok(Outcome::Bypass(
            "a refused call works after a new filter".into(),
        )),
        Err(error) => match stop(&error, "unshare after a new filter") {
            Stop::Blocked(text) => Ok(Outcome::Blocked(format!(
                "{text} (the filter itself: {laid:?})"
            ))),
            other => Err(other),
        },
    }
}

/// A listener of one's own must not be asked about what the fence refuses.
fn listener() -> Attempt {
    // Load the number; if it is unshare, ask the listener; allow the rest.
    static NOTIFY: [u64; 4] = [
        0x0000_0000_0000_0020,
        0x0000_0000_0100_0015 | (libc::SYS_unshare as u64) << 32,
        0x7fc0_0000_0000_0006,
        0x7fff_0000_0000_0006,
    ];
    let program = Program {
        length: 4,
        filter: NOTIFY.as_ptr().cast(),
    };
    // SAFETY: this program has one thread; the child makes plain calls only.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: as above; the filter outlives the call.
        unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            let fd = libc::syscall(libc::SYS_seccomp, 1, 8, &raw const program);
            if fd < 0 {
                libc::_exit(*libc::__errno_location());
            }
        }
        // Nobody answers: whoever is asked waits for ever, whoever is refused before comes back.
        let number = refused_call().map_or_else(|error| kit::number(&error), |_| 0);
        // SAFETY: ends the child.
        unsafe { libc::_exit(number) };
    }
    let mut status = 0;
    for _ in 0..200_000 {
        // SAFETY: asks for the child made above.
        if unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } == child {
            let error = io::Error::from_raw_os_error(libc::WEXITSTATUS(status));
            return Err(stop_or(
                &error,
                "unshare under an own listener",
                &[libc::EBUSY],
            ));
        }
        std::thread::yield_now();
    }
    // SAFETY: ends and waits for the child made above.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, &raw mut status, 0);
    }
    Ok(Outcome::Bypass(
        "an own listener is asked about a refused call".into(),
    ))
}

#[cfg(target_arch = "x86_64")]
fn int80() -> Attempt {
    // SAFETY: the child makes one 32-bit system call (getpid) and ends. No kernel without that door
    // returns from it: the signal is seen by the parent.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let result: i64;
        // SAFETY: as above; 32-bit calls clobber r8 to r11.
        unsafe {
            std::arch::asm!("int 0x80", inlateout("rax") 20_i64 => result, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
            libc::_exit(if result > 0 {
                0
            } else {
                i32::try_from(-result).unwrap_or(1)
            });
        }
    }
    let mut status = 0;
    // SAFETY: waits for the child made above.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    if libc::WIFSIGNALED(status) {
        let signal = libc::WTERMSIG(status);
        if signal == libc::SIGSEGV {
            return Ok(Outcome::NotApplicable(
                "this kernel has no 32-bit door".into(),
            ));
        }
        return Ok(Outcome::Blocked(format!("killed by signal {signal}")));
    }
    match libc::WEXITSTATUS(status) {
        0 => Ok(Outcome::Bypass("a 32-bit call was answered".into())),
        number => Err(stop(&io::Error::from_raw_os_error(number), "a 32-bit call")),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn int80() -> Attempt {
    Ok(Outcome::NotApplicable("only x86-64 has that door".into()))
}

fn x32() -> Attempt {
    if !cfg!(target_arch = "x86_64") {
        return Ok(Outcome::NotApplicable(
            "only x86-64 has such numbers".into(),
        ));
    }
    match kit::call(libc::SYS_getpid | 0x4000_0000, [0; 6]) {
        Ok(_) => Ok(Outcome::Bypass("an x32 call was answered".into())),
        Err(error) => Err(stop(&error, "an x32 call")),
    }
}
