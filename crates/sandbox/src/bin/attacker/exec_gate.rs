//! Attempts on the gate itself, and other doors into the kernel: 19 to 21 of the catalogue.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use super::context::{Context, Denied};
use super::kit::{self, run};
use super::outcome::{Attack, Attempt, Outcome, Stop};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack::new(
        "exec-gate-kill",
        19,
        "signal every process that can be seen, to end the gate",
        gate_kill,
    )
    .uncontrolled(),
    Attack::new(
        "exec-gate-flood",
        19,
        "flood the gate with openings and executions and try the tool meanwhile",
        gate_flood,
    ),
    Attack::new(
        "exec-gate-big-file",
        19,
        "let the gate hash a huge program and try the tool meanwhile",
        gate_big,
    )
    .carried(),
    Attack::new(
        "exec-gate-huge-tool",
        19,
        "make the tool too large to be hashed",
        gate_huge,
    )
    .carried(),
    Attack::new(
        "exec-io-uring",
        20,
        "open an io_uring, which opens files past the system call filter",
        io_uring,
    ),
    Attack::new(
        "exec-setuid",
        21,
        "start set-user-id programs of the host and keep what they gain",
        setuid,
    )
    .uncontrolled(),
    Attack::new(
        "exec-setuid-left",
        21,
        "leave a program behind that takes on its owner, for other users of the host",
        setuid_left,
    ),
    Attack::new(
        "exec-setuid-own",
        21,
        "set the set-user-id bit on an own copy",
        setuid_own,
    )
    .uncontrolled(),
    Attack::new(
        "exec-file-capabilities",
        21,
        "give an own copy capabilities",
        capabilities,
    )
    .root(),
];

fn gate_kill(context: &Context) -> Attempt {
    // SAFETY: plain call.
    let own = unsafe { (libc::getpid(), libc::getppid()) };
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(number) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        if number != own.0 && number != own.1 && !context.control {
            // SAFETY: inside an environment; the test runs it nowhere else.
            unsafe { libc::kill(number, libc::SIGKILL) };
        }
    }
    run(&mut Command::new(context.path(Denied::Tool)?))
}

fn gate_flood(context: &Context) -> Attempt {
    let tool = context.path(Denied::Tool)?;
    let script = "i=0; while [ $i -lt 400 ]; do cat /etc/hostname >/dev/null; \"$TARGET\" 2>/dev/null; i=$((i+1)); done";
    let mut floods = Vec::new();
    for _ in 0..12 {
        floods.push(
            Command::new("sh")
                .args(["-c", script])
                .stdout(std::process::Stdio::piped())
                .spawn()?,
        );
    }
    let mut attempt = Ok(Outcome::Blocked(String::new()));
    for _ in 0..200 {
        attempt = run(&mut Command::new(&tool));
        if matches!(attempt, Ok(Outcome::Bypass(_)) | Err(Stop::Fault(_))) {
            break;
        }
    }
    for flood in floods {
        let output = flood.wait_with_output()?;
        if String::from_utf8_lossy(&output.stdout).contains(super::context::MARKER) {
            attempt = Ok(Outcome::Bypass("one of the flood was executed".into()));
        }
    }
    attempt
}

/// A program of this many bytes: the denied one and nothing behind it.
fn lengthened(context: &Context, length: u64) -> Result<std::path::PathBuf, Stop> {
    let path = context.copy(Denied::Tiny, "huge")?;
    let file = fs::File::options().write(true).open(&path)?;
    file.set_len(length)
        .map_err(|error| kit::stop_or(&error, "lengthening", &[libc::EFBIG, libc::ENOSPC]))?;
    Ok(path)
}

fn gate_big(context: &Context) -> Attempt {
    let huge = lengthened(context, 1 << 30)?;
    let mut busy = Command::new(&huge)
        .stdout(std::process::Stdio::null())
        .spawn()
        .ok();
    let attempt = run(&mut Command::new(context.path(Denied::Tool)?));
    if let Some(child) = &mut busy {
        let _ = child.kill();
        let _ = child.wait();
    }
    attempt
}

/// Other bytes, which a deny list would let pass; but nothing may pass because it was too large to look at.
fn gate_huge(context: &Context) -> Attempt {
    let huge = lengthened(context, 3 << 30)?;
    run(&mut Command::new(huge))
}

fn io_uring(_: &Context) -> Attempt {
    let mut parameters = [0_u8; 120];
    match kit::call(
        libc::SYS_io_uring_setup,
        [4, parameters.as_mut_ptr() as usize, 0, 0, 0, 0],
    ) {
        Ok(fd) => {
            drop(kit::own(fd));
            Ok(Outcome::Bypass("io_uring_setup gave a ring".into()))
        }
        Err(error) => Err(kit::stop(&error, "io_uring_setup")),
    }
}

/// The capabilities that a started program has.
fn gained(program: &Path, arguments: &[&str]) -> Result<bool, Stop> {
    let said = kit::said(Command::new(program).args(arguments))?;
    let value = said
        .out
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"));
    Ok(value.is_some_and(|value| !value.trim().trim_matches('0').is_empty()))
}

fn setuid(_: &Context) -> Attempt {
    let mut seen = 0;
    for folder in ["/usr/bin", "/usr/sbin", "/bin", "/sbin"] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_file() && metadata.mode() & 0o6000 != 0 {
                seen += 1;
                let before = fs::read_to_string("/proc/self/status")?;
                if !before.contains("NoNewPrivs:\t1") {
                    return Ok(Outcome::Bypass(format!(
                        "{} would gain privileges",
                        entry.path().display()
                    )));
                }
            }
        }
    }
    if seen == 0 {
        return Ok(Outcome::Blocked("no set-user-id program is shown".into()));
    }
    Ok(Outcome::Blocked(format!(
        "{seen} set-user-id programs, but no_new_privs is set"
    )))
}

/// By every call that sets or makes modes, one after the other.
fn setuid_left(context: &Context) -> Attempt {
    let place = context.place()?;
    let (file, new) = (place.join("left"), place.join("made"));
    fs::write(&file, "#!/bin/sh\n")?;
    let (path, made) = (kit::c_path(&file), kit::c_path(&new));
    let (name, made) = (path.as_ptr() as usize, made.as_ptr() as usize);
    let (here, mode) = (libc::AT_FDCWD as usize, 0o4755);
    let opened = fs::File::open(&file)?;
    let make = (libc::O_CREAT | libc::O_WRONLY) as usize;
    // Its size, and the flags and mode that `openat2` takes from memory.
    let how = [make as u64, mode as u64, 0];
    let calls = [
        (
            "fchmod",
            libc::SYS_fchmod,
            [opened.as_raw_fd() as usize, mode, 0, 0, 0, 0],
        ),
        ("fchmodat", libc::SYS_fchmodat, [here, name, mode, 0, 0, 0]),
        ("fchmodat2", 452, [here, name, mode, 0, 0, 0]),
        ("openat", libc::SYS_openat, [here, made, make, mode, 0, 0]),
        (
            "openat2",
            libc::SYS_openat2,
            [here, made, how.as_ptr() as usize, 24, 0, 0],
        ),
        (
            "mknodat",
            libc::SYS_mknodat,
            [here, made, mode | libc::S_IFREG as usize, 0, 0, 0],
        ),
    ];
    let mut refused = Vec::new();
    for (what, number, arguments) in calls {
        match kit::call(number, arguments) {
            Ok(fd) if what.starts_with("open") => drop(kit::own(fd)),
            Ok(_) => {}
            Err(error) => refused.push(format!("{what}: {}", kit::name(kit::number(&error)))),
        }
        for path in [&file, &new] {
            if fs::metadata(path).is_ok_and(|meta| meta.mode() & libc::S_ISUID != 0) {
                return Ok(Outcome::Bypass(format!(
                    "{what} left a set-user-id program"
                )));
            }
        }
        let _ = fs::remove_file(&new);
    }
    Ok(Outcome::Blocked(refused.join(", ")))
}

fn setuid_own(context: &Context) -> Attempt {
    let path = context.place()?.join("cat");
    fs::copy("/bin/cat", &path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o6755))
        .map_err(|error| kit::stop(&error, "chmod"))?;
    match gained(&path, &["/proc/self/status"])? {
        true => Ok(Outcome::Bypass(
            "an own set-user-id copy has capabilities".into(),
        )),
        false => Ok(Outcome::Blocked("the copy gained nothing".into())),
    }
}

fn capabilities(context: &Context) -> Attempt {
    let path = context.place()?.join("cat");
    fs::copy("/bin/cat", &path)?;
    // Version 2, effective, CAP_SYS_ADMIN permitted.
    let mut value = Vec::new();
    for word in [0x0200_0001_u32, 1 << 21, 0, 0, 0] {
        value.extend(word.to_le_bytes());
    }
    let (file, attribute) = (kit::c_path(&path), kit::c_path("security.capability"));
    kit::call(
        libc::SYS_setxattr,
        [
            file.as_ptr() as usize,
            attribute.as_ptr() as usize,
            value.as_ptr() as usize,
            value.len(),
            0,
            0,
        ],
    )
    .map_err(|error| {
        kit::stop_or(
            &error,
            "setxattr of security.capability",
            &[libc::EOPNOTSUPP],
        )
    })?;
    match gained(&path, &["/proc/self/status"])? {
        true => Ok(Outcome::Bypass("an own copy has capabilities".into())),
        false => Ok(Outcome::Blocked("the copy gained nothing".into())),
    }
}
