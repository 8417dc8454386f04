//! Admission: an event comes in once, and with it exactly one run per automation that it fires.

use std::sync::Arc;

use engine::task::TaskCommand;
use model::automation::{Automation, Trigger};
use model::change::ReviewVerdict;
use model::event::{Event, NewEvent, types};
use model::fact::RunFact;
use model::ids::{EventId, RunId, TaskId};
use model::policy::{Action, Ask, Decision};
use model::rows::{Effect, Row, RunRow, Stream};
use model::task::Task;
use serde::{Deserialize, Serialize};
use store::{Append, Commit, Committed, LeaseChange, Page, StoreError, TaskFilter, TaskOrder};

use super::commit::{Writing, leaf};
use super::{Actor, Service, Update};
use crate::error::ServiceError;

/// What admission did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted {
    /// The event.
    pub event: EventId,
    /// It was here already: nothing was done.
    pub duplicate: bool,
    /// Runs that it started.
    pub runs: Vec<RunId>,
    /// Automations that could not be asked, and why.
    pub problems: Vec<String>,
}

impl Service {
    /// Admits an event: durable when this returns.
    ///
    /// # Errors
    /// When the store fails; the sender may send the same event again.
    pub async fn admit(&self, new: NewEvent) -> Result<Admitted, ServiceError> {
        let event = new.admitted(self.now());
        loop {
            match self.admit_once(&event).await {
                // A task that the event is about moved on: look again.
                Err(ServiceError::Store(StoreError::Conflict { .. })) => {
                    if self.store.event(event.id).await?.is_some() {
                        return Ok(Admitted::duplicate(event.id));
                    }
                }
                other => return other,
            }
        }
    }

    async fn admit_once(&self, event: &Event) -> Result<Admitted, ServiceError> {
        let now = self.now();
        let mut commit = Commit {
            event: Some(event.clone()),
            ..Commit::default()
        };
        let payload = serde_json::to_string(event)?;
        commit.leaves.push(leaf(
            now,
            &event.actor,
            "system",
            event.id,
            1,
            "event.admitted",
            payload.as_bytes(),
        )?);
        let mut admitted = Admitted {
            event: event.id,
            duplicate: false,
            runs: Vec::new(),
            problems: Vec::new(),
        };
        for automation in self.fired_by(event, &mut admitted.problems).await? {
            admitted
                .runs
                .push(self.start_run(&automation, event, &mut commit)?);
        }
        let touched = self.tell_task(event, &mut commit).await?;
        fault::point("admit.before_commit");
        if self.store.commit(commit).await? == Committed::Duplicate {
            return Ok(Admitted::duplicate(event.id));
        }
        fault::point("admit.after_commit");
        self.publish(Update::Event { id: event.id });
        for run in &admitted.runs {
            self.publish(Update::Run { id: *run });
        }
        if let Some((before, after, effects)) = touched {
            self.after_task(&before, &after, effects);
        }
        self.leaves.notify_one();
        self.outbox.notify_one();
        Ok(admitted)
    }

    /// Automations whose triggers match, and which policy lets start.
    pub(super) async fn fired_by(
        &self,
        event: &Event,
        problems: &mut Vec<String>,
    ) -> Result<Vec<Arc<Automation>>, ServiceError> {
        let mut fired = Vec::new();
        let automations = self.enabled_automations().await?;
        // The default branch is looked up only where some trigger asks for it.
        let asks_branch = event.event_type == types::PUSH
            && automations.iter().any(|automation| {
                automation
                    .definition
                    .triggers
                    .iter()
                    .any(|trigger| matches!(trigger, Trigger::Push(_)))
            });
        let branch = match (&event.subject.repository, asks_branch) {
            (Some(repository), true) => self
                .repository(repository)
                .await?
                .map(|repository| repository.default_branch),
            _ => None,
        };
        for automation in automations {
            let name = &automation.definition.name;
            match engine::matching::matches(&automation.definition, event, branch.as_deref()) {
                Ok(false) => continue,
                Ok(true) => {}
                Err(error) => {
                    problems.push(format!("automation `{name}`: {error}"));
                    continue;
                }
            }
            let ask = Ask {
                principal: event.actor.clone(),
                action: Action::Start,
                automation: name.clone(),
                repository: event.subject.repository.clone(),
            };
            match self.policy.decide(&ask) {
                Decision::Permit | Decision::NeedsApproval { .. } => fired.push(automation),
                Decision::Forbid { rule } => {
                    problems.push(format!(
                        "automation `{name}`: policy `{rule}` forbids starting it"
                    ));
                }
            }
        }
        Ok(fired)
    }

    async fn enabled_automations(&self) -> Result<Vec<Arc<Automation>>, ServiceError> {
        let all = self.automations().await?;
        Ok(all
            .into_iter()
            .filter(|automation| automation.enabled)
            .map(Arc::new)
            .collect())
    }

    fn start_run(
        &self,
        automation: &Automation,
        event: &Event,
        commit: &mut Commit,
    ) -> Result<RunId, ServiceError> {
        let now = self.now();
        let name = &automation.definition.name;
        let id = RunId::of(name, event.id);
        let fact = RunFact::Started {
            automation: name.clone(),
            version: automation.version,
            event: event.id,
        };
        let run = engine::run::initial(id, &fact, now)
            .ok_or_else(|| ServiceError::Damaged("a run does not begin with a start".to_owned()))?;
        let mut writing = Writing::of_stream(
            now,
            &event.actor,
            format!("automation:{name}"),
            Stream::Run(id),
            0,
        );
        writing.fact(&fact)?;
        // Runs of one automation are planned one after another, so that each sees the last one's tasks.
        writing.effect(Effect::PlanRun { run: id }, format!("plan:{name}"), now);
        commit.appends.push(Append {
            stream: Stream::Run(id),
            expected_seq: 0,
            epoch: None,
            facts: writing.facts,
            state: serde_json::to_string(&run)?,
            row: Row::Run(RunRow::from(&run)),
            spent_ms: 0,
            lease: LeaseChange::Keep,
        });
        commit.effects.extend(writing.effects);
        commit.leaves.extend(writing.leaves);
        Ok(id)
    }

    /// What a forge's news about a change mean for the task behind it, in the same transaction.
    async fn tell_task(
        &self,
        event: &Event,
        commit: &mut Commit,
    ) -> Result<Option<(Task, Task, bool)>, ServiceError> {
        let Some((task, command)) = self.news_for_task(event).await? else {
            return Ok(None);
        };
        let actor = Actor {
            name: event.actor.clone(),
            roles: Vec::new(),
        };
        let loaded = self.load_task(task).await?;
        let (executed, append) = self.decide(&loaded, &actor, None, &[command]).await?;
        // A rejection means that the news are old: the task is past them.
        let Some((append, effects, leaves)) = append else {
            return Ok(None);
        };
        let has_effects = !effects.is_empty();
        commit
            .budget
            .extend(self.budget_moves(&loaded.task, &executed.task).await?);
        commit.appends.push(append);
        commit.effects.extend(effects);
        commit.leaves.extend(leaves);
        Ok(Some((loaded.task, executed.task, has_effects)))
    }

    async fn news_for_task(
        &self,
        event: &Event,
    ) -> Result<Option<(TaskId, TaskCommand)>, ServiceError> {
        let subject = &event.subject;
        let (true, Some(repository), Some(number)) = (
            event.event_type == types::CHANGE,
            &subject.repository,
            subject.change,
        ) else {
            return Ok(None);
        };
        let text = |key: &str| {
            event
                .data
                .get(key)
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let by = event.actor.clone();
        let command = match text("action").as_str() {
            "approved" => TaskCommand::Review {
                verdict: ReviewVerdict::Approved,
                by,
                text: text("text"),
            },
            "changes_requested" => TaskCommand::Review {
                verdict: ReviewVerdict::ChangesRequested,
                by,
                text: text("text"),
            },
            "merged" => TaskCommand::Merge {
                by,
                commit: text("commit"),
            },
            "closed" => TaskCommand::Close { by },
            _ => return Ok(None),
        };
        let filter = TaskFilter {
            repository: Some(repository.clone()),
            change: Some(number),
            ..TaskFilter::default()
        };
        let rows = self
            .store
            .tasks(filter, TaskOrder::Newest, Page::first(10))
            .await?;
        Ok(rows
            .into_iter()
            .find(|row| !row.status.is_final())
            .map(|row| (row.id, command)))
    }
}

impl Admitted {
    fn duplicate(event: EventId) -> Self {
        Self {
            event,
            duplicate: true,
            runs: Vec::new(),
            problems: Vec::new(),
        }
    }
}
