//! Decisions without facts, kept in batches with one leaf of the ledger each: what exec control
//! refused or saw, and what left an environment or was kept from leaving.
//!
//! Nothing about a task follows from them, and a flood of them must not fill its stream. A batch is a
//! document, `TASK/EPOCH-BATCH`; its leaf stands for exactly its bytes. Beside them a task has one
//! document with totals, so that a page need not count.

use ::ledger::Tree;
use jiff::Timestamp;
use model::batch::{BatchPlace, MOST_BATCHES};
use model::ids::TaskId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::{Commit, DocumentWrite, StoreError};

use super::commit::leaf;
use super::{Service, Update};
use crate::error::ServiceError;

/// Version of a kept batch.
pub(super) const VERSION: u32 = 1;
/// Assignments of one task, at most: their numbers fill the upper bits of a leaf's number.
const MOST_EPOCHS: u64 = 1 << 32;

/// One kind of batch.
pub(super) trait Batch: Sized + Send {
    /// What its events are called in errors.
    const NAME: &'static str;
    /// Kind of its leaf.
    const LEAF: &'static str;
    /// Kind of its document.
    const DOCUMENT: &'static str;
    /// Kind of the document with totals.
    const TOTALS: &'static str;
    /// Most events of one.
    const MOST_EVENTS: usize;
    /// The longest, in bytes of JSON.
    const LONGEST: usize;

    /// One event.
    type Event: Serialize;
    /// As it is kept.
    type Kept: Serialize + DeserializeOwned + Send;
    /// All of a task so far.
    type Total: Default + Serialize + DeserializeOwned + Send;

    /// Who reports.
    fn runner(&self) -> &str;
    /// The task.
    fn task(&self) -> TaskId;
    /// Where it stands.
    fn place(&self) -> BatchPlace;
    /// What happened.
    fn events(&self) -> &[Self::Event];
    /// The total with this batch.
    fn add_to(&self, total: Self::Total) -> Self::Total;
    /// As it is kept, with the root over its events.
    fn keep(self, at: Timestamp, root: String) -> Self::Kept;
    /// The newest batch of a total; `None` when there is none.
    fn newest(total: &Self::Total) -> Option<BatchPlace>;
    /// What pages are told.
    fn update(task: TaskId, total: &Self::Total) -> Update;
}

impl Service {
    /// Keeps a batch, with its leaf, in one transaction. A batch that is there already is left
    /// alone.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when the lease has passed to somebody else; what is no batch is
    /// invalid.
    pub(super) async fn keep_batch<B: Batch>(&self, batch: B) -> Result<(), ServiceError> {
        let invalid = |what: &str| {
            let text = format!("the batch of {} events is {what}", B::NAME);
            ServiceError::Invalid(text)
        };
        let (task, place) = (batch.task(), batch.place());
        if batch.events().len() > B::MOST_EVENTS
            || place.batch >= MOST_BATCHES
            || place.epoch >= MOST_EPOCHS
        {
            return Err(invalid("out of bounds"));
        }
        let loaded = self.load_task(task).await?;
        if loaded.epoch != place.epoch {
            let task = task.to_string();
            return Err(StoreError::Fenced { task }.into());
        }
        let key = key(task, place);
        if self.store.document(B::DOCUMENT, &key).await?.is_some() {
            return Ok(());
        }
        let now = self.now();
        let mut tree = Tree::new();
        for event in batch.events() {
            tree.push(&serde_json::to_vec(event)?);
        }
        let total = batch.add_to(self.total::<B>(task).await?);
        let actor = format!("runner:{}", batch.runner());
        let scope = format!("automation:{}", loaded.task.automation);
        let seq = place.leaf_seq();
        let body = serde_json::to_string(&batch.keep(now, tree.root().to_string()))?;
        if body.len() > B::LONGEST {
            return Err(invalid("too long"));
        }
        let leaf = leaf(now, &actor, &scope, task, seq, B::LEAF, body.as_bytes())?;
        let write = |kind: &str, key: String, body: String| DocumentWrite {
            kind: kind.to_owned(),
            key,
            body: Some(body),
        };
        let commit = Commit {
            documents: vec![
                write(B::DOCUMENT, key, body),
                write(B::TOTALS, task.to_string(), serde_json::to_string(&total)?),
            ],
            leaves: vec![leaf],
            ..Commit::default()
        };
        self.store.commit(commit).await?;
        self.leaves.notify_one();
        self.publish(B::update(task, &total));
        Ok(())
    }

    /// All of a task so far.
    pub(super) async fn total<B: Batch>(&self, task: TaskId) -> Result<B::Total, ServiceError> {
        match self.store.document(B::TOTALS, &task.to_string()).await? {
            Some(document) => Ok(serde_json::from_str(&document.body)?),
            None => Ok(B::Total::default()),
        }
    }

    /// Batches of a task in order, after this one, at most `limit`.
    pub(super) async fn batches<B: Batch>(
        &self,
        task: TaskId,
        after: Option<BatchPlace>,
        limit: u32,
    ) -> Result<Vec<B::Kept>, ServiceError> {
        let own = format!("{task}/");
        // Below every key of the task and above those of others.
        let after = after.map_or_else(|| own.clone(), |place| key(task, place));
        let mut batches = Vec::new();
        for document in self.store.documents(B::DOCUMENT, &after, limit).await? {
            if !document.key.starts_with(&own) {
                break;
            }
            batches.push(serde_json::from_str(&document.body)?);
        }
        Ok(batches)
    }

    /// The newest batches of a task's newest assignment, newest first, at most `limit`.
    pub(super) async fn newest_batches<B: Batch>(
        &self,
        task: TaskId,
        limit: u32,
    ) -> Result<Vec<B::Kept>, ServiceError> {
        let total = self.total::<B>(task).await?;
        let Some(BatchPlace { epoch, batch }) = B::newest(&total) else {
            return Ok(Vec::new());
        };
        // Batches of one assignment are numbered without gaps; before the first there is none.
        let after = match batch.checked_sub(limit) {
            Some(batch) => BatchPlace { epoch, batch },
            None => BatchPlace {
                epoch: epoch.saturating_sub(1),
                batch: u32::MAX,
            },
        };
        let mut newest = self.batches::<B>(task, Some(after), limit).await?;
        newest.reverse();
        Ok(newest)
    }
}

/// The key of a batch's document; in order of time.
fn key(task: TaskId, BatchPlace { epoch, batch }: BatchPlace) -> String {
    format!("{task}/{epoch:010}-{batch:07}")
}

/// The document that a leaf stands for, where it is one of such a batch.
pub(super) fn document_of<B: Batch>(heading: &::ledger::Heading) -> Option<(&'static str, String)> {
    if heading.kind != B::LEAF {
        return None;
    }
    let task = heading.subject.parse().ok()?;
    let place = BatchPlace::of_leaf_seq(heading.seq);
    Some((B::DOCUMENT, key(task, place)))
}
