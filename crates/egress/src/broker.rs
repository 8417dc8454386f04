//! The broker: what an environment's connections meet.
//!
//! Who connects is known by the socket on which they arrive, and by nothing that they say. A
//! connection's local address is what somebody inside dialled; the name for which that address was
//! given out is what the connection is about, and all that it says later must agree.
//!
//! - `accept`: sockets of an environment, each served by a task of its own.
//! - `connection`, `secure`: what a connection is about, before anything of it is believed.
//! - `http`, `judge`, `headers`, `forward`, `bodies`: requests, one decision for each.
//! - `outside`, `pool`: resolving, judging and dialling; connections kept per environment and host.
//! - `volume`, `limits`: bounds. `batches`: what happened, in bounded memory.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use crate::credential::{Bound, CredentialError};
use crate::gateway::{Gateway, ModelPolicy};
use crate::mask::MaskError;
use crate::name::Name;
use crate::policy::NetworkPolicy;
use crate::record::Recorder;
use crate::tls::authority::AuthorityError;

mod accept;
pub mod batches;
mod bodies;
mod connection;
mod environment;
mod forward;
mod headers;
mod http;
mod inflate;
mod io;
mod judge;
pub mod limits;
mod names;
pub mod outside;
mod packets;
mod pool;
mod push;
pub mod refusal;
mod secure;
mod strict;
mod tunnel;
pub mod volume;

use environment::Environment;
use limits::Limits;
use outside::Outside;
use volume::Used;

/// Sockets in an environment's network namespace, made by whoever made the environment.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Listening TCP sockets with their ports, of both families.
    pub tcp: Vec<(u16, OwnedFd)>,
    /// UDP sockets bound to port 53, with `IP_PKTINFO`/`IPV6_RECVPKTINFO` on.
    pub dns: Vec<OwnedFd>,
    /// A packet socket on the loopback, which sees what is tried on other ports.
    pub packets: Option<OwnedFd>,
}

/// An environment as it is handed to the broker.
#[derive(Debug)]
pub struct Attachment {
    /// Its id. One that was used before begins anew: no name, address or placeholder of the
    /// earlier life means anything.
    pub environment: String,
    /// Its sockets.
    pub sockets: Sockets,
    /// What it may reach.
    pub policy: NetworkPolicy,
    /// The credentials that are put in for it.
    pub credentials: Vec<Bound>,
    /// The models it may call and the account that pays; none when absent.
    pub model: Option<(ModelPolicy, String)>,
    /// Its bounds.
    pub limits: Limits,
    /// What was used of them before.
    pub used: Used,
}

/// What changes in an environment that lives. What is absent stays.
#[derive(Debug, Default)]
pub struct Change {
    /// What it may reach from now on; connections that are no longer permitted are cut.
    pub policy: Option<NetworkPolicy>,
    /// The credentials from now on.
    pub credentials: Option<Vec<Bound>>,
}

/// An environment that the broker serves.
#[derive(Debug, Clone)]
pub struct Handle {
    /// The certificate that the environment has to trust, as PEM.
    pub certificate: String,
}

/// Why an environment is not served.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// One of this id is served already.
    #[error("environment {0} is attached already")]
    Twice(String),
    /// Too many are being made at once.
    #[error("too many environments are being made at once")]
    TooMany,
    /// None of this id is served.
    #[error("environment {0} is not attached")]
    Unknown(String),
    /// A socket is not what it is said to be.
    #[error("the {what} is not usable: {why}")]
    Socket {
        /// Which.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// A credential cannot be used.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// A secret could not be taken out of answers.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// No authority could be made for it.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The policy names ports that nobody listens on; they need a new environment.
    #[error("nobody listens on {0:?} in this environment: new ports need a new environment")]
    Ports(Vec<u16>),
}

/// What a kill switch stops.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Everything.
    Everything,
    /// One environment.
    Environment(String),
    /// One host, for all environments.
    Host(String),
}

/// Milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What all environments share.
pub(crate) struct Shared {
    pub(crate) outside: Outside,
    pub(crate) recorder: Arc<dyn Recorder>,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) clock: Clock,
    environments: Mutex<HashMap<String, Arc<Environment>>>,
    /// Authorities of environments that are being made: they trust them from their beginning.
    prepared: Mutex<HashMap<String, crate::tls::authority::Authority>>,
    stopped: Mutex<BTreeSet<Scope>>,
}

/// Most environments that are being made at once.
const MOST_PREPARED: usize = 1024;

/// Serves environments. Has to live in a runtime of tokio; dropping it ends everything.
pub struct Broker(Arc<Shared>);

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").finish_non_exhaustive()
    }
}

impl Broker {
    /// Makes a broker that serves nobody yet.
    #[must_use]
    pub fn new(
        outside: Outside,
        recorder: Arc<dyn Recorder>,
        gateway: Arc<Gateway>,
        clock: Clock,
    ) -> Self {
        Self(Arc::new(Shared {
            outside,
            recorder,
            gateway,
            clock,
            environments: Mutex::default(),
            prepared: Mutex::default(),
            stopped: Mutex::default(),
        }))
    }

    /// Makes the authority of an environment that is about to be made, for it to trust. The next
    /// attach of this id takes it.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn prepare(&self, environment: &str) -> Result<Handle, AttachError> {
        if self.0.environments().contains_key(environment) {
            return Err(AttachError::Twice(environment.to_owned()));
        }
        let authority = crate::tls::authority::Authority::new((self.0.clock)())?;
        let certificate = authority.pem().to_owned();
        let mut prepared = self.0.prepared();
        if prepared.len() >= MOST_PREPARED && !prepared.contains_key(environment) {
            return Err(AttachError::TooMany);
        }
        prepared.insert(environment.to_owned(), authority);
        Ok(Handle { certificate })
    }

    /// Serves one more environment.
    ///
    /// # Errors
    /// [`AttachError`]; then its sockets are closed.
    pub fn attach(&self, attachment: Attachment) -> Result<Handle, AttachError> {
        let id = attachment.environment.clone();
        // Looked at before the costly part, and again when it is put in.
        if self.0.environments().contains_key(&id) {
            return Err(AttachError::Twice(id));
        }
        let (environment, sockets) = Environment::new(&self.0, attachment)?;
        let listening = accept::check(sockets)?;
        match self.0.environments().entry(id) {
            std::collections::hash_map::Entry::Occupied(known) => {
                return Err(AttachError::Twice(known.key().clone()));
            }
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(Arc::clone(&environment));
            }
        }
        accept::serve(&environment, listening);
        Ok(Handle {
            certificate: environment.authority.pem().to_owned(),
        })
    }

    /// Ends the service of an environment: its connections are cut and its sockets closed.
    pub fn detach(&self, environment: &str) -> Option<Used> {
        self.0.prepared().remove(environment);
        let known = self.0.environments().remove(environment)?;
        known.end();
        Some(known.volume.used())
    }

    /// The address that a name has inside an environment, given out now if it has none. None where
    /// no rule names it.
    #[must_use]
    pub fn address(&self, environment: &str, name: &Name) -> Option<std::net::Ipv4Addr> {
        let known = self.0.environments().get(environment).map(Arc::clone)?;
        known.address(name)
    }

    /// What an environment used of its bounds.
    #[must_use]
    pub fn used(&self, environment: &str) -> Option<Used> {
        let known = self.0.environments().get(environment).map(Arc::clone)?;
        Some(known.volume.used())
    }

    /// Changes what an environment may do.
    ///
    /// # Errors
    /// [`AttachError::Unknown`]; [`AttachError::Ports`], and then nothing changed.
    pub fn update(&self, environment: &str, change: Change) -> Result<(), AttachError> {
        let known = self.0.environments().get(environment).map(Arc::clone);
        known
            .ok_or_else(|| AttachError::Unknown(environment.to_owned()))?
            .change(change)
    }

    /// Throws a kill switch: connections within its scope are cut, and new ones refused, until
    /// [`Self::release`].
    pub fn stop(&self, scope: Scope) {
        self.0.stopped().insert(scope);
        self.0.look_again();
    }

    /// Takes a kill switch back. Nothing that was cut comes back by itself.
    pub fn release(&self, scope: &Scope) {
        self.0.stopped().remove(scope);
        self.0.look_again();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        for (_, environment) in self.0.environments().drain() {
            environment.end();
        }
    }
}

impl Shared {
    fn prepared(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<String, crate::tls::authority::Authority>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The authority of an environment that is being attached.
    pub(crate) fn authority(
        &self,
        environment: &str,
    ) -> Result<crate::tls::authority::Authority, AuthorityError> {
        match self.prepared().remove(environment) {
            Some(authority) => Ok(authority),
            None => crate::tls::authority::Authority::new((self.clock)()),
        }
    }

    fn environments(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Environment>>> {
        self.environments
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> std::sync::MutexGuard<'_, BTreeSet<Scope>> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a kill switch stands before this.
    pub(crate) fn is_stopped(&self, environment: &str, host: Option<&str>) -> bool {
        let stopped = self.stopped();
        stopped.iter().any(|scope| match scope {
            Scope::Everything => true,
            Scope::Environment(id) => id == environment,
            Scope::Host(name) => {
                host.is_some_and(|host| host == name.as_str())
                    || host.is_some_and(|host| {
                        Name::parse(name).is_ok_and(|name| name.as_str() == host)
                    })
            }
        })
    }

    /// Lets every connection ask again whether it is permitted.
    fn look_again(&self) {
        let all: Vec<_> = self.environments().values().map(Arc::clone).collect();
        for environment in all {
            environment.look_again();
        }
    }
}
