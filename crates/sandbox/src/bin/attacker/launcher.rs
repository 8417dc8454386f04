//! Control groups and the seams of the launcher: 55 to 58 of the catalogue.

use std::fs;
use std::process::Command;

use super::context::Context;
use super::kit::{self, stop};
use super::outcome::{Attack, Attempt, Outcome};

pub(crate) const ATTACKS: &[Attack] = &[
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
        // Busy means that only its running stood in the way, and later it can be written
        // (CVE-2019-5736), unless its mount refuses any change.
        Err(error) if kit::number(&error) == libc::ETXTBSY => {
            let permissions = fs::metadata(path)?.permissions();
            fs::set_permissions(path, permissions).map_err(|error| stop(&error, "chmod"))?;
            let target = fs::read_link(path)?.display().to_string();
            Ok(Outcome::Bypass(format!(
                "{target} would be writable once it ends"
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
    // At 0 a dump handler of the host is started all the same; at exactly 1 none is, and no file is
    // written either, because a byte is less than an ELF header (fs/coredump.c, core(5)).
    if limit.rlim_max == 1 {
        Ok(Outcome::Blocked(
            "core dumps are limited to less than their header, and no handler starts".into(),
        ))
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
