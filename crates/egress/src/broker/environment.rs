//! One environment as the broker has it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use model::egress::{EgressEvent, EgressKind, EgressRefusal, harmless};
use model::network::NetworkProtocol;
use tokio::sync::watch;

use crate::broker::pool::Pool;
use crate::broker::refusal::Refusal;
use crate::broker::volume::Volume;
use crate::broker::{AttachError, Attachment, Change, Shared, Sockets};
use crate::credential::Credentials;
use crate::dns::Pins;
use crate::gateway::{GATEWAY_HOST, ModelPolicy};
use crate::mask::{Mask, MaskError};
use crate::name::{Host, Name};
use crate::policy::{NetworkPolicy, Permit};
use crate::tls::authority::Authority;

/// The rule that permits calls of models.
const MODEL_RULE: &str = "model gateway";

/// What is known of a thing that happened.
#[derive(Debug, Clone)]
pub(crate) struct Happened {
    pub(crate) kind: EgressKind,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) detail: String,
    pub(crate) rule: String,
    pub(crate) address: Option<IpAddr>,
}

/// A policy with the gateway's name among its own, where models may be called.
fn with_gateway(policy: NetworkPolicy, model: &Option<(ModelPolicy, String)>) -> NetworkPolicy {
    match Name::parse(GATEWAY_HOST) {
        Ok(name) if model.is_some() => policy.with_own(name),
        _ => policy,
    }
}

fn mask_of(credentials: &Credentials) -> Result<Mask, MaskError> {
    let values = credentials.values();
    Mask::new(values.iter().map(|value| value.as_str()))
}

/// One environment.
pub(crate) struct Environment {
    pub(crate) id: String,
    pub(crate) shared: Arc<Shared>,
    pub(crate) policy: ArcSwap<NetworkPolicy>,
    pub(crate) credentials: Credentials,
    /// What is taken out of answers: values in use, and those that were.
    pub(crate) mask: ArcSwap<Mask>,
    pub(crate) model: Option<(ModelPolicy, String)>,
    pub(crate) names: Mutex<Pins>,
    pub(crate) authority: Authority,
    pub(crate) volume: Volume,
    pub(crate) pool: Pool,
    pub(crate) ports: BTreeSet<u16>,
    changes: watch::Sender<u64>,
    ended: AtomicBool,
}

impl Environment {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        attachment: Attachment,
    ) -> Result<(Arc<Self>, Sockets), AttachError> {
        let ports: BTreeSet<u16> = attachment
            .sockets
            .tcp
            .iter()
            .map(|(port, _)| *port)
            .collect();
        let authority = shared.authority(&attachment.environment)?;
        let credentials = Credentials::new(attachment.credentials)?;
        let environment = Self {
            mask: ArcSwap::from_pointee(mask_of(&credentials)?),
            credentials,
            id: attachment.environment,
            shared: Arc::clone(shared),
            policy: ArcSwap::from_pointee(with_gateway(attachment.policy, &attachment.model)),
            model: attachment.model,
            names: Mutex::default(),
            authority,
            volume: Volume::new(attachment.limits, attachment.used),
            pool: Pool::default(),
            ports,
            changes: watch::Sender::new(0),
            ended: AtomicBool::new(false),
        };
        Ok((Arc::new(environment), attachment.sockets))
    }

    /// Changes policy and credentials, or nothing.
    pub(crate) fn change(&self, change: Change) -> Result<(), AttachError> {
        if let Some(policy) = &change.policy {
            // A port without a listener is somebody else's: a process inside may have it.
            let missing: Vec<u16> = policy.ports().difference(&self.ports).copied().collect();
            if !missing.is_empty() {
                return Err(AttachError::Ports(missing));
            }
        }
        if let Some(credentials) = change.credentials {
            // What is new is masked before it is used, and what was before stays so.
            let known = self.credentials.values();
            let new = credentials.iter().map(|bound| bound.value.as_str());
            let mask = Mask::new(known.iter().map(|value| value.as_str()).chain(new))?;
            self.mask.store(Arc::new(mask));
            self.credentials.replace(credentials)?;
        }
        if let Some(policy) = change.policy {
            self.policy
                .store(Arc::new(with_gateway(policy, &self.model)));
        }
        self.pool.clear();
        self.look_again();
        Ok(())
    }

    /// Ends everything of this environment.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.pool.clear();
        self.look_again();
    }

    pub(crate) fn look_again(&self) {
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// The host for which an address was given out, or that policy names by its address.
    pub(crate) fn host_at(&self, address: IpAddr, port: u16) -> Option<Host> {
        if let Some(name) = self.names().name(address) {
            return Some(Host::Name(name.clone()));
        }
        let host = Host::Address(address);
        self.policy
            .load()
            .connection(&host, port)
            .is_ok()
            .then_some(host)
    }

    /// The made-up address of a name that is named at all.
    pub(crate) fn address(&self, name: &Name) -> Option<Ipv4Addr> {
        let named = self.policy.load().names(name);
        if named { self.names().pin(name) } else { None }
    }

    pub(crate) fn names(&self) -> std::sync::MutexGuard<'_, Pins> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a host is the model gateway, as this environment may call it.
    pub(crate) fn is_gateway(&self, host: &Host) -> bool {
        self.model.is_some() && matches!(host, Host::Name(name) if name.as_str() == GATEWAY_HOST)
    }

    /// Whether a connection may be made, as things stand.
    pub(crate) fn permit(&self, host: &Host, port: u16) -> Result<Permit, Refusal> {
        if self.ended.load(Ordering::Acquire)
            || self.shared.is_stopped(&self.id, Some(&host.to_string()))
        {
            return Err(EgressRefusal::Stopped.into());
        }
        if self.is_gateway(host) {
            let protocol = match port {
                443 => NetworkProtocol::Https,
                80 => NetworkProtocol::Http,
                _ => return Err(Refusal::by(EgressRefusal::PortNotNamed, MODEL_RULE)),
            };
            return Ok(Permit {
                rule: MODEL_RULE.to_owned(),
                protocol,
                private: false,
                credential: None,
                send: None,
                push: false,
                mirror: None,
            });
        }
        Ok(self.policy.load().connection(host, port)?)
    }

    /// Whether the environment as a whole is stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        self.ended.load(Ordering::Acquire) || self.shared.is_stopped(&self.id, None)
    }

    /// Waits until a connection to this host is no longer permitted.
    pub(crate) async fn cut(&self, host: &Host, port: u16) -> Refusal {
        let mut changes = self.changes.subscribe();
        loop {
            if let Err(refusal) = self.permit(host, port) {
                return refusal;
            }
            if changes.changed().await.is_err() {
                return EgressRefusal::Stopped.into();
            }
        }
    }

    /// Waits until the environment is stopped as a whole.
    pub(crate) async fn stopped(&self) {
        let mut changes = self.changes.subscribe();
        while !self.is_stopped() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until the environment is no longer served.
    pub(crate) async fn over(&self) {
        let mut changes = self.changes.subscribe();
        while !self.ended.load(Ordering::Acquire) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Records one thing that happened.
    pub(crate) fn record(
        &self,
        happened: &Happened,
        refused: Option<EgressRefusal>,
        (sent, received): (u64, u64),
    ) {
        let event = EgressEvent {
            kind: happened.kind,
            refused,
            host: harmless(&happened.host),
            port: happened.port,
            detail: harmless(&happened.detail),
            rule: happened.rule.clone(),
            address: happened
                .address
                .map(|address| address.to_string())
                .unwrap_or_default(),
            sent,
            received,
            count: 1,
            at_ms: (self.shared.clock)(),
        };
        self.shared.recorder.record(&self.id, event);
    }

    /// Records a refusal.
    pub(crate) fn refuse(&self, happened: &Happened, refusal: &Refusal) {
        let mut happened = happened.clone();
        if !refusal.rule.is_empty() {
            happened.rule.clone_from(&refusal.rule);
        }
        self.record(&happened, Some(refusal.code), (0, 0));
    }
}
