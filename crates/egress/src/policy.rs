//! What an environment may reach, compiled from `environment.network`.

use std::collections::BTreeSet;

use model::egress::EgressRefusal;
use model::network::{CredentialUse, NetworkDefinition, NetworkProtocol};

use crate::name::{Host, Name};

/// Why a definition is not a policy: which entry, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("network[{entry}]: {message}")]
pub struct PolicyError {
    /// Number of the entry, from 0.
    pub entry: usize,
    /// What is wrong and what is right.
    pub message: String,
}

/// What a request is about, as far as rules look.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts<'a> {
    /// The method as sent.
    pub method: &'a str,
    /// The path as sent, without query.
    pub path: &'a str,
    /// The query as sent, without `?`.
    pub query: &'a str,
}

/// The answer of a rule that permits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    /// The rule as a person finds it: `network[2]`, `bundle npm`.
    pub rule: String,
    /// How the host is spoken to.
    pub protocol: NetworkProtocol,
    /// Whether the host may have a private address.
    pub private: bool,
    /// The credential to put in.
    pub credential: Option<CredentialUse>,
    /// Bytes the environment may send there in all.
    pub send: Option<u64>,
    /// The request is a push: its refs have to be asked about with [`NetworkPolicy::push`] before
    /// a byte of it leaves.
    pub push: bool,
}

/// Rules of one environment.
#[derive(Debug, Clone, Default)]
pub struct NetworkPolicy {}

impl NetworkPolicy {
    /// Compiles a definition; bundles are looked up in the table that ships.
    ///
    /// # Errors
    /// [`PolicyError`] for the first entry that is wrong.
    pub fn compile(definition: &NetworkDefinition) -> Result<Self, PolicyError> {
        let _ = definition;
        Ok(Self {})
    }

    /// Every TCP port that a rule names: 80 and 443 always among them.
    #[must_use]
    pub fn ports(&self) -> BTreeSet<u16> {
        BTreeSet::from([80, 443])
    }

    /// Whether a name gets an address at all.
    #[must_use]
    pub fn names(&self, name: &Name) -> bool {
        let _ = name;
        false
    }

    /// Whether a connection may be made, before anything of it was read. Where several rules name
    /// the host, the protocol is that of the one that looks deepest.
    ///
    /// # Errors
    /// Why not.
    pub fn connection(&self, host: &Host, port: u16) -> Result<Permit, EgressRefusal> {
        let _ = (host, port);
        Err(EgressRefusal::HostNotNamed)
    }

    /// Whether a request may be made.
    ///
    /// # Errors
    /// Why not.
    pub fn request(
        &self,
        host: &Host,
        port: u16,
        facts: &RequestFacts<'_>,
    ) -> Result<Permit, EgressRefusal> {
        let _ = facts;
        self.connection(host, port)
    }

    /// Whether a push of these updates to the repository at this path may be made.
    ///
    /// # Errors
    /// Why not.
    pub fn push(
        &self,
        host: &Host,
        port: u16,
        repository: &str,
        updates: &[crate::git::RefUpdate],
    ) -> Result<Permit, EgressRefusal> {
        let _ = (repository, updates);
        self.connection(host, port)
    }
}
