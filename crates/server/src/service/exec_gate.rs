//! What exec control refused or saw: kept in batches, each with one leaf in the ledger.
//!
//! These are decisions without facts: nothing about a task follows from them, and a flood of them
//! must not fill its stream. A batch is a document, `TASK/EPOCH-BATCH`; its leaf stands for exactly
//! its bytes. Beside them a task has one document with totals, so that a page need not count.

use ::ledger::Tree;
use model::exec::{ExecBatch, KeptExecBatch, MOST_BATCHES, MOST_EVENTS};
use model::ids::TaskId;
use serde::{Deserialize, Serialize};
use store::{Commit, DocumentWrite, StoreError};

use super::commit::leaf;
use super::{Service, Update};
use crate::error::ServiceError;

/// Kind of the leaf of a batch.
const LEAF: &str = "exec.batch";
/// Kind of the documents that hold batches.
const BATCH: &str = "exec_batch";
/// Kind of the documents that hold totals.
const TOTAL: &str = "exec_total";
/// Version of a kept batch.
const VERSION: u32 = 1;
/// Assignments of one task, at most, for the same reason.
const MOST_EPOCHS: u64 = 1 << 32;
/// Longest batch, in bytes of JSON.
const LONGEST: usize = 512 * 1024;

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

impl Service {
    /// Keeps a batch, with its leaf, in one transaction. A batch that is there already is left
    /// alone.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when the lease has passed to somebody else; what is no batch is
    /// invalid.
    pub(crate) async fn keep_exec_batch(&self, batch: ExecBatch) -> Result<(), ServiceError> {
        let task = batch.task;
        if batch.events.len() > MOST_EVENTS
            || batch.batch >= MOST_BATCHES
            || batch.epoch >= MOST_EPOCHS
        {
            return Err(ServiceError::Invalid(
                "the batch of exec events is out of bounds".to_owned(),
            ));
        }
        let loaded = self.load_task(task).await?;
        if loaded.epoch != batch.epoch {
            return Err(StoreError::Fenced {
                task: task.to_string(),
            }
            .into());
        }
        let key = key(task, batch.epoch, batch.batch);
        if self.store.document(BATCH, &key).await?.is_some() {
            return Ok(());
        }
        let (denied, unknown) = batch.counts();
        let now = self.now();
        let mut tree = Tree::new();
        for event in &batch.events {
            tree.push(&serde_json::to_vec(event)?);
        }
        let mut total = self.exec_total(task).await?;
        total = ExecTotal {
            denied: total.denied.saturating_add(denied),
            unknown: total.unknown.saturating_add(unknown),
            batches: total.batches + 1,
            epoch: batch.epoch,
            batch: batch.batch,
        };
        let actor = format!("runner:{}", batch.runner);
        let scope = format!("automation:{}", loaded.task.automation);
        let seq = batch.leaf_seq();
        let kept = KeptExecBatch {
            v: VERSION,
            at: now,
            denied,
            unknown,
            root: tree.root().to_string(),
            batch,
        };
        let body = serde_json::to_string(&kept)?;
        if body.len() > LONGEST {
            return Err(ServiceError::Invalid(
                "the batch of exec events is too long".to_owned(),
            ));
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
        self.publish(Update::Exec {
            task,
            denied: total.denied,
            unknown: total.unknown,
        });
        Ok(())
    }

    /// What exec control refused or saw in a task so far.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn exec_total(&self, task: TaskId) -> Result<ExecTotal, ServiceError> {
        match self.store.document(TOTAL, &task.to_string()).await? {
            Some(document) => Ok(serde_json::from_str(&document.body)?),
            None => Ok(ExecTotal::default()),
        }
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
        let after = match after {
            Some((epoch, batch)) => key(task, epoch, batch),
            // Below every key of the task and above those of others.
            None => format!("{task}/"),
        };
        let mut batches = Vec::new();
        for document in self.store.documents(BATCH, &after, limit).await? {
            if !document.key.starts_with(&format!("{task}/")) {
                break;
            }
            batches.push(serde_json::from_str(&document.body)?);
        }
        Ok(batches)
    }

    /// The newest batches of a task, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn newest_exec_batches(
        &self,
        task: TaskId,
        limit: u32,
    ) -> Result<Vec<KeptExecBatch>, ServiceError> {
        let total = self.exec_total(task).await?;
        if total.batches == 0 {
            return Ok(Vec::new());
        }
        // Batches of one assignment are numbered without gaps.
        let after = total
            .batch
            .checked_sub(limit)
            .map(|batch| (total.epoch, batch));
        let mut newest = match after {
            Some(after) => self.exec_batches(task, Some(after), limit).await?,
            None => {
                let all = self.exec_batches(task, None, MOST_BATCHES).await?;
                all.into_iter()
                    .rev()
                    .take(usize::try_from(limit).unwrap_or(usize::MAX))
                    .rev()
                    .collect()
            }
        };
        newest.reverse();
        Ok(newest)
    }
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
    let (epoch, batch) = ExecBatch::of_leaf_seq(heading.seq);
    Some((BATCH, key(task, epoch, batch)))
}
