//! Drives one task from step to step, and cleans up after it.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};

use model::automation::{StepDefinition, StepKind};
use model::evidence::ValidatorResult;
use model::exec::ExecBatch;
use model::isolation::Isolation;
use model::protocol::{Assignment, Report};
use model::reason::ReasonCode;
use model::step::{Outputs, StepOutcome};
use model::task::Task;
use sandbox::{Environment, Supervisor};
use serde_json::{Value, json};

use crate::base::{BaseLease, Bases};
use crate::control_plane::ControlPlane;
use crate::environment::Recipe;
use crate::gate::Gate;
use crate::halt::Halt;
use crate::held::StopWatch;
use crate::options::RunnerOptions;
use crate::place::{Place, goes_on};
use crate::reach::{Made, Reach, Way};
use crate::snapshot::Snapshot;
use crate::talk::Talk;
use crate::toolchains::Tool;
use crate::{inputs, root, services, steps, sweep};

/// What all tasks of a runner share.
pub(crate) struct Shared {
    pub(crate) options: RunnerOptions,
    pub(crate) control: Arc<dyn ControlPlane>,
    pub(crate) supervisor: Arc<Supervisor>,
    pub(crate) bases: Arc<Bases>,
    /// Versions of tools, by root, tool and what was wanted of it: a tool may choose by that.
    pub(crate) versions: Mutex<BTreeMap<VersionKey, Option<String>>>,
}

type VersionKey = (String, Tool, Vec<String>);

/// A task under way.
pub(crate) struct Work {
    pub(crate) shared: Arc<Shared>,
    pub(crate) assignment: Assignment,
    pub(crate) talk: Talk,
    pub(crate) base: BaseLease,
    pub(crate) place: Place,
    pub(crate) recipe: Recipe,
    pub(crate) isolation: Isolation,
    /// Absent once the task lets go of it.
    pub(crate) environment: Option<Made>,
    /// Outputs of finished steps, by step id.
    pub(crate) outputs: BTreeMap<String, Outputs>,
    /// Results of validators.
    pub(crate) validators: Vec<ValidatorResult>,
    /// What happened and was not reported yet: several reports in one request are one transaction.
    pub(crate) pending: Vec<Report>,
    /// The work as it was last collected; absent when a command ran since.
    pub(crate) snapshot: Option<Snapshot>,
    /// Pristine environments made so far.
    pub(crate) pristine: u32,
    /// The workspace stays for the time after a wait.
    pub(crate) keep: bool,
    /// Said at the beginning of the first step's log.
    pub(crate) notes: Vec<String>,
    /// Number of the next batch of exec events.
    pub(crate) batches: Arc<AtomicU32>,
}

/// Carries out an assignment to its end; false when the task had to be given back, because this
/// host cannot do it.
pub(crate) async fn drive(shared: Arc<Shared>, assignment: Assignment, stop: StopWatch) -> bool {
    let mut talk = Talk {
        control: Arc::clone(&shared.control),
        runner: shared.options.name.clone(),
        task: assignment.task.id,
        epoch: assignment.epoch,
        stop,
        mask: Arc::clone(&shared.options.mask),
    };
    match prepare(&shared, &assignment, &talk).await {
        Ok((base, place, recipe, environment)) => {
            let outputs = assignment.task.outputs.clone();
            let validators = assignment.task.validators.clone();
            let isolation = recipe.evidence(&environment);
            let prepared = Report::Prepared {
                base: base.base(),
                isolation: isolation.clone(),
            };
            let mut work = Work {
                shared,
                assignment,
                talk,
                base,
                place,
                recipe,
                isolation,
                environment: Some(environment),
                outputs,
                validators,
                pending: vec![prepared],
                snapshot: None,
                pristine: 0,
                keep: false,
                notes: Vec::new(),
                batches: Arc::default(),
            };
            let ended = work.steps().await;
            let healthy = !matches!(ended, Err(Halt::Interrupted(_)));
            work.finish(ended).await;
            healthy
        }
        Err(halt) => {
            let healthy = !matches!(halt, Halt::Interrupted(_));
            tell(&mut talk, Vec::new(), halt).await;
            healthy
        }
    }
}

/// Base tree, folders and environment of a task.
async fn prepare(
    shared: &Arc<Shared>,
    assignment: &Assignment,
    talk: &Talk,
) -> Result<(BaseLease, Place, Recipe, Made), Halt> {
    let mut stop = talk.stop.clone();
    let taking = shared
        .bases
        .take(&assignment.repository, assignment.task.base.as_ref());
    let base = tokio::select! {
        base = taking => base?,
        () = stop.stopped() => return Err(stop.now().unwrap_or(Halt::Shutdown)),
    };
    fault::point("prepare.base_ready");
    let place = Place::take(&shared.options.state_dir, assignment)
        .map_err(|error| Halt::broken("cannot make the folders of the task", &error))?;
    let place = place.ok_or_else(|| {
        Halt::Interrupted("its workspace is not on this runner any more".to_owned())
    })?;
    if !goes_on(&assignment.task) {
        inputs::write(&place.inputs(), assignment)
            .map_err(|error| Halt::broken("cannot write the inputs", &error))?;
    }
    let ready = root(shared, assignment, &base.checkout()).await;
    let ready = ready.and_then(|ready| {
        let stands_on = ready.as_ref().map(root::Ready::stands_on);
        place
            .note_root(&stands_on.unwrap_or_default())
            .map_err(|error| Halt::broken("cannot note the root of the task", &error))?;
        Ok(ready)
    });
    let ready = match ready {
        Ok(ready) => ready,
        Err(halt) => {
            let _ = place.remove();
            return Err(halt);
        }
    };
    let recipe = Recipe {
        root: ready,
        supervisor: Arc::clone(&shared.supervisor),
        base: base.checkout(),
        inputs: place.inputs(),
        program: shared.options.program.clone(),
        definition: assignment.automation.definition.environment.clone(),
        fence: assignment.fence.clone(),
        way: Way::of(
            &shared.options.egress,
            &shared.control,
            &shared.options.name,
            assignment,
        ),
    };
    let name = assignment.task.id.to_string();
    match recipe
        .make(name, place.layer(), place.outputs(), Reach::Rules)
        .await
    {
        Ok(environment) => {
            fault::point("prepare.environment_ready");
            Ok((base, place, recipe, environment))
        }
        Err(halt) => {
            let _ = place.remove();
            Err(halt)
        }
    }
}

/// The root that the automation asks for; absent for the host's programs without set-up.
async fn root(
    shared: &Arc<Shared>,
    assignment: &Assignment,
    base: &std::path::Path,
) -> Result<Option<root::Ready>, Halt> {
    let definition = assignment.automation.definition.environment.clone();
    if definition.recipe.inline().is_none() {
        return Ok(None);
    }
    let registries = shared.options.registries.clone();
    let context = root::Context {
        repository: assignment.repository.name.clone(),
        default_registry: registries.default_host.clone(),
    };
    let roots = root::Roots::at(shared.options.state_dir.join("roots"), registries);
    let supervisor = Arc::clone(&shared.supervisor);
    let base = base.to_owned();
    // A person who asks for another round wants set-up that failed to be tried again.
    let retry = assignment.task.round > 1;
    let making = tokio::task::spawn_blocking(move || {
        let (recipe, notes) = root::recipe_of(&definition, Some(&base), &context)?;
        let ready = roots.ready(&supervisor, &recipe, Some(&base), retry)?;
        for note in notes.iter().chain(&ready.notes) {
            tracing::info!(note, "a recipe");
        }
        Ok::<_, root::RootError>(ready)
    });
    let made = making.await;
    let made = made.map_err(|error| Halt::broken("the thread of a root is lost", &error))?;
    made.map(Some).map_err(|error| {
        let mut sentence = crate::halt::chain(&error);
        if let root::RootError::SetUp(sandbox::storage::SetUpError::Failed { output, .. }) = &error
        {
            let output = crate::log::plain(output.trim().as_bytes());
            let end: Vec<&str> = output.lines().rev().take(5).collect();
            let end: Vec<&str> = end.into_iter().rev().collect();
            sentence = format!("{sentence}; it printed: {}", end.join(" / "));
        }
        Halt::failed(
            ReasonCode::RecipeFailed,
            format!("{sentence}; correct the recipe or retry the task"),
        )
    })
}

impl Work {
    /// Carries out the steps that are left.
    async fn steps(&mut self) -> Result<(), Halt> {
        let fresh = !goes_on(&self.assignment.task);
        let environment = Arc::clone(self.environment()?);
        if fresh {
            self.compare_toolchains(&environment).await?;
        }
        self.before(&environment, fresh).await?;
        drop(environment);
        if !fresh {
            self.snapshot = Snapshot::load(&self.place);
        }
        let count = self.assignment.automation.definition.steps.len();
        let first = usize::try_from(self.assignment.task.next_step).unwrap_or(usize::MAX);
        for index in first..count {
            let step = self.assignment.automation.definition.steps[index].clone();
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            if !self.wanted(&step)? {
                self.pending.push(Report::StepStarted { index: number });
                self.finished(number, StepOutcome::Skipped, Outputs::new(), None, 0);
                continue;
            }
            match step.kind() {
                Some(StepKind::Command) => steps::command::run(self, number, &step).await?,
                Some(StepKind::Validate) => steps::validate::run(self, number, &step).await?,
                Some(StepKind::Report) => steps::report::run(self, number, &step).await?,
                Some(StepKind::Approve) => steps::approve::run(self, number, &step).await?,
                Some(StepKind::Change) => return steps::change::run(self, number, &step).await,
                None => {
                    let sentence = format!("step {} has no kind", index + 1);
                    return Err(Halt::failed(ReasonCode::InvalidDefinition, sentence));
                }
            }
        }
        Err(steps::report::end(self))
    }

    /// Begins a step that takes its time: what happened so far is reported with it.
    pub(crate) async fn begin(&mut self, index: u32) -> Result<(), Halt> {
        self.pending.push(Report::StepStarted { index });
        self.flush().await.map(drop)
    }

    /// Notes the end of a step, to be reported with what comes next.
    pub(crate) fn finished(
        &mut self,
        index: u32,
        outcome: StepOutcome,
        outputs: Outputs,
        log: Option<String>,
        wall_ms: u64,
    ) {
        if !outputs.is_empty() {
            let step = &self.assignment.automation.definition.steps[index as usize];
            self.outputs
                .insert(step.id_at(index as usize), outputs.clone());
        }
        self.pending.push(Report::StepFinished {
            index,
            outcome,
            outputs,
            log,
            wall_ms,
        });
    }

    /// Reports what is pending and obeys the answer.
    pub(crate) async fn flush(&mut self) -> Result<Option<Task>, Halt> {
        if self.pending.is_empty() {
            return Ok(None);
        }
        let reports = std::mem::take(&mut self.pending);
        self.talk.report(reports).await.map(Some)
    }

    /// Reports the end of a step after which nothing follows here: the control plane decides.
    pub(crate) async fn give_up(&mut self) -> Halt {
        match self.flush().await {
            Ok(_) => Halt::Interrupted("the control plane went on after a failed step".to_owned()),
            Err(halt) => halt,
        }
    }

    /// Whether the step's condition holds.
    fn wanted(&self, step: &StepDefinition) -> Result<bool, Halt> {
        let Some(when) = &step.when else {
            return Ok(true);
        };
        let repo = engine::targets::describe(&self.assignment.repository);
        engine::condition::evaluate(
            when,
            &[
                ("steps", &self.all_outputs()),
                ("task", &self.about()),
                ("repo", &repo),
            ],
        )
        .map_err(|error| {
            Halt::failed(
                ReasonCode::InvalidDefinition,
                format!("the condition {error}"),
            )
        })
    }

    /// Outputs by step id; a step without any has none, and is there.
    pub(crate) fn all_outputs(&self) -> Value {
        let steps = &self.assignment.automation.definition.steps;
        let mut all: serde_json::Map<String, Value> = steps
            .iter()
            .enumerate()
            .map(|(index, step)| (step.id_at(index), json!({})))
            .collect();
        for (id, outputs) in &self.outputs {
            all.insert(id.clone(), json!(outputs));
        }
        Value::Object(all)
    }

    /// How the work is searched for what must not leave.
    pub(crate) fn sweep_rules(&self) -> sweep::Rules {
        let options = &self.shared.options;
        let steps = &self.assignment.automation.definition.steps;
        let own = steps.iter().filter_map(|step| step.change.as_ref());
        let own = own.flat_map(|change| change.allow_secrets.iter());
        sweep::Rules {
            mask: Arc::clone(&options.mask),
            now: (options.clock)(),
            allowed: options.allow_secrets.iter().chain(own).cloned().collect(),
        }
    }

    /// What conditions and templates see of the task.
    pub(crate) fn about(&self) -> Value {
        let task = &self.assignment.task;
        json!({
            "id": task.id, "run": task.run, "campaign": task.campaign, "automation": task.automation,
            "wave": task.wave, "round": task.round, "attempt": task.attempt, "target": task.target,
        })
    }

    /// The program of a step, with what runs beside it.
    pub(crate) fn beside(&self, argv: Vec<String>) -> Vec<String> {
        let ready = self.recipe.root.as_ref();
        services::beside(ready.map_or(&[], |ready| &ready.services), argv)
    }

    /// Watches what exec control does during a step, where something is judged.
    pub(crate) fn gate(&self, index: u32) -> Option<Gate> {
        let header = ExecBatch {
            runner: self.talk.runner.clone(),
            task: self.talk.task,
            epoch: self.talk.epoch,
            batch: 0,
            step: Some(index),
            events: Vec::new(),
            more_denied: 0,
            more_unknown: 0,
        };
        let watches = self.recipe.watches();
        watches.then(|| Gate::new(header, Arc::clone(&self.batches)))
    }

    /// The environment; without one the task has no business here.
    pub(crate) fn environment(&self) -> Result<&Arc<Environment>, Halt> {
        let made = self.environment.as_ref();
        made.map(|made| &made.environment)
            .ok_or_else(|| Halt::Interrupted("it let go of its environment".to_owned()))
    }

    /// Ends the environment, and its network before it.
    pub(crate) async fn let_go(&mut self) {
        if let Some(made) = self.environment.take() {
            made.end().await;
        }
    }

    /// Tells how it ended, and leaves nothing behind.
    async fn finish(mut self, ended: Result<(), Halt>) {
        // Its last words are part of what is told.
        self.let_go().await;
        if let Err(halt) = ended {
            let halt = match halt {
                // What it was stopped for holds at once: the environment goes before it is told.
                Halt::Recalled(cause) => match steps::approve::park(&mut self).await {
                    Ok(()) => Halt::Recalled(cause),
                    Err(halt) => halt,
                },
                halt => halt,
            };
            let pending = std::mem::take(&mut self.pending);
            tell(&mut self.talk, pending, halt).await;
        }
        let place = (!self.keep).then_some(self.place);
        let task = self.assignment.task.id;
        // The lease on the base goes with it: both remove files.
        let base = self.base;
        let removed = tokio::task::spawn_blocking(move || {
            drop(base);
            place.map_or(Ok(()), Place::remove)
        });
        if let Ok(Err(error)) = removed.await {
            tracing::warn!(%task, %error, "the folders of a task could not be removed");
        }
    }
}

/// Reports why the work stopped, with what is still to be said.
async fn tell(talk: &mut Talk, mut pending: Vec<Report>, halt: Halt) {
    let task = talk.task;
    match halt {
        Halt::Released(cause) => tracing::debug!(%task, cause, "let go"),
        Halt::Ends(status, reason) => {
            pending.push(Report::Ends { status, reason });
            if let Err(Halt::Interrupted(cause)) = talk.report(pending).await {
                talk.report_last(vec![Report::Interrupted { cause }]).await;
            }
        }
        Halt::Interrupted(cause) => {
            tracing::warn!(%task, cause, "given back");
            pending.push(Report::Interrupted { cause });
            talk.report_last(pending).await;
        }
        Halt::Recalled(cause) => {
            pending.push(Report::Parked { cause });
            talk.report_last(pending).await;
        }
        Halt::Shutdown => {
            pending.push(Report::Interrupted {
                cause: "the runner was stopped".to_owned(),
            });
            talk.report_last(pending).await;
        }
    }
}
