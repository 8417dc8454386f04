//! The only room that knows SQL: the [`Store`] trait, SQLite, PostgreSQL, migrations, and one
//! conformance suite that both must pass.
//!
//! Everything durable is one [`Commit`]: facts appended at an expected sequence number under a
//! lease epoch, their projection rows, outbox rows and ledger leaves, in one transaction.

mod backup;
mod budget;
mod checks;
mod columns;
mod error;
mod filter;
mod open;
mod postgres;
mod projection;
mod share;
mod sqlite;
mod types;
mod value;
mod verify;
mod wake;
mod waves;

use async_trait::async_trait;
use jiff::Timestamp;
use model::budget::{Account, BudgetAnswer, BudgetAsk, BudgetSettle, Reservation};
use model::campaign::WaveProgress;
use model::event::Event;
use model::ids::{CampaignId, EventId, TaskId};
use model::rows::{CampaignRow, OutboxRow, RunRow, Stream, TaskRow};

pub use error::StoreError;
pub use open::{OpenOptions, open};
pub use postgres::PostgresStore;
pub use sqlite::SqliteStore;
pub use types::{
    Append, Claim, Claimed, Commit, Committed, DiffClassRow, Document, DocumentWrite, EventFilter,
    FactRow, Lease, LeaseChange, LedgerEntry, LedgerState, Limits, Loaded, Page, PendingLeaf,
    Sequenced, StatusCount, TaskFilter, TaskOrder,
};

/// A durable store of streams, events, queues, documents and ledger leaves.
///
/// All methods are safe to call from many tasks at once. A commit that returned `Ok` survives
/// a crash of the process and of the machine.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Applies a commit, all of it or nothing.
    ///
    /// [`Committed::Duplicate`] when the commit's event is already there (nothing is applied);
    /// [`StoreError::Conflict`] when a stream is not at the expected sequence number;
    /// [`StoreError::Fenced`] when an epoch is not the current one (checked first, so that a
    /// writer without its lease stops rather than decides anew).
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError>;

    /// Newest state of a stream.
    async fn load(&self, stream: Stream) -> Result<Option<Loaded>, StoreError>;

    /// Facts of a stream with a sequence number above `after`, in order.
    async fn facts(
        &self,
        stream: Stream,
        after: u64,
        limit: u32,
    ) -> Result<Vec<FactRow>, StoreError>;

    /// Leases queued tasks that may start, fairly over campaigns, within all limits.
    ///
    /// A task may start when it is `queued`, not paused, under no live lease, its campaign is
    /// `active`, its wave is let in, and neither its campaign's `max_running` (leased tasks) nor
    /// `max_open` (leased, ready, submitted and in-review tasks) nor [`Limits`] is reached.
    /// Campaigns share: the one with the fewest leased tasks goes first. Within a campaign:
    /// wave, then age, then id. Each claim raises the task's epoch by one. A queued task whose
    /// lease ran out goes back into the queue, with its epoch raised as well, so that whoever
    /// claimed it cannot begin it any more. Tasks of a campaign without a row are never claimed.
    async fn claim(&self, claim: Claim) -> Result<Vec<Claimed>, StoreError>;

    /// Extends leases of `owner`; returns the tasks that it no longer holds.
    async fn extend(
        &self,
        owner: &str,
        tasks: &[(TaskId, u64)],
        until: Timestamp,
    ) -> Result<Vec<TaskId>, StoreError>;

    /// Every lease there is, by task.
    async fn leases(&self) -> Result<Vec<Lease>, StoreError>;

    /// Clears the lease of a queued task that was claimed and never begun, if `epoch` is current,
    /// and raises the epoch; does nothing otherwise.
    async fn drop_lease(&self, task: TaskId, epoch: u64) -> Result<(), StoreError>;

    /// Outbox rows due at `now`, oldest first, leased to `owner` until `until` (so that replicas
    /// do not do them twice), and when the next one after these comes due: `now` when `limit`
    /// left some out; the end of a lease when somebody else holds one.
    ///
    /// Of one lane one row at a time is handed out, the oldest in order of commit. A row that
    /// was never tried and is not due yet (a timer) holds nobody up; one that was put off keeps
    /// its place, and the rows behind it wait. Lanes are independent of each other. Done rows
    /// are removed by [`Commit::done`].
    async fn due_effects(
        &self,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<(Vec<OutboxRow>, Option<Timestamp>), StoreError>;

    /// Puts an effect off: not before `due_at`, one more attempt counted, lease cleared. One that
    /// is done already is left alone.
    async fn defer_effect(&self, id: model::EffectId, due_at: Timestamp) -> Result<(), StoreError>;

    /// Clears every lease on effects: for a process that knows that no other one uses this store,
    /// so that whoever holds one is dead.
    async fn free_effects(&self) -> Result<(), StoreError>;

    /// Number of outbox rows that are due at `now` and not done, leased ones included.
    async fn pending_effects(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// An event.
    async fn event(&self, id: EventId) -> Result<Option<Event>, StoreError>;

    /// Events, newest first in order of admission.
    async fn events(&self, filter: EventFilter, page: Page) -> Result<Vec<Event>, StoreError>;

    /// Task rows that match, in the order asked for.
    async fn tasks(
        &self,
        filter: TaskFilter,
        order: TaskOrder,
        page: Page,
    ) -> Result<Vec<TaskRow>, StoreError>;

    /// Number of task rows that match.
    async fn count_tasks(&self, filter: TaskFilter) -> Result<u64, StoreError>;

    /// Number of tasks by status and wait, of one campaign or of all, in the order of a task's life.
    async fn status_counts(
        &self,
        campaign: Option<CampaignId>,
    ) -> Result<Vec<StatusCount>, StoreError>;

    /// Progress of each wave of a campaign, by wave, from 0.
    async fn wave_progress(&self, campaign: CampaignId) -> Result<Vec<WaveProgress>, StoreError>;

    /// Wall time spent by the tasks of a campaign in milliseconds, and number of changes submitted.
    async fn campaign_spend(&self, campaign: CampaignId) -> Result<(u64, u64), StoreError>;

    /// Diff classes of a campaign with their sizes, biggest first, each with a sample (one in
    /// review if there is one).
    async fn diff_classes(&self, campaign: CampaignId) -> Result<Vec<DiffClassRow>, StoreError>;

    /// A campaign's row.
    async fn campaign(&self, id: CampaignId) -> Result<Option<CampaignRow>, StoreError>;

    /// Campaigns, newest first, of one automation or of all, only open ones or all.
    async fn campaigns(
        &self,
        automation: Option<&str>,
        open_only: bool,
        page: Page,
    ) -> Result<Vec<CampaignRow>, StoreError>;

    /// Runs, newest first, of one automation or of all.
    async fn runs(&self, automation: Option<&str>, page: Page) -> Result<Vec<RunRow>, StoreError>;

    /// A document.
    async fn document(&self, kind: &str, key: &str) -> Result<Option<Document>, StoreError>;

    /// Documents of a kind with a key above `after`, by the bytes of the key.
    async fn documents(
        &self,
        kind: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Document>, StoreError>;

    /// Holds what something may cost at worst, in every account of its way, or says why not. An
    /// account is made when it is first used.
    ///
    /// What a process holds ends with its lease, see [`Store::keep_budget`]; what a task holds
    /// (its holder begins with [`model::budget::TASK_HOLDER`]) ends with the facts of the task.
    async fn reserve_budget(&self, ask: BudgetAsk) -> Result<BudgetAnswer, StoreError>;

    /// Settles parts of what is held, all of them or none. What is not held any more was charged
    /// already: settling it changes nothing.
    async fn settle_budget(&self, settles: Vec<BudgetSettle>) -> Result<(), StoreError>;

    /// Begins (`begin`) or extends the lease under which a process holds parts of the budget, by
    /// the database's clock. False when it ran out, or a process of this name began already.
    async fn keep_budget(
        &self,
        holder: &str,
        lease: std::time::Duration,
        begin: bool,
    ) -> Result<bool, StoreError>;

    /// Charges what dead processes held at its worst, and returns it. `sole` names the one process
    /// that is known to live, for a store that one process has alone.
    async fn expire_budget(&self, sole: Option<&str>) -> Result<Vec<Reservation>, StoreError>;

    /// An account.
    async fn budget_account(&self, scope: &str) -> Result<Option<Account>, StoreError>;

    /// Accounts whose scope begins with `prefix` and lies above `after`, by the bytes of the scope.
    async fn budget_accounts(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Account>, StoreError>;

    /// What is held, with an id above `after`, by the bytes of the id.
    async fn budget_reservations(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Reservation>, StoreError>;

    /// Leaves that have no index yet, in the order they were committed.
    async fn pending_leaves(&self, limit: u32) -> Result<Vec<PendingLeaf>, StoreError>;

    /// Gives leaves their indices and stores frontier and checkpoint, if the ledger still has
    /// the expected size; else [`StoreError::Conflict`].
    async fn sequence(&self, sequenced: Sequenced) -> Result<(), StoreError>;

    /// Size, frontier and newest checkpoint of the ledger.
    async fn ledger_state(&self) -> Result<LedgerState, StoreError>;

    /// Ledger entries with an index of at least `from`, in order.
    async fn ledger_entries(&self, from: u64, limit: u32) -> Result<Vec<LedgerEntry>, StoreError>;

    /// Checkpoints as (size, signed text), oldest first, of at least `from` entries.
    async fn checkpoints(&self, from: u64, limit: u32) -> Result<Vec<(u64, String)>, StoreError>;

    /// Resolves when something was committed since the last call that may matter to a waiting
    /// dispatcher; a hint, never truth.
    ///
    /// A loop of *look, work, wait for this* misses nothing that this process commits while it
    /// looks: one wake-up is remembered. Several loops share that one, so each needs a slow poll
    /// (a timeout around this) as well.
    async fn changed(&self);

    /// Writes everything, as of one moment, into one portable file that [`Store::restore`] of
    /// either backend reads. The file appears when it is whole and durable. Leases on tasks are
    /// kept (with their epochs), leases on effects are not.
    async fn backup(&self, to: &std::path::Path) -> Result<(), StoreError>;

    /// Fills an empty store from such a file, all of it or nothing: [`StoreError::NotEmpty`],
    /// or [`StoreError::InvalidBackup`] for a file that was cut or changed.
    async fn restore(&self, from: &std::path::Path) -> Result<(), StoreError>;

    /// Checks what the database itself can check (integrity, foreign rows, sequence gaps); what
    /// is wrong in words, nothing when all is well. Reads everything: slow.
    async fn verify(&self) -> Result<Vec<String>, StoreError>;

    /// One line about what this is, such as `SQLite 3.50 (WAL, synchronous=FULL)`.
    fn describe(&self) -> String;
}
