//! What left the environments of tasks, or was kept from leaving: kept in batches (`batches`).

use jiff::Timestamp;
use model::batch::BatchPlace;
use model::egress::{EgressBatch, EgressEvent, KeptEgressBatch, MOST_EGRESS_EVENTS};
use model::ids::TaskId;
use serde::{Deserialize, Serialize};

use super::batches::{Batch, VERSION};
use super::{Service, Update};
use crate::error::ServiceError;

/// What left all environments of a task, or was kept from leaving.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressTotal {
    /// Refused.
    pub refused: u64,
    /// Permitted.
    pub permitted: u64,
    /// Bytes from environments, as far as they are listed.
    pub sent: u64,
    /// Bytes to environments, as far as they are listed.
    pub received: u64,
    /// Batches kept.
    pub batches: u64,
    /// Epoch of the newest batch.
    pub epoch: u64,
    /// Number of the newest batch within its epoch.
    pub batch: u32,
}

impl EgressTotal {
    fn with(self, batch: &EgressBatch) -> Self {
        let (refused, permitted) = batch.counts();
        let (sent, received) = batch.bytes();
        Self {
            refused: self.refused.saturating_add(refused),
            permitted: self.permitted.saturating_add(permitted),
            sent: self.sent.saturating_add(sent),
            received: self.received.saturating_add(received),
            batches: self.batches.saturating_add(1),
            epoch: batch.epoch,
            batch: batch.batch,
        }
    }
}

impl Batch for EgressBatch {
    const NAME: &'static str = "network";
    const LEAF: &'static str = "egress.batch";
    const DOCUMENT: &'static str = "egress_batch";
    const TOTALS: &'static str = "egress_total";
    const MOST_EVENTS: usize = MOST_EGRESS_EVENTS;
    const LONGEST: usize = 1 << 20;

    type Event = EgressEvent;
    type Kept = KeptEgressBatch;
    type Total = EgressTotal;

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

    fn add_to(&self, total: EgressTotal) -> EgressTotal {
        total.with(self)
    }

    fn keep(self, at: Timestamp, root: String) -> KeptEgressBatch {
        let (refused, permitted) = self.counts();
        KeptEgressBatch {
            v: VERSION,
            at,
            refused,
            permitted,
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

    fn update(task: TaskId, total: &EgressTotal) -> Update {
        Update::Network {
            task,
            refused: total.refused,
            permitted: total.permitted,
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
    pub(crate) async fn keep_egress_batch(&self, batch: EgressBatch) -> Result<(), ServiceError> {
        self.keep_batch(batch).await
    }

    /// What left the environments of a task so far, or was kept from leaving.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn egress_total(&self, task: TaskId) -> Result<EgressTotal, ServiceError> {
        self.total::<EgressBatch>(task).await
    }

    /// Batches of a task in order, after the one named `after` (as `EPOCH-BATCH`), at most `limit`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn egress_batches(
        &self,
        task: TaskId,
        after: Option<(u64, u32)>,
        limit: u32,
    ) -> Result<Vec<KeptEgressBatch>, ServiceError> {
        let after = after.map(|(epoch, batch)| BatchPlace { epoch, batch });
        self.batches::<EgressBatch>(task, after, limit).await
    }

    /// The newest batches of a task's newest assignment, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn newest_egress_batches(
        &self,
        task: TaskId,
        limit: u32,
    ) -> Result<Vec<KeptEgressBatch>, ServiceError> {
        self.newest_batches::<EgressBatch>(task, limit).await
    }
}
