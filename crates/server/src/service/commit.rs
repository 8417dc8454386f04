//! The one way in which streams are written: load, decide, fold, derive effects and leaves,
//! commit in one transaction, and decide anew when somebody else was faster.

use engine::ports::Spend;
use engine::task::TaskCommand;
use engine::{Context, Rejection};
use jiff::Timestamp;
use model::fact::{FACT_VERSION, Fact, Recorded, TaskFact};
use model::ids::{CampaignId, EffectId, TaskId};
use model::rows::{Effect, OutboxRow, Row, Stream, TaskRow};
use model::task::Task;
use serde::Serialize;
use store::{Append, Commit, LeaseChange, Loaded, StoreError};

use super::{Actor, Service, Update};
use crate::error::ServiceError;

/// Times a decision is taken anew because somebody else wrote first.
const MOST_CONFLICTS: u32 = 32;

/// What became of commands to a task.
#[derive(Debug, Clone)]
pub struct Executed {
    /// The task afterwards.
    pub task: Task,
    /// Sequence number of its newest fact.
    pub seq: u64,
    /// The command that was not accepted, and why; those after it were not looked at.
    pub rejected: Option<(usize, Rejection)>,
}

/// A task as loaded, with what guards a write to it.
pub(crate) struct LoadedTask {
    pub(crate) task: Task,
    pub(crate) seq: u64,
    pub(crate) epoch: u64,
}

impl Service {
    pub(crate) async fn load_task(&self, id: TaskId) -> Result<LoadedTask, ServiceError> {
        let loaded = self.store.load(Stream::Task(id)).await?;
        let Loaded {
            state, seq, epoch, ..
        } = loaded.ok_or_else(|| ServiceError::not_found("task", id))?;
        Ok(LoadedTask {
            task: serde_json::from_str(&state)?,
            seq,
            epoch,
        })
    }

    /// Executes commands on a task in one transaction, with `done` outbox rows.
    ///
    /// When the first command is rejected nothing is written, and `done` rows stay.
    pub(crate) async fn execute(
        &self,
        id: TaskId,
        actor: &Actor,
        epoch: Option<u64>,
        commands: &[TaskCommand],
        done: &[EffectId],
    ) -> Result<Executed, ServiceError> {
        let loaded = self.load_task(id).await?;
        self.execute_on(loaded, actor, epoch, commands, done).await
    }

    /// As [`Service::execute`], on a task that was loaded a moment ago.
    pub(crate) async fn execute_on(
        &self,
        mut loaded: LoadedTask,
        actor: &Actor,
        epoch: Option<u64>,
        commands: &[TaskCommand],
        done: &[EffectId],
    ) -> Result<Executed, ServiceError> {
        let mut commands = std::borrow::Cow::Borrowed(commands);
        for _ in 0..MOST_CONFLICTS {
            let id = loaded.task.id;
            if epoch.is_some_and(|epoch| epoch != loaded.epoch) {
                return Err(StoreError::Fenced {
                    task: id.to_string(),
                }
                .into());
            }
            let (executed, append) = self.decide(&loaded, actor, epoch, &commands).await?;
            let Some((append, effects, leaves)) = append else {
                return Ok(executed);
            };
            let wakes_writer = !effects.is_empty();
            let commit = Commit {
                appends: vec![append],
                effects,
                done: done.to_vec(),
                leaves,
                budget: self.budget_moves(&loaded.task, &executed.task).await?,
                ..Commit::default()
            };
            match self.store.commit(commit).await {
                Ok(_) => {
                    self.after_task(&loaded.task, &executed.task, wakes_writer);
                    return Ok(executed);
                }
                Err(StoreError::Conflict { .. }) => loaded = self.load_task(id).await?,
                // A cap leaves no room for what was decided: the task waits instead.
                Err(StoreError::Cap { refused, waits }) => {
                    let (kind, reason) = crate::budget::halt(refused, waits);
                    commands = vec![TaskCommand::Halt { kind, reason }].into();
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict {
            what: loaded.task.id.to_string(),
        }
        .into())
    }

    /// Decides all commands on a loaded task, without writing.
    pub(crate) async fn decide(
        &self,
        loaded: &LoadedTask,
        actor: &Actor,
        epoch: Option<u64>,
        commands: &[TaskCommand],
    ) -> Result<(Executed, Option<(Append, Vec<OutboxRow>, Vec<Vec<u8>>)>), ServiceError> {
        let now = self.now();
        let automation = self
            .automation_version(&loaded.task.automation, loaded.task.version)
            .await?;
        let spend = self
            .spend_for(&automation.definition, loaded.task.campaign, commands)
            .await?;
        let context = Context {
            now,
            definition: &automation.definition,
            policy: self.policy.as_ref(),
            budget: self.budget.as_ref(),
            spend,
        };
        let mut writing = Writing::new(now, &actor.name, &loaded.task, loaded.seq);
        let mut task = loaded.task.clone();
        let mut rejected = None;
        for (index, command) in commands.iter().enumerate() {
            match engine::task::decide(&task, command, &context) {
                Ok(facts) => {
                    // Effects are those of the whole decision: what one fact asks for, a later one
                    // of the same decision may take back.
                    let before = task.clone();
                    for fact in &facts {
                        engine::task::apply(&mut task, fact, now);
                    }
                    for fact in &facts {
                        writing.record(fact, &before, &task)?;
                    }
                }
                Err(rejection) => {
                    rejected = Some((index, rejection));
                    break;
                }
            }
        }
        let seq = writing.seq;
        let executed = Executed {
            task,
            seq,
            rejected,
        };
        if writing.facts.is_empty() {
            return Ok((executed, None));
        }
        let lease = if executed.task.status.is_leased() {
            LeaseChange::Keep
        } else {
            LeaseChange::Release
        };
        let append = Append {
            stream: Stream::Task(executed.task.id),
            expected_seq: loaded.seq,
            epoch,
            facts: writing.facts,
            state: serde_json::to_string(&executed.task)?,
            row: Row::Task(TaskRow::from(&executed.task)),
            spent_ms: executed.task.spent_ms,
            lease,
        };
        Ok((executed, Some((append, writing.effects, writing.leaves))))
    }

    /// What the campaign used up: asked only where a budget could say no.
    async fn spend_for(
        &self,
        definition: &model::automation::Definition,
        campaign: CampaignId,
        commands: &[TaskCommand],
    ) -> Result<Spend, ServiceError> {
        let claims = commands
            .iter()
            .any(|command| matches!(command, TaskCommand::Claim { .. }));
        if !claims || definition.budget.is_none() {
            return Ok(Spend::default());
        }
        let (wall_ms, changes) = self.store.campaign_spend(campaign).await?;
        Ok(Spend { wall_ms, changes })
    }

    /// Wakes whoever may now have something to do.
    pub(crate) fn after_task(&self, before: &Task, after: &Task, effects: bool) {
        if effects {
            self.outbox.notify_one();
        }
        if after.is_settled() != before.is_settled()
            || after.status.is_leased() != before.status.is_leased()
        {
            self.mark_dirty(after.campaign);
        }
        if !after.status.is_leased() {
            self.work.notify_waiters();
            self.work.notify_one();
        }
        if after.status.is_final() || !after.status.is_leased() {
            self.logs.forget(after.id);
        }
        if (before.status.is_leased() && !after.status.is_leased()) || after.status.is_final() {
            self.places.notify_one();
        }
        self.leaves.notify_one();
        self.publish(Update::Task {
            id: after.id,
            campaign: after.campaign,
        });
    }
}

/// Facts being recorded for one task, with all that goes into the same transaction.
pub(crate) struct Writing<'a> {
    now: Timestamp,
    actor: &'a str,
    scope: String,
    stream: Stream,
    pub(crate) seq: u64,
    pub(crate) facts: Vec<String>,
    pub(crate) effects: Vec<OutboxRow>,
    pub(crate) leaves: Vec<Vec<u8>>,
}

impl<'a> Writing<'a> {
    pub(crate) fn new(now: Timestamp, actor: &'a str, task: &Task, seq: u64) -> Self {
        let scope = format!("automation:{}", task.automation);
        Self::of_stream(now, actor, scope, Stream::Task(task.id), seq)
    }

    pub(crate) fn of_stream(
        now: Timestamp,
        actor: &'a str,
        scope: String,
        stream: Stream,
        seq: u64,
    ) -> Self {
        Self {
            now,
            actor,
            scope,
            stream,
            seq,
            facts: Vec::new(),
            effects: Vec::new(),
            leaves: Vec::new(),
        }
    }

    fn record(&mut self, fact: &TaskFact, before: &Task, after: &Task) -> Result<(), ServiceError> {
        self.fact(fact)?;
        for (effect, lane, due_at) in engine::task::effects(before, after, fact, self.seq, self.now)
        {
            self.effect(effect, lane, due_at);
        }
        Ok(())
    }

    /// Records a fact and its leaf.
    pub(crate) fn fact<F: Fact + Serialize + Clone>(
        &mut self,
        fact: &F,
    ) -> Result<(), ServiceError> {
        self.seq += 1;
        let recorded = Recorded {
            v: FACT_VERSION,
            at: self.now,
            actor: self.actor.to_owned(),
            scope: self.scope.clone(),
            fact: fact.clone(),
        };
        let text = serde_json::to_string(&recorded)?;
        self.leaves.push(leaf(
            self.now,
            self.actor,
            &self.scope,
            self.stream,
            self.seq,
            fact.kind(),
            text.as_bytes(),
        )?);
        self.facts.push(text);
        Ok(())
    }

    /// Adds an effect of the newest fact.
    pub(crate) fn effect(&mut self, effect: Effect, lane: String, due_at: Timestamp) {
        let id = EffectId::of(&self.stream.to_string(), self.seq, self.effects.len());
        self.effects.push(OutboxRow {
            id,
            due_at,
            lane,
            attempts: 0,
            effect,
        });
    }
}

/// The ledger leaf of a payload.
pub(crate) fn leaf(
    now: Timestamp,
    actor: &str,
    scope: &str,
    subject: impl std::fmt::Display,
    seq: u64,
    kind: &str,
    payload: &[u8],
) -> Result<Vec<u8>, ServiceError> {
    let mut salt = [0; ::ledger::SALT_BYTES];
    getrandom::fill(&mut salt)
        .map_err(|error| ServiceError::Damaged(format!("no random bytes: {error}")))?;
    let heading = ::ledger::Heading {
        kind: kind.to_owned(),
        at: u64::try_from(now.as_microsecond()).unwrap_or(0),
        actor: actor.to_owned(),
        scope: scope.to_owned(),
        subject: subject.to_string(),
        seq,
    };
    let leaf = ::ledger::Leaf::new(heading, payload, salt)
        .map_err(|error| ServiceError::Damaged(error.to_string()))?;
    Ok(leaf.to_bytes())
}
