//! The recipe's own commands, before anybody uses the environment.
//!
//! One that fails does not take the environment away: a person can look, and run it again. Much of what
//! such commands do elsewhere needs a network, which an environment has only where it was asked for.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::time::Duration;

use runner::toolchains::{self, Wanted};
use sandbox::{Environment, ExecSpec, ExitStatus};

use super::spec::Spec;
use crate::table::clean;

/// Time for one command.
const LONGEST: Duration = Duration::from_mins(20);
/// Bytes of output that are looked at for the last line.
const OUTPUT: usize = 64 * 1024;

/// Runs what is left to prepare, then what belongs to every start; a sentence for each that failed.
pub(super) fn run(environment: &Environment, spec: &Spec) -> Vec<String> {
    let mut failed = Vec::new();
    for argv in spec.prepare.iter().chain(&spec.start) {
        let why = match one(environment, spec, argv, LONGEST) {
            Ok((ExitStatus::Code(0), _)) => continue,
            Ok((status, said)) => {
                let said = said.lines().rev().find(|line| !line.trim().is_empty());
                let said = said.unwrap_or("it printed nothing").to_owned();
                match status {
                    ExitStatus::Code(code) => format!("exited with {code}: {said}"),
                    ExitStatus::TimedOut => format!("took too long: {said}"),
                    _ => format!("was killed: {said}"),
                }
            }
            Err(error) => format!("could not be run: {error}"),
        };
        let text = format!("the recipe's command `{}` {why}", argv.join(" "));
        failed.push(clean(&text, 300));
    }
    failed
}

/// Compares the versions that the workspace asks for with those that are there; a sentence for each
/// that is not.
pub(super) fn compare_toolchains(environment: &Environment, spec: &Spec) -> Vec<String> {
    let wanted = Wanted::read(spec.base.as_deref(), &BTreeMap::new());
    let versions = wanted.tools().into_keys().map(|tool| {
        let command = tool.version_command().unwrap_or_default();
        let argv: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let said = one(environment, spec, &argv, toolchains::PATIENCE);
        let version = said
            .ok()
            .and_then(|(_, said)| toolchains::version(&tool, said.as_bytes()));
        (tool, version)
    });
    wanted.judge(&versions.collect()).warnings
}

fn one(
    environment: &Environment,
    spec: &Spec,
    argv: &[String],
    timeout: Duration,
) -> Result<(ExitStatus, String), Box<dyn std::error::Error>> {
    let (read, write) = io::pipe()?;
    let stderr = write.try_clone()?;
    let reading = std::thread::spawn(move || end_of(read));
    let running = environment.exec(ExecSpec {
        argv: argv.to_vec(),
        env: spec.variables.clone().into_iter().collect(),
        cwd: spec.workdir.clone(),
        stdin: None,
        stdout: write.into(),
        stderr: stderr.into(),
        timeout: Some(timeout),
        terminal: None,
    })?;
    let exit = running.wait()?;
    Ok((exit.status, reading.join().unwrap_or_default()))
}

/// The end of what comes out of a pipe.
fn end_of(mut pipe: io::PipeReader) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 8192];
    while let Ok(length @ 1..) = pipe.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..length]);
        kept.drain(..kept.len().saturating_sub(OUTPUT));
    }
    String::from_utf8_lossy(&kept).into_owned()
}
