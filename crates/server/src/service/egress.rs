//! What left the environments of tasks, or was kept from leaving: kept in batches, each with one leaf
//! in the ledger, as what exec control refuses is (`exec_gate`).
//!
//! A batch is a document, `TASK/EPOCH-BATCH`; its leaf stands for exactly its bytes.

use ::ledger::Tree;
use model::egress::{EgressBatch, KeptEgressBatch, MOST_EGRESS_BATCHES, MOST_EGRESS_EVENTS};
use model::ids::TaskId;
use serde::{Deserialize, Serialize};
use store::{Commit, DocumentWrite, StoreError};

use super::commit::leaf;
use super::{Service, Update};
use crate::error::ServiceError;

/// Kind of the leaf of a batch.
const LEAF: &str = "egress.batch";
/// Kind of the documents that hold batches.
const BATCH: &str = "egress_batch";
/// Kind of the documents that hold totals.
const TOTAL: &str = "egress_total";
/// Version of a kept batch.
const VERSION: u32 = 1;
/// Assignments of one task, at most: their numbers fill the upper bits of a leaf's number.
const MOST_EPOCHS: u64 = 1 << 32;
/// Longest batch, in bytes of JSON.
const LONGEST: usize = 1 << 20;

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

impl Service {
    /// Keeps a batch, with its leaf, in one transaction. A batch that is there already is left
    /// alone.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when the lease has passed to somebody else; what is no batch is
    /// invalid.
    pub(crate) async fn keep_egress_batch(&self, batch: EgressBatch) -> Result<(), ServiceError> {
        let invalid = |what: &str| {
            let text = format!("the batch of network events is {what}");
            ServiceError::Invalid(text)
        };
        let task = batch.task;
        if batch.events.len() > MOST_EGRESS_EVENTS
            || batch.batch >= MOST_EGRESS_BATCHES
            || batch.epoch >= MOST_EPOCHS
        {
            return Err(invalid("out of bounds"));
        }
        let loaded = self.load_task(task).await?;
        if loaded.epoch != batch.epoch {
            let task = task.to_string();
            return Err(StoreError::Fenced { task }.into());
        }
        let key = key(task, batch.epoch, batch.batch);
        if self.store.document(BATCH, &key).await?.is_some() {
            return Ok(());
        }
        let now = self.now();
        let total = self.egress_total(task).await?.with(&batch);
        let actor = format!("runner:{}", batch.runner);
        let scope = format!("automation:{}", loaded.task.automation);
        let seq = batch.leaf_seq();
        let body = serde_json::to_string(&kept(now, batch)?)?;
        if body.len() > LONGEST {
            return Err(invalid("too long"));
        }
        let leaf = leaf(now, &actor, &scope, task, seq, LEAF, body.as_bytes())?;
        let write = |kind: &str, key: String, body: String| DocumentWrite {
            kind: kind.to_owned(),
            key,
            body: Some(body),
        };
        let commit = Commit {
            documents: vec![
                write(BATCH, key, body),
                write(TOTAL, task.to_string(), serde_json::to_string(&total)?),
            ],
            leaves: vec![leaf],
            ..Commit::default()
        };
        self.store.commit(commit).await?;
        self.leaves.notify_one();
        self.publish(Update::Network {
            task,
            refused: total.refused,
            permitted: total.permitted,
        });
        Ok(())
    }

    /// What left the environments of a task so far, or was kept from leaving.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn egress_total(&self, task: TaskId) -> Result<EgressTotal, ServiceError> {
        match self.store.document(TOTAL, &task.to_string()).await? {
            Some(document) => Ok(serde_json::from_str(&document.body)?),
            None => Ok(EgressTotal::default()),
        }
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
        let own = format!("{task}/");
        // Below every key of the task and above those of others.
        let after = after.map_or_else(|| own.clone(), |(epoch, batch)| key(task, epoch, batch));
        let mut batches = Vec::new();
        for document in self.store.documents(BATCH, &after, limit).await? {
            if !document.key.starts_with(&own) {
                break;
            }
            batches.push(serde_json::from_str(&document.body)?);
        }
        Ok(batches)
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
        let total = self.egress_total(task).await?;
        if total.batches == 0 {
            return Ok(Vec::new());
        }
        // Batches of one assignment are numbered without gaps; before the first there is none.
        let after = match total.batch.checked_sub(limit) {
            Some(batch) => (total.epoch, batch),
            None => (total.epoch.saturating_sub(1), u32::MAX),
        };
        let mut newest = self.egress_batches(task, Some(after), limit).await?;
        newest.reverse();
        Ok(newest)
    }
}

fn kept(at: jiff::Timestamp, batch: EgressBatch) -> Result<KeptEgressBatch, ServiceError> {
    let mut tree = Tree::new();
    for event in &batch.events {
        tree.push(&serde_json::to_vec(event)?);
    }
    let (refused, permitted) = batch.counts();
    Ok(KeptEgressBatch {
        v: VERSION,
        at,
        refused,
        permitted,
        root: tree.root().to_string(),
        batch,
    })
}

/// The key of a batch's document; in order of time.
fn key(task: TaskId, epoch: u64, batch: u32) -> String {
    format!("{task}/{epoch:010}-{batch:07}")
}

/// The document that a leaf stands for, where it is one of a batch.
pub(super) fn document_of(heading: &::ledger::Heading) -> Option<(&'static str, String)> {
    if heading.kind != LEAF {
        return None;
    }
    let task = heading.subject.parse().ok()?;
    let (epoch, batch) = EgressBatch::of_leaf_seq(heading.seq);
    Some((BATCH, key(task, epoch, batch)))
}
