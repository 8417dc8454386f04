//! Limits of a whole environment, freezing, and that nothing survives its end.

mod common;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{World, eventually, named, processes, quiet, run, sh, skip};
use sandbox::{ExitStatus, SandboxError};

/// Whether a spec with both limits gets this layer here; says so when not.
fn has(world: &World, layer: &str) -> bool {
    let mut spec = world.spec("has", None);
    spec.limits.memory = Some(1 << 30);
    spec.limits.cpu_milli = Some(1000);
    let environment = world.supervisor.create(&spec).expect("an environment");
    let has = environment.report().layers.iter().any(|own| own == layer);
    if !has {
        skip(&format!("this user of this host has no {layer}"));
    }
    has
}

/// Every folder of a supervisor in any cgroup hierarchy.
fn cgroups(of: u32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.starts_with("nightcrew-") && name.split('-').nth(2) == Some(&of.to_string())
                {
                    found.push(entry.path());
                }
                folders.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn memory_of_all_processes_together_is_limited_and_said_to_be_the_reason() {
    let world = World::new();
    if !has(&world, "cgroup-memory") {
        return;
    }
    let mut spec = world.spec("memory", None);
    spec.limits.memory = Some(64 << 20);
    let environment = world.supervisor.create(&spec).unwrap();
    let ran = sh(&environment, "head -c 300M /dev/zero | tail >/dev/null");
    assert!(ran.exit.out_of_memory, "{ran:?}");
    assert_ne!(ran.status, ExitStatus::Code(0), "{ran:?}");
    // The environment lives, and what comes next is not blamed.
    let ran = sh(&environment, "echo alive");
    assert_eq!(
        (ran.out.as_str(), ran.exit.out_of_memory),
        ("alive\n", false)
    );
    let usage = environment.usage();
    assert!(usage.out_of_memory.unwrap() >= 1, "{usage:?}");
    let peak = usage.memory_peak.unwrap();
    assert!(peak > 32 << 20 && peak <= 64 << 20, "{usage:?}");
}

#[test]
fn scratch_space_counts_as_memory_and_its_bomb_leaves_room_to_go_on() {
    let world = World::new();
    if !has(&world, "cgroup-memory") {
        return;
    }
    let mut spec = world.spec("scratch", None);
    spec.limits.memory = Some(64 << 20);
    let environment = world.supervisor.create(&spec).unwrap();
    for folder in ["/dev/shm", "/tmp", "/run", "/home/agent"] {
        let script = format!("cat /dev/zero >{folder}/bomb");
        let ran = sh(&environment, &script);
        assert!(ran.err.contains("No space left"), "{folder}: {ran:?}");
    }
    let memory = environment.usage().memory.unwrap();
    assert!(memory > 32 << 20 && memory < 48 << 20, "{memory}");
    let script = "rm /dev/shm/bomb; echo alive";
    assert_eq!(sh(&environment, script).ok(), "alive\n");
    // Together with a step's own memory it is too much, and the step goes, not the environment.
    let script = "cat /dev/zero >/tmp/bomb; head -c 100M /dev/zero | tail >/dev/null";
    assert!(sh(&environment, script).exit.out_of_memory);
    assert_eq!(sh(&environment, "echo alive").ok(), "alive\n");
}

#[test]
fn cpu_of_all_processes_together_is_limited() {
    let world = World::new();
    if !has(&world, "cgroup-cpu") {
        return;
    }
    let mut spec = world.spec("cpu", None);
    spec.limits.cpu_milli = Some(200);
    let environment = world.supervisor.create(&spec).unwrap();
    let mut step = quiet("(while :; do :; done) & while :; do :; done");
    step.timeout = Some(Duration::from_secs(1));
    let exit = environment.exec(step).unwrap().wait().unwrap();
    assert_eq!(exit.status, ExitStatus::TimedOut);
    let used = exit.user + exit.system;
    assert!(used < Duration::from_millis(450), "{exit:?}");
}

#[test]
fn limits_that_nothing_here_can_enforce_are_confessed_or_refused() {
    let world = World::new();
    let mut spec = world.spec("asked", None);
    spec.limits.memory = Some(1 << 30);
    let environment = world.supervisor.create(&spec).unwrap();
    let report = environment.report().clone();
    let enforced = report.layers.iter().any(|layer| layer == "cgroup-memory");
    let confessed = report
        .weaker
        .iter()
        .any(|line| line.starts_with("memory of the whole"));
    assert_ne!(enforced, confessed, "{report:?}");
    drop(environment);
    spec.required.layers = vec!["cgroup-memory".to_owned()];
    assert_eq!(world.supervisor.create(&spec).is_ok(), enforced);
}

#[test]
fn an_environment_weaker_than_required_is_refused_by_name_and_leaves_nothing() {
    let world = World::new();
    let mut spec = world.spec("required", None);
    spec.required.level = Some(sandbox::IsolationLevel::L3);
    spec.required.layers = ["landlock", "no-such-layer"].map(str::to_owned).to_vec();
    let error = world.supervisor.create(&spec).unwrap_err();
    let SandboxError::Weaker { id, missing } = &error else {
        panic!("{error}");
    };
    assert_eq!(id, "required");
    assert!(missing.iter().any(|line| line.contains("L3")), "{error}");
    assert!(
        missing.iter().any(|line| line.contains("no-such-layer")),
        "{error}"
    );
    assert!(missing.iter().all(|line| line.contains("cure")), "{error}");
    assert_eq!(named("nc:required"), Vec::<String>::new());
}

#[test]
fn a_frozen_environment_stands_still_until_it_is_thawed() {
    let world = World::new();
    if !has(&world, "cgroup-freeze") {
        return;
    }
    let environment = world.empty("frozen");
    let running = environment
        .exec(quiet(
            "n=0; while :; do n=$((n+1)); echo $n >count.new; mv count.new count; done",
        ))
        .unwrap();
    let count = || {
        std::fs::read_to_string(world.place.join("layer-frozen/upper/count"))
            .ok()
            .and_then(|text| text.trim().parse::<u64>().ok())
            .unwrap_or(0)
    };
    eventually("it counts", || count() > 10);
    environment.freeze().unwrap();
    let before = count();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(150) {
        assert_eq!(count(), before);
    }
    environment.thaw().unwrap();
    eventually("it counts again", || count() > before);
    running.kill().unwrap();
    running.wait().unwrap();
    // Frozen ones die as others do.
    let running = environment.exec(quiet("sleep 87111")).unwrap();
    eventually("it sleeps", || !processes("sleep 87111").is_empty());
    environment.freeze().unwrap();
    environment.destroy().unwrap();
    assert_eq!(processes("sleep 87111"), Vec::<String>::new());
    assert_eq!(running.wait().unwrap().status, ExitStatus::EnvironmentGone);
}

#[test]
fn nothing_survives_the_end_however_it_hides() {
    let world = World::new();
    let environment = world.empty("hiding");
    let running = environment
        .exec(quiet(
            "setsid sh -c '(sleep 87121 &) ; trap \"\" TERM HUP INT; sleep 87122 & wait' &
             sleep 87123 & kill -STOP $!
             nohup setsid setsid sleep 87124 >/dev/null 2>&1 &
             perl -e 'exit if fork; setpgrp; exit if fork; $0 = q(sleep 87125); sleep 1 while 1' &
             wait",
        ))
        .unwrap();
    eventually("all hide", || processes("sleep 8712").len() >= 5);
    environment.destroy().unwrap();
    assert_eq!(processes("sleep 8712"), Vec::<String>::new());
    drop(running);
}

#[test]
fn a_fork_bomb_stops_at_the_limit_and_the_host_goes_on() {
    let world = World::new();
    let mut spec = world.spec("bomb", None);
    spec.limits.processes = 40;
    let environment = world.supervisor.create(&spec).unwrap();
    let mut step = quiet("f() { f | f & }; f; while :; do :; done");
    step.timeout = Some(Duration::from_secs(2));
    let running = environment.exec(step).unwrap();
    let start = Instant::now();
    let other = world.empty("beside");
    assert_eq!(sh(&other, "echo works").ok(), "works\n");
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    if let Some(most) = environment.usage().processes {
        assert!(most <= 40, "{most}");
    }
    assert_eq!(running.wait().unwrap().status, ExitStatus::TimedOut);
    assert_eq!(sh(&environment, "echo alive").ok(), "alive\n");
}

#[test]
fn terminals_watches_keys_and_descriptors_run_out_inside_alone() {
    let world = World::new();
    let environment = world.empty("exhaust");
    let script = r#"
        my (@held, $terminals, $watchers);
        while (open my $terminal, '+<', '/dev/ptmx') { push @held, $terminal; $terminals++; last if $terminals > 5000 }
        while ((my $fd = syscall(294, 0)) >= 0) { $watchers++; last if $watchers > 100000 }
        my $files = 0;
        while (open my $file, '<', '/dev/null') { push @held, $file; $files++; last if $files > 100000 }
        my ($kind, $name, $value) = qw(user name value);
        my $key = syscall(248, $kind, $name, $value, 5, -3);
        printf "%d %d %d %d\n", $terminals, $watchers, $files, $key;
    "#;
    let mut step = quiet("");
    step.argv = ["perl", "-e", script].map(str::to_owned).to_vec();
    if !cfg!(target_arch = "x86_64") {
        return skip("the system call numbers of this test are of x86_64");
    }
    let ran = run(&environment, step);
    let numbers: Vec<i64> = ran
        .ok()
        .split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect();
    let [terminals, watchers, files, key] = numbers[..] else {
        panic!("{numbers:?}");
    };
    assert_eq!(terminals, 64);
    let host: i64 = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_instances")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(watchers <= (host / 4).max(16), "{watchers} of {host}");
    assert!(files < 4096, "{files}");
    assert_eq!(key, -1);
    // The host and the next environment have theirs.
    assert!(std::fs::File::open("/dev/ptmx").is_ok());
    assert_eq!(
        sh(
            &world.empty("next"),
            "perl -e 'open(my $t, q(+<), q(/dev/ptmx)) or die $!; print 1'"
        )
        .ok(),
        "1"
    );
}

#[test]
fn no_cgroup_is_left_by_an_end_and_none_by_a_killed_supervisor() {
    let world = World::new();
    if !has(&world, "cgroup-memory") {
        return;
    }
    let first = world.supervisor.process_id();
    let mut spec = world.spec("gone", None);
    spec.limits.memory = Some(1 << 30);
    let environment = world.supervisor.create(&spec).unwrap();
    let folders = cgroups(first);
    assert!(!folders.is_empty());
    let children = || {
        cgroups(first)
            .iter()
            .flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten())
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .count()
    };
    assert!(children() > 0);
    environment.destroy().unwrap();
    eventually("its folders go", || children() == 0);
    let _held = world.empty("held");
    drop(world);
    assert_eq!(cgroups(first), Vec::<PathBuf>::new());

    let killed = World::new();
    let second = killed.supervisor.process_id();
    let mut spec = killed.spec("swept", None);
    spec.limits.memory = Some(1 << 30);
    let _environment = killed.supervisor.create(&spec).unwrap();
    let status = std::process::Command::new("kill")
        .args(["-9", &second.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
    drop(killed);
    eventually("its environment dies", || named("nc:swept").is_empty());
    assert!(!cgroups(second).is_empty());
    eventually("a later supervisor sweeps", || {
        drop(World::new());
        cgroups(second).is_empty()
    });
}

#[test]
fn usage_is_counted_where_there_are_cgroups() {
    let world = World::new();
    if !has(&world, "cgroup-pids") {
        return;
    }
    let mut spec = world.spec("usage", None);
    spec.limits.memory = Some(1 << 30);
    let environment = world.supervisor.create(&spec).unwrap();
    let before = environment.usage();
    assert_eq!(before.processes, Some(1), "the init alone");
    sh(
        &environment,
        "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done",
    )
    .ok();
    let after = environment.usage();
    if let (Some(before), Some(after)) = (before.cpu, after.cpu) {
        assert!(after > before, "{before:?} {after:?}");
    }
}

#[test]
fn an_ordinary_user_has_all_that_needs_no_root() {
    common::again_as_an_ordinary_user(
        "",
        &[
            "nothing_survives",
            "a_fork_bomb",
            "terminals_watches",
            "limits_that",
            "an_environment_weaker",
        ],
    );
}

#[test]
fn an_ordinary_user_freezes_and_kills_in_a_delegated_cgroup() {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    let Some(place) = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let place = fields.next()?;
        (fields.next() == Some("cgroup2")).then(|| place.to_owned())
    }) else {
        return skip("the second version of cgroups is not mounted");
    };
    if !common::is_root() {
        return;
    }
    let folder = format!("{place}/sandbox-test-{}", std::process::id());
    if std::fs::create_dir(&folder).is_err() {
        return skip("root cannot make cgroups here");
    }
    let shell = format!(
        "mkdir {folder}/own; chown $USER_ID {folder} {folder}/cgroup.* {folder}/own {folder}/own/cgroup.*
         echo $$ >{folder}/own/cgroup.procs"
    );
    let result = std::panic::catch_unwind(|| {
        common::again_as_an_ordinary_user(&shell, &["a_frozen", "nothing_survives"]);
    });
    for folder in [format!("{folder}/own"), folder] {
        eventually("the delegated folder is empty", || {
            std::fs::remove_dir(&folder).is_ok() || !std::path::Path::new(&folder).exists()
        });
    }
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_core_dump_is_never_asked_for() {
    let world = World::new();
    let environment = world.empty("core");
    let limits = "grep 'Max core file size' /proc/self/limits";
    let script = format!("{limits}; ulimit -c 0; {limits}; sh -c 'kill -SEGV $$'; ls -A");
    let ran = sh(&environment, &script);
    let expected =
        "Max core file size        1                    1                    bytes     \n";
    assert_eq!(ran.out, expected.repeat(2), "{ran:?}");
}
