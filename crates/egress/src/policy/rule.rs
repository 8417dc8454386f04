//! One compiled rule, and what it says of one request.

use std::collections::BTreeSet;

use model::egress::EgressRefusal;
use model::network::{CredentialUse, NetworkProtocol};

use super::glob::Glob;
use super::mirrors::Mirror;
use super::path::RequestPath;
use super::{Permit, RequestFacts};
use crate::git::{self, GitRequest, RefUpdate};

/// A rule of one host.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) ports: BTreeSet<u16>,
    pub(super) protocol: NetworkProtocol,
    /// All when empty.
    pub(super) methods: Vec<String>,
    /// All when empty.
    pub(super) paths: Vec<Glob>,
    pub(super) git: Option<GitGlobs>,
    /// All when empty.
    pub(super) programs: Vec<String>,
    pub(super) credential: Option<CredentialUse>,
    pub(super) private: bool,
    pub(super) send: Option<u64>,
    pub(super) mirror: Option<Mirror>,
}

/// Git repositories and refs of a rule.
#[derive(Debug, Clone)]
pub(super) struct GitGlobs {
    /// All when empty.
    pub(super) repositories: Vec<Glob>,
    /// None when empty.
    pub(super) push: Vec<Glob>,
}

impl GitGlobs {
    fn names(&self, repository: &str) -> bool {
        let segments: Vec<&str> = repository.split('/').collect();
        self.repositories.is_empty() || self.repositories.iter().any(|glob| glob.matches(&segments))
    }

    fn permits_ref(&self, update: &RefUpdate) -> bool {
        let segments: Vec<&str> = update.name.split('/').collect();
        update.is_harmless() && self.push.iter().any(|glob| glob.matches(&segments))
    }
}

/// How far a request came before it was refused: the farther, the more the reason says.
pub(super) const fn depth(refusal: EgressRefusal) -> u8 {
    match refusal {
        EgressRefusal::HostNotNamed | EgressRefusal::AddressNotNamed => 0,
        EgressRefusal::PortNotNamed => 1,
        EgressRefusal::ProgramNotNamed => 2,
        EgressRefusal::PathNotNamed => 3,
        EgressRefusal::MethodNotNamed => 4,
        _ => 5,
    }
}

/// A protocol's depth: the deeper, the more of a connection is looked into.
pub(super) const fn looks(protocol: NetworkProtocol) -> u8 {
    match protocol {
        NetworkProtocol::Tcp => 0,
        NetworkProtocol::Tls => 1,
        NetworkProtocol::Http => 2,
        NetworkProtocol::Https => 3,
    }
}

impl Rule {
    /// Whether the rule is about this port and program.
    pub(super) fn connection(&self, port: u16, program: Option<&str>) -> Result<(), EgressRefusal> {
        if !self.ports.contains(&port) {
            return Err(EgressRefusal::PortNotNamed);
        }
        let named = |known: &String| program.is_some_and(|program| is_program(known, program));
        if !self.programs.is_empty() && !self.programs.iter().any(named) {
            return Err(EgressRefusal::ProgramNotNamed);
        }
        Ok(())
    }

    /// Whether the rule permits a request; `true` if it is a push whose refs have to be judged.
    pub(super) fn request(
        &self,
        facts: &RequestFacts<'_>,
        path: &RequestPath,
    ) -> Result<bool, EgressRefusal> {
        let request = git::classify(facts.method, path, facts.query);
        match (&request, &self.git) {
            (Some(GitRequest::Fetch { repository }), Some(git)) if git.names(repository) => {
                return Ok(false);
            }
            (Some(GitRequest::PushRefs { repository }), Some(git)) if may_push(git, repository) => {
                return Ok(false);
            }
            (Some(GitRequest::Push { repository }), Some(git)) if may_push(git, repository) => {
                return Ok(true);
            }
            // What writes refs is never permitted by a path alone: its refs would go unjudged.
            (
                Some(GitRequest::PushRefs { .. } | GitRequest::Push { .. } | GitRequest::Disguised),
                _,
            ) => {
                return Err(EgressRefusal::RefNotNamed);
            }
            (Some(GitRequest::Fetch { .. }), Some(_)) if self.paths.is_empty() => {
                return Err(EgressRefusal::RefNotNamed);
            }
            (_, Some(_)) if self.paths.is_empty() => return Err(EgressRefusal::PathNotNamed),
            _ => {}
        }
        let named = |segments: &[String]| self.paths.iter().any(|glob| glob.matches(segments));
        if !self.paths.is_empty() && !path.readings().all(named) {
            return Err(EgressRefusal::PathNotNamed);
        }
        if !self.methods.is_empty() && !self.methods.iter().any(|known| known == facts.method) {
            return Err(EgressRefusal::MethodNotNamed);
        }
        Ok(false)
    }

    /// Whether the rule permits all of these updates of a repository.
    pub(super) fn push(&self, repository: &str, updates: &[RefUpdate]) -> bool {
        self.git.as_ref().is_some_and(|git| {
            may_push(git, repository) && updates.iter().all(|update| git.permits_ref(update))
        })
    }

    pub(super) fn permit(&self, protocol: NetworkProtocol, push: bool) -> Permit {
        Permit {
            rule: self.name.clone(),
            protocol,
            private: self.private,
            credential: self.credential.clone(),
            send: self.send,
            push,
            mirror: self.mirror.clone(),
        }
    }
}

fn may_push(git: &GitGlobs, repository: &str) -> bool {
    !git.push.is_empty() && git.names(repository)
}

/// A path means that file; a name means a file of that name anywhere.
fn is_program(known: &str, program: &str) -> bool {
    if known.contains('/') {
        return known == program;
    }
    program.rsplit('/').next() == Some(known)
}
