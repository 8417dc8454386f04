//! SQLite: the default, one process on one machine.

mod backup;
mod budget;
mod commit;
mod connection;
mod fault;
mod leases;
mod ledger;
mod lock;
mod migrate;
mod outbox;
mod queries;
mod readers;
mod verify;
mod writer;

use std::fs::OpenOptions as FileOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use model::budget::{Account, BudgetAnswer, BudgetAsk, BudgetSettle, Reservation};
use model::campaign::WaveProgress;
use model::event::Event;
use model::ids::{CampaignId, EffectId, EventId, TaskId};
use model::rows::{CampaignRow, OutboxRow, RunRow, Stream, TaskRow};

use crate::error::StoreError;
use crate::types::{
    Claim, Claimed, Commit, Committed, DiffClassRow, Document, EventFilter, FactRow, Lease,
    LedgerEntry, LedgerState, Loaded, Page, PendingLeaf, Sequenced, StatusCount, TaskFilter,
    TaskOrder,
};
use crate::wake::Wake;
use crate::{OpenOptions, Store};

/// A store in one SQLite file: WAL, `synchronous=FULL`, one writer with group commit.
///
/// Dropping it lets the writer finish what waits, closes the file and gives up the lock.
pub struct SqliteStore {
    path: PathBuf,
    readers: readers::Readers,
    writer: writer::Writer,
    wake: Wake,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens a database, making it and its folder when they are not there.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while another process has it, [`StoreError::TooNew`] when a newer
    /// program wrote it (the file is not touched), [`StoreError::ReadOnly`] and
    /// [`StoreError::Full`] when it cannot be written.
    pub async fn open(
        path: impl Into<PathBuf>,
        options: OpenOptions,
    ) -> Result<Arc<Self>, StoreError> {
        let path = path.into();
        let opened = tokio::task::spawn_blocking(move || Self::open_blocking(path, &options)).await;
        opened.unwrap_or(Err(StoreError::Closed)).map(Arc::new)
    }

    fn open_blocking(path: PathBuf, options: &OpenOptions) -> Result<Self, StoreError> {
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            std::fs::create_dir_all(folder)
                .map_err(|cause| lock::unwritable(&path, folder, cause))?;
        }
        let lock = lock::Lock::take(&path)?;
        let migrations = migrate::known();
        migrate::refuse_newer(&path, migrate::newest(&migrations))?;
        create_private(&path)?;
        let mut connection = connection::writer(&path)?;
        migrate::migrate(
            &mut connection,
            &path,
            options.backup_dir.as_deref(),
            &migrations,
        )?;
        let writer = writer::Writer::start(connection, lock, path.clone())?;
        Ok(Self {
            readers: readers::Readers::new(&path),
            path,
            writer,
            wake: Wake::default(),
        })
    }
}

/// Makes the file for its owner alone: states and events may hold what others should not read.
/// SQLite gives its log and index files the same mode.
fn create_private(path: &Path) -> Result<(), StoreError> {
    let opened = FileOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    opened
        .map(drop)
        .map_err(|cause| lock::unwritable(path, path, cause))
}

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        let committed = self
            .writer
            .run(move |connection| commit::apply(connection, &commit))
            .await?;
        if committed == Committed::Applied {
            self.wake.ring();
        }
        Ok(committed)
    }

    async fn load(&self, stream: Stream) -> Result<Option<Loaded>, StoreError> {
        self.readers
            .run(move |connection| queries::load(connection, stream))
            .await
    }

    async fn facts(
        &self,
        stream: Stream,
        after: u64,
        limit: u32,
    ) -> Result<Vec<FactRow>, StoreError> {
        self.readers
            .run(move |connection| queries::facts(connection, stream, after, limit))
            .await
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Claimed>, StoreError> {
        self.writer
            .run(move |connection| leases::claim(connection, &claim))
            .await
    }

    async fn extend(
        &self,
        owner: &str,
        tasks: &[(TaskId, u64)],
        until: Timestamp,
    ) -> Result<Vec<TaskId>, StoreError> {
        let (owner, tasks) = (owner.to_owned(), tasks.to_vec());
        self.writer
            .run(move |connection| leases::extend(connection, &owner, &tasks, until))
            .await
    }

    async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        self.readers.run(leases::leases).await
    }

    async fn drop_lease(&self, task: TaskId, epoch: u64) -> Result<(), StoreError> {
        self.writer
            .run(move |connection| leases::drop_lease(connection, task, epoch))
            .await?;
        self.wake.ring();
        Ok(())
    }

    async fn due_effects(
        &self,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<(Vec<OutboxRow>, Option<Timestamp>), StoreError> {
        let owner = owner.to_owned();
        self.writer
            .run(move |connection| outbox::due(connection, &owner, now, until, limit))
            .await
    }

    async fn defer_effect(&self, id: EffectId, due_at: Timestamp) -> Result<(), StoreError> {
        self.writer
            .run(move |connection| outbox::defer(connection, id, due_at))
            .await?;
        self.wake.ring();
        Ok(())
    }

    async fn free_effects(&self) -> Result<(), StoreError> {
        self.writer.run(outbox::free).await?;
        self.wake.ring();
        Ok(())
    }

    async fn pending_effects(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.readers
            .run(move |connection| outbox::pending(connection, now))
            .await
    }

    async fn event(&self, id: EventId) -> Result<Option<Event>, StoreError> {
        self.readers
            .run(move |connection| queries::one_event(connection, id))
            .await
    }

    async fn events(&self, filter: EventFilter, page: Page) -> Result<Vec<Event>, StoreError> {
        self.readers
            .run(move |connection| queries::events(connection, &filter, page))
            .await
    }

    async fn tasks(
        &self,
        filter: TaskFilter,
        order: TaskOrder,
        page: Page,
    ) -> Result<Vec<TaskRow>, StoreError> {
        self.readers
            .run(move |connection| queries::tasks(connection, &filter, order, page))
            .await
    }

    async fn count_tasks(&self, filter: TaskFilter) -> Result<u64, StoreError> {
        self.readers
            .run(move |connection| queries::count_tasks(connection, &filter))
            .await
    }

    async fn status_counts(
        &self,
        campaign: Option<CampaignId>,
    ) -> Result<Vec<StatusCount>, StoreError> {
        self.readers
            .run(move |connection| queries::status_counts(connection, campaign))
            .await
    }

    async fn wave_progress(&self, campaign: CampaignId) -> Result<Vec<WaveProgress>, StoreError> {
        self.readers
            .run(move |connection| queries::wave_progress(connection, campaign))
            .await
    }

    async fn campaign_spend(&self, campaign: CampaignId) -> Result<(u64, u64), StoreError> {
        self.readers
            .run(move |connection| queries::campaign_spend(connection, campaign))
            .await
    }

    async fn diff_classes(&self, campaign: CampaignId) -> Result<Vec<DiffClassRow>, StoreError> {
        self.readers
            .run(move |connection| queries::diff_classes(connection, campaign))
            .await
    }

    async fn campaign(&self, id: CampaignId) -> Result<Option<CampaignRow>, StoreError> {
        self.readers
            .run(move |connection| queries::campaign(connection, id))
            .await
    }

    async fn campaigns(
        &self,
        automation: Option<&str>,
        open_only: bool,
        page: Page,
    ) -> Result<Vec<CampaignRow>, StoreError> {
        let automation = automation.map(str::to_owned);
        let find = move |connection: &_| {
            queries::campaigns(connection, automation.as_deref(), open_only, page)
        };
        self.readers.run(find).await
    }

    async fn runs(&self, automation: Option<&str>, page: Page) -> Result<Vec<RunRow>, StoreError> {
        let automation = automation.map(str::to_owned);
        self.readers
            .run(move |connection| queries::runs(connection, automation.as_deref(), page))
            .await
    }

    async fn document(&self, kind: &str, key: &str) -> Result<Option<Document>, StoreError> {
        let (kind, key) = (kind.to_owned(), key.to_owned());
        self.readers
            .run(move |connection| queries::document(connection, &kind, &key))
            .await
    }

    async fn documents(
        &self,
        kind: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Document>, StoreError> {
        let (kind, after) = (kind.to_owned(), after.to_owned());
        self.readers
            .run(move |connection| queries::documents(connection, &kind, &after, limit))
            .await
    }

    async fn reserve_budget(&self, ask: BudgetAsk) -> Result<BudgetAnswer, StoreError> {
        self.writer
            .run(move |connection| budget::reserve(connection, &ask))
            .await
    }

    async fn settle_budget(&self, settles: Vec<BudgetSettle>) -> Result<(), StoreError> {
        self.writer
            .run(move |connection| budget::settle_all(connection, &settles))
            .await
    }

    async fn keep_budget(
        &self,
        holder: &str,
        lease: Duration,
        begin: bool,
    ) -> Result<bool, StoreError> {
        let holder = holder.to_owned();
        self.writer
            .run(move |connection| budget::keep(connection, &holder, lease, begin))
            .await
    }

    async fn expire_budget(&self, sole: Option<&str>) -> Result<Vec<Reservation>, StoreError> {
        let sole = sole.map(str::to_owned);
        self.writer
            .run(move |connection| budget::expire(connection, sole.as_deref()))
            .await
    }

    async fn budget_account(&self, scope: &str) -> Result<Option<Account>, StoreError> {
        let scope = scope.to_owned();
        self.readers
            .run(move |connection| budget::account(connection, &scope))
            .await
    }

    async fn budget_accounts(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Account>, StoreError> {
        let (prefix, after) = (prefix.to_owned(), after.to_owned());
        self.readers
            .run(move |connection| budget::accounts(connection, &prefix, &after, limit))
            .await
    }

    async fn budget_reservations(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Reservation>, StoreError> {
        let after = after.to_owned();
        self.readers
            .run(move |connection| budget::reservations(connection, &after, limit))
            .await
    }

    async fn pending_leaves(&self, limit: u32) -> Result<Vec<PendingLeaf>, StoreError> {
        self.readers
            .run(move |connection| ledger::pending(connection, limit))
            .await
    }

    async fn sequence(&self, sequenced: Sequenced) -> Result<(), StoreError> {
        self.writer
            .run(move |connection| ledger::sequence(connection, &sequenced))
            .await
    }

    async fn ledger_state(&self) -> Result<LedgerState, StoreError> {
        self.readers.run(ledger::state).await
    }

    async fn ledger_entries(&self, from: u64, limit: u32) -> Result<Vec<LedgerEntry>, StoreError> {
        self.readers
            .run(move |connection| ledger::entries(connection, from, limit))
            .await
    }

    async fn checkpoints(&self, from: u64, limit: u32) -> Result<Vec<(u64, String)>, StoreError> {
        self.readers
            .run(move |connection| ledger::checkpoints(connection, from, limit))
            .await
    }

    async fn changed(&self) {
        self.wake.heard().await;
    }

    async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let to = to.to_path_buf();
        self.readers
            .run(move |connection| backup::write(connection, &to))
            .await
    }

    async fn restore(&self, from: &Path) -> Result<(), StoreError> {
        let from = from.to_path_buf();
        self.writer
            .run(move |connection| backup::restore(connection, &from))
            .await?;
        self.wake.ring();
        Ok(())
    }

    async fn verify(&self) -> Result<Vec<String>, StoreError> {
        self.readers.run(verify::verify).await
    }

    fn describe(&self) -> String {
        format!("SQLite {} (WAL, synchronous=FULL)", rusqlite::version())
    }
}
