//! What exec control refused or saw: kept in batches (`batches`).

use jiff::Timestamp;
use model::batch::BatchPlace;
use model::exec::{ExecBatch, ExecEvent, KeptExecBatch, MOST_EVENTS};
use model::ids::TaskId;
use serde::{Deserialize, Serialize};

use super::batches::{Batch, VERSION};
use super::{Service, Update};
use crate::error::ServiceError;

/// What exec control refused or saw in all environments of a task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecTotal {
    /// Refusals.
    pub denied: u64,
    /// Others: unknown content that executed, and what a rule reports.
    pub unknown: u64,
    /// Batches kept.
    pub batches: u64,
    /// Epoch of the newest batch.
    pub epoch: u64,
    /// Number of the newest batch within its epoch.
    pub batch: u32,
}

impl Batch for ExecBatch {
    const NAME: &'static str = "exec";
    const LEAF: &'static str = "exec.batch";
    const DOCUMENT: &'static str = "exec_batch";
    const TOTALS: &'static str = "exec_total";
    const MOST_EVENTS: usize = MOST_EVENTS;
    const LONGEST: usize = 512 * 1024;

    type Event = ExecEvent;
    type Kept = KeptExecBatch;
    type Total = ExecTotal;

    fn runner(&self) -> &str {
        &self.runner
    }

    fn task(&self) -> TaskId {
        self.task
    }

    fn place(&self) -> BatchPlace {
        self.place()
    }

    fn events(&self) -> &[Self::Event] {
        &self.events
    }

    fn add_to(&self, total: ExecTotal) -> ExecTotal {
        let (denied, unknown) = self.counts();
        ExecTotal {
            denied: total.denied.saturating_add(denied),
            unknown: total.unknown.saturating_add(unknown),
            batches: total.batches.saturating_add(1),
            epoch: self.epoch,
            batch: self.batch,
        }
    }

    fn keep(self, at: Timestamp, root: String) -> KeptExecBatch {
        let (denied, unknown) = self.counts();
        KeptExecBatch {
            v: VERSION,
            at,
            denied,
            unknown,
            root,
            batch: self,
        }
    }

    fn newest(total: &Self::Total) -> Option<BatchPlace> {
        (total.batches > 0).then_some(BatchPlace {
            epoch: total.epoch,
            batch: total.batch,
        })
    }

    fn update(task: TaskId, total: &ExecTotal) -> Update {
        Update::Exec {
            task,
            denied: total.denied,
            unknown: total.unknown,
        }
    }
}

impl Service {
    /// Keeps a batch, with its leaf, in one transaction. A batch that is there already is left
    /// alone.
    ///
    /// # Errors
    /// [`store::StoreError::Fenced`] when the lease has passed to somebody else; what is no batch is
    /// invalid.
    pub(crate) async fn keep_exec_batch(&self, batch: ExecBatch) -> Result<(), ServiceError> {
        self.keep_batch(batch).await
    }

    /// What exec control refused or saw in a task so far.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn exec_total(&self, task: TaskId) -> Result<ExecTotal, ServiceError> {
        self.total::<ExecBatch>(task).await
    }

    /// Batches of a task in order, after the one named `after` (as `EPOCH-BATCH`), at most `limit`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn exec_batches(
        &self,
        task: TaskId,
        after: Option<(u64, u32)>,
        limit: u32,
    ) -> Result<Vec<KeptExecBatch>, ServiceError> {
        let after = after.map(|(epoch, batch)| BatchPlace { epoch, batch });
        self.batches::<ExecBatch>(task, after, limit).await
    }

    /// The newest batches of a task's newest assignment, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn newest_exec_batches(
        &self,
        task: TaskId,
        limit: u32,
    ) -> Result<Vec<KeptExecBatch>, ServiceError> {
        self.newest_batches::<ExecBatch>(task, limit).await
    }
}
