//! The model gateway: one of the hosts the broker knows.
//!
//! A call is read once ([`crate::meter`]), judged, held for in the budget at its worst case, sent
//! with a key that the caller never sees, and streamed back untouched while its usage is read on the
//! side; then the budget gets back what was not used.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Request, Response};
use model::egress::{EgressEvent, EgressKind, EgressRefusal, harmless};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::Body;
use crate::budget::{BudgetPort, NoBudget, Spender};
use crate::record::{NoRecorder, Recorder};

mod call;
pub mod config;
pub mod connect;
pub mod endpoint;
pub mod eventstream;
mod flow;
pub mod headers;
mod job;
pub mod limits;
pub mod refuse;
mod tape;
mod target;
mod tries;
pub mod vertex;

pub use config::{GatewayConfig, Settings};

/// The name under which environments reach the gateway.
pub const GATEWAY_HOST: &str = "model.nightcrew.internal";

/// Most calls of one environment at the same time, where the operator says no other number.
pub const MOST_CALLS: usize = 64;

/// Most memory for requests that are being read and sent, in pieces of [`ROOM_PIECE`] bytes.
const REQUEST_ROOM: usize = 8192;
const ROOM_PIECE: usize = 64 * 1024;

/// How often calls are looked for that last too long.
const SWEEP: Duration = Duration::from_secs(1);

/// Which models an environment may call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelPolicy {
    /// Models by the names that users give them, `*` at the end for all that begin so.
    pub models: BTreeSet<String>,
}

impl ModelPolicy {
    /// Whether this model may be called.
    #[must_use]
    pub fn permits(&self, model: &str) -> bool {
        self.models.iter().any(|pattern| matches(pattern, model))
    }
}

/// Whether a name is the pattern, or begins with it where that ends in `*`.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(begin) => name.starts_with(begin),
        None => pattern == name,
    }
}

/// Passes calls of models on, with the key put in, within the budget.
#[derive(Debug, Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

/// What all calls share.
pub(crate) struct Shared {
    config: ArcSwap<GatewayConfig>,
    budget: Arc<dyn BudgetPort>,
    recorder: Arc<dyn Recorder>,
    pool: connect::Pool,
    tokens: vertex::Tokens,
    gates: limits::Gates,
    calls: Mutex<BTreeMap<u64, Arc<call::Call>>>,
    /// Pieces of memory for requests.
    room: Arc<Semaphore>,
    /// Calls of each environment that are under way, their requests being read included.
    busy: Mutex<HashMap<String, usize>>,
    /// Upstreams that said they cannot, and until when they are left alone.
    resting: Mutex<HashMap<String, Instant>>,
    stopped_models: RwLock<BTreeSet<String>>,
    last: AtomicU64,
    sweeping: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Something to record.
pub(crate) struct Happened<'a> {
    kind: EgressKind,
    refused: Option<EgressRefusal>,
    host: &'a str,
    port: u16,
    detail: &'a str,
    sent: u64,
    received: u64,
}

impl Shared {
    fn config(&self) -> Arc<GatewayConfig> {
        self.config.load_full()
    }

    fn calls(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<call::Call>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Memory for a request of this size, as soon as there is some.
    async fn request_room(&self, size: usize) -> Option<OwnedSemaphorePermit> {
        let pieces = size.min(flow::LARGEST_REQUEST).div_ceil(ROOM_PIECE).max(1);
        let pieces = u32::try_from(pieces).unwrap_or(1);
        Arc::clone(&self.room).acquire_many_owned(pieces).await.ok()
    }

    fn next(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed)
    }

    fn record(&self, environment: &str, happened: &Happened<'_>) {
        let at = (self.config.load().clock)().as_millisecond();
        self.recorder.record(
            environment,
            EgressEvent {
                kind: happened.kind,
                refused: happened.refused,
                host: harmless(if happened.host.is_empty() {
                    GATEWAY_HOST
                } else {
                    happened.host
                }),
                port: happened.port,
                detail: harmless(happened.detail),
                rule: "models".to_owned(),
                address: String::new(),
                sent: happened.sent,
                received: happened.received,
                count: 1,
                at_ms: u64::try_from(at).unwrap_or(0),
            },
        );
    }

    /// Looks for calls that last too long, for as long as there is a gateway.
    fn sweep(self: &Arc<Self>) {
        if self.sweeping.swap(true, Ordering::Relaxed) {
            return;
        }
        let shared: Weak<Self> = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                let calls: Vec<_> = shared.calls().values().cloned().collect();
                let now = Instant::now();
                for call in calls {
                    call.sweep(now);
                }
            }
        });
    }
}

impl Gateway {
    /// A gateway that asks this budget and tells this recorder.
    #[must_use]
    pub fn new(
        config: GatewayConfig,
        budget: Arc<dyn BudgetPort>,
        recorder: Arc<dyn Recorder>,
    ) -> Self {
        let pool = connect::Pool::new(Arc::clone(&config.dial), Arc::clone(&config.tls));
        Self {
            shared: Arc::new(Shared {
                config: ArcSwap::from_pointee(config),
                budget,
                recorder,
                pool,
                tokens: vertex::Tokens::default(),
                gates: limits::Gates::default(),
                room: Arc::new(Semaphore::new(REQUEST_ROOM)),
                calls: Mutex::default(),
                busy: Mutex::default(),
                resting: Mutex::default(),
                stopped_models: RwLock::default(),
                last: AtomicU64::new(1),
                sweeping: AtomicBool::new(false),
            }),
        }
    }

    /// A gateway that refuses every call: nothing is set up.
    ///
    /// # Errors
    /// When the system's authorities cannot be used for TLS.
    pub fn refusing(clock: config::Clock) -> Result<Self, rustls::Error> {
        let config = GatewayConfig::new(Settings::default(), connect::tls(&[])?, clock);
        Ok(Self::new(config, Arc::new(NoBudget), Arc::new(NoRecorder)))
    }

    /// Goes on with another configuration; calls under way keep theirs. How upstreams are reached
    /// stays as it was.
    pub fn configure(&self, config: GatewayConfig) {
        self.shared.config.store(Arc::new(config));
    }

    /// Cuts every call of an environment off.
    pub fn stop(&self, environment: &str) {
        self.cut(|call| call.spender.environment == environment);
    }

    /// Refuses these models from now on, `*` at the end for all that begin so, and cuts their calls
    /// off.
    pub fn stop_models(&self, models: BTreeSet<String>) {
        self.shared
            .stopped_models
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&models);
        let policy = ModelPolicy { models };
        self.cut(|call| policy.permits(&call.model));
    }

    fn cut(&self, which: impl Fn(&call::Call) -> bool) {
        let calls: Vec<_> = self.shared.calls().values().cloned().collect();
        for call in calls.iter().filter(|call| which(call)) {
            call.stop();
        }
    }

    /// How many calls hold a place in the budget.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.shared.calls().len()
    }

    /// Carries out one call.
    pub async fn handle(
        &self,
        spender: &Spender,
        models: &ModelPolicy,
        request: Request<Body>,
    ) -> Response<Body> {
        self.shared.sweep();
        // Boxed, so that its type stays out of those of whoever serves.
        let handled: futures_util::future::BoxFuture<'_, _> =
            Box::pin(flow::handle(&self.shared, spender, models, request));
        handled.await
    }
}
