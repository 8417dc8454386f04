//! The control plane as runners see it.

use std::sync::Arc;

use async_trait::async_trait;
use engine::task::TaskCommand;
use model::egress::EgressBatch;
use model::exec::ExecBatch;
use model::ids::TaskId;
use model::protocol::{
    Assignment, ClaimRequest, Directive, Heartbeat, HeartbeatAnswer, LogChunk, Recall, Report,
    ReportRequest,
};
use model::reason::{Reason, ReasonCode};
use model::task::{Task, TaskStatus, WaitKind};
use runner::{ControlPlane, ControlPlaneError};
use store::{Claim, Claimed, StoreError};

use super::commit::LoadedTask;
use super::inventory::blocking;
use super::{Actor, Service, Update};
use crate::error::ServiceError;

impl From<ServiceError> for ControlPlaneError {
    fn from(error: ServiceError) -> Self {
        match &error {
            ServiceError::Store(inner) if inner.is_retryable() => {
                Self::Unavailable(error.to_string())
            }
            _ => Self::Refused(error.to_string()),
        }
    }
}

#[async_trait]
impl ControlPlane for Service {
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Assignment>, ControlPlaneError> {
        // While everything is stopped, tasks stay in the queue as they are.
        let stops = self.stops().await?;
        if stops.first([engine::budget::ORGANISATION]).is_some() {
            return Ok(Vec::new());
        }
        let now = self.now();
        let claim = Claim {
            owner: request.runner.clone(),
            slots: request.slots,
            now,
            until: now.checked_add(self.lease).unwrap_or(now),
            limits: self.limits,
        };
        let claimed = self.store.claim(claim).await.map_err(ServiceError::from)?;
        fault::point("claim.leased");
        let mut assignments = Vec::new();
        for claimed in claimed {
            let id = claimed.task;
            match self.assign(&request.runner, claimed).await {
                Ok(Some(assignment)) => assignments.push(assignment),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(task = %id, %error, "a claimed task could not be assigned");
                }
            }
        }
        Ok(assignments)
    }

    async fn work_arrived(&self) {
        self.work.notified().await;
    }

    async fn report(&self, request: ReportRequest) -> Result<Directive, ControlPlaneError> {
        let commands: Vec<TaskCommand> = request
            .reports
            .into_iter()
            .flat_map(|report| self.commands(request.task, request.epoch, report))
            .collect();
        let actor = runner_actor(&request.runner);
        match self
            .execute(request.task, &actor, Some(request.epoch), &commands, &[])
            .await
        {
            Ok(executed) => Ok(directive(
                executed.task,
                executed.rejected.map(|(_, rejection)| rejection),
            )),
            Err(ServiceError::Store(StoreError::Fenced { .. })) => Ok(Directive::Release {
                cause: "the lease is gone".to_owned(),
            }),
            Err(error) => Err(error.into()),
        }
    }

    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<HeartbeatAnswer, ControlPlaneError> {
        let now = self.now();
        let until = now.checked_add(self.lease).unwrap_or(now);
        let lost = self
            .store
            .extend(&heartbeat.runner, &heartbeat.tasks, until)
            .await;
        let lost = lost.map_err(ServiceError::from)?;
        let release = lost
            .into_iter()
            .map(|task| (task, "the lease is gone".to_owned()))
            .collect();
        Ok(HeartbeatAnswer { release })
    }

    async fn recalled(&self, _runner: &str) -> Vec<Recall> {
        loop {
            let recalled = match self.recalls.lock() {
                Ok(mut recalls) => std::mem::take(&mut *recalls),
                Err(_) => Vec::new(),
            };
            if !recalled.is_empty() {
                return recalled;
            }
            self.recalls_wake.notified().await;
        }
    }

    async fn log(&self, chunk: LogChunk) {
        let task = chunk.task;
        self.logs.push(chunk);
        self.publish(Update::Log { task });
    }

    async fn exec_events(&self, batch: ExecBatch) -> Result<(), ControlPlaneError> {
        match self.keep_exec_batch(batch).await {
            // Nobody waits for events of a lease that is gone; the next report says so.
            Ok(()) | Err(ServiceError::Store(StoreError::Fenced { .. })) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn egress_events(&self, batch: EgressBatch) -> Result<(), ControlPlaneError> {
        match self.keep_egress_batch(batch).await {
            // As above.
            Ok(()) | Err(ServiceError::Store(StoreError::Fenced { .. })) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn put_blobs(&self, contents: Vec<Vec<u8>>) -> Result<Vec<String>, ControlPlaneError> {
        let blobs = Arc::clone(&self.blobs);
        let digests = blocking(move || blobs.put_batch(&contents))
            .await?
            .map_err(ServiceError::from)?;
        Ok(digests
            .into_iter()
            .map(|digest| digest.to_string())
            .collect())
    }

    async fn get_blob(&self, digest: &str) -> Result<Vec<u8>, ControlPlaneError> {
        Ok(self.blob(digest).await?)
    }
}

impl Service {
    async fn assign(
        &self,
        runner: &str,
        claimed: Claimed,
    ) -> Result<Option<Assignment>, ServiceError> {
        let (id, epoch) = (claimed.task, claimed.epoch);
        let task: Task = serde_json::from_str(&claimed.state)?;
        let loaded = LoadedTask {
            task,
            seq: claimed.seq,
            epoch,
        };
        let command = match self.obstacle(&loaded.task).await? {
            Some((kind, reason)) => TaskCommand::Halt { kind, reason },
            None => TaskCommand::Claim {
                runner: runner.to_owned(),
            },
        };
        let executed = self
            .execute_on(loaded, &runner_actor(runner), Some(epoch), &[command], &[])
            .await?;
        fault::point("claim.after_commit");
        if executed.task.status != TaskStatus::Preparing {
            if executed.rejected.is_some() {
                self.store.drop_lease(id, epoch).await?;
            }
            return Ok(None);
        }
        match self.assignment(&executed.task, executed.seq, epoch).await {
            Ok(assignment) => Ok(Some(assignment)),
            Err(error) => {
                self.give_up(id, runner, epoch, &error).await?;
                Ok(None)
            }
        }
    }

    /// What keeps a task from being begun: a stop, or a cap that is used up.
    async fn obstacle(&self, task: &Task) -> Result<Option<(WaitKind, Reason)>, ServiceError> {
        if let Some(stopped) = self.stopped(task).await? {
            let reason = Reason::new(ReasonCode::Stopped, stopped.sentence());
            return Ok(Some((WaitKind::Stop, reason)));
        }
        let spent = self.spent_out(task).await?;
        Ok(spent.map(|refused| crate::budget::halt(refused, false)))
    }

    /// What a report asks of the task.
    fn commands(&self, task: TaskId, epoch: u64, report: Report) -> Vec<TaskCommand> {
        let Report::Parked { cause } = report else {
            return vec![command(report)];
        };
        match self.halted_for(task, epoch) {
            Some((kind, reason)) => vec![TaskCommand::Halt { kind, reason }],
            // Nobody knows any more why: it goes on at once.
            None => vec![
                TaskCommand::Halt {
                    kind: WaitKind::Stop,
                    reason: Reason::new(ReasonCode::Stopped, cause),
                },
                TaskCommand::Wake,
            ],
        }
    }

    async fn assignment(
        &self,
        task: &Task,
        seq: u64,
        epoch: u64,
    ) -> Result<Assignment, ServiceError> {
        let automation = self
            .automation_version(&task.automation, task.version)
            .await?;
        let campaign = self.campaign(task.campaign).await?;
        let name = &task.target.repository;
        let repository = self
            .repository(name)
            .await?
            .ok_or_else(|| ServiceError::not_found("repository", name))?;
        let run = self.run(task.run).await?;
        let event = self.store.event(run.event).await?;
        let event = event.ok_or_else(|| ServiceError::not_found("event", run.event))?;
        let now = self.now();
        let environment = &automation.definition.environment;
        let wanted = engine::fence::of(&environment.isolation, &environment.exec);
        Ok(Assignment {
            fence: engine::fence::strictest(&self.fence, &wanted),
            task: task.clone(),
            seq,
            epoch,
            lease_until: now.checked_add(self.lease).unwrap_or(now),
            automation: (*automation).clone(),
            campaign,
            repository,
            event,
        })
    }

    /// A task that cannot even be handed out ends with the reason.
    async fn give_up(
        &self,
        id: TaskId,
        runner: &str,
        epoch: u64,
        error: &ServiceError,
    ) -> Result<(), ServiceError> {
        let code = match error {
            ServiceError::NotFound {
                what: "repository", ..
            } => ReasonCode::RepositoryUnavailable,
            _ => ReasonCode::InternalError,
        };
        let reason = Reason::new(code, error.to_string());
        let command = TaskCommand::End {
            status: TaskStatus::Failed,
            reason,
        };
        self.execute(id, &runner_actor(runner), Some(epoch), &[command], &[])
            .await?;
        Ok(())
    }
}

fn runner_actor(runner: &str) -> Actor {
    Actor {
        name: format!("runner:{runner}"),
        roles: Vec::new(),
    }
}

fn directive(task: Task, rejection: Option<engine::Rejection>) -> Directive {
    match rejection {
        Some(rejection) => Directive::Release {
            cause: rejection.to_string(),
        },
        None if task.status.is_leased() => Directive::Continue {
            task: Box::new(task),
        },
        None => Directive::Release {
            cause: format!("the task is {}", task.status),
        },
    }
}

fn command(report: Report) -> TaskCommand {
    match report {
        Report::Prepared { base, isolation } => TaskCommand::Prepare { base, isolation },
        Report::StepStarted { index } => TaskCommand::StartStep { index },
        Report::StepFinished {
            index,
            outcome,
            outputs,
            log,
            wall_ms,
        } => TaskCommand::FinishStep {
            index,
            outcome,
            outputs,
            log,
            wall_ms,
        },
        Report::Validated { validators } => TaskCommand::Validate { validators },
        Report::Waits { wait } => TaskCommand::Wait { wait },
        Report::Proposed { proposal } => TaskCommand::Propose { proposal },
        Report::Ends { status, reason } => TaskCommand::End { status, reason },
        // A parked task is turned into a halt by whoever knows why it was recalled.
        Report::Interrupted { cause } | Report::Parked { cause } => TaskCommand::Interrupt {
            cause,
            blame: false,
        },
    }
}
