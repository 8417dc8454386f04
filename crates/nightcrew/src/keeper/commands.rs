//! The recipe's own commands, before anybody uses the environment.
//!
//! One that fails does not take the environment away: a person can look, and run it again. Much of what
//! such commands do elsewhere needs a network, which no environment has.

use std::io::{self, Read};
use std::time::Duration;

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
        let why = match one(environment, spec, argv) {
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

fn one(
    environment: &Environment,
    spec: &Spec,
    argv: &[String],
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
        timeout: Some(LONGEST),
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
