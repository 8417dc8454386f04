//! Answering one command.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use runner::gate;
use sandbox::{ExecSpec, Exit, ExitStatus, Running, SandboxError, TerminalSize};

use super::channel::{Channel, either};
use super::message::{Answer, Request, Status};
use super::process::Keeper;
use crate::failure::{Doing, Failure};

/// How often exec control is asked what it did while a program runs.
const LOOK: Duration = Duration::from_millis(250);

/// Hears one request and answers it.
pub(super) fn converse(keeper: &Keeper, channel: &Channel) {
    let answered = match channel.receive::<Request>() {
        Ok(Some((request, fds))) => answer(keeper, channel, request, fds),
        Ok(None) => return,
        Err(error) => Err(
            Failure::new(format!("the request cannot be understood: {error}")).hint(
                "command and keeper may be of different versions: make the environment again",
            ),
        ),
    };
    let ends = matches!(answered, Ok(Answer::Ended));
    let answer = answered.unwrap_or_else(|failure| Answer::failed(&failure));
    // Whoever hung up does not want to know.
    let _ = channel.send(&answer, &[]);
    if ends {
        let mut end = keeper.end.lock().unwrap_or_else(PoisonError::into_inner);
        drop(end.take());
    }
}

fn answer(
    keeper: &Keeper,
    channel: &Channel,
    request: Request,
    fds: Vec<OwnedFd>,
) -> Result<Answer, Failure> {
    match request {
        Request::Status => Ok(Answer::Status(Box::new(keeper.status()))),
        Request::Exec {
            argv,
            env,
            cwd,
            stdin,
            timeout_ms,
        } => {
            let mut fds = fds.into_iter();
            let (Some(stdout), Some(stderr)) = (fds.next(), fds.next()) else {
                return Err(Failure::new("the descriptors of the program are missing"));
            };
            let spec = ExecSpec {
                argv,
                env: merged(&keeper.variables, env),
                cwd,
                stdin: fds.next().filter(|_| stdin),
                stdout,
                stderr,
                timeout: timeout_ms.map(Duration::from_millis),
                terminal: None,
            };
            execute(keeper, channel, spec)
        }
        Request::Shell {
            argv,
            env,
            cwd,
            rows,
            columns,
        } => {
            // A step on a terminal has no use for other streams.
            let null = || File::options().read(true).write(true).open("/dev/null");
            let null = || null().doing("open /dev/null");
            let spec = ExecSpec {
                argv,
                env: merged(&keeper.variables, env),
                cwd,
                stdin: None,
                stdout: null()?.into(),
                stderr: null()?.into(),
                timeout: None,
                terminal: Some(TerminalSize { rows, columns }),
            };
            execute(keeper, channel, spec)
        }
        Request::End => {
            let mut environment = keeper
                .environment
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(environment) = environment.take() {
                // Whoever looks at its events this moment lets go at once, and destroys it then.
                if let Some(environment) = Arc::into_inner(environment) {
                    environment.destroy().map_err(failure)?;
                }
            }
            Ok(Answer::Ended)
        }
    }
}

/// The environment's variables with those of one program, which win.
fn merged(own: &[(String, String)], more: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut all: BTreeMap<String, String> = own.iter().cloned().collect();
    all.extend(more);
    all.into_iter().collect()
}

impl Keeper {
    pub(super) fn status(&self) -> Status {
        let environment = self
            .environment
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let usage = environment
            .as_ref()
            .map(|environment| environment.usage())
            .unwrap_or_default();
        Status {
            keeper: std::process::id(),
            supervisor: self.supervisor,
            isolation: self.isolation.clone(),
            memory: usage.memory,
            processes: usage.processes,
            busy: self.busy.load(Ordering::Relaxed),
            denied: self.denied.load(Ordering::Relaxed),
            unknown: self.unknown.load(Ordering::Relaxed),
        }
    }
}

fn execute(keeper: &Keeper, channel: &Channel, spec: ExecSpec) -> Result<Answer, Failure> {
    let (running, mut source) = {
        let environment = keeper
            .environment
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let environment = environment
            .as_ref()
            .map(Arc::clone)
            .ok_or_else(|| Failure::new("the environment is being destroyed"))?;
        let source = gate::source(&environment);
        (environment.exec(spec).map_err(failure)?, source)
    };
    keeper.busy.store(true, Ordering::Relaxed);
    if let Some(terminal) = running.terminal()
        && channel
            .send(&Answer::Terminal, &[terminal.as_fd()])
            .is_err()
    {
        let _ = running.kill();
    }
    let mut watch = gate::Watch::default();
    let mut refused = Vec::new();
    let mut look = |watch: &mut gate::Watch| {
        let Some(source) = &mut source else { return };
        refused.extend(watch.add(source()));
        if let Some(content) = watch.take(Instant::now()) {
            let mut counts = (content.more_denied, content.more_unknown);
            for event in &content.events {
                let count = if event.denied {
                    &mut counts.0
                } else {
                    &mut counts.1
                };
                *count = count.saturating_add(event.count);
            }
            keeper.denied.fetch_add(counts.0, Ordering::Relaxed);
            keeper.unknown.fetch_add(counts.1, Ordering::Relaxed);
        }
    };
    let exit = attend(&running, channel, || look(&mut watch));
    look(&mut watch);
    refused.extend(watch.end_step());
    keeper.busy.store(false, Ordering::Relaxed);
    let exit = exit.map_err(|error| Failure::new(format!("the program is lost: {error}")))?;
    let exit = exit.map_err(failure)?;
    let (code, note) = match exit.status {
        ExitStatus::Code(code) => (u8::try_from(code).unwrap_or(255), None),
        ExitStatus::Signal(signal) => (u8::try_from(128 + signal).unwrap_or(255), None),
        ExitStatus::TimedOut => (124, Some("its time was over".to_owned())),
        ExitStatus::EnvironmentGone => {
            let mut end = keeper.end.lock().unwrap_or_else(PoisonError::into_inner);
            drop(end.take());
            (137, Some("the environment ended under it".to_owned()))
        }
    };
    Ok(Answer::Exited {
        code,
        note,
        refused,
    })
}

/// Waits for the end of a program, and kills it when the command that wanted it hangs up.
fn attend(
    running: &Running,
    channel: &Channel,
    mut look: impl FnMut(),
) -> io::Result<Result<Exit, SandboxError>> {
    let (over, done) = io::pipe()?;
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            let exit = running.wait();
            drop(done);
            exit
        });
        loop {
            let (hung_up, ended) = either(channel, &over, Some(LOOK))?;
            look();
            if ended {
                break;
            }
            // Nothing else is said in this conversation.
            if hung_up {
                let _ = running.kill();
                break;
            }
        }
        Ok(waiting.join().unwrap_or(Err(SandboxError::SupervisorGone)))
    })
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is given to `map_err` by name"
)]
fn failure(error: SandboxError) -> Failure {
    let error = &error;
    let hint = match error {
        SandboxError::Busy { .. } => Some(
            "one program runs at a time; wait for its end, or fork the environment: nightcrew env fork NAME",
        ),
        SandboxError::Gone { .. } | SandboxError::SupervisorGone => {
            Some("make it again from its layer: nightcrew env resume NAME")
        }
        _ => None,
    };
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    let failure = Failure::new(text);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
