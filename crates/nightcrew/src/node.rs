//! A running control plane with its embedded runner: the rooms, wired.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use blob::BlobStore;
use engine::ports::{Caps, RuleList};
use forge::git::Git;
use forge::local::LocalForge;
use model::isolation::IsolationLevel;
use runner::{ControlPlane, FileCheck, Runner, RunnerHandle, RunnerOptions};
use sandbox::{Supervisor, SupervisorOptions};
use server::dispatch::Dispatcher;
use server::http::{AppState, Auth, router};
use server::{Service, ServiceOptions};
use store::{OpenOptions, Store};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::Config;
use crate::data_dir::{DataDir, Endpoint};
use crate::egress::Broker;
use crate::failure::{Doing, Failure};
use crate::print;
use crate::secrets::Keeper;

/// How long a lease lives without a heartbeat.
const LEASE: Duration = Duration::from_secs(60);
/// How long running steps may take to end when the server stops.
const GRACE: Duration = Duration::from_secs(10);

/// A control plane that runs in this process.
pub(crate) struct Node {
    pub(crate) service: Arc<Service>,
    pub(crate) endpoint: Endpoint,
    pub(crate) isolation: serde_json::Value,
    auth: Arc<Auth>,
    data_dir: DataDir,
    dispatcher: Dispatcher,
    runner: Option<RunnerHandle>,
    /// Kept: dropping it ends every environment.
    _supervisor: Option<Arc<Supervisor>>,
    http: tokio::task::JoinHandle<()>,
    stop: CancellationToken,
}

impl Node {
    /// Starts everything. Without `working`, nothing executes: for reading and for requests that
    /// another process will carry out later.
    pub(crate) async fn start(config: &Config, working: bool) -> Result<Self, Failure> {
        // What the person may have got wrong is looked at before anything starts.
        let (listener, address) = listen(config).await?;
        let data_dir = DataDir::open(config.data_dir()?)?;
        let store = open_store(config, &data_dir).await?;
        let service = service(config, &data_dir, store)?;
        let (supervisor, isolation) = if working {
            supervise(config)?
        } else {
            (None, serde_json::Value::Null)
        };
        let secrets = Keeper::open(config, &data_dir)?;
        service.watch_credentials(Arc::new(secrets.clone()));
        service.refresh_all().await?;
        let dispatcher = Dispatcher::start(&service, !is_shared(config));
        let runner = match &supervisor {
            Some(supervisor) => Some(start_runner(
                config, &data_dir, &service, supervisor, &secrets,
            )?),
            None => None,
        };
        let token = random_token()?;
        let url = format!("http://{address}");
        let endpoint = Endpoint {
            url,
            token: token.clone(),
            pid: std::process::id(),
        };
        let auth = Auth::new(token, &config.person.name).with_roles(config.person.roles.clone());
        let auth = Arc::new(auth);
        let mut state = AppState::new(
            Arc::clone(&service),
            Arc::clone(&auth),
            env!("CARGO_PKG_VERSION"),
            address.port(),
        );
        state.isolation = Some(isolation.clone());
        let stop = state.stop.clone();
        let stopped = stop.clone().cancelled_owned();
        let http = tokio::spawn(async move {
            let served = axum::serve(listener, router(state))
                .with_graceful_shutdown(stopped)
                .await;
            if let Err(error) = served {
                tracing::error!(%error, "the console stopped");
            }
        });
        data_dir.write_endpoint(&endpoint)?;
        Ok(Self {
            service,
            endpoint,
            isolation,
            auth,
            data_dir,
            dispatcher,
            runner,
            _supervisor: supervisor,
            http,
            stop,
        })
    }

    /// The console's address with a token that opens it once.
    pub(crate) fn console_link(&self) -> String {
        format!(
            "{}/login?token={}",
            self.endpoint.url,
            self.auth.one_time_token()
        )
    }

    /// Stops in good order: no new work, running steps get a little time, everything is recorded.
    pub(crate) async fn shutdown(self) {
        self.data_dir.remove_endpoint();
        self.stop.cancel();
        if let Some(runner) = self.runner {
            runner.shutdown(GRACE).await;
        }
        self.dispatcher.stop().await;
        // Live pages hold their connections open for ever.
        self.http.abort();
        let _ = self.http.await;
    }
}

fn is_shared(config: &Config) -> bool {
    config
        .store
        .as_ref()
        .is_some_and(|store| !store.starts_with("sqlite:"))
}

/// Opens the store of a data directory.
pub(crate) async fn open_store(
    config: &Config,
    data_dir: &DataDir,
) -> Result<Arc<dyn Store>, Failure> {
    let address = config
        .store
        .clone()
        .unwrap_or_else(|| format!("sqlite:{}", data_dir.database().display()));
    let options = OpenOptions {
        backup_dir: Some(data_dir.backups()),
    };
    Ok(store::open(&address, options).await?)
}

fn service(
    config: &Config,
    data_dir: &DataDir,
    store: Arc<dyn Store>,
) -> Result<Arc<Service>, Failure> {
    let git = Git::find()
        .doing("find git")
        .map_err(|failure| failure.hint("install git 2.38 or newer"))?;
    let forge = LocalForge::open(&data_dir.forge(), git).doing("open the local forge")?;
    forge
        .recover()
        .doing("complete what the local forge was doing")?;
    let blobs = BlobStore::open(data_dir.blobs()).doing("open the blobs")?;
    let key = ledger::SigningKey::load_or_create(&data_dir.ledger_key(), "nightcrew")
        .doing("load the ledger's key")?;
    Ok(Service::new(ServiceOptions {
        store,
        blobs: Arc::new(blobs),
        forge,
        key,
        policy: Arc::new(RuleList {
            rules: config.policy.rules.clone(),
        }),
        budget: Arc::new(Caps),
        caps: config.budget.clone(),
        clock: clock::clock(),
        limits: store::Limits {
            running: config.limits.running,
            running_per_campaign: config.limits.running_per_campaign,
        },
        lease: LEASE,
        fence: config.fence(),
    }))
}

/// Starts the supervisor, if the host lets environments be made.
fn supervise(config: &Config) -> Result<(Option<Arc<Supervisor>>, serde_json::Value), Failure> {
    let preflight = sandbox::preflight();
    let report = serde_json::to_value(&preflight).doing("describe the isolation")?;
    if preflight.level.is_none() {
        let refused = preflight.findings.iter().find(|finding| !finding.ok);
        let (cause, cure) = refused.map_or((String::new(), String::new()), |finding| {
            (
                format!("{}: {}", finding.name, finding.cause),
                finding.cure.clone(),
            )
        });
        return Err(Failure::new(format!(
            "this host refuses what environments are made of ({cause})"
        ))
        .hint(cure));
    }
    if let Some((level, required)) = below(&preflight, config) {
        return Err(Failure::new(format!(
            "this host reaches isolation level {level}, and the configuration requires {required}"
        ))
        .hint("`nightcrew doctor` names what is missing and its cure"));
    }
    // What else this host lacks is in the evidence of every task, and refused where somebody
    // requires it; without overlays everything still works, but not as anybody expects.
    let weaker = preflight
        .findings
        .iter()
        .filter(|finding| !finding.ok && finding.name == "overlay");
    for finding in weaker {
        if !config.isolation.accept_weaker {
            return Err(Failure::new(format!(
                "this host refuses {}: {}",
                finding.name, finding.cause
            ))
            .hint(format!("{}; or go on with --accept-weaker", finding.cure)));
        }
        print::warning(&format!(
            "going on without {}: {}",
            finding.name, finding.cause
        ));
    }
    let program = std::env::current_exe().doing("find this program")?;
    let supervisor =
        Supervisor::start(SupervisorOptions::new(program)).doing("start the supervisor")?;
    Ok((Some(Arc::new(supervisor)), report))
}

/// The level that is reached and the one that is required, when the first is below the second.
fn below(
    preflight: &sandbox::Preflight,
    config: &Config,
) -> Option<(IsolationLevel, IsolationLevel)> {
    let reached = level(preflight.level?);
    let required = config.fence().required_level?;
    (reached < required).then_some((reached, required))
}

/// The level in the words of the model.
pub(crate) const fn level(level: sandbox::IsolationLevel) -> IsolationLevel {
    match level {
        sandbox::IsolationLevel::L0 => IsolationLevel::L0,
        sandbox::IsolationLevel::L1 => IsolationLevel::L1,
        sandbox::IsolationLevel::L2 => IsolationLevel::L2,
        sandbox::IsolationLevel::L3 => IsolationLevel::L3,
    }
}

fn start_runner(
    config: &Config,
    data_dir: &DataDir,
    service: &Arc<Service>,
    supervisor: &Arc<Supervisor>,
    secrets: &Keeper,
) -> Result<RunnerHandle, Failure> {
    let mut options = RunnerOptions::new("local", data_dir.runner(), clock::clock());
    options.program = Some(std::env::current_exe().doing("find this program")?);
    if let Some(slots) = config.runner.slots {
        options.slots = slots;
    }
    options.registries = config.registry.read()?;
    options.checks = checks();
    options.mask = secrets.values();
    options.allow_secrets.clone_from(&config.sweep.allow);
    let broker = Arc::new(Broker::new(&config.network.outside, Some(secrets.clone()))?);
    // Ends with the service, which tells.
    tokio::spawn(Arc::clone(&broker).follow(service.watch_stops()));
    options.egress = broker;
    let control: Arc<dyn ControlPlane> = Arc::clone(service) as Arc<dyn ControlPlane>;
    Runner::start(options, control, Arc::clone(supervisor)).doing("start the runner")
}

/// Checks of files that packs bring along.
fn checks() -> runner::Checks {
    let workflow: FileCheck = Arc::new(|path: &str, text: &str| {
        let in_place = path.starts_with(".github/workflows/")
            && (path.ends_with(".yml") || path.ends_with(".yaml"));
        if !in_place {
            return Vec::new();
        }
        let problems = pack_ci::check_workflow(text);
        problems
            .into_iter()
            .map(|problem| format!("{path}:{}: {}", problem.line, problem.message))
            .collect()
    });
    let yaml: FileCheck = Arc::new(|path: &str, text: &str| {
        if !path.ends_with(".yml") && !path.ends_with(".yaml") {
            return Vec::new();
        }
        let read: Result<serde_json::Value, _> = serde_saphyr::from_str(text);
        read.err()
            .map(|error| format!("{path}: {}", error.without_snippet()))
            .into_iter()
            .collect()
    });
    BTreeMap::from([("workflow".to_owned(), workflow), ("yaml".to_owned(), yaml)])
}

async fn listen(config: &Config) -> Result<(tokio::net::TcpListener, SocketAddr), Failure> {
    let wanted = config.listen.as_deref().unwrap_or("127.0.0.1:0");
    let address: SocketAddr = wanted.parse().map_err(|_| {
        Failure::usage(format!("`{wanted}` is no address")).hint("write it like 127.0.0.1:4711")
    })?;
    if !address.ip().is_loopback() {
        return Err(Failure::usage(format!("{address} is not on loopback"))
            .hint("the console speaks plain HTTP: put a proxy with TLS in front, and listen on 127.0.0.1"));
    }
    let listener = tokio::net::TcpListener::bind(address).await.map_err(|error| {
        let failure = Failure::new(format!("failed to listen on {address}: {error}"));
        if error.kind() == std::io::ErrorKind::AddrInUse {
            failure.hint("another program has this port: choose another with --listen, or 127.0.0.1:0 for a free one")
        } else {
            failure
        }
    })?;
    let address = listener.local_addr().doing("find the port")?;
    Ok((listener, address))
}

fn random_token() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(format!("there are no random bytes: {error}")))?;
    Ok(hex::encode(bytes))
}
