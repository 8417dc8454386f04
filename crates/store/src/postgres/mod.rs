//! PostgreSQL: many machines on one store.

mod backup;
mod budget;
mod client;
mod commit;
mod leases;
mod ledger;
mod migrate;
mod outbox;
mod queries;
mod verify;
mod wake;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::{Client, Manager, ManagerConfig, Pool, RecyclingMethod};
use jiff::Timestamp;
use model::budget::{Account, BudgetAnswer, BudgetAsk, BudgetSettle, Reservation};
use model::campaign::WaveProgress;
use model::event::Event;
use model::ids::{CampaignId, EffectId, EventId, TaskId};
use model::rows::{CampaignRow, OutboxRow, RunRow, Stream, TaskRow};
use tokio_postgres::{Config, NoTls};

use self::client::{Fault, failed};
use crate::Store;
use crate::error::StoreError;
use crate::types::{
    Claim, Claimed, Commit, Committed, DiffClassRow, Document, EventFilter, FactRow, Lease,
    LedgerEntry, LedgerState, Loaded, Page, PendingLeaf, Sequenced, StatusCount, TaskFilter,
    TaskOrder,
};
use crate::wake::Wake;

/// Connections of one store, at most (and one more that listens).
const CONNECTIONS: usize = 16;
/// Tries of a transaction that collides with another one.
const TRIES: u32 = 8;

/// A store in a PostgreSQL database, safe to share between replicas.
pub struct PostgresStore {
    pool: Pool,
    wake: Arc<Wake>,
    version: String,
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Runs work in a transaction; again when it collided with another one.
macro_rules! transact {
    ($store:expr, |$transaction:ident| $work:expr) => {{
        let mut client = $store.client().await?;
        let mut tries = 1;
        loop {
            let $transaction = client.transaction().await.map_err(|error| failed(&error))?;
            let done = match $work.await {
                Ok(value) => $transaction
                    .commit()
                    .await
                    .map(|()| value)
                    .map_err(Fault::from),
                // Dropping the transaction rolls it back before its connection does anything else.
                Err(fault) => Err(fault),
            };
            match done {
                Err(fault) if fault.is_collision() && tries < TRIES => tries += 1,
                done => break done,
            }
        }
    }};
}

impl PostgresStore {
    /// Connects to `postgres://USER@HOST/DATABASE` and brings the database to the schema of
    /// this program.
    ///
    /// # Errors
    /// [`StoreError::InvalidAddress`], [`StoreError::TooNew`], or why there is no connection.
    pub async fn connect(url: &str) -> Result<Arc<Self>, StoreError> {
        let mut config: Config = url
            .parse()
            .map_err(|_| StoreError::InvalidAddress(without_password(url)))?;
        if config.get_application_name().is_none() {
            config.application_name("nightcrew");
        }
        let version = prepare(&config).await?;
        let wake = Arc::new(Wake::default());
        wake::listen(config.clone(), &wake).await?;
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(config, NoTls, recycling);
        let pool = Pool::builder(manager).max_size(CONNECTIONS).build();
        let pool = pool.map_err(|error| StoreError::Postgres(error.to_string()))?;
        Ok(Arc::new(Self {
            pool,
            wake,
            version,
        }))
    }

    async fn client(&self) -> Result<Client, StoreError> {
        use deadpool_postgres::PoolError;
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => failed(&error),
            PoolError::Closed => StoreError::Closed,
            error => StoreError::Postgres(error.to_string()),
        })
    }
}

/// Migrates, and asks for the server's version.
async fn prepare(config: &Config) -> Result<String, StoreError> {
    let (mut client, connection) = config
        .connect(NoTls)
        .await
        .map_err(|error| failed(&error))?;
    let connection = tokio::spawn(connection);
    migrate::migrate(&mut client).await?;
    let row = client
        .query_one("SHOW server_version", &[])
        .await
        .map_err(|error| failed(&error))?;
    drop(client);
    // It ends with its client; how it ended does not matter any more.
    let _ = connection.await;
    Ok(row.get(0))
}

/// The address as it may be shown.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let Some((login, host)) = rest.rsplit_once('@') else {
        return url.to_owned();
    };
    let user = login.split(':').next().unwrap_or_default();
    format!("{scheme}://{user}@{host}")
}

#[async_trait]
impl Store for PostgresStore {
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        match transact!(self, |transaction| commit::apply(&transaction, &commit)) {
            Ok(()) => {
                self.wake.ring();
                Ok(Committed::Applied)
            }
            Err(Fault::Duplicate) => Ok(Committed::Duplicate),
            Err(fault) => Err(fault.into()),
        }
    }

    async fn load(&self, stream: Stream) -> Result<Option<Loaded>, StoreError> {
        Ok(queries::load(&self.client().await?, stream).await?)
    }

    async fn facts(
        &self,
        stream: Stream,
        after: u64,
        limit: u32,
    ) -> Result<Vec<FactRow>, StoreError> {
        Ok(queries::facts(&self.client().await?, stream, after, limit).await?)
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Claimed>, StoreError> {
        Ok(transact!(self, |transaction| leases::claim(
            &transaction,
            &claim
        ))?)
    }

    async fn extend(
        &self,
        owner: &str,
        tasks: &[(TaskId, u64)],
        until: Timestamp,
    ) -> Result<Vec<TaskId>, StoreError> {
        Ok(leases::extend(&self.client().await?, owner, tasks, until).await?)
    }

    async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        Ok(leases::leases(&self.client().await?).await?)
    }

    async fn drop_lease(&self, task: TaskId, epoch: u64) -> Result<(), StoreError> {
        leases::drop_lease(&self.client().await?, task, epoch).await?;
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
        Ok(transact!(self, |transaction| outbox::due(
            &transaction,
            owner,
            now,
            until,
            limit
        ))?)
    }

    async fn defer_effect(&self, id: EffectId, due_at: Timestamp) -> Result<(), StoreError> {
        outbox::defer(&self.client().await?, id, due_at).await?;
        self.wake.ring();
        Ok(())
    }

    async fn free_effects(&self) -> Result<(), StoreError> {
        outbox::free(&self.client().await?).await?;
        self.wake.ring();
        Ok(())
    }

    async fn pending_effects(&self, now: Timestamp) -> Result<u64, StoreError> {
        Ok(outbox::pending(&self.client().await?, now).await?)
    }

    async fn event(&self, id: EventId) -> Result<Option<Event>, StoreError> {
        Ok(queries::one_event(&self.client().await?, id).await?)
    }

    async fn events(&self, filter: EventFilter, page: Page) -> Result<Vec<Event>, StoreError> {
        Ok(queries::events(&self.client().await?, &filter, page).await?)
    }

    async fn tasks(
        &self,
        filter: TaskFilter,
        order: TaskOrder,
        page: Page,
    ) -> Result<Vec<TaskRow>, StoreError> {
        Ok(queries::tasks(&self.client().await?, &filter, order, page).await?)
    }

    async fn count_tasks(&self, filter: TaskFilter) -> Result<u64, StoreError> {
        Ok(queries::count_tasks(&self.client().await?, &filter).await?)
    }

    async fn status_counts(
        &self,
        campaign: Option<CampaignId>,
    ) -> Result<Vec<StatusCount>, StoreError> {
        Ok(queries::status_counts(&self.client().await?, campaign).await?)
    }

    async fn wave_progress(&self, campaign: CampaignId) -> Result<Vec<WaveProgress>, StoreError> {
        Ok(queries::wave_progress(&self.client().await?, campaign).await?)
    }

    async fn campaign_spend(&self, campaign: CampaignId) -> Result<(u64, u64), StoreError> {
        Ok(queries::campaign_spend(&self.client().await?, campaign).await?)
    }

    async fn diff_classes(&self, campaign: CampaignId) -> Result<Vec<DiffClassRow>, StoreError> {
        Ok(queries::diff_classes(&self.client().await?, campaign).await?)
    }

    async fn campaign(&self, id: CampaignId) -> Result<Option<CampaignRow>, StoreError> {
        Ok(queries::campaign(&self.client().await?, id).await?)
    }

    async fn campaigns(
        &self,
        automation: Option<&str>,
        open_only: bool,
        page: Page,
    ) -> Result<Vec<CampaignRow>, StoreError> {
        Ok(queries::campaigns(&self.client().await?, automation, open_only, page).await?)
    }

    async fn runs(&self, automation: Option<&str>, page: Page) -> Result<Vec<RunRow>, StoreError> {
        Ok(queries::runs(&self.client().await?, automation, page).await?)
    }

    async fn document(&self, kind: &str, key: &str) -> Result<Option<Document>, StoreError> {
        Ok(queries::document(&self.client().await?, kind, key).await?)
    }

    async fn documents(
        &self,
        kind: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Document>, StoreError> {
        Ok(queries::documents(&self.client().await?, kind, after, limit).await?)
    }

    async fn reserve_budget(&self, ask: BudgetAsk) -> Result<BudgetAnswer, StoreError> {
        Ok(transact!(self, |transaction| budget::reserve(
            &transaction,
            &ask
        ))?)
    }

    async fn settle_budget(&self, settles: Vec<BudgetSettle>) -> Result<(), StoreError> {
        Ok(transact!(self, |transaction| budget::settle_all(
            &transaction,
            &settles
        ))?)
    }

    async fn keep_budget(
        &self,
        holder: &str,
        lease: Duration,
        begin: bool,
    ) -> Result<bool, StoreError> {
        Ok(budget::keep(&self.client().await?, holder, lease, begin).await?)
    }

    async fn expire_budget(&self, sole: Option<&str>) -> Result<Vec<Reservation>, StoreError> {
        Ok(transact!(self, |transaction| budget::expire(
            &transaction,
            sole
        ))?)
    }

    async fn budget_account(&self, scope: &str) -> Result<Option<Account>, StoreError> {
        Ok(budget::account(&self.client().await?, scope).await?)
    }

    async fn budget_accounts(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Account>, StoreError> {
        Ok(budget::accounts(&self.client().await?, prefix, after, limit).await?)
    }

    async fn budget_reservations(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Reservation>, StoreError> {
        Ok(budget::reservations(&self.client().await?, after, limit).await?)
    }

    async fn pending_leaves(&self, limit: u32) -> Result<Vec<PendingLeaf>, StoreError> {
        Ok(ledger::pending(&self.client().await?, limit).await?)
    }

    async fn sequence(&self, sequenced: Sequenced) -> Result<(), StoreError> {
        Ok(transact!(self, |transaction| ledger::sequence(
            &transaction,
            &sequenced
        ))?)
    }

    async fn ledger_state(&self) -> Result<LedgerState, StoreError> {
        Ok(ledger::state(&self.client().await?).await?)
    }

    async fn ledger_entries(&self, from: u64, limit: u32) -> Result<Vec<LedgerEntry>, StoreError> {
        Ok(ledger::entries(&self.client().await?, from, limit).await?)
    }

    async fn checkpoints(&self, from: u64, limit: u32) -> Result<Vec<(u64, String)>, StoreError> {
        Ok(ledger::checkpoints(&self.client().await?, from, limit).await?)
    }

    async fn changed(&self) {
        self.wake.heard().await;
    }

    async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        Ok(backup::write(&mut self.client().await?, to).await?)
    }

    async fn restore(&self, from: &Path) -> Result<(), StoreError> {
        transact!(self, |transaction| backup::restore(&transaction, from))?;
        self.wake.ring();
        Ok(())
    }

    async fn verify(&self) -> Result<Vec<String>, StoreError> {
        Ok(verify::verify(&self.client().await?).await?)
    }

    fn describe(&self) -> String {
        format!("PostgreSQL {}", self.version)
    }
}
