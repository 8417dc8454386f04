//! Steps: output, ends, limits, what they leave behind.

mod common;

use std::io::Write;
use std::time::Duration;

use common::{World, processes, quiet, run, sh};
use sandbox::{ExitStatus, SandboxError};

#[test]
fn output_and_exit_code_arrive_separately() {
    let world = World::new();
    let ran = sh(&world.empty("output"), "echo out; echo err >&2; exit 3");
    assert_eq!(
        (ran.status, ran.out.as_str(), ran.err.as_str()),
        (ExitStatus::Code(3), "out\n", "err\n")
    );
}

#[test]
fn a_step_starts_in_the_workspace_or_where_it_is_told() {
    let world = World::new();
    let environment = world.empty("cwd");
    assert_eq!(sh(&environment, "pwd; mkdir sub").ok(), "/work\n");
    let mut spec = quiet("pwd");
    spec.cwd = Some("/work/sub".to_owned());
    assert_eq!(run(&environment, spec).ok(), "/work/sub\n");
    let mut spec = quiet("pwd");
    spec.cwd = Some("/absent".to_owned());
    let ran = run(&environment, spec);
    assert_eq!(ran.status, ExitStatus::Code(125));
    assert!(
        ran.err.contains("cannot enter the step's folder"),
        "{ran:?}"
    );
}

#[test]
fn a_signal_is_reported_as_one() {
    let world = World::new();
    assert_eq!(
        sh(&world.empty("signal"), "kill -TERM $$").status,
        ExitStatus::Signal(15)
    );
}

#[test]
fn a_missing_program_is_127_with_a_message() {
    let world = World::new();
    let environment = world.empty("missing");
    let mut spec = quiet("");
    spec.argv = vec!["no-such-program".to_owned()];
    let ran = run(&environment, spec);
    assert_eq!(ran.status, ExitStatus::Code(127));
    assert_eq!(ran.err, "nightcrew: program not found: no-such-program\n");
    let mut spec = quiet("");
    spec.argv = vec!["/etc/passwd".to_owned()];
    let ran = run(&environment, spec);
    assert_eq!(ran.status, ExitStatus::Code(126));
    assert!(ran.err.contains("cannot execute /etc/passwd"), "{ran:?}");
}

#[test]
fn standard_input_is_passed_or_empty() {
    let world = World::new();
    let environment = world.empty("stdin");
    assert_eq!(sh(&environment, "cat").ok(), "");
    let (read, mut write) = std::io::pipe().unwrap();
    let mut spec = quiet("cat");
    spec.stdin = Some(read.into());
    write.write_all(b"given").unwrap();
    drop(write);
    assert_eq!(run(&environment, spec).ok(), "given");
}

#[test]
fn a_timeout_kills_the_whole_tree() {
    let world = World::new();
    let environment = world.empty("timeout");
    let mut spec = quiet("(setsid sleep 86011 &) ; sleep 86012");
    spec.timeout = Some(Duration::from_millis(200));
    let ran = run(&environment, spec);
    assert_eq!(ran.status, ExitStatus::TimedOut);
    assert!(
        ran.exit.wall >= Duration::from_millis(200) && ran.exit.wall < Duration::from_secs(10),
        "{ran:?}"
    );
    assert_eq!(processes("sleep 8601"), Vec::<String>::new());
    assert_eq!(sh(&environment, "echo usable").ok(), "usable\n");
}

#[test]
fn what_a_step_leaves_behind_is_dead_when_it_has_ended() {
    let world = World::new();
    let environment = world.empty("leftover");
    // The daemon holds no pipe of ours and has left its session; the shell waits until it runs.
    let script = "mkfifo ready; setsid sh -c 'exec >/dev/null 2>&1; trap \"\" TERM HUP; echo >ready; sleep 86021' & read x <ready";
    assert_eq!(sh(&environment, script).status, ExitStatus::Code(0));
    assert_eq!(processes("86021"), Vec::<String>::new());
}

#[test]
fn killing_a_step_ends_it_and_its_tree() {
    let world = World::new();
    let environment = world.empty("kill");
    let running = environment
        .exec(quiet("sleep 86031 & sleep 86032"))
        .unwrap();
    common::eventually("both sleep", || processes("sleep 8603").len() >= 2);
    assert!(matches!(
        environment.exec(quiet("true")),
        Err(SandboxError::Busy { .. })
    ));
    running.kill().unwrap();
    assert_eq!(running.wait().unwrap().status, ExitStatus::Signal(9));
    assert_eq!(running.wait().unwrap().status, ExitStatus::Signal(9));
    assert_eq!(processes("sleep 8603"), Vec::<String>::new());
    running.kill().unwrap();
    assert_eq!(sh(&environment, "echo usable").ok(), "usable\n");
}

#[test]
fn a_running_step_that_is_dropped_is_killed() {
    let world = World::new();
    let environment = world.empty("dropped");
    drop(environment.exec(quiet("sleep 86041")).unwrap());
    assert_eq!(processes("sleep 86041"), Vec::<String>::new());
    assert_eq!(sh(&environment, "echo usable").ok(), "usable\n");
}

#[test]
fn destroying_the_environment_ends_the_step() {
    let world = World::new();
    let environment = world.empty("gone");
    let running = environment.exec(quiet("sleep 86051")).unwrap();
    environment.destroy().unwrap();
    assert_eq!(running.wait().unwrap().status, ExitStatus::EnvironmentGone);
    assert_eq!(processes("sleep 86051"), Vec::<String>::new());
}

#[test]
fn the_life_of_an_environment_is_bounded() {
    let world = World::new();
    let mut spec = world.spec("wall", None);
    spec.limits.wall = Duration::from_millis(500);
    let environment = world.supervisor.create(&spec).unwrap();
    assert_eq!(sh(&environment, "sleep 86061").status, ExitStatus::TimedOut);
    common::eventually("the environment ends", || {
        matches!(
            environment.exec(quiet("true")),
            Err(SandboxError::Gone { .. })
        )
    });
}

#[test]
fn cpu_time_counts_all_processes_of_the_step() {
    let world = World::new();
    let ran = sh(
        &world.empty("cpu"),
        "for n in 1 2; do sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done' & done; wait",
    );
    assert!(ran.exit.user > Duration::from_millis(20), "{ran:?}");
    assert!(ran.exit.max_rss_kib > 100, "{ran:?}");
}

#[test]
fn a_fork_bomb_is_bounded_and_harms_nobody_else() {
    let world = World::new();
    let mut spec = world.spec("bomb", None);
    spec.limits.processes = 40;
    let bombed = world.supervisor.create(&spec).unwrap();
    let neighbour = world.empty("neighbour");
    // The inner shell dies when it cannot fork; the outer one does not fork any more.
    let mut bomb = quiet(
        "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 86071 & done
sh -c 'n=0; while [ $n -lt 200 ]; do sleep 86071 & n=$((n+1)); done'; wait",
    );
    bomb.timeout = Some(Duration::from_secs(20));
    let running = bombed.exec(bomb).unwrap();
    common::eventually("the bomb grows", || processes("sleep 86071").len() > 10);
    assert_eq!(sh(&neighbour, "echo fine").ok(), "fine\n");
    assert!(
        processes("sleep 86071").len() <= 40,
        "{}",
        processes("sleep 86071").len()
    );
    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!(processes("sleep 86071"), Vec::<String>::new());
    assert_eq!(sh(&bombed, "echo usable").ok(), "usable\n");
}

#[test]
fn the_process_limit_refuses_what_is_above_it() {
    let world = World::new();
    let mut spec = world.spec("processes", None);
    spec.limits.processes = 20;
    let environment = world.supervisor.create(&spec).unwrap();
    let ran = sh(
        &environment,
        "n=0; while [ $n -lt 60 ]; do sleep 86081 & n=$((n+1)); done; echo all started",
    );
    assert!(!ran.out.contains("all started"), "{ran:?}");
    assert!(ran.err.to_lowercase().contains("fork"), "{ran:?}");
}

#[test]
fn files_memory_and_descriptors_are_bounded() {
    let world = World::new();
    let mut spec = world.spec("limits", None);
    spec.limits.file_size = 1 << 20;
    spec.limits.tmp_bytes = 1 << 20;
    spec.limits.open_files = 64;
    let environment = world.supervisor.create(&spec).unwrap();
    assert_ne!(
        sh(&environment, "head -c 2000000 /dev/zero >big").status,
        ExitStatus::Code(0)
    );
    assert_eq!(sh(&environment, "wc -c <big").ok().trim(), "1048576");
    let ran = sh(
        &environment,
        "for n in 1 2 3 4; do head -c 400000 /dev/zero >/tmp/$n || exit 9; done",
    );
    assert!(ran.err.contains("No space"), "{ran:?}");
    assert_eq!(
        sh(&environment, "ulimit -n; ulimit -c; ulimit -Hn").ok(),
        "64\n0\n64\n"
    );
}

#[test]
fn a_request_larger_than_a_packet_arrives() {
    let world = World::new();
    let environment = world.empty("large");
    let mut spec = quiet("printf %s \"$LARGE\" | wc -c");
    spec.env = vec![
        ("LARGE".to_owned(), "x".repeat(100_000)),
        ("MORE".to_owned(), "y".repeat(100_000)),
    ];
    assert_eq!(run(&environment, spec).ok().trim(), "100000");
}

#[test]
fn given_variables_replace_the_defaults() {
    let world = World::new();
    let environment = world.empty("replace");
    let mut spec = quiet("echo $HOME $TMPDIR $EXTRA");
    spec.env = vec![
        ("HOME".to_owned(), "/work".to_owned()),
        ("EXTRA".to_owned(), "a=b".to_owned()),
    ];
    assert_eq!(run(&environment, spec).ok(), "/work /tmp a=b\n");
    let mut spec = quiet("true");
    spec.env = vec![("A=B".to_owned(), String::new())];
    assert!(matches!(
        environment.exec(spec),
        Err(SandboxError::InvalidSpec { field: "env", .. })
    ));
}

#[test]
fn a_step_cannot_kill_or_stop_the_init() {
    let world = World::new();
    let environment = world.empty("init");
    sh(&environment, "kill -KILL 1; kill -STOP 1; kill -TERM 1");
    assert_eq!(sh(&environment, "echo usable").ok(), "usable\n");
}

#[test]
fn a_broken_pipe_ends_a_program_as_usual() {
    let world = World::new();
    assert_eq!(sh(&world.empty("pipe"), "yes | head -n 1").ok(), "y\n");
}
