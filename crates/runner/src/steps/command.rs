//! Step kind `command`: runs a program in the workspace.

use std::sync::Arc;
use std::time::Duration;

use model::automation::StepDefinition;
use model::ids::TaskId;
use model::protocol::{LogChunk, LogStream};
use model::reason::ReasonCode;
use model::step::StepOutcome;
use sandbox::{Environment, Exit, ExitStatus};

use crate::control_plane::ControlPlane;
use crate::exec::{Program, Sink, run as execute};
use crate::gate::Gate;
use crate::halt::Halt;
use crate::log::StepLog;
use crate::outputs;
use crate::task::Work;

/// Passes what a step prints on to its log, and to whoever looks on.
pub(crate) struct LogSink {
    pub(crate) log: StepLog,
    task: TaskId,
    control: Arc<dyn ControlPlane>,
    runtime: tokio::runtime::Handle,
    /// Absent where nothing is judged.
    gate: Option<Gate>,
}

impl LogSink {
    /// A log for a step of this work.
    pub(crate) fn new(work: &mut Work, index: u32) -> Self {
        let notes = std::mem::take(&mut work.notes);
        let options = &work.shared.options;
        let limits = &work.assignment.automation.definition.environment.limits;
        let limit = limits.log.map_or(options.log_bytes, |size| size.0);
        let mut log = StepLog::new(index, limit, Arc::clone(&options.mask));
        for note in &notes {
            log.note(note);
        }
        Self {
            log,
            task: work.assignment.task.id,
            control: Arc::clone(&work.shared.control),
            runtime: tokio::runtime::Handle::current(),
            gate: work.gate(index),
        }
    }

    /// Shows what was not shown yet.
    pub(crate) async fn show(&mut self) {
        let lines = self.log.take_live();
        if !lines.is_empty() {
            self.control
                .log(LogChunk {
                    task: self.task,
                    lines,
                })
                .await;
        }
    }

    /// Ends the log: shows the rest and stores the whole; its digest.
    pub(crate) async fn store(mut self, work: &mut Work) -> Result<Option<String>, Halt> {
        self.log.flush();
        if let Some(mut gate) = self.gate.take() {
            for line in gate.end() {
                self.log.note(&line);
            }
            for batch in gate.rest() {
                work.talk.exec_events(batch).await?;
            }
        }
        self.show().await;
        let document = self.log.finish();
        Ok(work.talk.put(document.into_iter().collect()).await?.pop())
    }
}

impl Sink for LogSink {
    fn write(&mut self, stream: LogStream, bytes: &[u8]) {
        self.log.write(stream, bytes);
    }

    fn attach(&mut self, environment: &Arc<Environment>) -> bool {
        self.gate
            .as_mut()
            .is_some_and(|gate| gate.attach(environment))
    }

    fn beat(&mut self) {
        if let Some(gate) = &mut self.gate {
            for line in gate.look() {
                self.log.note(&line);
            }
            if let Some(batch) = gate.due() {
                // What does not get through now goes with the next one.
                match self.runtime.block_on(self.control.exec_events(batch)) {
                    Ok(()) => gate.sent(),
                    Err(error) => tracing::warn!(%error, "exec events wait for another try"),
                }
            }
        }
        let lines = self.log.take_live();
        if !lines.is_empty() {
            self.runtime.block_on(self.control.log(LogChunk {
                task: self.task,
                lines,
            }));
        }
    }
}

/// Runs the step.
pub(crate) async fn run(work: &mut Work, index: u32, step: &StepDefinition) -> Result<(), Halt> {
    let Some(command) = &step.command else {
        return Ok(());
    };
    work.begin(index).await?;
    let sink = LogSink::new(work, index);
    let program = Program {
        argv: work.beside(command.argv()),
        env: work.variables(index, step, work.network_variables()),
        cwd: work.cwd(),
        stdin: None,
        timeout: timeout(work, step.timeout),
    };
    work.snapshot = None;
    let mut stop = work.talk.stop.clone();
    let (exit, mut sink) = execute(work.environment()?, program, &mut stop, sink).await?;
    let mut outcome = outcome(&exit);
    if outcome == StepOutcome::TimedOut {
        sink.log.note("the step ran out of time and was killed");
    }
    let mut left = outputs::Left::default();
    match outputs::take(&work.place.outputs()) {
        Ok(found) => left = found,
        Err(problem) => {
            sink.log.note(&problem);
            if outcome == StepOutcome::Succeeded {
                outcome = StepOutcome::Failed { code: 1 };
            }
        }
    }
    let log = sink.store(work).await?;
    let succeeded = outcome == StepOutcome::Succeeded;
    let mut values = left.outputs;
    crate::mask::outputs(work.shared.options.mask.as_ref(), &mut values);
    work.finished(index, outcome, values, log, millis(exit.wall));
    if !succeeded {
        return Err(work.give_up().await);
    }
    match left.no_change {
        None => Ok(()),
        Some(reason) => {
            let reason = work.shared.options.mask.mask(&reason).into_owned();
            let sentence = if reason.is_empty() {
                format!("step `{}` says so", step.id_at(index as usize))
            } else {
                reason
            };
            Err(Halt::no_change(ReasonCode::NothingToDo, sentence))
        }
    }
}

/// Wall time of one run.
pub(crate) fn timeout(work: &Work, own: Option<model::duration::Length>) -> Duration {
    let limits = &work.assignment.automation.definition.environment.limits;
    own.or(limits.time)
        .map_or(work.shared.options.step_timeout, |length| length.0)
}

/// Whole milliseconds.
pub(crate) fn millis(wall: Duration) -> u64 {
    u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)
}

fn outcome(exit: &Exit) -> StepOutcome {
    match exit.status {
        ExitStatus::Code(0) => StepOutcome::Succeeded,
        ExitStatus::Code(code) => StepOutcome::Failed { code },
        ExitStatus::Signal(signal) => StepOutcome::Failed { code: 128 + signal },
        ExitStatus::TimedOut => StepOutcome::TimedOut,
        ExitStatus::EnvironmentGone => StepOutcome::Failed { code: 137 },
    }
}
