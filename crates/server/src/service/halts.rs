//! Halting tasks: at a cap, or by the kill switch. A task that a runner holds is recalled: the
//! runner ends its environment, keeps its workspace and says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::task::TaskCommand;
use model::ids::TaskId;
use model::protocol::Recall;
use model::reason::{Reason, ReasonCode};
use model::rows::TaskRow;
use model::task::{TaskStatus, WaitKind};
use store::{Page, TaskFilter, TaskOrder};

use super::{Actor, Service};
use crate::error::ServiceError;

/// How long a runner may take to give a recalled task back before it loses the task.
const GRACE: Duration = Duration::from_secs(10);
/// Time between two words to a runner that a task is recalled.
const AGAIN: Duration = Duration::from_millis(200);

impl Service {
    /// Halts a task wherever it stands; one that waits or ended is left alone.
    pub(crate) async fn halt(
        self: &Arc<Self>,
        id: TaskId,
        kind: WaitKind,
        reason: Reason,
    ) -> Result<(), ServiceError> {
        let loaded = self.load_task(id).await?;
        let status = loaded.task.status;
        if status.is_leased() {
            self.recall(id, loaded.epoch, kind, reason);
            return Ok(());
        }
        if matches!(status, TaskStatus::Queued | TaskStatus::Ready) {
            let command = TaskCommand::Halt { kind, reason };
            self.execute_on(loaded, &Actor::system(), None, &[command], &[])
                .await?;
        }
        Ok(())
    }

    /// Has the runner of a task stop it. Who does not hear loses the task.
    pub(crate) fn recall(
        self: &Arc<Self>,
        task: TaskId,
        epoch: u64,
        kind: WaitKind,
        reason: Reason,
    ) {
        let cause = reason.sentence.clone();
        if let Ok(mut halting) = self.halting.lock() {
            // The first reason stays: it is what the runner is being told.
            if halting.contains_key(&(task, epoch)) {
                return;
            }
            halting.insert((task, epoch), (kind, reason));
        }
        let service = Arc::clone(self);
        tokio::spawn(async move {
            let told = Instant::now();
            // Said again, because the runner may not have known the task yet.
            while told.elapsed() < GRACE {
                if !service.tell_recall(task, epoch, &cause) {
                    return;
                }
                tokio::time::sleep(AGAIN).await;
            }
            if let Err(error) = service.take_back(task, epoch).await {
                tracing::error!(%task, %error, "a recalled task could not be taken back");
            }
        });
    }

    /// Tells the runner, unless the task was given back.
    fn tell_recall(&self, task: TaskId, epoch: u64, cause: &str) -> bool {
        let waits = self
            .halting
            .lock()
            .is_ok_and(|halting| halting.contains_key(&(task, epoch)));
        if waits && let Ok(mut recalls) = self.recalls.lock() {
            recalls.push(Recall {
                task,
                epoch,
                cause: cause.to_owned(),
            });
            self.recalls_wake.notify_one();
        }
        waits
    }

    /// What a recalled task waits for, once its runner has given it back.
    pub(crate) fn halted_for(&self, task: TaskId, epoch: u64) -> Option<(WaitKind, Reason)> {
        self.halting.lock().ok()?.remove(&(task, epoch))
    }

    /// Takes a task from a runner that did not give it back in time. What it did is lost.
    async fn take_back(self: &Arc<Self>, id: TaskId, epoch: u64) -> Result<(), ServiceError> {
        let Some((kind, reason)) = self.halted_for(id, epoch) else {
            return Ok(());
        };
        let loaded = self.load_task(id).await?;
        if loaded.epoch != epoch || !loaded.task.status.is_leased() {
            return Ok(());
        }
        let commands = [
            TaskCommand::Interrupt {
                cause: format!(
                    "{}; its runner did not give it back in time",
                    reason.sentence
                ),
                blame: false,
            },
            TaskCommand::Halt { kind, reason },
        ];
        self.execute_on(loaded, &Actor::system(), Some(epoch), &commands, &[])
            .await?;
        Ok(())
    }

    /// Tasks that wait for this.
    pub(crate) async fn waiting_for(&self, kind: WaitKind) -> Result<Vec<TaskRow>, ServiceError> {
        let filter = TaskFilter {
            statuses: vec![TaskStatus::Waiting],
            ..TaskFilter::default()
        };
        let rows = self
            .store
            .tasks(filter, TaskOrder::Target, Page::first(u32::MAX))
            .await?;
        Ok(rows
            .into_iter()
            .filter(|row| row.wait == Some(kind))
            .collect())
    }

    /// Lets a task that waits go on.
    pub(crate) async fn wake(&self, id: TaskId) -> Result<(), ServiceError> {
        let woken = self
            .execute(id, &Actor::system(), None, &[TaskCommand::Wake], &[])
            .await?;
        if let Some((_, rejection)) = woken.rejected {
            // It moved on by itself.
            tracing::debug!(task = %id, %rejection, "not woken");
        }
        Ok(())
    }

    /// Wakes tasks that wait for a place under a cap, as far as there are places.
    pub(crate) async fn wake_for_places(&self) -> Result<(), ServiceError> {
        let mut rows = self.waiting_for(WaitKind::Quota).await?;
        rows.retain(|row| row.reason.as_deref() == Some(ReasonCode::BudgetExhausted.as_str()));
        rows.sort_by_key(|row| row.updated_at);
        for row in rows {
            let task = self.task(row.id).await?;
            if self.finds_place(&task).await? {
                self.wake(row.id).await?;
            }
        }
        Ok(())
    }
}
