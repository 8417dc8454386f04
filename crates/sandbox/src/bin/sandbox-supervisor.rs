//! Test helper: the smallest program that can serve as a supervisor, and a check that a test can run
//! as another user (`check`, `machine PLACE KERNEL once`) or kill (`hang PLACE`, `machine PLACE KERNEL`).
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sandbox::vm::{Qemu, Vm, VmSpec};
use sandbox::{Environment, EnvironmentSpec, ExecSpec, Supervisor, SupervisorOptions, Workspace};

fn main() -> Result<(), Box<dyn Error>> {
    sandbox::supervisor::run_if_requested();
    if std::env::args().nth(1).as_deref() == Some("check") {
        let place = std::env::temp_dir().join(format!("check-{}", std::process::id()));
        let result = check(&place);
        sandbox::remove_layer(&place)?;
        return result;
    }
    if std::env::args().nth(1).as_deref() == Some("hang") {
        return hang(Path::new(
            &std::env::args().nth(2).ok_or("a folder is needed")?,
        ));
    }
    if std::env::args().nth(1).as_deref() == Some("machine") {
        let mut arguments = std::env::args().skip(2);
        let place = arguments.next().ok_or("a folder is needed")?;
        let kernel = arguments.next().ok_or("a kernel is needed")?;
        return machine(
            Path::new(&place),
            Path::new(&kernel),
            arguments.next().is_some(),
        );
    }
    Ok(())
}

/// Starts a machine and a step in it, and says so. Then ends when `once`, or waits for the step.
fn machine(place: &Path, kernel: &Path, once: bool) -> Result<(), Box<dyn Error>> {
    let workspace = Workspace {
        base: None,
        frozen: Vec::new(),
        layer: place.join("layer"),
    };
    let driver = Qemu::find(std::env::current_exe()?, Some(kernel))?;
    let spec = VmSpec::new(EnvironmentSpec::new("machine", workspace));
    let vm = Vm::start(&driver, &spec)?;
    let environment = vm.environment()?;
    let step = |script: &str| -> Result<ExecSpec, std::io::Error> {
        Ok(ExecSpec {
            argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
            env: Vec::new(),
            cwd: None,
            stdin: None,
            stdout: std::io::stdout().as_fd().try_clone_to_owned()?,
            stderr: std::io::stderr().as_fd().try_clone_to_owned()?,
            terminal: None,
            timeout: None,
        })
    };
    if once {
        environment
            .exec(step("echo $(id -u) started; touch made")?)?
            .wait();
    } else {
        environment
            .exec(step("echo $(id -u) started; exec sleep 87301")?)?
            .wait();
    }
    Ok(())
}

/// Starts a step that sleeps, says so, and waits for it.
fn hang(place: &Path) -> Result<(), Box<dyn Error>> {
    let supervisor = Supervisor::start(SupervisorOptions::new(std::env::current_exe()?))?;
    let workspace = Workspace {
        base: None,
        frozen: Vec::new(),
        layer: place.join("layer"),
    };
    let environment = supervisor.create(&EnvironmentSpec::new("hang", workspace))?;
    shell(
        &environment,
        "(sleep 87042 &); echo sleeping >&2; exec sleep 87041",
    )
    .map(drop)
}

/// Makes an environment over a base, writes in it, destroys it, resumes.
fn check(place: &Path) -> Result<(), Box<dyn Error>> {
    let supervisor = Supervisor::start(SupervisorOptions::new(std::env::current_exe()?))?;
    let base = place.join("base");
    std::fs::create_dir_all(&base)?;
    std::fs::write(base.join("file"), "old\n")?;
    sandbox::prepare_base(&base)?;
    let workspace = Workspace {
        base: Some(base.clone()),
        frozen: Vec::new(),
        layer: place.join("layer"),
    };
    let spec = EnvironmentSpec::new("check", workspace);
    let environment = supervisor.create(&spec)?;
    shell(&environment, "echo new >file")?;
    println!(
        "base touched: {}",
        std::fs::read_to_string(base.join("file"))? != "old\n"
    );
    let owner = std::fs::metadata(place.join("layer/upper/file"))?.uid();
    println!("owner outside: {owner}");
    let probes = &environment.report().self_test;
    let failed: Vec<_> = probes
        .iter()
        .filter(|probe| !probe.passed)
        .map(|probe| &probe.name)
        .collect();
    println!("failed probes: {failed:?}");
    environment.destroy()?;
    let environment = supervisor.create(&spec)?;
    print!("resumed: {}", shell(&environment, "cat file")?);
    Ok(())
}

fn shell(environment: &Environment, script: &str) -> Result<String, Box<dyn Error>> {
    let (mut read, write) = std::io::pipe()?;
    let step = ExecSpec {
        argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
        env: Vec::new(),
        cwd: None,
        stdin: None,
        stdout: write.try_clone()?.into(),
        stderr: write.into(),
        terminal: None,
        timeout: None,
    };
    let running = environment.exec(step)?;
    let mut output = String::new();
    read.read_to_string(&mut output)?;
    running.wait()?;
    Ok(output)
}
