//! Measures create + `/bin/true` + destroy, over a real tree, and the same for bubblewrap when it is
//! installed. Usage: `spawn [BASE] [N]`.

#![expect(
    clippy::print_stdout,
    reason = "printing the measurements is all it does"
)]

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sandbox::{EnvironmentSpec, ExecSpec, ExitStatus, Supervisor, SupervisorOptions, Workspace};

fn main() {
    sandbox::supervisor::run_if_requested();
    let mut arguments = std::env::args().skip(1);
    let place = tempfile::tempdir().expect("a temporary folder");
    let base = arguments
        .next()
        .map_or_else(|| small_tree(place.path()), PathBuf::from);
    let rounds: usize = arguments
        .next()
        .map_or(200, |n| n.parse().expect("a number"));
    let program = std::env::current_exe().expect("this program");
    let bubblewrap = Command::new("bwrap")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok();
    for threads in [1, 2] {
        let before = cpu();
        let supervisor = Supervisor::start(SupervisorOptions::new(&program)).expect("a supervisor");
        let own = run(threads, rounds, &|n| {
            one(
                &supervisor,
                &base,
                &place.path().join(format!("{threads}-{n}")),
            );
        });
        drop(supervisor);
        print("nightcrew", threads, &own, cpu() - before);
        for n in 0..rounds {
            sandbox::remove_layer(&place.path().join(format!("{threads}-{n}"))).expect("removed");
        }
        if bubblewrap {
            let before = cpu();
            let theirs = run(threads, rounds, &|_| bwrap(&base));
            print("bubblewrap (no overlay)", threads, &theirs, cpu() - before);
        }
    }
}

fn small_tree(place: &Path) -> PathBuf {
    let base = place.join("base");
    std::fs::create_dir(&base).expect("a folder");
    for n in 0..1000 {
        std::fs::write(base.join(format!("file-{n}")), "content\n").expect("a file");
    }
    sandbox::prepare_base(&base).expect("prepared");
    base
}

fn run(threads: usize, rounds: usize, one: &(dyn Fn(usize) + Sync)) -> Vec<Duration> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let times = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if n >= rounds {
                        break;
                    }
                    let start = Instant::now();
                    one(n);
                    times.lock().expect("no panic").push(start.elapsed());
                }
            });
        }
    });
    let mut times = times.into_inner().expect("no panic");
    times.sort();
    times
}

fn null() -> OwnedFd {
    std::fs::File::options()
        .write(true)
        .open("/dev/null")
        .expect("/dev/null")
        .into()
}

fn one(supervisor: &Supervisor, base: &Path, layer: &Path) {
    let workspace = Workspace {
        base: Some(base.to_owned()),
        frozen: Vec::new(),
        layer: layer.to_owned(),
    };
    let t0 = Instant::now();
    let environment = supervisor
        .create(&EnvironmentSpec::new("bench", workspace))
        .expect("an environment");
    let t1 = Instant::now();
    let step = ExecSpec {
        argv: vec!["/bin/true".to_owned()],
        env: Vec::new(),
        cwd: None,
        stdin: None,
        stdout: null(),
        stderr: null(),
        terminal: None,
        timeout: None,
    };
    let exit = environment
        .exec(step)
        .and_then(|running| running.wait())
        .expect("a step");
    assert_eq!(exit.status, ExitStatus::Code(0));
    let t2 = Instant::now();
    environment.destroy().expect("destroyed");
    if std::env::var_os("PHASES").is_some() {
        println!(
            "create {:?} step {:?} destroy {:?}",
            t1 - t0,
            t2 - t1,
            t2.elapsed()
        );
    }
}

fn bwrap(base: &Path) {
    let status = Command::new("bwrap")
        .args([
            "--unshare-all",
            "--die-with-parent",
            "--new-session",
            "--ro-bind",
            "/usr",
            "/usr",
        ])
        .args([
            "--symlink",
            "usr/bin",
            "/bin",
            "--symlink",
            "usr/lib",
            "/lib",
        ])
        .args([
            "--symlink",
            "usr/lib64",
            "/lib64",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
        ])
        .args(["--tmpfs", "/tmp", "--ro-bind"])
        .arg(base)
        .args(["/work", "--chdir", "/work", "/bin/true"])
        .status()
        .expect("bwrap");
    assert!(status.success());
}

fn print(name: &str, threads: usize, times: &[Duration], cpu: Duration) {
    let n = times.len();
    println!(
        "{name:24} concurrency {threads}: median {:?}, min {:?}, p95 {:?}; cpu per environment {:?} (n={n})",
        times[n / 2],
        times[0],
        times[n * 95 / 100],
        cpu / n as u32,
    );
}

/// CPU time of this process and all its reaped descendants.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc/self/stat");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_ascii_whitespace()
        .collect();
    let ticks: u64 = fields[11..15]
        .iter()
        .map(|ticks| ticks.parse::<u64>().unwrap_or(0))
        .sum();
    Duration::from_millis(ticks * 10)
}
