//! Step kind `validate`: judges the work, and never blames it for what failed before.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::automation::{Command, StepDefinition, Validator};
use model::duration::Length;
use model::evidence::{ValidatorResult, Verdict};
use model::protocol::{LogStream, Report};
use model::step::{Outputs, StepOutcome};
use sandbox::Environment;

use super::command::{LogSink, millis, timeout};
use crate::checks::{self, Subject};
use crate::exec::{Program, Sink, run as execute};
use crate::failures::{Failures, Outcome};
use crate::halt::Halt;
use crate::snapshot::{Pristine, take};
use crate::task::Work;
use crate::{baseline, outputs};

/// Runs the step.
pub(crate) async fn run(work: &mut Work, index: u32, step: &StepDefinition) -> Result<(), Halt> {
    let validators = step.validate.clone().unwrap_or_default();
    work.begin(index).await?;
    let mut judging = Judging {
        index,
        step,
        sink: Some(LogSink::new(work, index)),
        pristine: Pristine::default(),
        prepared: false,
        results: Vec::new(),
        subject: Subject::default(),
    };
    let judged = judging.all(work, &validators).await;
    std::mem::take(&mut judging.pristine).end().await;
    let problem = match judged {
        Ok(()) => None,
        Err(Ok(why)) => Some(why),
        Err(Err(halt)) => return Err(halt),
    };
    // What validators wrote is nobody's output.
    if let Err(problem) = outputs::take(&work.place.outputs()) {
        tracing::debug!(task = %work.assignment.task.id, problem, "left by a validator");
    }
    judging.end(work, problem).await
}

struct Judging<'a> {
    index: u32,
    step: &'a StepDefinition,
    sink: Option<LogSink>,
    pristine: Pristine,
    /// Whether the recipe's commands ran in it.
    prepared: bool,
    results: Vec<ValidatorResult>,
    subject: Subject,
}

/// Why judging stopped: in words for the log, or for good.
type Stopped = Result<String, Halt>;

impl Judging<'_> {
    async fn all(&mut self, work: &mut Work, validators: &[Validator]) -> Result<(), Stopped> {
        let needs_diff = validators
            .iter()
            .any(|validator| !matches!(validator, Validator::Command { .. }));
        // The work is collected before anything judges it: what is judged is what is proposed.
        if needs_diff || work.assignment.automation.definition.proposes() {
            let snapshot = take(work, &mut self.pristine).await?;
            self.subject =
                checks::read(work, &mut self.pristine, snapshot.note, validators).await?;
        }
        for validator in validators {
            let result = match validator {
                Validator::Command {
                    command,
                    baseline,
                    timeout,
                    ..
                } => self
                    .command(work, validator, command, *baseline, *timeout)
                    .await
                    .map_err(Err)?,
                other => checks::judge(&work.shared.options.checks, other, &self.subject),
            };
            let verdict = result.verdict.as_str();
            self.note(&format!("{}: {verdict}: {}", result.name, result.detail));
            self.results.push(result);
        }
        Ok(())
    }

    async fn command(
        &mut self,
        work: &mut Work,
        validator: &Validator,
        command: &Command,
        wants_baseline: bool,
        own_timeout: Option<Length>,
    ) -> Result<ValidatorResult, Halt> {
        let before = if wants_baseline {
            Some(self.baseline(work, command, own_timeout).await?)
        } else {
            None
        };
        self.note(&format!("with the change: {}", command.display()));
        let network = work.network_variables();
        let program = self.program(work, command, own_timeout, network);
        let mut stop = work.talk.stop.clone();
        let sink = ValidatorSink::new(self.sink(work));
        let (exit, sink) = execute(work.environment()?, program, &mut stop, sink).await?;
        self.sink = Some(sink.sink);
        let after = sink.failures.finish(exit.status);
        Ok(compare(validator.name(), before, after, millis(exit.wall)))
    }

    /// What the command says about the base, in an environment that saw nothing of the change.
    async fn baseline(
        &mut self,
        work: &mut Work,
        command: &Command,
        own_timeout: Option<Length>,
    ) -> Result<Outcome, Halt> {
        let cwd = work.cwd().unwrap_or_default();
        let place = baseline::place(
            &work.base.results(),
            &command.argv(),
            &cwd,
            &work.recipe.definition,
            &work.recipe.fence,
        );
        if let Some(known) = baseline::load(&place) {
            self.note(&format!(
                "on the base, known from before: {}",
                summary(&known.names)
            ));
            return Ok(known);
        }
        self.note(&format!("on the base: {}", command.display()));
        self.pristine.reaching(work).await?;
        let network = self.pristine.variables();
        let program = self.program(work, command, own_timeout, network);
        let mut stop = work.talk.stop.clone();
        let sink = ValidatorSink::new(self.sink(work));
        let environment: Arc<Environment> = Arc::clone(self.pristine.reaching(work).await?);
        if !self.prepared {
            // The base is judged with what the recipe puts beside it, as the change is.
            work.before(&environment, true).await?;
            self.prepared = true;
        }
        let (exit, sink) = execute(&environment, program, &mut stop, sink).await?;
        self.sink = Some(sink.sink);
        let outcome = sink.failures.finish(exit.status);
        if exit.status != sandbox::ExitStatus::TimedOut {
            baseline::save(&place, &outcome);
        }
        Ok(outcome)
    }

    fn program(
        &self,
        work: &Work,
        command: &Command,
        own_timeout: Option<Length>,
        network: Vec<(String, String)>,
    ) -> Program {
        Program {
            argv: work.beside(command.argv()),
            env: work.variables(self.index, self.step, network),
            cwd: work.cwd(),
            stdin: None,
            timeout: timeout(work, own_timeout),
        }
    }

    fn sink(&mut self, work: &mut Work) -> LogSink {
        self.sink
            .take()
            .unwrap_or_else(|| LogSink::new(work, self.index))
    }

    fn note(&mut self, text: &str) {
        if let Some(sink) = &mut self.sink {
            sink.log.note(text);
        }
    }

    /// Reports what was found.
    async fn end(mut self, work: &mut Work, problem: Option<String>) -> Result<(), Halt> {
        if let Some(problem) = &problem {
            self.note(&format!("the work cannot be judged: {problem}"));
        }
        let wall: u64 = self.results.iter().map(|result| result.wall_ms).sum();
        let log = self.sink(work).store(work).await?;
        let has_log = |result: &ValidatorResult| !result.name.starts_with("builtin:");
        for result in self.results.iter_mut().filter(|result| has_log(result)) {
            result.log.clone_from(&log);
        }
        if problem.is_some() {
            work.finished(
                self.index,
                StepOutcome::Failed { code: 1 },
                Outputs::new(),
                log,
                wall,
            );
            return Err(work.give_up().await);
        }
        let good = self
            .results
            .iter()
            .all(|result| result.verdict == Verdict::Passed);
        work.validators.extend(self.results.iter().cloned());
        work.pending.push(Report::Validated {
            validators: self.results,
        });
        work.finished(
            self.index,
            StepOutcome::Succeeded,
            Outputs::new(),
            log,
            wall,
        );
        // The verdicts may end the task: then nothing else may be said with them.
        if good {
            Ok(())
        } else {
            work.flush().await.map(drop)
        }
    }
}

/// New failures are those that the base does not have.
fn compare(name: String, before: Option<Outcome>, after: Outcome, wall_ms: u64) -> ValidatorResult {
    let ran_before = before.as_ref().is_some_and(|outcome| !outcome.missing);
    let known = before.map(|outcome| outcome.names).unwrap_or_default();
    let new: Vec<String> = after.names.difference(&known).cloned().collect();
    // A program that ran on the base and is gone now was broken by the change.
    let missing = after.missing && !ran_before;
    let (verdict, detail) = if missing {
        (
            Verdict::Missing,
            "the program was not found or cannot be executed".to_owned(),
        )
    } else if !new.is_empty() {
        (
            Verdict::Failed,
            format!("{} new", summary(&new.iter().cloned().collect())),
        )
    } else if after.names.is_empty() {
        (Verdict::Passed, "nothing fails".to_owned())
    } else {
        (
            Verdict::Passed,
            format!(
                "{}, all of them before the change already",
                summary(&after.names)
            ),
        )
    };
    ValidatorResult {
        name,
        verdict,
        detail,
        before: known.into_iter().collect(),
        after: after.names.into_iter().collect(),
        new: if missing { Vec::new() } else { new },
        log: None,
        wall_ms,
    }
}

fn summary(names: &BTreeSet<String>) -> String {
    match names.len() {
        0 => "nothing fails".to_owned(),
        1 => "1 failure".to_owned(),
        many => format!("{many} failures"),
    }
}

/// Logs what a validator prints, and looks for failures in it.
struct ValidatorSink {
    sink: LogSink,
    failures: Failures,
}

impl ValidatorSink {
    fn new(sink: LogSink) -> Self {
        Self {
            sink,
            failures: Failures::default(),
        }
    }
}

impl Sink for ValidatorSink {
    fn write(&mut self, stream: LogStream, bytes: &[u8]) {
        self.failures.write(stream, bytes);
        self.sink.write(stream, bytes);
    }

    fn attach(&mut self, environment: &Arc<Environment>) -> bool {
        self.sink.attach(environment)
    }

    fn beat(&mut self) {
        self.sink.beat();
    }
}
