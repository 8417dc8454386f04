//! What an environment keeps apart from the host.

mod common;

use common::{World, is_root, quiet, run, sh, skip};
use sandbox::{ExitStatus, IsolationLevel, SANDBOX_UID, State};

const PROBES: [&str; 24] = [
    "own-pid-namespace",
    "uid-mapped",
    "no-capabilities",
    "no-new-privileges",
    "host-root-unreachable",
    "host-home-empty",
    "host-passwords-unreachable",
    "host-data-unreachable",
    "system-read-only",
    "mount-refused",
    "unshare-refused",
    "setns-refused",
    "outside-signal-refused",
    "internet-unreachable",
    "host-loopback-unreachable",
    "host-abstract-socket-unreachable",
    "netlink-refused",
    "memory-files-refused",
    "io-uring-refused",
    "terminal-injection-refused",
    "raw-network-refused",
    "terminals-own",
    "cgroups-unseen",
    "landlock-enforced",
];

#[test]
fn the_report_names_every_layer_and_every_probe_passed() {
    let world = World::new();
    let base = world.base(&[("a", "1")]);
    let environment = world
        .supervisor
        .create(&world.spec("report", Some(&base)))
        .unwrap();
    let report = environment.report();
    let names: Vec<&str> = report
        .self_test
        .iter()
        .map(|probe| probe.name.as_str())
        .collect();
    assert_eq!(names, PROBES);
    assert!(
        report.self_test.iter().all(|probe| probe.passed),
        "{report:?}"
    );
    assert_eq!(report.level, IsolationLevel::L0);
    for layer in [
        "user",
        "mount",
        "pid",
        "net",
        "ipc",
        "uts",
        "cgroup",
        "overlay",
        "rlimits",
        "no-capabilities",
        "no-new-privs",
        "seccomp",
        "landlock",
    ] {
        assert!(
            report.layers.iter().any(|name| name == layer),
            "{layer} in {report:?}"
        );
    }
    assert_eq!(report.weaker, Vec::<String>::new());
    let json = serde_json::to_string(report).unwrap();
    assert_eq!(
        &serde_json::from_str::<sandbox::IsolationReport>(&json).unwrap(),
        report
    );
}

#[test]
fn every_escape_attempt_is_refused() {
    let world = World::new();
    let environment = world.empty("escape");
    for attempt in sandbox::escape_attempts() {
        let mut spec = quiet(attempt.script);
        spec.env = vec![(
            "HOST_PID".to_owned(),
            world.supervisor.process_id().to_string(),
        )];
        let ran = run(&environment, spec);
        assert!(
            matches!(ran.status, ExitStatus::Code(code) if code != 0),
            "{} escaped or was not tried: {ran:?}",
            attempt.name
        );
        // 127 would mean that the script itself could not run.
        assert_ne!(
            ran.status,
            ExitStatus::Code(125),
            "{}: {ran:?}",
            attempt.name
        );
    }
    assert!(
        common::named("nc-supervisor")
            .iter()
            .any(|path| path.ends_with(&format!("/{}", world.supervisor.process_id())))
    );
}

#[test]
fn an_escape_attempt_that_works_would_be_noticed() {
    // The same scripts on the host, where reading processes is permitted.
    let attempt = sandbox::escape_attempts()
        .iter()
        .find(|attempt| attempt.name == "see-host-processes")
        .unwrap();
    let status = std::process::Command::new("sh")
        .args(["-c", attempt.script])
        .status()
        .unwrap();
    if common::processes("").len() <= 12 {
        return skip("this host has too few processes to see");
    }
    assert!(status.success());
}

#[test]
fn only_the_environments_own_processes_are_visible() {
    let world = World::new();
    let environment = world.empty("processes");
    let ran = sh(&environment, "echo /proc/[0-9]*").ok();
    assert_eq!(ran.split_whitespace().count(), 2, "{ran}");
}

#[test]
fn the_root_shows_nothing_but_the_allow_list() {
    let world = World::new();
    let environment = world.empty("root");
    let root = sh(&environment, "ls /").ok();
    for name in root.split_whitespace() {
        let allowed = [
            "bin",
            "dev",
            "etc",
            "home",
            "lib",
            "lib32",
            "lib64",
            "libx32",
            "mnt",
            "nightcrew",
            "proc",
            "run",
            "sbin",
            "sys",
            "tmp",
            "usr",
            "var",
            "work",
        ];
        assert!(allowed.contains(&name), "{name}");
    }
    assert_eq!(
        sh(&environment, "ls /sys /mnt /var/lib | wc -w")
            .ok()
            .trim(),
        "4"
    );
    assert_eq!(
        sh(
            &environment,
            "cat /etc/resolv.conf; ls /etc/ssh /etc/sudoers 2>/dev/null"
        )
        .out,
        ""
    );
    assert_eq!(
        sh(&environment, "ls /dev | tr '\\n' ' '").ok(),
        "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero "
    );
}

#[test]
fn steps_are_user_0_inside_and_unprivileged_outside() {
    let world = World::new();
    let base = world.base(&[]);
    let environment = world
        .supervisor
        .create(&world.spec("user", Some(&base)))
        .unwrap();
    assert_eq!(
        sh(
            &environment,
            "id -u; id -g; id -un; grep -c . /proc/self/uid_map; touch made"
        )
        .ok(),
        "0\n0\nroot\n1\n"
    );
    let status = sh(
        &environment,
        "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status",
    )
    .ok();
    for line in status.lines() {
        let value = line.split_whitespace().nth(1).unwrap();
        let expected = match line.split(':').next().unwrap() {
            "NoNewPrivs" => "1",
            "Seccomp" => "2",
            _ => "0000000000000000",
        };
        assert_eq!(value, expected, "{line}");
    }
    use std::os::unix::fs::MetadataExt;
    let owner = std::fs::symlink_metadata(world.place.join("layer-user/upper/made"))
        .unwrap()
        .uid();
    if is_root() {
        assert_ne!(owner, 0);
        assert_eq!(owner, SANDBOX_UID);
    } else {
        assert_eq!(owner, std::fs::metadata("/proc/self").unwrap().uid());
    }
}

#[test]
fn no_descriptor_of_the_host_is_open_in_a_step() {
    let world = World::new();
    let environment = world.empty("descriptors");
    // 3 is the folder that ls itself reads.
    assert_eq!(
        sh(&environment, "ls /proc/self/fd | tr '\\n' ' '").ok(),
        "0 1 2 3 "
    );
}

#[test]
fn the_network_is_an_own_loopback_and_nothing_else() {
    let world = World::new();
    let environment = world.empty("network");
    assert_eq!(
        sh(
            &environment,
            "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '"
        )
        .ok(),
        "lo\n"
    );
    assert_eq!(
        sh(&environment, "cat /proc/net/route | wc -l").ok().trim(),
        "1"
    );
}

#[test]
fn no_environment_variable_is_inherited() {
    let world = World::new();
    let environment = world.empty("variables");
    let names = sh(&environment, "env | cut -d= -f1 | sort | tr '\\n' ' '").ok();
    assert_eq!(names, "HOME LANG PATH PWD TERM TMPDIR ");
}

#[test]
fn environments_do_not_see_each_other() {
    let world = World::new();
    let (one, two) = (world.empty("one"), world.empty("two"));
    sh(
        &one,
        "echo secret >/tmp/secret; echo secret >/dev/shm/secret; echo secret >secret",
    )
    .ok();
    assert_eq!(sh(&two, "ls -A /tmp /dev/shm /work | grep secret").out, "");
}

#[test]
fn a_toolchain_folder_is_shown_read_only_under_its_own_path() {
    let world = World::new();
    let place = tempfile::Builder::new()
        .prefix("sandbox-tools-")
        .tempdir_in("/var/tmp")
        .unwrap();
    let tools = place.path().join("bin");
    std::fs::create_dir_all(&tools).unwrap();
    std::fs::write(tools.join("tool"), "#!/bin/sh\necho tool ran\n").unwrap();
    use std::os::unix::fs::PermissionsExt;
    for path in [&tools.join("tool"), &tools] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut spec = world.spec("tools", None);
    spec.root.extra = vec![tools.clone()];
    let environment = world.supervisor.create(&spec).unwrap();
    assert_eq!(
        sh(&environment, &format!("{}/tool", tools.display())).ok(),
        "tool ran\n"
    );
    let ran = sh(&environment, &format!("echo x >{}/tool", tools.display()));
    assert!(
        ran.err.contains("Read-only") || ran.err.contains("Permission"),
        "{ran:?}"
    );
}

#[test]
fn a_toolchain_folder_that_would_be_covered_is_refused() {
    let world = World::new();
    let mut spec = world.spec("covered", None);
    spec.root.extra = vec!["/tmp".into()];
    let error = world.supervisor.create(&spec).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("`root.extra` is not acceptable"),
        "{error}"
    );
}

#[test]
fn environments_are_the_first_to_go_when_memory_is_short() {
    let world = World::new();
    assert_eq!(
        sh(&world.empty("memory"), "cat /proc/self/oom_score_adj").ok(),
        "500\n"
    );
}

#[test]
fn the_preflight_finds_everything_where_environments_can_be_made() {
    let preflight = sandbox::preflight();
    let gate = preflight
        .findings
        .iter()
        .find(|finding| finding.name == "exec-gate");
    let level = if gate.expect("a finding").ok {
        IsolationLevel::L1
    } else {
        IsolationLevel::L0
    };
    assert_eq!(preflight.level, Some(level), "{preflight:?}");
    let necessary = [
        "user-namespace",
        "mount-namespace",
        "network-namespace",
        "tmpfs",
        "mount-attributes",
        "terminals",
        "seccomp",
        "proc",
    ];
    for name in necessary {
        assert!(
            preflight
                .findings
                .iter()
                .any(|finding| finding.name == name),
            "{name}"
        );
    }
    for finding in &preflight.findings {
        assert_eq!(finding.ok, finding.state == State::Active, "{finding:?}");
        assert_eq!(finding.ok, finding.cause.is_empty(), "{finding:?}");
        assert_eq!(finding.ok, finding.cure.is_empty(), "{finding:?}");
        if necessary.contains(&finding.name.as_str()) {
            assert!(finding.ok, "{finding:?}");
        }
    }
}

#[test]
fn the_preflight_and_an_environment_agree_on_layers() {
    let world = World::new();
    let mut spec = world.spec("agrees", None);
    spec.limits.memory = Some(1 << 30);
    spec.limits.cpu_milli = Some(1000);
    spec.exec.mode = sandbox::ExecMode::Strict;
    let environment = world.supervisor.create(&spec).unwrap();
    for finding in sandbox::preflight().findings {
        let layer = &finding.name;
        if layer.starts_with("cgroup-") || ["landlock", "noexec", "wx"].contains(&layer.as_str()) {
            let present = environment.report().layers.contains(layer);
            assert_eq!(present, finding.state != State::Absent, "{finding:?}");
        }
    }
}

#[test]
fn the_hostname_is_the_wanted_one() {
    let world = World::new();
    let mut spec = world.spec("hostname", None);
    spec.hostname = "builder-7".to_owned();
    let environment = world.supervisor.create(&spec).unwrap();
    assert_eq!(
        sh(
            &environment,
            "cat /proc/sys/kernel/hostname /etc/hostname; grep -c builder-7 /etc/hosts"
        )
        .ok(),
        "builder-7\nbuilder-7\n2\n"
    );
}

#[test]
fn an_unacceptable_spec_is_refused_with_its_field() {
    let world = World::new();
    for id in ["", "a b", "../x", &"x".repeat(129)] {
        let error = world
            .supervisor
            .create(&sandbox::EnvironmentSpec::new(
                id,
                world.spec("x", None).workspace,
            ))
            .unwrap_err();
        assert!(
            error.to_string().starts_with("`id` is not acceptable"),
            "{error}"
        );
    }
    let error = world
        .supervisor
        .create(&world.spec("x", Some(&world.place.join("absent"))))
        .unwrap_err();
    assert!(error.to_string().contains("absent"), "{error}");
}
