//! Prints what an environment in a virtual machine costs, beside one without, on this host.
//!
//! `cargo run -p sandbox --release --example vm_costs -- KERNEL`, where KERNEL is a kernel image or a
//! folder into which a kernel package was unpacked.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use sandbox::vm::{Qemu, Vm, VmEnvironment, VmSpec};
use sandbox::{
    Environment, EnvironmentSpec, ExecPolicy, ExecSpec, Supervisor, SupervisorOptions, Workspace,
};

/// What is run, how often, and what for.
const STEPS: [(&str, usize, &str); 5] = [
    ("a step that does nothing", 15, "exec true"),
    (
        "20 programs started by a shell",
        5,
        "for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true; /bin/true; done",
    ),
    (
        "SHA-256 of 20 MB in memory",
        3,
        "head -c 20000000 /dev/zero | sha256sum >/dev/null",
    ),
    (
        "500 files made in the workspace",
        3,
        "rm -rf many; mkdir many; i=0; while [ $i -lt 500 ]; do echo x >many/$i; i=$((i+1)); done",
    ),
    ("those files read", 3, "cat many/* >/dev/null"),
];

fn main() -> Result<(), Box<dyn Error>> {
    sandbox::supervisor::run_if_requested();
    let kernel = std::env::args().nth(1).ok_or("a kernel is needed")?;
    let place = std::env::temp_dir().join(format!("vm-costs-{}", std::process::id()));
    let outcome = measure(Path::new(&kernel), &place);
    sandbox::remove_layer(&place)?;
    outcome
}

fn spec(id: &str, place: &Path) -> EnvironmentSpec {
    let workspace = Workspace {
        base: None,
        frozen: Vec::new(),
        layer: place.join(id),
    };
    EnvironmentSpec::new(id, workspace)
}

fn measure(kernel: &Path, place: &Path) -> Result<(), Box<dyn Error>> {
    let load = std::fs::read_to_string("/proc/loadavg")?;
    println!("load of the host at the start: {}", load.trim());
    let program = std::env::current_exe()?;
    let supervisor = Supervisor::start(SupervisorOptions::new(&program))?;
    let host = supervisor.create(&spec("host", place))?;
    let mut driver = Qemu::find(&program, Some(kernel))?;
    let started = Instant::now();
    let kvm = driver.try_kvm(None);
    println!(
        "KVM: {} ({}), found in {:?}",
        kvm.ok,
        kvm.cause,
        started.elapsed()
    );
    let started = Instant::now();
    let mut wanted = VmSpec::new(spec("guest", place));
    wanted.exec_control = cfg!(feature = "bpf-lsm");
    let vm = Vm::start(&driver, &wanted)?;
    println!(
        "a guest with kernel {} serves after {:?}",
        vm.kernel(),
        started.elapsed()
    );
    let started = Instant::now();
    let guest = vm.environment()?;
    println!("the first environment in it: {:?}", started.elapsed());
    let started = Instant::now();
    let second = vm.scratch("second", ExecPolicy::default())?;
    println!("the second: {:?}", started.elapsed());
    println!(
        "resident on the host: {} MiB",
        resident(vm.process_id())? >> 20
    );
    for (name, times, script) in STEPS {
        let without = median(times, || on_host(&host, script))?;
        let with = median(times, || in_guest(&guest, script))?;
        println!("{name}: {without:?} without, {with:?} in the guest");
    }
    if cfg!(feature = "bpf-lsm") {
        let observed = ExecPolicy {
            mode: sandbox::ExecMode::DenyList,
            ..ExecPolicy::default()
        };
        let judged = vm.scratch("judged", observed)?;
        let (name, times, script) = STEPS[1];
        let free = median(times, || in_guest(&second, script))?;
        let with = median(times, || in_guest(&judged, script))?;
        println!("{name}, in the guest: {free:?} not judged, {with:?} judged by content");
    }
    let started = Instant::now();
    vm.end();
    println!("the end of the machine: {:?}", started.elapsed());
    Ok(())
}

fn step(script: &str) -> std::io::Result<ExecSpec> {
    let null = || std::fs::File::options().write(true).open("/dev/null");
    Ok(ExecSpec {
        argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
        env: Vec::new(),
        cwd: None,
        stdin: None,
        stdout: null()?.into(),
        stderr: null()?.into(),
        terminal: None,
        timeout: None,
    })
}

fn on_host(environment: &Environment, script: &str) -> Result<(), Box<dyn Error>> {
    environment.exec(step(script)?)?.wait()?;
    Ok(())
}

fn in_guest(environment: &VmEnvironment, script: &str) -> Result<(), Box<dyn Error>> {
    environment.exec(step(script)?)?.wait();
    Ok(())
}

fn median(
    times: usize,
    act: impl Fn() -> Result<(), Box<dyn Error>>,
) -> Result<Duration, Box<dyn Error>> {
    let mut taken = (0..times)
        .map(|_| {
            let started = Instant::now();
            act().map(|()| started.elapsed())
        })
        .collect::<Result<Vec<_>, _>>()?;
    taken.sort();
    Ok(taken[taken.len() / 2])
}

/// Bytes of memory of a process and everything below it, shared parts divided.
fn resident(process: u32) -> std::io::Result<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let own: u64 = rollup
        .lines()
        .find(|line| line.starts_with("Pss:"))
        .and_then(|line| line.split_ascii_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0);
    let mut total = own << 10;
    let tasks = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"))?;
    for child in tasks
        .split_ascii_whitespace()
        .filter_map(|id| id.parse().ok())
    {
        total += resident(child)?;
    }
    Ok(total)
}
