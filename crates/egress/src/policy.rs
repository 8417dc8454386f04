//! What an environment may reach, compiled from `environment.network`.
//!
//! Nothing is permitted that no rule permits; where several rules name a host, one that permits is
//! enough. [`path`] says which paths are judged at all, [`glob`] what patterns mean, [`rule`] what
//! one rule says, [`compile`] which definitions make sense.

mod bundles;
mod compile;
mod glob;
mod mirrors;
mod path;
mod rule;

use std::collections::{BTreeSet, HashMap};

use model::egress::EgressRefusal;
use model::network::{CredentialUse, NetworkDefinition, NetworkProtocol};

use crate::name::{Host, Name};
use compile::HostPattern;
use rule::Rule;

pub use bundles::{Bundle, bundles};
pub use mirrors::{MOST_MIRRORS, Mirror, MirrorError, Mirrors};
pub(crate) use path::unescape;
pub use path::{AmbiguousPath, LONGEST_PATH, RequestPath};

/// Most entries of a definition.
pub const MOST_ENTRIES: usize = 256;

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
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestFacts<'a> {
    /// The method as sent.
    pub method: &'a str,
    /// The path as sent, without query.
    pub path: &'a str,
    /// The query as sent, without `?`.
    pub query: &'a str,
    /// The path of the program that connects, inside the environment; `None` where it is not
    /// known, and then no rule that names programs permits it.
    pub program: Option<&'a str>,
}

impl<'a> RequestFacts<'a> {
    /// A GET of a path by whoever.
    #[must_use]
    pub const fn get(path: &'a str) -> Self {
        Self {
            method: "GET",
            path,
            query: "",
            program: None,
        }
    }
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
    /// Where to go in place of the host; only hosts of bundles have one.
    pub mirror: Option<Mirror>,
}

/// Rules of one environment.
#[derive(Debug, Clone, Default)]
pub struct NetworkPolicy {
    rules: Vec<Rule>,
    exact: HashMap<Host, Vec<usize>>,
    /// By the name that theirs end in.
    below: HashMap<Name, Vec<usize>>,
    /// Names that the broker itself answers.
    own: BTreeSet<Name>,
}

impl NetworkPolicy {
    /// Compiles a definition; bundles are looked up in the table that ships.
    ///
    /// # Errors
    /// [`PolicyError`] for the first entry that is wrong.
    pub fn compile(definition: &NetworkDefinition) -> Result<Self, PolicyError> {
        Self::compile_with(definition, &Mirrors::default())
    }

    /// Compiles a definition for an operator who has mirrors of bundles' hosts.
    ///
    /// # Errors
    /// [`PolicyError`] for the first entry that is wrong.
    pub fn compile_with(
        definition: &NetworkDefinition,
        mirrors: &Mirrors,
    ) -> Result<Self, PolicyError> {
        let mut policy = Self::default();
        for (number, entry) in definition.0.iter().enumerate() {
            let wrong = |message| PolicyError {
                entry: number,
                message,
            };
            if number >= MOST_ENTRIES {
                return Err(wrong(format!("there are at most {MOST_ENTRIES} entries")));
            }
            for (pattern, rule) in compile::entry(number, entry, mirrors).map_err(wrong)? {
                policy.add(pattern, rule);
            }
        }
        Ok(policy)
    }

    fn add(&mut self, pattern: HostPattern, rule: Rule) {
        let place = self.rules.len();
        match pattern {
            HostPattern::Exact(host) => self.exact.entry(host).or_default().push(place),
            HostPattern::Below(name) => self.below.entry(name).or_default().push(place),
        }
        self.rules.push(rule);
    }

    /// Lets a name have an address though no rule names it, because the broker itself answers
    /// there: the model gateway.
    #[must_use]
    pub fn with_own(mut self, name: Name) -> Self {
        self.own.insert(name);
        self
    }

    /// Every TCP port that a rule names: 80 and 443 always among them.
    #[must_use]
    pub fn ports(&self) -> BTreeSet<u16> {
        let named = self
            .rules
            .iter()
            .flat_map(|rule| rule.ports.iter().copied());
        named.chain([80, 443]).collect()
    }

    /// Every credential that a rule uses, once.
    #[must_use]
    pub fn credentials(&self) -> Vec<&CredentialUse> {
        let mut found: Vec<&CredentialUse> = Vec::new();
        for used in self
            .rules
            .iter()
            .filter_map(|rule| rule.credential.as_ref())
        {
            if !found.contains(&used) {
                found.push(used);
            }
        }
        found
    }

    /// Whether a name gets an address at all.
    #[must_use]
    pub fn names(&self, name: &Name) -> bool {
        self.own.contains(name) || self.rules_of(&Host::Name(name.clone())).next().is_some()
    }

    /// The rules about a host: those that name it itself, then the nearest above it first.
    fn rules_of<'a>(&'a self, host: &'a Host) -> impl Iterator<Item = &'a Rule> {
        let above = host.name().into_iter().flat_map(Name::above);
        let below = above.filter_map(|parent| self.below.get(parent));
        let places = self.exact.get(host).into_iter().chain(below).flatten();
        places.filter_map(|place| self.rules.get(*place))
    }

    /// Whether a connection may be made, before anything of it was read, by a program that is not
    /// known. Where several rules name the host, the protocol is that of the one that looks
    /// deepest.
    ///
    /// # Errors
    /// Why not.
    pub fn connection(&self, host: &Host, port: u16) -> Result<Permit, EgressRefusal> {
        self.connection_of(host, port, None)
    }

    /// Whether this program may make a connection.
    ///
    /// # Errors
    /// Why not.
    pub fn connection_of(
        &self,
        host: &Host,
        port: u16,
        program: Option<&str>,
    ) -> Result<Permit, EgressRefusal> {
        let protocol = self.protocol(host, port);
        self.first(host, |rule| {
            rule.connection(port, program)?;
            // Another rule may permit it as well, but without looking as deep.
            let permits = protocol.is_none_or(|deepest| rule.protocol == deepest);
            Ok((u8::from(!permits), false))
        })
        .map(|(rule, _)| rule.permit(protocol.unwrap_or(rule.protocol), false))
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
        let protocol = self.protocol(host, port);
        let path = RequestPath::parse(facts.path);
        self.first(host, |rule| {
            rule.connection(port, facts.program)?;
            if !compile::is_method(facts.method) {
                return Err(EgressRefusal::MethodNotNamed);
            }
            let path = path.as_ref().map_err(|_| EgressRefusal::ProtocolInvalid)?;
            Ok((0, rule.request(facts, path)?))
        })
        .map(|(rule, push)| rule.permit(protocol.unwrap_or(rule.protocol), push))
    }

    /// Whether a push of these updates to the repository at this path may be made. One rule must
    /// permit all of them.
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
        self.push_of(host, port, None, repository, updates)
    }

    /// Whether this program may make a push.
    ///
    /// # Errors
    /// Why not.
    pub fn push_of(
        &self,
        host: &Host,
        port: u16,
        program: Option<&str>,
        repository: &str,
        updates: &[crate::git::RefUpdate],
    ) -> Result<Permit, EgressRefusal> {
        let protocol = self.protocol(host, port);
        let repository = crate::git::repository(repository);
        self.first(host, |rule| {
            rule.connection(port, program)?;
            match rule.push(repository, updates) {
                true => Ok((0, true)),
                false => Err(EgressRefusal::RefNotNamed),
            }
        })
        .map(|(rule, push)| rule.permit(protocol.unwrap_or(rule.protocol), push))
    }

    /// How a port of a host is spoken to: as the rule has it that looks deepest.
    fn protocol(&self, host: &Host, port: u16) -> Option<NetworkProtocol> {
        let rules = self
            .rules_of(host)
            .filter(|rule| rule.ports.contains(&port));
        rules
            .map(|rule| rule.protocol)
            .max_by_key(|protocol| rule::looks(*protocol))
    }

    /// The rule that permits, the first of those with the lowest number; or the refusal that came
    /// farthest.
    fn first<'a>(
        &'a self,
        host: &'a Host,
        judge: impl Fn(&Rule) -> Result<(u8, bool), EgressRefusal>,
    ) -> Result<(&'a Rule, bool), EgressRefusal> {
        let mut refusal = match host {
            Host::Name(_) => EgressRefusal::HostNotNamed,
            Host::Address(_) => EgressRefusal::AddressNotNamed,
        };
        let mut permitted: Option<(&Rule, u8, bool)> = None;
        for rule in self.rules_of(host) {
            match judge(rule) {
                Ok((order, push)) => {
                    if permitted.is_none_or(|(_, best, _)| order < best) {
                        permitted = Some((rule, order, push));
                    }
                }
                Err(reason) if rule::depth(reason) > rule::depth(refusal) => refusal = reason,
                Err(_) => {}
            }
        }
        permitted.map(|(rule, _, push)| (rule, push)).ok_or(refusal)
    }
}

#[cfg(test)]
mod tests;
