//! Nothing is left behind: not by drops, not by kills, not under load.

mod common;

use common::{World, eventually, is_root, named, processes, quiet, sh, skip};
use sandbox::{SandboxError, Supervisor, SupervisorOptions};

#[test]
fn dropping_an_environment_leaves_no_process() {
    let world = World::new();
    let environment = world.empty("dropping-env");
    let running = environment
        .exec(quiet("sleep 87011 & sleep 87012"))
        .unwrap();
    eventually("both sleep", || processes("sleep 8701").len() >= 2);
    assert_eq!(named("nc:dropping-env").len(), 1);
    drop(environment);
    assert_eq!(processes("sleep 8701"), Vec::<String>::new());
    assert_eq!(named("nc:dropping-env"), Vec::<String>::new());
    drop(running);
}

#[test]
fn killing_the_supervisor_leaves_no_process() {
    let world = World::new();
    let environments = [world.empty("killed-1"), world.empty("killed-2")];
    let running: Vec<_> = environments
        .iter()
        .map(|environment| environment.exec(quiet("sleep 87021")).unwrap())
        .collect();
    eventually("both sleep", || processes("sleep 87021").len() >= 2);
    let status = std::process::Command::new("kill")
        .args(["-9", &world.supervisor.process_id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
    for running in &running {
        assert_eq!(
            running.wait().unwrap().status,
            sandbox::ExitStatus::EnvironmentGone
        );
    }
    eventually("no process is left", || {
        processes("sleep 87021").is_empty()
            && named("nc:killed-1").is_empty()
            && named("nc:killed-2").is_empty()
    });
    assert!(matches!(
        world.supervisor.create(&world.spec("after", None)),
        Err(SandboxError::SupervisorGone)
    ));
    assert!(matches!(
        environments[0].exec(quiet("true")),
        Err(SandboxError::Gone { .. })
    ));
}

#[test]
fn dropping_the_supervisor_ends_its_environments() {
    let world = World::new();
    let supervisor = Supervisor::start(SupervisorOptions::new(env!(
        "CARGO_BIN_EXE_sandbox-supervisor"
    )))
    .unwrap();
    let environment = supervisor.create(&world.spec("orphaned", None)).unwrap();
    let running = environment.exec(quiet("sleep 87031")).unwrap();
    drop(supervisor);
    assert_eq!(
        running.wait().unwrap().status,
        sandbox::ExitStatus::EnvironmentGone
    );
    eventually("no process is left", || {
        processes("sleep 87031").is_empty() && named("nc:orphaned").is_empty()
    });
}

#[test]
fn the_supervisor_outlives_the_thread_that_started_it() {
    let world = std::thread::spawn(World::new).join().unwrap();
    let environment =
        std::thread::scope(|scope| scope.spawn(|| world.empty("thread")).join().unwrap());
    assert_eq!(sh(&environment, "echo alive").ok(), "alive\n");
}

#[test]
fn fifty_environments_work_in_parallel() {
    let world = World::new();
    let base = world.base(&[("file", "base")]);
    let barrier = std::sync::Barrier::new(50);
    std::thread::scope(|scope| {
        for n in 0..50 {
            let (world, base, barrier) = (&world, &base, &barrier);
            scope.spawn(move || {
                let environment = world
                    .supervisor
                    .create(&world.spec(&format!("many-{n}"), Some(base)))
                    .unwrap();
                // All fifty exist at once.
                barrier.wait();
                assert_eq!(
                    sh(&environment, &format!("echo {n} >own; cat own file")).ok(),
                    format!("{n}\nbase")
                );
                environment.destroy().unwrap();
            });
        }
    });
    eventually("no init is left", || {
        (0..50).all(|n| named(&format!("nc:many-{n}")).is_empty())
    });
}

#[test]
fn a_program_that_is_no_supervisor_is_an_error() {
    let error = Supervisor::start(SupervisorOptions::new("/bin/true")).unwrap_err();
    assert!(
        error.to_string().contains("wait for it to be ready"),
        "{error}"
    );
    let error = Supervisor::start(SupervisorOptions::new("/absent")).unwrap_err();
    assert!(error.to_string().contains("run the program"), "{error}");
}

#[test]
fn all_of_this_holds_for_an_ordinary_user() {
    if !is_root() {
        return skip("the suite runs as an ordinary user already");
    }
    // The programs may lie where that user cannot reach them.
    let place = tempfile::tempdir().unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
    let supervisor = place.path().join("sandbox-supervisor");
    common::copy_program(env!("CARGO_BIN_EXE_sandbox-supervisor"), &supervisor);
    let output = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(&supervisor)
        .args(["check", "/"])
        .env("TMPDIR", place.path())
        .current_dir("/")
        .output();
    match output {
        Err(error) => skip(&format!("setpriv cannot be run: {error}")),
        Ok(output) => assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "base touched: false\nowner outside: 65534\nfailed probes: []\nresumed: new\n",
            "{output:?}"
        ),
    }
}

#[test]
fn killing_the_process_group_of_the_server_leaves_no_process() {
    use std::os::unix::process::CommandExt;
    let place = tempfile::tempdir().unwrap();
    let mut server = std::process::Command::new(env!("CARGO_BIN_EXE_sandbox-supervisor"))
        .arg("hang")
        .arg(place.path())
        .process_group(0)
        .spawn()
        .unwrap();
    eventually("both sleep", || processes("sleep 8704").len() >= 2);
    let group = format!("-{}", server.id());
    let status = std::process::Command::new("kill")
        .args(["-9", "--", &group])
        .status()
        .unwrap();
    assert!(status.success());
    server.wait().unwrap();
    eventually("no process is left", || {
        processes("sleep 8704").is_empty() && named("nc:hang").is_empty()
    });
}
