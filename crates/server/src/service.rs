//! What people and machines may ask of the control plane.
//!
//! Every write to a stream goes through `commit` (decide → fold → effects → leaves → one
//! transaction). Everything else here prepares commands or reads.

mod admit;
mod automations;
mod batches;
mod budgets;
mod campaigns;
mod commit;
mod control_plane;
mod credentials;
mod egress;
mod exec_gate;
mod forecast;
mod halts;
mod inventory;
mod ledger;
mod reading;
mod reviews;
mod spending;
mod stops;
mod tasks;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use blob::BlobStore;
use engine::ports::{Budget, Policy};
use forge::Forge;
use forge::local::LocalForge;
use jiff::Timestamp;
use model::automation::Automation;
use model::budget::BudgetLimits;
use model::fence::Fence;
use model::ids::{CampaignId, EventId, RunId, TaskId};
use model::protocol::Recall;
use model::reason::Reason;
use model::task::WaitKind;
use store::Store;
use tokio::sync::{Notify, broadcast};

pub use admit::Admitted;
pub use automations::Applied;
pub use budgets::{Raise, Shown, SpendBy, SpendRow};
pub use campaigns::Preview;
pub use commit::Executed;
pub(crate) use commit::Writing;
pub use credentials::{CredentialTrouble, Credentials};
pub use egress::EgressTotal;
pub use exec_gate::ExecTotal;
pub use forecast::{Basis, Forecast, Range};
pub use inventory::Imported;
pub(crate) use inventory::REPOSITORY;
pub use ledger::{LedgerReport, verify as verify_ledger};
pub(crate) use reading::{evidence, oid};
pub use stops::{Stopped, Stops};

use crate::logs::Logs;

/// Gives the time; the binary owns the only clock.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Somebody or something that acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Such as `person:ada`, `system`, `runner:local`.
    pub name: String,
    /// Roles held.
    pub roles: Vec<String>,
}

impl Actor {
    /// The system itself.
    #[must_use]
    pub fn system() -> Self {
        Self {
            name: "system".to_owned(),
            roles: Vec::new(),
        }
    }

    /// A person.
    #[must_use]
    pub fn person(name: &str, roles: &[&str]) -> Self {
        Self {
            name: format!("person:{name}"),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        }
    }

    /// The name without its kind, as forges know people.
    #[must_use]
    pub fn short(&self) -> &str {
        self.name
            .split_once(':')
            .map_or(self.name.as_str(), |(_, name)| name)
    }
}

/// Something changed: for live pages and for the dispatcher.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case", tag = "changed")]
pub enum Update {
    /// A task.
    Task {
        /// Which.
        id: TaskId,
        /// Its campaign.
        campaign: CampaignId,
    },
    /// A campaign.
    Campaign {
        /// Which.
        id: CampaignId,
    },
    /// A run.
    Run {
        /// Which.
        id: RunId,
    },
    /// An event was admitted.
    Event {
        /// Which.
        id: EventId,
    },
    /// A task wrote to its log.
    Log {
        /// Which.
        task: TaskId,
    },
    /// Exec control refused or saw something in a task's environment.
    Exec {
        /// Which.
        task: TaskId,
        /// Refusals so far.
        denied: u64,
        /// Others so far.
        unknown: u64,
    },
    /// Something left a task's environment, or was kept from leaving.
    Network {
        /// Which.
        task: TaskId,
        /// Refused so far.
        refused: u64,
        /// Permitted so far.
        permitted: u64,
    },
    /// The ledger grew.
    Ledger {
        /// Entries now.
        size: u64,
    },
    /// Something was spent or raised.
    Budget {
        /// The account.
        scope: String,
    },
    /// Something was stopped, or a stop was lifted.
    Stops,
    /// An automation or a repository was written.
    Definitions,
}

/// What a service is made of.
pub struct ServiceOptions {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The blobs.
    pub blobs: Arc<BlobStore>,
    /// The local forge.
    pub forge: LocalForge,
    /// The ledger's key.
    pub key: ::ledger::SigningKey,
    /// Policy.
    pub policy: Arc<dyn Policy>,
    /// Budget.
    pub budget: Arc<dyn Budget>,
    /// Caps of the organisation and of teams.
    pub caps: BudgetLimits,
    /// The clock.
    pub clock: Clock,
    /// Limits over all campaigns.
    pub limits: store::Limits,
    /// How long a lease lives without a heartbeat.
    pub lease: std::time::Duration,
    /// What every environment is fenced by at least; automations can only tighten it.
    pub fence: Fence,
}

/// The control plane of one process. Cheap to clone by `Arc`.
pub struct Service {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) blobs: Arc<BlobStore>,
    pub(crate) forge: LocalForge,
    pub(crate) key: ::ledger::SigningKey,
    pub(crate) policy: Arc<dyn Policy>,
    pub(crate) budget: Arc<dyn Budget>,
    pub(crate) caps: BudgetLimits,
    pub(crate) budgets: Arc<crate::budget::Budgets>,
    pub(crate) clock: Clock,
    pub(crate) limits: store::Limits,
    pub(crate) lease: std::time::Duration,
    pub(crate) fence: Fence,
    pub(crate) logs: Logs,
    /// Who knows what is wrong with credentials.
    credentials: std::sync::OnceLock<Arc<dyn Credentials>>,
    /// Automations by (name, version): they never change once written.
    automations: Mutex<HashMap<(String, u32), Arc<Automation>>>,
    updates: broadcast::Sender<Update>,
    /// Work for runners may have arrived.
    pub(crate) work: Notify,
    /// Effects may have arrived.
    pub(crate) outbox: Notify,
    /// Schedules may have changed.
    pub(crate) schedules: Notify,
    /// Leaves may have arrived.
    pub(crate) leaves: Notify,
    /// Repositories to look at for news, and the wake-up for it.
    pub(crate) news: Mutex<Vec<String>>,
    pub(crate) news_wake: Notify,
    /// When campaigns may write to the forge.
    pub(crate) pace: Mutex<crate::dispatch::Pace>,
    /// Campaigns that may be able to advance.
    pub(crate) dirty: Mutex<std::collections::BTreeSet<CampaignId>>,
    pub(crate) dirty_wake: Notify,
    /// When pages were last told that something was spent.
    pub(crate) budget_news: Mutex<Option<std::time::Instant>>,
    /// What is stopped.
    pub(crate) stops: stops::Known,
    /// Tasks that their runners are to stop, by lease epoch, and what they will wait for.
    pub(crate) halting: Mutex<HashMap<(TaskId, u64), (WaitKind, Reason)>>,
    pub(crate) recalls: Mutex<Vec<Recall>>,
    pub(crate) recalls_wake: Notify,
    /// Something in use under a cap was given back.
    pub(crate) places: Notify,
}

impl Service {
    /// Puts the parts together.
    #[must_use]
    pub fn new(options: ServiceOptions) -> Arc<Self> {
        Arc::new(Self {
            budgets: crate::budget::Budgets::new(Arc::clone(&options.store)),
            caps: options.caps,
            store: options.store,
            blobs: options.blobs,
            forge: options.forge,
            key: options.key,
            policy: options.policy,
            budget: options.budget,
            clock: options.clock,
            limits: options.limits,
            lease: options.lease,
            fence: options.fence,
            logs: Logs::default(),
            credentials: std::sync::OnceLock::new(),
            automations: Mutex::default(),
            updates: broadcast::channel(1024).0,
            work: Notify::new(),
            outbox: Notify::new(),
            schedules: Notify::new(),
            leaves: Notify::new(),
            news: Mutex::default(),
            news_wake: Notify::new(),
            pace: Mutex::default(),
            dirty: Mutex::default(),
            dirty_wake: Notify::new(),
            budget_news: Mutex::default(),
            stops: tokio::sync::watch::channel(None).0,
            halting: Mutex::default(),
            recalls: Mutex::default(),
            recalls_wake: Notify::new(),
            places: Notify::new(),
        })
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The store, for reading.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The forge, for reading.
    #[must_use]
    pub fn local_forge(&self) -> &LocalForge {
        &self.forge
    }

    /// The same forge behind the trait that all forges share.
    #[must_use]
    pub(crate) fn forge_of(&self, _repository: &str) -> &dyn Forge {
        &self.forge
    }

    /// Caps of the organisation and of teams.
    #[must_use]
    pub fn budget_limits(&self) -> &BudgetLimits {
        &self.caps
    }

    /// Live logs.
    #[must_use]
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// What changes from now on.
    #[must_use]
    pub fn updates(&self) -> broadcast::Receiver<Update> {
        self.updates.subscribe()
    }

    pub(crate) fn publish(&self, update: Update) {
        // Nobody listening is no error.
        let _ = self.updates.send(update);
    }

    /// Asks for a look at a repository's news soon.
    pub fn look_at(&self, repository: &str) {
        if let Ok(mut news) = self.news.lock()
            && !news.iter().any(|name| name == repository)
        {
            news.push(repository.to_owned());
        }
        self.news_wake.notify_one();
    }

    pub(crate) fn mark_dirty(&self, campaign: CampaignId) {
        if let Ok(mut dirty) = self.dirty.lock() {
            dirty.insert(campaign);
        }
        self.dirty_wake.notify_one();
    }
}
