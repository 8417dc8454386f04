//! Test helper: the smallest program that can serve as a supervisor, and a check that a test can run
//! as another user (`check`) or kill (`hang PLACE`).
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

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
