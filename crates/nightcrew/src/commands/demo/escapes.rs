//! Attempts to leave an environment, made for real, each from inside one.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use sandbox::{EnvironmentSpec, ExecSpec, ExitStatus, Supervisor, SupervisorOptions, Workspace};

use super::heading;
use crate::failure::{Doing, Failure};
use crate::print;

/// What became of one attempt.
pub(super) struct Attempt {
    what: &'static str,
    refused: bool,
}

/// Makes all attempts in one environment.
pub(super) fn attempt(root: &Path) -> Result<Vec<Attempt>, Failure> {
    let preflight = sandbox::preflight();
    if preflight.level.is_none() {
        let refused = preflight.findings.into_iter().find(|finding| !finding.ok);
        let (cause, cure) = refused
            .map(|finding| (finding.cause, finding.cure))
            .unwrap_or_default();
        return Err(Failure::new(format!(
            "this host refuses what environments are made of: {cause}"
        ))
        .hint(cure));
    }
    let program = std::env::current_exe().doing("find this program")?;
    let supervisor =
        Supervisor::start(SupervisorOptions::new(program)).doing("start the supervisor")?;
    let layer = root.join("escape-attempts");
    let spec = EnvironmentSpec::new(
        "escape-attempts",
        Workspace {
            base: None,
            frozen: Vec::new(),
            layer: layer.clone(),
        },
    );
    let environment = supervisor.create(&spec).doing("make an environment")?;
    let mut attempts = Vec::new();
    for escape in sandbox::escape_attempts() {
        let nowhere = || {
            File::options()
                .write(true)
                .open("/dev/null")
                .doing("open /dev/null")
        };
        let step = ExecSpec {
            argv: vec![
                "/bin/sh".to_owned(),
                "-c".to_owned(),
                escape.script.to_owned(),
            ],
            env: vec![("HOST_PID".to_owned(), std::process::id().to_string())],
            cwd: None,
            stdin: None,
            stdout: nowhere()?.into(),
            stderr: nowhere()?.into(),
            terminal: None,
            timeout: Some(Duration::from_secs(5)),
        };
        let exit = environment
            .exec(step)
            .doing("make an attempt")?
            .wait()
            .doing("wait for an attempt")?;
        attempts.push(Attempt {
            what: escape.what,
            refused: exit.status != ExitStatus::Code(0),
        });
    }
    environment.destroy().doing("end an environment")?;
    let _ = sandbox::remove_layer(&layer);
    Ok(attempts)
}

/// Shows them.
pub(super) fn tell(attempts: &[Attempt]) {
    heading("Attempts to leave an environment");
    for attempt in attempts {
        let mark = if attempt.refused {
            "✔ refused "
        } else {
            "✘ ESCAPED "
        };
        print::note(format!("  {mark} {}", attempt.what));
    }
}
