//! What goes into and comes out of a store.

use jiff::Timestamp;
use model::budget::BudgetMove;
use model::event::Event;
use model::ids::{CampaignId, EffectId, EventId, RunId, TaskId};
use model::rows::{OutboxRow, Row, Stream, TaskRow};
use model::task::{TaskStatus, WaitKind};

/// One transaction.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// An event to admit; when it is already there, nothing of the commit is applied.
    pub event: Option<Event>,
    /// Facts for streams, with their projections.
    pub appends: Vec<Append>,
    /// Outbox rows to add; one whose id is there already is left alone.
    pub effects: Vec<OutboxRow>,
    /// Outbox rows that are done.
    pub done: Vec<EffectId>,
    /// Documents to write or delete.
    pub documents: Vec<DocumentWrite>,
    /// Changes to accounts of the budget; [`crate::StoreError::Cap`] when one finds no room.
    pub budget: Vec<BudgetMove>,
    /// Ledger leaves, in order.
    pub leaves: Vec<Vec<u8>>,
}

/// Facts appended to one stream.
#[derive(Debug, Clone)]
pub struct Append {
    /// The stream.
    pub stream: Stream,
    /// Its sequence number before this append; 0 for a new stream.
    pub expected_seq: u64,
    /// The lease epoch that must be current; `None` for whoever needs no lease.
    pub epoch: Option<u64>,
    /// The facts, serialised; at least one.
    pub facts: Vec<String>,
    /// The state after them, serialised.
    pub state: String,
    /// The projection after them. Of a task, what never changes (run, campaign, automation,
    /// target, wave, time of creation) is taken from its first append only.
    pub row: Row,
    /// Wall time spent by the task so far in milliseconds (tasks only; 0 elsewhere).
    pub spent_ms: u64,
    /// What becomes of the lease (tasks only).
    pub lease: LeaseChange,
}

/// What becomes of a task's lease.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LeaseChange {
    /// As it is.
    #[default]
    Keep,
    /// Ended: owner cleared and epoch raised, so that the old owner is fenced off.
    Release,
}

/// How a commit ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// Applied.
    Applied,
    /// Its event was already there: nothing was applied.
    Duplicate,
}

/// The newest state of a stream.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Serialised state.
    pub state: String,
    /// Sequence number of the newest fact.
    pub seq: u64,
    /// Lease epoch (tasks; 0 elsewhere).
    pub epoch: u64,
    /// Who holds the lease, if somebody does.
    pub owner: Option<String>,
}

/// A stored fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactRow {
    /// Sequence number, from 1.
    pub seq: u64,
    /// The serialised fact.
    pub fact: String,
}

/// Limits over all campaigns.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Leased tasks in all, at most.
    pub running: Option<u32>,
    /// Leased tasks of a campaign that sets no `max_running`, at most.
    pub running_per_campaign: Option<u32>,
}

/// A wish for work.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Who will own the leases.
    pub owner: String,
    /// Tasks, at most.
    pub slots: u32,
    /// The time.
    pub now: Timestamp,
    /// End of the leases.
    pub until: Timestamp,
    /// Limits over all campaigns.
    pub limits: Limits,
}

/// A leased task.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The task.
    pub task: TaskId,
    /// Its state.
    pub state: String,
    /// Sequence number of its newest fact.
    pub seq: u64,
    /// The new epoch.
    pub epoch: u64,
}

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The task.
    pub task: TaskId,
    /// Who holds it.
    pub owner: String,
    /// Epoch.
    pub epoch: u64,
    /// End.
    pub until: Timestamp,
}

/// A part of a long list.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Rows to pass over.
    pub offset: u32,
    /// Rows, at most.
    pub limit: u32,
}

impl Page {
    /// The first rows.
    #[must_use]
    pub const fn first(limit: u32) -> Self {
        Self { offset: 0, limit }
    }
}

/// Which tasks; every field that is set must hold.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    /// Of this campaign.
    pub campaign: Option<CampaignId>,
    /// Of this run.
    pub run: Option<RunId>,
    /// Of this automation.
    pub automation: Option<String>,
    /// On this repository.
    pub repository: Option<String>,
    /// With this change number at the forge.
    pub change: Option<u64>,
    /// In one of these statuses; any when empty.
    pub statuses: Vec<TaskStatus>,
    /// In this wave.
    pub wave: Option<u32>,
    /// With a diff of this class.
    pub diff_class: Option<String>,
    /// In review, or waiting for what [`WaitKind::is_for_person`] names: the inbox.
    pub inbox: bool,
    /// Neither final nor settled otherwise: something still happens by itself.
    pub unsettled: bool,
    /// Repository name contains this text, as it is written (no pattern, case matters).
    pub text: Option<String>,
}

/// Order of tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TaskOrder {
    /// Last changed first.
    #[default]
    Newest,
    /// By wave, then repository, path and key.
    Target,
}

/// Number of tasks in a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusCount {
    /// Status.
    pub status: TaskStatus,
    /// What they wait for.
    pub wait: Option<WaitKind>,
    /// How many.
    pub count: u64,
}

/// A class of diffs.
#[derive(Debug, Clone, PartialEq)]
pub struct DiffClassRow {
    /// Its hash.
    pub class: String,
    /// Tasks in it.
    pub count: u64,
    /// Of these in review.
    pub open: u64,
    /// One of them.
    pub sample: TaskRow,
}

/// Which events; every field that is set must hold.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Of this type.
    pub event_type: Option<String>,
    /// About this repository.
    pub repository: Option<String>,
    /// Received before this one (for paging without offsets).
    pub before: Option<EventId>,
}

/// A small keyed thing: an automation, a repository of the inventory, a cursor.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Key, unique within its kind.
    pub key: String,
    /// Serialised content.
    pub body: String,
}

/// A write to a document.
#[derive(Debug, Clone)]
pub struct DocumentWrite {
    /// Kind, such as `automation`.
    pub kind: String,
    /// Key.
    pub key: String,
    /// New content; `None` deletes it.
    pub body: Option<String>,
}

/// A leaf without an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingLeaf {
    /// Row in the store.
    pub row: i64,
    /// Canonical bytes.
    pub leaf: Vec<u8>,
}

/// A leaf with its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    /// Index, from 0, without gaps.
    pub index: u64,
    /// Canonical bytes.
    pub leaf: Vec<u8>,
    /// RFC 6962 leaf hash.
    pub hash: [u8; 32],
}

/// The result of sequencing.
#[derive(Debug, Clone)]
pub struct Sequenced {
    /// Size of the ledger before.
    pub expected_size: u64,
    /// Rows of the pending leaves, in the order of `entries`; they are removed.
    pub rows: Vec<i64>,
    /// Their entries.
    pub entries: Vec<LedgerEntry>,
    /// Serialised frontier after them.
    pub frontier: Vec<u8>,
    /// Signed checkpoint after them.
    pub checkpoint: String,
}

/// Where the ledger stands.
#[derive(Debug, Clone, Default)]
pub struct LedgerState {
    /// Entries.
    pub size: u64,
    /// Serialised frontier; empty for an empty ledger.
    pub frontier: Vec<u8>,
    /// Newest signed checkpoint.
    pub checkpoint: Option<String>,
    /// Leaves that have no index yet.
    pub pending: u64,
}
