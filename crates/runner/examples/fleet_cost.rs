//! Measures what a runner costs per task, against a plain script that does the same work without
//! isolation: clone, one script, one check twice (before and after), commit, push.
//!
//! `cargo run --release -p runner --example fleet_cost [TASKS]` prints wall and CPU per task of
//! both, in pairs. The control plane is in memory with blobs on disk; forge and store are not part
//! of it, so the plain script pushes and the runner hands out packs.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "an example that prints figures"
)]

#[allow(dead_code, unreachable_pub, reason = "shared with the tests")]
#[path = "../tests/common/plane.rs"]
mod plane;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use runner::{ControlPlane, Runner, RunnerOptions};
use sandbox::{Supervisor, SupervisorOptions};

const AUTOMATION: &str = "name: bench\nsteps:\n  - command: |\n      sed -i s/old/new/ file-1.txt\n      echo x >added.txt\n  \
                          - validate: [ { cmd: ./check.sh } ]\n  - change: { title: bench }\n";

const SCRIPT: &str = r#"set -e
cd "$1/plain"; name=$2
git clone -q "$1/repositories/$name" "$name"
cd "$name"
sh ./check.sh >/dev/null
sed -i s/old/new/ file-1.txt
echo x >added.txt
sh ./check.sh >/dev/null
git checkout -q -b change
git add -A
git commit -q -m bench
git -c core.fsync=committed push -q origin change
cd ..
rm -rf "$name"
"#;

fn beginning() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

fn main() {
    sandbox::supervisor::run_if_requested();
    let tasks: usize = std::env::args().nth(1).map_or(100, |n| n.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..tasks).map(|n| format!("r{n}")).collect();
    for name in &names {
        repository(&folder.path().join("repositories").join(name));
    }
    for round in 0..2 {
        let plain = plain(folder.path(), &names);
        print("plain script", &plain, tasks);
        let ours = ours(folder.path(), &names, round);
        print("runner", &ours, tasks);
        println!(
            "wall: {:.2} x the script\n",
            ours.0.as_secs_f64() / plain.0.as_secs_f64()
        );
    }
}

fn print(name: &str, (wall, cpu): &(Duration, Duration), tasks: usize) {
    let each = |all: &Duration| all.as_secs_f64() * 1000.0 / tasks as f64;
    println!(
        "{name:14} wall {wall:.2?} ({:.1} ms per task), CPU {:.1} ms per task",
        each(wall),
        each(cpu)
    );
}

fn git(folder: &Path, arguments: &[&str]) {
    let status = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=a", "-c", "user.email=a@b"])
        .args(arguments)
        .status();
    assert!(status.unwrap().success());
}

fn repository(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(path.join("src")).unwrap();
    for n in 0..20 {
        std::fs::write(path.join(format!("file-{n}.txt")), "old\n".repeat(n * 20)).unwrap();
        std::fs::write(
            path.join(format!("src/code-{n}.rs")),
            format!("fn f{n}() {{}}\n"),
        )
        .unwrap();
    }
    std::fs::write(
        path.join("check.sh"),
        "#!/bin/sh\nfor f in src/*; do echo \"ok $f\"; done\n",
    )
    .unwrap();
    std::fs::set_permissions(
        path.join("check.sh"),
        std::fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    git(path, &["init", "-q", "-b", "main"]);
    git(path, &["add", "-A"]);
    git(path, &["commit", "-q", "-m", "base"]);
}

fn plain(folder: &Path, names: &[String]) -> (Duration, Duration) {
    std::fs::create_dir_all(folder.join("plain")).unwrap();
    for name in names {
        // The branch of the round before.
        let _ = Command::new("git")
            .current_dir(folder.join("repositories").join(name))
            .args(["branch", "-q", "-D", "change"])
            .output();
    }
    std::fs::write(folder.join("script.sh"), SCRIPT).unwrap();
    let (start, before) = (Instant::now(), cpu());
    let mut xargs = Command::new("xargs")
        .args(["-P2", "-n1", "sh", "script.sh"])
        .arg(folder)
        .current_dir(folder)
        .env("GIT_AUTHOR_NAME", "a")
        .env("GIT_AUTHOR_EMAIL", "a@b")
        .env("GIT_COMMITTER_NAME", "a")
        .env("GIT_COMMITTER_EMAIL", "a@b")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(
        &mut xargs.stdin.take().unwrap(),
        names.join("\n").as_bytes(),
    )
    .unwrap();
    assert!(xargs.wait().unwrap().success());
    (start.elapsed(), cpu() - before)
}

fn ours(folder: &Path, names: &[String], round: usize) -> (Duration, Duration) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (start, before) = (Instant::now(), cpu());
    let plane = Arc::new(plane::Plane::new(folder.to_owned()));
    let ids: Vec<_> = names
        .iter()
        .map(|name| plane.queue(AUTOMATION, name))
        .collect();
    runtime.block_on(async {
        let supervisor =
            Supervisor::start(SupervisorOptions::new(std::env::current_exe().unwrap())).unwrap();
        let clock = Arc::clone(&plane);
        let state = folder.join(format!("state-{round}"));
        let options = RunnerOptions::new("bench", state, Arc::new(move || clock.now()));
        let control: Arc<dyn ControlPlane> = plane.clone();
        let runner = Runner::start(options, control, Arc::new(supervisor)).unwrap();
        for id in ids {
            let task = plane.settled(id).await;
            assert_eq!(
                task.status,
                model::task::TaskStatus::Ready,
                "{:?}",
                task.reason
            );
        }
        runner.shutdown(Duration::from_secs(60)).await;
    });
    // The supervisor is reaped by now, and with it everything it reaped.
    (start.elapsed(), cpu() - before)
}

/// CPU time of this process and all its reaped descendants.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_ascii_whitespace()
        .collect();
    let ticks: u64 = fields[11..15]
        .iter()
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}
