//! Measures what snapshots cost: freezing, forking and resuming a workspace of a gigabyte, and
//! look-ups through the deepest stack. Usage: `fork [FOLDER] [BYTES] [FILES]`; `FOLDER` says where,
//! and so which file system is measured.

#![expect(
    clippy::print_stdout,
    reason = "printing the measurements is all it does"
)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use sandbox::storage::{Bases, Disk, MAX_DEPTH, Origin, Storage};
use sandbox::{Environment, EnvironmentSpec, ExecSpec, ExitStatus, Supervisor, SupervisorOptions};

const ROUNDS: usize = 20;

fn main() {
    sandbox::supervisor::run_if_requested();
    let mut arguments = std::env::args().skip(1);
    let folder = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let mut number = |default: u64| {
        arguments
            .next()
            .map_or(default, |text| text.parse().expect("a number"))
    };
    let (bytes, files) = (number(1 << 30), number(10_000));
    let place = tempfile::tempdir_in(folder).expect("a temporary folder");
    let storage = Storage::open(&place.path().join("storage")).expect("a storage");
    let program = std::env::current_exe().expect("this program");
    let supervisor = Supervisor::start(SupervisorOptions::new(program)).expect("a supervisor");
    println!(
        "back-end {:?}, {bytes} bytes in {files} files",
        storage.backend()
    );
    let mut disk = storage
        .create_disk("first", Origin::default())
        .expect("a disk");
    let environment = create(&supervisor, &disk);
    let script = format!(
        "i=0; while [ $i -lt {files} ]; do mkdir -p d$((i % 100)); head -c {} /dev/zero >d$((i % 100))/f$i; i=$((i+1)); done",
        bytes / files
    );
    step(&environment, &script);
    let started = Instant::now();
    storage
        .capture(&disk)
        .map(|captured| storage.remove_snapshot(captured.id()))
        .expect("a snapshot")
        .expect("removed");
    println!(
        "capture of the living environment, and removal: {:?}",
        started.elapsed()
    );
    environment.destroy().expect("destroyed");

    let started = Instant::now();
    let snapshot = storage.freeze(&mut disk).expect("a snapshot");
    println!("freeze: {:?}", started.elapsed());
    let (mut forks, mut resumes, mut removals) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..ROUNDS {
        let started = Instant::now();
        let fork = storage
            .fork(&snapshot, &format!("fork-{n}"))
            .expect("a fork");
        forks.push(started.elapsed());
        let environment = create(&supervisor, &fork);
        step(&environment, "test -e d7/f7");
        resumes.push(started.elapsed());
        environment.destroy().expect("destroyed");
        let started = Instant::now();
        storage.remove_disk(&fork).expect("removed");
        removals.push(started.elapsed());
    }
    print("fork", &mut forks);
    print("fork, environment and first step", &mut resumes);
    print("removal of a fork", &mut removals);

    lookups(&supervisor, &disk, "one layer");
    while disk.depth() + 2 < MAX_DEPTH || disk.depth() == 0 {
        let environment = create(&supervisor, &disk);
        step(&environment, &format!("echo x >d0/layer-{}", disk.depth()));
        environment.destroy().expect("destroyed");
        let depth = disk.depth();
        storage.freeze(&mut disk).expect("a snapshot");
        if disk.depth() == depth {
            break;
        }
    }
    lookups(&supervisor, &disk, &format!("{} layers", disk.depth()));
    let started = Instant::now();
    let last = storage.freeze(&mut disk).expect("a snapshot");
    println!("freeze to depth {}: {:?}", last.depth(), started.elapsed());
    let started = Instant::now();
    let flat = storage.flatten(&last).expect("a snapshot");
    println!("flatten: {:?}", started.elapsed());
    let started = Instant::now();
    let mut file = std::io::sink();
    storage
        .export(&flat, Bases::default(), &mut file)
        .expect("a file");
    println!("export: {:?}", started.elapsed());
    drop(supervisor);
    let started = Instant::now();
    sandbox::remove_layer(place.path()).expect("removed");
    println!("removal of everything: {:?}", started.elapsed());
}

/// The time for a look at every file, the kernel's caches cold for this mount.
fn lookups(supervisor: &Supervisor, disk: &Disk, what: &str) {
    let mut times = Vec::new();
    for _ in 0..5 {
        let environment = create(supervisor, disk);
        let started = Instant::now();
        step(&environment, "find . -size +1000000k");
        times.push(started.elapsed());
        environment.destroy().expect("destroyed");
    }
    print(&format!("look at every file, {what}"), &mut times);
}

fn create(supervisor: &Supervisor, disk: &Disk) -> Environment {
    let mut spec = EnvironmentSpec::new("measured", disk.workspace(None));
    disk.insert_into(&mut spec, Bases::default());
    supervisor.create(&spec).expect("an environment")
}

fn step(environment: &Environment, script: &str) {
    let null = || {
        std::fs::File::options()
            .write(true)
            .open("/dev/null")
            .expect("null")
            .into()
    };
    let exit = environment
        .exec(ExecSpec {
            argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
            env: Vec::new(),
            cwd: None,
            stdin: None,
            stdout: null(),
            stderr: null(),
            terminal: None,
            timeout: None,
        })
        .and_then(|running| running.wait())
        .expect("a step");
    assert_eq!(exit.status, ExitStatus::Code(0));
}

fn print(what: &str, times: &mut [Duration]) {
    times.sort();
    println!(
        "{what}: median {:?}, least {:?}, most {:?}",
        times[times.len() / 2],
        times[0],
        times[times.len() - 1]
    );
}
