//! The broker's process, as runner and keepers use it: started at the first need, told which
//! environment may reach what, and asked what happened.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::egress::broker::batches::Batch;
use ::egress::broker::limits::Limits;
use ::egress::broker::outside::{Outside, OutsideSettings};
use ::egress::broker::volume::Used;
use ::egress::broker::{Scope, Sockets};
use ::egress::budget::{BudgetPort, Reservation, Spender};
use ::egress::policy::{NetworkPolicy, bundles};
use ::egress::process::ProcessError;
use ::egress::process::client::{Client, Listener, Program};
use ::egress::process::message::{Attach, Secret, Start};
use ::egress::secret::{Context, SecretError};
use async_trait::async_trait;
use model::budget::{Amount, Refused};
use model::egress::{EgressEvent, EgressKind, EgressRefusal};
use model::isolation::NetworkEvidence;
use model::network::{CredentialUse, MOST_PORTS, NetworkDefinition};
use runner::{Egress, EgressError, NetworkRequest, Outfit, Records};
use sandbox::NetworkSockets;
use server::Stops;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::clock;
use crate::failure::{Doing, Failure};
use crate::secrets::Keeper;

/// The hidden command.
const ARGUMENT: &str = "egress-serve";

/// Batches of one environment that wait to be taken; further ones are counted.
const MOST_WAITING: usize = 16;

/// Environments whose use is remembered beyond their end, for a further attempt of the same task.
const MOST_REMEMBERED: usize = 4096;

/// If this process was started as the broker, is one until its parent is gone.
pub(crate) fn run_if_requested() -> Option<ExitCode> {
    if std::env::args_os().nth(1)? != ARGUMENT {
        return None;
    }
    let served = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(ProcessError::Start)
        .and_then(|parent| ::egress::process::serve::serve(parent, Arc::new(now_ms)));
    Some(match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the broker ends");
            ExitCode::FAILURE
        }
    })
}

fn now_ms() -> u64 {
    u64::try_from(clock::now().as_millisecond()).unwrap_or(0)
}

/// The broker's process.
pub(crate) struct Broker {
    client: Client,
    outside: Outside,
    /// Where credentials come from; absent where there are none.
    secrets: Option<Keeper>,
    waiting: Arc<Waiting>,
    prepared: Mutex<HashMap<String, Prepared>>,
    used: Mutex<HashMap<String, Used>>,
}

/// An environment between its preparation and its sockets.
struct Prepared {
    definition: NetworkDefinition,
    certificate: String,
    secrets: Vec<Secret>,
}

/// What an environment may reach, and what it needs for that.
struct Rules {
    outfit: Outfit,
    definition: NetworkDefinition,
    credentials: Vec<CredentialUse>,
}

/// What happened, until somebody takes it.
#[derive(Default)]
struct Waiting(Mutex<HashMap<String, VecDeque<Batch>>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Broker {
    /// Nothing is started yet. Has to be called within a runtime, in which it lives.
    ///
    /// # Errors
    /// What the operator says of the outside makes no sense.
    pub(crate) fn new(
        settings: &OutsideSettings,
        secrets: Option<Keeper>,
    ) -> Result<Self, Failure> {
        let outside = Outside::new(settings).doing("understand [network.outside]")?;
        let program = Program {
            path: std::env::current_exe().doing("find this program")?,
            arguments: vec![ARGUMENT.to_owned()],
        };
        let start = Start {
            outside: settings.clone(),
            identity: sandbox::outside_identity(),
        };
        let waiting = Arc::<Waiting>::default();
        let listener = Arc::clone(&waiting);
        let runtime = tokio::runtime::Handle::current();
        let client = Client::new(program, start, listener, Arc::new(NoBudget), runtime);
        Ok(Self {
            client,
            outside,
            secrets,
            waiting,
            prepared: Mutex::default(),
            used: Mutex::default(),
        })
    }

    /// Has the broker stop what is stopped, and release what is not any more, until nobody tells.
    pub(crate) async fn follow(self: Arc<Self>, mut known: watch::Receiver<Option<Arc<Stops>>>) {
        let mut held = BTreeSet::new();
        loop {
            let wanted: BTreeSet<Scope> = match &*known.borrow_and_update() {
                Some(stops) => stops.0.keys().filter_map(|scope| cut(scope)).collect(),
                None => BTreeSet::new(),
            };
            for scope in wanted.difference(&held) {
                if let Err(error) = self.client.stop(scope.clone()).await {
                    tracing::error!(?scope, %error, "connections could not be stopped");
                }
            }
            for scope in held.difference(&wanted) {
                if let Err(error) = self.client.release(scope.clone()).await {
                    tracing::error!(?scope, %error, "connections could not be released");
                }
            }
            held = wanted;
            if known.changed().await.is_err() {
                return;
            }
        }
    }

    /// The rules of a request within its limits, with what they took away.
    fn rules(&self, request: &NetworkRequest) -> Result<Rules, EgressError> {
        let hosts = |name: &str| bundles().get(name).map(|bundle| bundle.hosts.clone());
        let narrowed = engine::network::narrow(&request.definition, &request.limits, hosts);
        let policy = NetworkPolicy::compile_with(&narrowed.definition, self.outside.mirrors());
        let policy = policy.map_err(|error| {
            EgressError::Refused(format!("{error}; correct `environment.network`"))
        })?;
        let credentials = policy.credentials().into_iter().cloned().collect();
        let always = sandbox::network::ALWAYS;
        let ports = policy.ports().into_iter();
        let ports: Vec<u16> = ports.filter(|port| !always.contains(port)).collect();
        if ports.len() > MOST_PORTS {
            let sentence = format!("its rules name more than {MOST_PORTS} ports");
            return Err(EgressError::Refused(sentence));
        }
        // Plain data with text keys: writing it as JSON cannot fail.
        let text = serde_json::to_vec(&narrowed.definition).unwrap_or_default();
        let outfit = Outfit {
            ports,
            certificates: None,
            evidence: NetworkEvidence {
                policy: hex::encode(Sha256::digest(text)),
                rules: u32::try_from(narrowed.definition.0.len()).unwrap_or(u32::MAX),
                narrowed: narrowed.removed,
            },
        };
        Ok(Rules {
            outfit,
            definition: narrowed.definition,
            credentials,
        })
    }

    /// The values of credentials, for this environment alone.
    async fn values(
        &self,
        request: &NetworkRequest,
        credentials: Vec<CredentialUse>,
    ) -> Result<Vec<Secret>, EgressError> {
        let Some(first) = credentials.first() else {
            return Ok(Vec::new());
        };
        let Some(secrets) = self.secrets.clone() else {
            let sentence = format!(
                "there are no secrets here, and a rule uses `{}`",
                first.secret
            );
            return Err(EgressError::Refused(sentence));
        };
        let context = Context {
            automation: request.automation.clone(),
            repository: request.repository.clone(),
            task: request.account.clone(),
        };
        let environment = request.environment.clone();
        // Secrets are read from the disk, or asked for over the network.
        let giving =
            tokio::task::spawn_blocking(move || secrets.give(&environment, &context, &credentials));
        let issues = giving.await;
        let issues =
            issues.map_err(|_| EgressError::Gone("whoever reads secrets was lost".to_owned()))?;
        let each = issues.into_iter().map(|issue| {
            let refused = |error: &SecretError| match error.cure() {
                // A service that is not there now may be there at the next try.
                _ if !error.is_for_person() => EgressError::Gone(error.to_string()),
                Some(cure) => EgressError::Refused(format!("{error}; {cure}")),
                None => EgressError::Refused(error.to_string()),
            };
            let resolved = issue.resolved.as_ref().map_err(|error| refused(error))?;
            let value = resolved.for_header().map_err(|error| refused(&error))?;
            Ok(Secret {
                value: value.as_str().to_owned(),
                used: issue.used.clone(),
            })
        });
        each.collect()
    }
}

#[async_trait]
impl Egress for Broker {
    async fn prepare(&self, request: NetworkRequest) -> Result<Outfit, EgressError> {
        let Rules {
            mut outfit,
            definition,
            credentials,
        } = self.rules(&request)?;
        let values = self.values(&request, credentials).await;
        let id = request.environment;
        let ready = match values {
            Ok(secrets) => {
                let certificate = self.client.prepare(&id).await.map_err(failed);
                certificate.map(|certificate| (secrets, certificate))
            }
            Err(error) => Err(error),
        };
        let (secrets, certificate) = ready.inspect_err(|_| {
            // Nobody will end what was not begun.
            if let Some(secrets) = &self.secrets {
                secrets.take_back(&id);
            }
        })?;
        outfit.certificates = Some(certificate.clone().into_bytes());
        let prepared = Prepared {
            definition,
            certificate,
            secrets,
        };
        lock(&self.prepared).insert(id, prepared);
        Ok(outfit)
    }

    async fn attach(
        &self,
        environment: &str,
        sockets: NetworkSockets,
    ) -> Result<Vec<(String, String)>, EgressError> {
        let prepared = lock(&self.prepared).remove(environment);
        let prepared = prepared
            .ok_or_else(|| EgressError::Gone("the environment was not prepared".to_owned()))?;
        let used = lock(&self.used).get(environment).copied();
        let attach = Attach {
            environment: environment.to_owned(),
            network: prepared.definition,
            secrets: prepared.secrets,
            models: None,
            limits: Limits::default(),
            used: used.unwrap_or_default(),
            tcp: Vec::new(),
            dns: 0,
            packets: false,
        };
        let sockets = Sockets {
            tcp: sockets.tcp,
            dns: sockets.dns,
            packets: sockets.packets,
        };
        let attached = self.client.attach(attach, sockets).await.map_err(failed)?;
        if attached.certificate != prepared.certificate {
            // Another process than the one that prepared it: what the environment trusts is lost.
            self.detach(environment).await;
            return Err(EgressError::Gone("it ended and began anew".to_owned()));
        }
        let placeholders = attached.placeholders.into_iter();
        Ok(placeholders
            .filter_map(|shown| Some((shown.variable?, shown.placeholder)))
            .collect())
    }

    async fn detach(&self, environment: &str) {
        lock(&self.prepared).remove(environment);
        if let Some(secrets) = &self.secrets {
            secrets.take_back(environment);
        }
        match self.client.detach(environment).await {
            Ok(Some(used)) => {
                let mut all = lock(&self.used);
                if all.len() < MOST_REMEMBERED || all.contains_key(environment) {
                    all.insert(environment.to_owned(), used);
                }
            }
            Ok(None) | Err(ProcessError::Gone) => {}
            Err(error) => tracing::warn!(environment, %error, "a network could not be ended"),
        }
    }

    async fn records(&self, environment: &str) -> Records {
        self.waiting.take(environment)
    }
}

/// What a stop of this scope cuts at the broker. What belongs to tasks ends with their environments.
fn cut(scope: &str) -> Option<Scope> {
    if scope == "organisation" {
        return Some(Scope::Everything);
    }
    let (kind, name) = scope.split_once(':')?;
    match kind {
        "host" => Some(Scope::Host(name.to_owned())),
        "environment" => Some(Scope::Environment(name.to_owned())),
        _ => None,
    }
}

fn failed(error: ProcessError) -> EgressError {
    match error {
        ProcessError::Refused(sentence) => EgressError::Refused(sentence),
        other => EgressError::Gone(other.to_string()),
    }
}

impl Waiting {
    fn take(&self, environment: &str) -> Records {
        let mut all = lock(&self.0);
        let Some(waiting) = all.get_mut(environment) else {
            return Records::default();
        };
        let batch = waiting.pop_front().unwrap_or_default();
        if waiting.is_empty() {
            all.remove(environment);
        }
        Records {
            events: batch.events,
            more_refused: batch.more_refused,
            more_permitted: batch.more_permitted,
        }
    }
}

impl Listener for Waiting {
    fn events(&self, environment: &str, batch: Batch) {
        let mut all = lock(&self.0);
        let waiting = all.entry(environment.to_owned()).or_default();
        if waiting.len() < MOST_WAITING {
            waiting.push_back(batch);
            return;
        }
        // Nobody takes them: counted, so that what is missing is known.
        let Some(last) = waiting.back_mut() else {
            return;
        };
        last.more_refused = last.more_refused.saturating_add(batch.more_refused);
        last.more_permitted = last.more_permitted.saturating_add(batch.more_permitted);
        for event in batch.events {
            let more = match event.refused {
                Some(_) => &mut last.more_refused,
                None => &mut last.more_permitted,
            };
            *more = more.saturating_add(event.count);
        }
    }

    fn lost(&self, environments: Vec<String>) {
        for environment in environments {
            let gap = EgressEvent {
                kind: EgressKind::Connection,
                refused: Some(EgressRefusal::Stopped),
                host: "the broker's process ended".to_owned(),
                port: 0,
                detail: "what happened just before is not known; nothing was reached since"
                    .to_owned(),
                rule: String::new(),
                address: String::new(),
                sent: 0,
                received: 0,
                count: 1,
                at_ms: now_ms(),
            };
            let batch = Batch {
                events: vec![gap],
                ..Batch::default()
            };
            self.events(&environment, batch);
        }
    }
}

/// Where nobody counts money, nothing that costs is called.
struct NoBudget;

#[async_trait]
impl BudgetPort for NoBudget {
    async fn reserve(&self, _: &Spender, _: Amount, _: Duration) -> Result<Reservation, Refused> {
        Err(Refused {
            scope: "runner".to_owned(),
            sentence: "no budget is set up for calls of models".to_owned(),
        })
    }

    async fn settle(&self, _: &Spender, _: Reservation, _: Amount) {}

    async fn room(&self, _: &Spender) -> Option<(Amount, Amount)> {
        None
    }
}
