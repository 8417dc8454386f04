//! Using everything up: 49 of the catalogue. Every bomb has a bound of its own, so that a missing
//! limit shows without harm to the machine.

use std::fs;
use std::io;

use super::kit;
use super::outcome::{Attack, Attempt, Outcome};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack::new(
        "proc-fork-bomb",
        49,
        "make more processes than the environment may have",
        |_| fork_bomb(),
    )
    .uncontrolled(),
    Attack::new(
        "proc-thread-bomb",
        49,
        "make more threads than the environment may have",
        |_| thread_bomb(),
    )
    .uncontrolled(),
    Attack::new(
        "proc-fd-bomb",
        49,
        "open more files than a process may",
        |_| descriptors(limit("LIMIT_FILES", 4096)),
    ),
    Attack::new(
        "proc-keyring-bomb",
        49,
        "fill the kernel's keyrings",
        |_| keys(),
    ),
    Attack::new("proc-pty-bomb", 49, "use up the terminals", |_| terminals()).uncontrolled(),
    Attack::new(
        "proc-inotify-bomb",
        49,
        "use up the watches of files",
        |_| watches(),
    )
    .uncontrolled(),
    Attack::new("proc-timer-bomb", 49, "make very many timers", |_| timers()).uncontrolled(),
    Attack::new("proc-limits-raise", 49, "raise own limits", |_| raise()).uncontrolled(),
];

pub(crate) fn limit(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(otherwise)
}

fn seen(count: u64, allowed: u64, error: Option<&io::Error>, what: &str) -> Attempt {
    match error {
        Some(error) if count <= allowed => Ok(Outcome::Blocked(format!(
            "{} after {count} {what}",
            kit::name(kit::number(error))
        ))),
        _ => Ok(Outcome::Bypass(format!(
            "{count} {what}; {allowed} were allowed"
        ))),
    }
}

/// Children that wait until they are killed, at most this many.
fn fork_bomb() -> Attempt {
    let allowed = limit("LIMIT_PROCESSES", 512);
    let mut children = Vec::new();
    let mut problem = None;
    while (children.len() as u64) < allowed + 200 {
        // SAFETY: this program has one thread; the child only waits.
        match unsafe { libc::fork() } {
            // SAFETY: plain call.
            0 => loop {
                unsafe { libc::pause() };
            },
            -1 => {
                problem = Some(io::Error::last_os_error());
                break;
            }
            child => children.push(child),
        }
    }
    end(&children);
    seen(
        children.len() as u64,
        allowed,
        problem.as_ref(),
        "processes",
    )
}

pub(crate) fn end(children: &[i32]) {
    for child in children {
        // SAFETY: ends and waits for children made here.
        unsafe {
            libc::kill(*child, libc::SIGKILL);
            libc::waitpid(*child, std::ptr::null_mut(), 0);
        }
    }
}

fn thread_bomb() -> Attempt {
    let allowed = limit("LIMIT_PROCESSES", 512);
    let (mut threads, mut problem) = (0, None);
    while threads < allowed + 200 {
        match std::thread::Builder::new().stack_size(64 << 10).spawn(|| {
            loop {
                std::thread::park();
            }
        }) {
            Ok(_) => threads += 1,
            Err(error) => {
                problem = Some(error);
                break;
            }
        }
    }
    seen(threads, allowed, problem.as_ref(), "threads")
}

fn descriptors(allowed: u64) -> Attempt {
    let wanted = allowed + 100;
    let mut files = Vec::new();
    while (files.len() as u64) < wanted {
        match fs::File::open("/dev/null") {
            Ok(file) => files.push(file),
            Err(error) => return seen(files.len() as u64, allowed, Some(&error), "open files"),
        }
    }
    seen(wanted, allowed, None, "open files")
}

fn keys() -> Attempt {
    let (kind, name, value) = (kit::c_path("user"), kit::c_path("attack"), [0_u8; 32]);
    let arguments = [
        kind.as_ptr() as usize,
        name.as_ptr() as usize,
        value.as_ptr() as usize,
        value.len(),
        (-2_isize) as usize,
        0,
    ];
    match kit::call(libc::SYS_add_key, arguments) {
        Ok(_) => Ok(Outcome::Bypass("a key was added".into())),
        Err(error) => Err(kit::stop(&error, "add_key")),
    }
}

fn terminals() -> Attempt {
    let mut held = Vec::new();
    while held.len() < 600 {
        match fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/ptmx")
            .or_else(|_| {
                fs::File::options()
                    .read(true)
                    .write(true)
                    .open("/dev/pts/ptmx")
            }) {
            Ok(file) => held.push(file),
            Err(error) => return seen(held.len() as u64, 256, Some(&error), "terminals"),
        }
    }
    seen(held.len() as u64, 256, None, "terminals")
}

fn watches() -> Attempt {
    let mut held = Vec::new();
    // The limit belongs to the user, and all environments may share one user.
    while held.len() < 4000 {
        // SAFETY: plain call; the descriptor is owned below.
        let fd = unsafe { libc::inotify_init1(0) };
        if fd < 0 {
            let error = io::Error::last_os_error();
            return seen(held.len() as u64, 256, Some(&error), "watchers");
        }
        held.push(kit::own(i64::from(fd)));
    }
    seen(held.len() as u64, 256, None, "watchers")
}

fn timers() -> Attempt {
    for number in 0..40_000_u64 {
        let mut timer = 0_i32;
        if let Err(error) = kit::call(
            libc::SYS_timer_create,
            [
                libc::CLOCK_MONOTONIC as usize,
                0,
                (&raw mut timer) as usize,
                0,
                0,
                0,
            ],
        ) {
            return Ok(Outcome::Blocked(format!(
                "{} after {number} timers",
                kit::name(kit::number(&error))
            )));
        }
    }
    Ok(Outcome::Bypass("40,000 timers".into()))
}

fn raise() -> Attempt {
    for (resource, name) in [
        (libc::RLIMIT_NPROC, "processes"),
        (libc::RLIMIT_NOFILE, "open files"),
        (libc::RLIMIT_FSIZE, "file size"),
        (libc::RLIMIT_AS, "address space"),
        (libc::RLIMIT_NICE, "priority"),
    ] {
        let mut old = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: the limits outlive the calls.
        unsafe { libc::getrlimit(resource, &raw mut old) };
        if old.rlim_max == libc::RLIM_INFINITY {
            continue;
        }
        let new = libc::rlimit {
            rlim_cur: old.rlim_max + 1,
            rlim_max: old.rlim_max + 1,
        };
        // SAFETY: as above.
        if unsafe { libc::setrlimit(resource, &raw const new) } == 0 {
            return Ok(Outcome::Bypass(format!("the limit of {name} was raised")));
        }
    }
    Ok(Outcome::Blocked("no limit can be raised".into()))
}
