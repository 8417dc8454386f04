//! The process file system: 24 of the catalogue.

use std::fs;
use std::io;

use super::context::Context;
use super::kit::{stop, stop_or};
use super::outcome::{Attack, Attempt, Outcome, Stop};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack::new(
        "fs-proc-outsider",
        24,
        "see a process of the host by its number",
        |context| outsider(context, "status"),
    ),
    Attack::new(
        "fs-proc-outsider-variables",
        24,
        "read the variables of a process of the host",
        |context| outsider(context, "environ"),
    )
    .root(),
    Attack::new(
        "fs-proc-outsider-memory",
        24,
        "open the memory of a process of the host",
        |context| outsider(context, "mem"),
    )
    .root(),
    Attack::new(
        "fs-proc-init-variables",
        24,
        "read the variables of the environment's first process",
        |context| read(&first(context, "environ")?),
    )
    .root(),
    Attack::new(
        "fs-proc-init-memory",
        24,
        "open the memory of the environment's first process",
        |context| open(&first(context, "mem")?),
    )
    .root(),
    Attack::new(
        "fs-proc-init-files",
        24,
        "list the descriptors of the environment's first process",
        |context| list(&first(context, "fd")?),
    )
    .root(),
    Attack::new(
        "fs-proc-init-maps",
        24,
        "read the address space of the environment's first process",
        |context| read(&first(context, "maps")?),
    )
    .root(),
    Attack::new(
        "fs-proc-many",
        24,
        "see more processes than the environment's own",
        many,
    ),
    Attack::new(
        "fs-proc-kcore",
        24,
        "read the kernel's memory through /proc/kcore",
        |_| read_some("/proc/kcore"),
    )
    .uncontrolled(),
    Attack::new(
        "fs-proc-kmsg",
        24,
        "read the kernel's log through /proc/kmsg",
        |_| kernel_log(),
    )
    .root(),
    Attack::new(
        "fs-proc-kallsyms",
        24,
        "read the kernel's addresses",
        kallsyms,
    )
    .root(),
    Attack::new("fs-proc-keys", 24, "see keys of other users", |_| {
        read("/proc/keys")
    })
    .root(),
    Attack::new(
        "fs-proc-sysrq",
        24,
        "reach the magic system request key",
        |_| writes(&["/proc/sysrq-trigger"]),
    )
    .uncontrolled(),
    Attack::new(
        "fs-proc-core-pattern",
        24,
        "have the kernel start a program for a core dump",
        |_| writes(&["/proc/sys/kernel/core_pattern"]),
    )
    .uncontrolled(),
    Attack::new(
        "fs-proc-modprobe",
        24,
        "have the kernel start a program for a module",
        |_| {
            writes(&[
                "/proc/sys/kernel/modprobe",
                "/proc/sys/kernel/hotplug",
                "/proc/sys/kernel/poweroff_cmd",
            ])
        },
    )
    .uncontrolled(),
    Attack::new("fs-proc-sys", 24, "change settings of the kernel", |_| {
        writes(&[
            "/proc/sys/kernel/hostname",
            "/proc/sys/kernel/panic",
            "/proc/sys/vm/drop_caches",
            "/proc/sys/vm/overcommit_memory",
            "/proc/sys/fs/file-max",
            "/proc/sys/kernel/ns_last_pid",
            "/proc/sys/kernel/yama/ptrace_scope",
            "/proc/sys/vm/memfd_noexec",
            "/proc/sys/user/max_user_namespaces",
            "/proc/sys/net/ipv4/ip_forward",
            "/proc/sys/net/ipv4/ping_group_range",
        ])
    })
    .uncontrolled(),
    Attack::new(
        "fs-proc-irq",
        24,
        "change interrupts, buses or memory types",
        |_| {
            writes(&[
                "/proc/irq/default_smp_affinity",
                "/proc/mtrr",
                "/proc/acpi/wakeup",
                "/proc/scsi/scsi",
            ])
        },
    )
    .uncontrolled(),
    Attack::new(
        "fs-proc-self-settings",
        24,
        "take away own limits through /proc/self",
        self_settings,
    )
    .uncontrolled(),
    Attack::new(
        "fs-proc-uid-map",
        24,
        "write a new map of users for an own process",
        uid_map,
    )
    .uncontrolled(),
    Attack::new(
        "fs-proc-ns-files",
        24,
        "open the namespaces of the environment's first process",
        |context| open(&first(context, "ns/mnt")?),
    )
    .root(),
    Attack::new(
        "fs-proc-mountinfo",
        24,
        "learn host paths from the list of mounts",
        mountinfo,
    ),
    Attack::new(
        "fs-proc-config",
        24,
        "read devices, modules or boot line of the host that help an attacker",
        |_| read("/proc/modules"),
    )
    .uncontrolled(),
    Attack::new("fs-sys", 24, "see anything of the host in /sys", |_| {
        list("/sys")
    }),
    Attack::new(
        "fs-proc-second",
        24,
        "find a second /proc, or one of the host, in the tree",
        second_proc,
    )
    .uncontrolled(),
];

/// A file of the environment's first process.
fn first(context: &Context, file: &str) -> Result<String, Stop> {
    Ok(format!("/proc/{}/{file}", context.first_process()?))
}

fn outsider(context: &Context, file: &str) -> Attempt {
    let number = context.variable("HOST_PID")?;
    let name = fs::read_to_string(format!("/proc/{number}/comm")).unwrap_or_default();
    let path = format!("/proc/{number}/{file}");
    match fs::File::open(path) {
        // The same number may be a process of the environment.
        Ok(_) if name.trim() == context.variable("HOST_COMM")?.trim() => {
            Ok(Outcome::Bypass(format!("{number} is {name}")))
        }
        Ok(_) => Ok(Outcome::Blocked(format!(
            "{number} is another process here: {name}"
        ))),
        Err(error) => Err(stop(&error, "opening it")),
    }
}

fn read(path: &str) -> Attempt {
    match fs::read(path) {
        Ok(bytes) if bytes.is_empty() => Ok(Outcome::Blocked("it is empty".into())),
        Ok(bytes) => Ok(Outcome::Bypass(format!("{} bytes of {path}", bytes.len()))),
        Err(error) => Err(stop(&error, path)),
    }
}

fn read_some(path: &str) -> Attempt {
    let mut bytes = [0; 64];
    match fs::File::open(path).and_then(|mut file| io::Read::read(&mut file, &mut bytes)) {
        Ok(0) => Ok(Outcome::Blocked("it is empty".into())),
        Ok(_) => Ok(Outcome::Bypass(format!("{path} can be read"))),
        Err(error) => Err(stop(&error, path)),
    }
}

fn kernel_log() -> Attempt {
    use std::os::unix::fs::OpenOptionsExt;
    let mut bytes = [0; 4096];
    let result = fs::File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/proc/kmsg")
        .and_then(|mut file| io::Read::read(&mut file, &mut bytes));
    match result {
        // A masked file is there and empty.
        Ok(0) => Ok(Outcome::Blocked("it is empty".into())),
        Ok(count) => Ok(Outcome::Bypass(format!("{count} bytes of the log"))),
        // Read by another already, but it could be.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Ok(Outcome::Bypass("it can be read".into()))
        }
        Err(error) => Err(stop(&error, "/proc/kmsg")),
    }
}

fn open(path: &str) -> Attempt {
    match fs::File::open(path) {
        Ok(_) => Ok(Outcome::Bypass(format!("{path} can be opened"))),
        Err(error) => Err(stop(&error, path)),
    }
}

fn list(path: &str) -> Attempt {
    match fs::read_dir(path).map(Iterator::count) {
        Ok(0) => Ok(Outcome::Blocked("it is empty".into())),
        Ok(count) => Ok(Outcome::Bypass(format!("{count} entries in {path}"))),
        Err(error) => Err(stop(&error, path)),
    }
}

fn many(_: &Context) -> Attempt {
    let count = fs::read_dir("/proc")?
        .flatten()
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .bytes()
                .all(|byte| byte.is_ascii_digit())
        })
        .count();
    // The first process, this one, and a shell that may have started it.
    if count > 3 {
        Ok(Outcome::Bypass(format!("{count} processes")))
    } else {
        Ok(Outcome::Blocked(format!("{count} processes")))
    }
}

fn kallsyms(_: &Context) -> Attempt {
    let text =
        fs::read_to_string("/proc/kallsyms").map_err(|error| stop(&error, "/proc/kallsyms"))?;
    if text
        .lines()
        .any(|line| !line.starts_with("0000000000000000") && line.contains(" T "))
    {
        return Ok(Outcome::Bypass("addresses are shown".into()));
    }
    Ok(Outcome::Blocked("every address is 0".into()))
}

/// Opens for writing only: nothing is changed, on any host.
fn writes(paths: &[&str]) -> Attempt {
    let mut last = String::from("absent");
    for path in paths {
        match fs::File::options().write(true).open(path) {
            Ok(_) => return Ok(Outcome::Bypass(format!("{path} can be opened for writing"))),
            Err(error) => match stop(&error, path) {
                Stop::Blocked(text) => last = text,
                other => return Err(other),
            },
        }
    }
    Ok(Outcome::Blocked(last))
}

fn self_settings(_: &Context) -> Attempt {
    let before = fs::read_to_string("/proc/self/oom_score_adj")?;
    if fs::write("/proc/self/oom_score_adj", "-900").is_ok() {
        let _ = fs::write("/proc/self/oom_score_adj", before.trim());
        return Ok(Outcome::Bypass(
            "others go first when memory is short".into(),
        ));
    }
    let error = fs::write("/proc/self/oom_score_adj", "-900")
        .err()
        .unwrap_or_else(|| io::Error::other("changed"));
    Err(stop(&error, "lowering oom_score_adj"))
}

fn uid_map(_: &Context) -> Attempt {
    match fs::write("/proc/self/uid_map", "0 0 4294967295") {
        Ok(()) => Ok(Outcome::Bypass("a new map was written".into())),
        Err(error) => Err(stop_or(&error, "writing uid_map", &[libc::EINVAL])),
    }
}

fn mountinfo(context: &Context) -> Attempt {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    let home = context.variable("HOST_STATE")?;
    match text.lines().find(|line| line.contains(&home)) {
        Some(line) => Ok(Outcome::Bypass(format!(
            "a host path: {}",
            line.chars().take(100).collect::<String>()
        ))),
        None if context.control => Ok(Outcome::Bypass(
            "mounts of the host are listed there".into(),
        )),
        None => Ok(Outcome::Blocked(format!(
            "{} mounts, none names the state folder",
            text.lines().count()
        ))),
    }
}

fn second_proc(_: &Context) -> Attempt {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    let found: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(" - proc "))
        .filter_map(|line| line.split(' ').nth(4))
        .collect();
    let strange = found.iter().find(|place| !place.starts_with("/proc"));
    match strange {
        Some(place) => Ok(Outcome::Bypass(format!("/proc is also at {place}"))),
        None => Ok(Outcome::Blocked(format!("only at {found:?}"))),
    }
}
