//! The only way out of environments, as a runner sees it: who makes it is told which environment
//! may reach what, gets its sockets, and says what happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use model::egress::{EgressBatch, EgressEvent, MOST_EGRESS_EVENTS};
use model::isolation::NetworkEvidence;
use model::network::{NetworkDefinition, NetworkEntry, NetworkLimits};
use sandbox::{Environment, EnvironmentSpec, NetworkSockets, NetworkSpec};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::control_plane::{ControlPlane, ControlPlaneError};

/// How often it is asked what happened.
const BEAT: Duration = Duration::from_millis(500);

/// Longest pause between tries while the control plane is not available.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Tries of a batch after the environment has ended.
const LAST_TRIES: u32 = 5;

/// A network that an environment shall have.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkRequest {
    /// The environment's id. One that was used before begins anew.
    pub environment: String,
    /// Who pays for what it uses: a task's id. Absent: nothing that costs.
    pub account: Option<String>,
    /// The automation, for secrets that belong to it.
    pub automation: Option<String>,
    /// The repository, for secrets that belong to it.
    pub repository: Option<String>,
    /// What it may reach.
    pub definition: NetworkDefinition,
    /// What the server permits at most.
    pub limits: NetworkLimits,
}

/// What an environment needs for its network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outfit {
    /// Ports to listen on.
    pub ports: Vec<u16>,
    /// Certificates in PEM that it has to trust.
    pub certificates: Option<Vec<u8>>,
    /// What facts keep of it.
    pub evidence: NetworkEvidence,
}

/// Names and values.
pub type Variables = Vec<(String, String)>;

/// What happened in one environment since it was last asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    /// What happened.
    pub events: Vec<EgressEvent>,
    /// Refusals beyond those.
    pub more_refused: u64,
    /// Permitted ones beyond those.
    pub more_permitted: u64,
}

impl Records {
    const fn is_empty(&self) -> bool {
        self.events.is_empty() && self.more_refused == 0 && self.more_permitted == 0
    }
}

/// Why there is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// What is asked for cannot be had: correct it.
    #[error("{0}")]
    Refused(String),
    /// Whoever makes networks is not there: try again.
    #[error("the broker is not there: {0}")]
    Gone(String),
}

/// Makes networks. What it does not serve is not reached: an environment whose sockets nobody has
/// is refused every connection.
#[async_trait]
pub trait Egress: Send + Sync + 'static {
    /// Prepares the network of an environment that is about to be made.
    ///
    /// # Errors
    /// [`EgressError`]; then the environment must not be made.
    async fn prepare(&self, request: NetworkRequest) -> Result<Outfit, EgressError>;

    /// Serves the environment that was prepared; variables with placeholders of its credentials.
    /// When this returns, its rules are in force.
    ///
    /// # Errors
    /// [`EgressError`]; then nothing may run in it.
    async fn attach(
        &self,
        environment: &str,
        sockets: NetworkSockets,
    ) -> Result<Variables, EgressError>;

    /// Ends the service of an environment, attached or only prepared: connections are cut.
    async fn detach(&self, environment: &str);

    /// What happened since the last call; also after the end, until all was taken.
    async fn records(&self, environment: &str) -> Records;
}

/// For runners that have no broker: whoever asks for a network is refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEgress;

#[async_trait]
impl Egress for NoEgress {
    async fn prepare(&self, _: NetworkRequest) -> Result<Outfit, EgressError> {
        Err(EgressError::Refused(
            "this runner makes no networks; leave `environment.network` out, or use one that does"
                .to_owned(),
        ))
    }

    async fn attach(&self, _: &str, _: NetworkSockets) -> Result<Variables, EgressError> {
        Err(EgressError::Gone("there is none".to_owned()))
    }

    async fn detach(&self, _: &str) {}

    async fn records(&self, _: &str) -> Records {
        Records::default()
    }
}

/// The rules of an environment in which results are made that others use as well: the same, without
/// anybody's credentials.
pub(crate) fn without_credentials(definition: &NetworkDefinition) -> NetworkDefinition {
    let without = |entry: &NetworkEntry| match entry {
        NetworkEntry::Bundle(name) => NetworkEntry::Bundle(name.clone()),
        NetworkEntry::Host(rule) => {
            let mut rule = rule.clone();
            rule.credential = None;
            NetworkEntry::Host(rule)
        }
    };
    NetworkDefinition(definition.0.iter().map(without).collect())
}

/// Tells the sandbox.
pub fn equip(spec: &mut EnvironmentSpec, outfit: &Outfit) {
    spec.network = Some(NetworkSpec {
        ports: outfit.ports.clone(),
        certificates: outfit.certificates.clone(),
    });
}

/// Hands an environment's sockets over; every variable that its network needs: those by which
/// programs find certificates, and placeholders. They win over an image's and a repository's.
///
/// # Errors
/// [`EgressError`]; then nothing may run in it.
pub async fn connect(
    egress: &dyn Egress,
    environment: &Environment,
    outfit: &Outfit,
) -> Result<Variables, EgressError> {
    let sockets = environment
        .take_network()
        .ok_or_else(|| EgressError::Gone("the environment has no sockets".to_owned()))?;
    let placeholders = egress.attach(environment.id(), sockets).await?;
    let trust = outfit.certificates.as_ref();
    let trust = trust.map(|_| sandbox::network::trust_variables());
    let mut variables: Variables = trust
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    variables.extend(placeholders);
    Ok(variables)
}

/// Passes on what happens in one environment, in numbered batches.
pub(crate) struct Pump {
    end: oneshot::Sender<()>,
    pumping: JoinHandle<()>,
}

/// What a pump passes on, and how.
pub(crate) struct Pumped {
    pub(crate) egress: Arc<dyn Egress>,
    pub(crate) environment: String,
    pub(crate) control: Arc<dyn ControlPlane>,
    /// Batches are like this one.
    pub(crate) header: EgressBatch,
    /// Number of the next batch of the assignment.
    pub(crate) next: Arc<AtomicU32>,
}

impl Pump {
    /// Begins.
    pub(crate) fn start(pumped: Pumped) -> Self {
        let (end, ended) = oneshot::channel();
        let pumping = tokio::spawn(pumped.run(ended));
        Self { end, pumping }
    }

    /// Ends the network of the environment, and passes on the rest.
    pub(crate) async fn end(self) {
        let _ = self.end.send(());
        let _ = self.pumping.await;
    }
}

impl Pumped {
    /// Until it is told to end, or nobody is left to tell.
    async fn run(self, mut ended: oneshot::Receiver<()>) {
        let mut pause = BEAT;
        while tokio::time::timeout(pause, &mut ended).await.is_err() {
            // A flood comes in ever fewer batches; what does not fit is counted.
            pause = if self.pass(None).await.unwrap_or(0) >= MOST_EGRESS_EVENTS {
                (pause * 2).min(LONGEST_PAUSE)
            } else {
                BEAT
            };
        }
        self.egress.detach(&self.environment).await;
        while self.pass(Some(LAST_TRIES)).await.is_some() {}
    }

    /// Passes on what happened, if anything did; how many events.
    async fn pass(&self, tries: Option<u32>) -> Option<usize> {
        let records = self.egress.records(&self.environment).await;
        if records.is_empty() {
            return None;
        }
        let events = records.events.len();
        let batch = EgressBatch {
            batch: self.next.fetch_add(1, Ordering::Relaxed),
            events: records.events,
            more_refused: records.more_refused,
            more_permitted: records.more_permitted,
            ..self.header.clone()
        };
        send(&*self.control, &batch, tries.unwrap_or(u32::MAX)).await;
        Some(events)
    }
}

/// Sends a batch until it has arrived. Sending it again is no second one.
async fn send(control: &dyn ControlPlane, batch: &EgressBatch, tries: u32) {
    let mut pause = BEAT;
    for _ in 0..tries {
        match control.egress_events(batch.clone()).await {
            Ok(()) => return,
            Err(ControlPlaneError::Refused(cause)) => {
                tracing::error!(task = %batch.task, cause, "a batch of network events was refused");
                return;
            }
            Err(ControlPlaneError::Unavailable(cause)) => {
                tracing::warn!(task = %batch.task, cause, "network events wait for another try");
                tokio::time::sleep(pause).await;
            }
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    tracing::warn!(task = %batch.task, "the last network events did not get through");
}
