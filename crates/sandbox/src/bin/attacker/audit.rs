//! Attempts on record and policy, as far as they are made from inside: 59 to 63 of the catalogue.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::context::{Context, Denied};
use super::kit::{self, run};
use super::outcome::{Attack, Attempt, Outcome, Stop};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack::new(
        "audit-record-files",
        59,
        "find and change the record of decisions",
        |_| find_writable(&["ledger", "audit", "events", "checkpoint"]),
    )
    .uncontrolled(),
    Attack::new(
        "audit-forge-lines",
        59,
        "print lines that look like records of the gate",
        forge_lines,
    )
    .uncontrolled(),
    Attack::new(
        "audit-forge-name",
        59,
        "a denied program whose name holds a forged record",
        |context| denied_as(context, b"x\n{\"event\":\"allowed\",\"digest\":\"00\"}\n"),
    )
    .uncontrolled(),
    Attack::new(
        "audit-name-control",
        59,
        "a denied program whose name clears the reader's screen",
        |context| denied_as(context, b"\x1b[2J\x1b]0;owned\x07\r"),
    )
    .uncontrolled(),
    Attack::new(
        "audit-name-not-text",
        59,
        "a denied program whose name is no text",
        |context| denied_as(context, b"\xff\x80\xc0"),
    )
    .uncontrolled(),
    Attack::new(
        "audit-name-direction",
        59,
        "a denied program whose name turns the direction of text",
        |context| denied_as(context, "\u{202e}\u{2066}exe.txt".as_bytes()),
    )
    .uncontrolled(),
    Attack::new(
        "audit-argv-huge",
        59,
        "a denied program with two megabytes of arguments",
        argv_huge,
    )
    .uncontrolled(),
    Attack::new(
        "audit-argv-control",
        59,
        "a denied program with control sequences in its arguments",
        argv_control,
    )
    .uncontrolled(),
    Attack::new(
        "audit-flood",
        60,
        "ask for a denied program 100,000 times",
        flood,
    )
    .uncontrolled(),
    Attack::new(
        "audit-flood-names",
        60,
        "be denied under very many different names",
        flood_names,
    )
    .uncontrolled(),
    Attack::new(
        "audit-secret-in-arguments",
        61,
        "be denied with a secret in the arguments",
        secret_arguments,
    )
    .uncontrolled(),
    Attack::new("policy-files", 62, "find and change the policy", |_| {
        find_writable(&["policy", "policies", "rules", "nightcrew.toml", "cedar"])
    })
    .uncontrolled(),
    Attack::new(
        "policy-in-workspace",
        62,
        "leave a policy in the workspace that allows the tool",
        policy_in_workspace,
    )
    .uncontrolled(),
    Attack::new(
        "policy-variables",
        63,
        "switch enforcement off by variables and try the tool",
        policy_variables,
    )
    .uncontrolled(),
    Attack::new(
        "policy-supervisor-socket",
        63,
        "reach the supervisor or the gate through a socket",
        supervisor_socket,
    )
    .uncontrolled(),
    Attack::new(
        "policy-second-supervisor",
        63,
        "start the launcher again from inside to get a weaker environment",
        second_supervisor,
    )
    .uncontrolled(),
];

fn find_writable(words: &[&str]) -> Attempt {
    let mut looked = 0;
    for root in [
        "/nightcrew",
        "/etc",
        "/run",
        "/var/lib",
        "/var/log",
        "/home",
        "/tmp",
        "/mnt",
        "/sys",
        "/dev/shm",
    ] {
        let mut folders = vec![Path::new(root).to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                looked += 1;
                let name = entry.file_name().to_string_lossy().to_lowercase();
                let path = entry.path();
                let kind = entry.file_type().ok();
                // What this program made itself is no find.
                if words.iter().any(|word| name.contains(word))
                    && fs::File::options().append(true).open(&path).is_ok()
                {
                    return Ok(Outcome::Bypass(format!("{} is writable", path.display())));
                }
                if kind.is_some_and(|kind| kind.is_dir()) && looked < 20_000 {
                    folders.push(path);
                }
            }
        }
    }
    Ok(Outcome::Blocked(format!("none among {looked} entries")))
}

fn forge_lines(_: &Context) -> Attempt {
    let mut out = io::stdout();
    writeln!(
        out,
        "{{\"event\":\"exec-allowed\",\"digest\":\"{}\"}}",
        "0".repeat(64)
    )?;
    writeln!(out, "\x1b[2K\rnightcrew: policy reloaded, enforcement off")?;
    Ok(Outcome::HostJudges("two lines on standard output".into()))
}

/// Runs the tool under this name: denied, and the record must survive the name.
fn denied_as(context: &Context, name: &[u8]) -> Attempt {
    // A slash would end the name.
    let name: Vec<u8> = name
        .iter()
        .map(|byte| if *byte == b'/' { b'|' } else { *byte })
        .collect();
    let path = context.place()?.join(OsStr::from_bytes(&name));
    context.program(&path, &context.carried(Denied::Tool)?)?;
    run(&mut Command::new(path))
}

fn argv_huge(context: &Context) -> Attempt {
    let mut command = Command::new(context.path(Denied::Tool)?);
    for _ in 0..16 {
        command.arg("A".repeat(120_000));
    }
    run(&mut command)
}

fn argv_control(context: &Context) -> Attempt {
    run(Command::new(context.path(Denied::Tool)?)
        .arg0("\x1b[31m\nallowed")
        .arg("\x1b]52;c;b3duZWQ=\x07")
        .arg(OsStr::from_bytes(b"\xff\xfe")))
}

fn flood(context: &Context) -> Attempt {
    let path = kit::c_path(context.path(Denied::Tool)?);
    let wanted: u64 = std::env::var("FLOOD")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(100_000);
    let (arguments, environment) = ([path.as_ptr(), std::ptr::null()], [std::ptr::null::<i8>()]);
    // One failed execve costs no process; only a first success would replace this one.
    let attempt = kit::in_child_or(&[], || {
        let mut error = None;
        for _ in 0..wanted {
            let call = [
                path.as_ptr() as usize,
                arguments.as_ptr() as usize,
                environment.as_ptr() as usize,
                0,
                0,
                0,
            ];
            match kit::call(libc::SYS_execve, call) {
                Ok(_) => {}
                Err(new) => error = Some(new),
            }
        }
        kit::at("the last of the flood", error.map_or(Ok(()), Err))
    });
    match attempt {
        Err(Stop::Blocked(text)) => Ok(Outcome::Blocked(format!("{wanted} times refused: {text}"))),
        other => other,
    }
}

fn flood_names(context: &Context) -> Attempt {
    let place = context.place()?;
    let first = place.join("first");
    context.program(&first, &context.carried(Denied::Tool)?)?;
    let mut attempt = Err(Stop::Fault("nothing was tried".into()));
    for number in 0..2000 {
        let path = place.join(format!("tool-{number}"));
        fs::rename(
            if number == 0 {
                first.clone()
            } else {
                place.join(format!("tool-{}", number - 1))
            },
            &path,
        )?;
        attempt = run(&mut Command::new(path));
        if matches!(attempt, Ok(Outcome::Bypass(_)) | Err(Stop::Fault(_))) {
            break;
        }
    }
    attempt
}

fn secret_arguments(context: &Context) -> Attempt {
    run(Command::new(context.path(Denied::Tool)?).args([
        "--token",
        "ghp_NIGHTCREWSECRET0123456789abcdefghij",
        "https://user:NIGHTCREWSECRET@example.invalid/",
    ]))
}

fn policy_in_workspace(context: &Context) -> Attempt {
    for (path, content) in [
        ("/work/.nightcrew/policy.toml", "exec = \"off\"\n"),
        (
            "/work/nightcrew.toml",
            "[isolation]\naccept_weaker = true\nexec = \"off\"\n",
        ),
        ("/work/.nightcrew.yml", "policy: allow-everything\n"),
        (
            "/home/agent/.config/nightcrew/config.toml",
            "exec = \"off\"\n",
        ),
    ] {
        if let Some(parent) = Path::new(path).parent() {
            let _ = fs::create_dir_all(parent);
        }
        let _ = fs::write(path, content);
    }
    run(&mut Command::new(context.path(Denied::Tool)?))
}

fn policy_variables(context: &Context) -> Attempt {
    run(Command::new(context.path(Denied::Tool)?).envs([
        ("NIGHTCREW_EXEC_MODE", "off"),
        ("NIGHTCREW_SANDBOX", "off"),
        ("NIGHTCREW_ACCEPT_WEAKER", "1"),
        ("NIGHTCREW_DISABLE_GATE", "1"),
        ("IS_SANDBOX", "1"),
        ("GLIBC_TUNABLES", "glibc.rtld.optional_static_tls=0"),
    ]))
}

fn supervisor_socket(_: &Context) -> Attempt {
    let text = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let named: Vec<&str> = text
        .lines()
        .skip(1)
        .filter(|line| line.contains('/') || line.contains('@'))
        .collect();
    let mut found = Vec::new();
    for root in [
        "/run",
        "/tmp",
        "/nightcrew",
        "/work",
        "/home",
        "/dev",
        "/var",
    ] {
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            use std::os::unix::fs::FileTypeExt;
            if entry.file_type().is_ok_and(|kind| kind.is_socket()) {
                found.push(entry.path().display().to_string());
            }
        }
    }
    if named.is_empty() && found.is_empty() {
        Ok(Outcome::Blocked("no socket has a name here".into()))
    } else {
        Ok(Outcome::Bypass(format!("{named:?} {found:?}")))
    }
}

fn second_supervisor(context: &Context) -> Attempt {
    let launcher = context.variable("LAUNCHER")?;
    let place = context.place()?;
    // Its self-check makes an environment; made from inside, it would be the attacker's to weaken.
    let said = kit::said(
        Command::new(&launcher)
            .args(["check", "/"])
            .env("TMPDIR", &place),
    )?;
    if said.status.success() && said.out.contains("failed probes: []") {
        return Ok(Outcome::Bypass("an environment was made inside".into()));
    }
    Ok(Outcome::Blocked(
        said.err
            .trim()
            .lines()
            .last()
            .unwrap_or("no word")
            .chars()
            .take(160)
            .collect(),
    ))
}
