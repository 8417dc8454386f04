//! What left an environment, or was kept from leaving: decisions of the broker and the model
//! gateway, as the ledger and the console have them.

use serde::{Deserialize, Serialize};

use crate::batch::BatchPlace;
use crate::ids::TaskId;

/// What was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EgressKind {
    /// The address of a name.
    Name,
    /// A connection.
    Connection,
    /// An HTTP request.
    Request,
    /// A push of git refs.
    Push,
    /// The use of a credential.
    Credential,
    /// A call of a model.
    Model,
}

/// Why something was refused: stable codes with a sentence each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EgressRefusal {
    /// No rule names the host.
    HostNotNamed,
    /// No rule names the port.
    PortNotNamed,
    /// An address was used in place of a name, or one that was given out for no name.
    AddressNotNamed,
    /// The name resolves to an address that is private, local, or a cloud's metadata service.
    AddressForbidden,
    /// The name, authority, header and address of a connection do not agree.
    NamesDisagree,
    /// A name that is none, or is spelled in a way that readers understand differently.
    NameInvalid,
    /// Bytes that are not the protocol, or that readers understand differently.
    ProtocolInvalid,
    /// No rule names the method.
    MethodNotNamed,
    /// No rule names the path.
    PathNotNamed,
    /// No rule names the program that connects.
    ProgramNotNamed,
    /// No rule names the git repository or the ref, or the ref may not be changed so.
    RefNotNamed,
    /// A placeholder where it is not bound to: nothing was put in its place.
    CredentialMisplaced,
    /// The credential is missing, expired, or could not be fetched.
    CredentialMissing,
    /// The budget of bytes, rate or connections is used up.
    VolumeExhausted,
    /// A cap of the budget leaves no room for the call.
    BudgetExhausted,
    /// The model, or the path of its API, is not allowed.
    ModelNotNamed,
    /// The kill switch is on.
    Stopped,
    /// The other side could not be reached or did not prove who it is.
    Unreachable,
}

impl EgressRefusal {
    /// The sentence for people and agents.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::HostNotNamed => "no rule of this environment's network names this host",
            Self::PortNotNamed => {
                "no rule of this environment's network names this port of the host"
            }
            Self::AddressNotNamed => "addresses can be reached only by a name that a rule names",
            Self::AddressForbidden => {
                "the name has a private or local address, which the rule does not permit"
            }
            Self::NamesDisagree => "the names that this connection gives do not agree",
            Self::NameInvalid => "this is not a host name",
            Self::ProtocolInvalid => "these bytes are not the protocol that the rule permits",
            Self::MethodNotNamed => "no rule of this host names this method",
            Self::PathNotNamed => "no rule of this host names this path",
            Self::ProgramNotNamed => "no rule of this host names the program that connects",
            Self::RefNotNamed => {
                "no rule names this repository and ref, or it may not be changed so"
            }
            Self::CredentialMisplaced => {
                "the placeholder of a credential was sent where the credential is not bound to"
            }
            Self::CredentialMissing => "the credential of this host is missing or has expired",
            Self::VolumeExhausted => "this environment's bytes, rate or connections are used up",
            Self::BudgetExhausted => "a cap of the budget leaves no room for this call",
            Self::ModelNotNamed => "this model, or this part of its API, is not allowed here",
            Self::Stopped => "a person has stopped this",
            Self::Unreachable => "the host could not be reached, or did not prove who it is",
        }
    }
}

/// One thing that happened, or several equal ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressEvent {
    /// What was wanted.
    pub kind: EgressKind,
    /// Why it was refused; permitted when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<EgressRefusal>,
    /// The host as parsed, or what was there in its place, made harmless and cut.
    pub host: String,
    /// The port; 0 where none is known.
    #[serde(default)]
    pub port: u16,
    /// Method and path, ref, secret's name, or model: whatever the kind is about. Harmless and cut.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The rule that decided, as a person finds it: `network[2]`, `bundle npm`; empty where none did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rule: String,
    /// The address that was dialled, or that the environment dialled when nothing was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// Bytes from the environment.
    #[serde(default)]
    pub sent: u64,
    /// Bytes to the environment.
    #[serde(default)]
    pub received: u64,
    /// How many equal ones this stands for.
    pub count: u64,
    /// Milliseconds since 1970 of the first.
    pub at_ms: u64,
}

/// Longest text of an event, in bytes.
pub const LONGEST_TEXT: usize = 256;

/// Most events in a batch.
pub const MOST_EGRESS_EVENTS: usize = 256;

/// Events of one task, kept together with one leaf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressBatch {
    /// Who reports.
    pub runner: String,
    /// The task.
    pub task: TaskId,
    /// The lease under which it worked.
    pub epoch: u64,
    /// Number of the batch within the epoch, from 0. Sending a batch again is no second one.
    pub batch: u32,
    /// Where it happened, when that was not the environment in which the task works: `baseline`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub environment: String,
    /// What happened.
    pub events: Vec<EgressEvent>,
    /// Refusals beyond those, under flood.
    pub more_refused: u64,
    /// Permitted ones beyond those.
    pub more_permitted: u64,
}

impl EgressBatch {
    /// Where it stands.
    #[must_use]
    pub const fn place(&self) -> BatchPlace {
        BatchPlace {
            epoch: self.epoch,
            batch: self.batch,
        }
    }

    /// Refused and permitted things that it stands for.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let mut counts = (self.more_refused, self.more_permitted);
        for event in &self.events {
            let count = if event.refused.is_some() {
                &mut counts.0
            } else {
                &mut counts.1
            };
            *count = count.saturating_add(event.count);
        }
        counts
    }

    /// Bytes from the environment, and to it, of the listed events.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        let sum = |of: fn(&EgressEvent) -> u64| {
            let all = self.events.iter().map(of);
            all.fold(0, u64::saturating_add)
        };
        (sum(|event| event.sent), sum(|event| event.received))
    }
}

/// A batch as the control plane keeps it: what its leaf in the ledger stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptEgressBatch {
    /// Version of this form.
    pub v: u32,
    /// When it arrived.
    pub at: jiff::Timestamp,
    /// Refused things that it stands for.
    pub refused: u64,
    /// Permitted things that it stands for.
    pub permitted: u64,
    /// Root of the Merkle tree (RFC 6962) over the listed events, each as one line of JSON.
    pub root: String,
    /// What the runner said.
    #[serde(flatten)]
    pub batch: EgressBatch,
}

/// Text from outside made harmless: printable, and at most [`LONGEST_TEXT`] bytes.
#[must_use]
pub fn harmless(text: &str) -> String {
    let mut clean = String::new();
    for letter in text.chars() {
        let shown = if letter.is_control() || is_invisible(letter) {
            '\u{fffd}'
        } else {
            letter
        };
        if clean.len() + shown.len_utf8() + '…'.len_utf8() > LONGEST_TEXT {
            clean.push('…');
            break;
        }
        clean.push(shown);
    }
    clean
}

/// Marks that change how other text is shown, or are not shown themselves.
const fn is_invisible(letter: char) -> bool {
    matches!(letter,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_cut_and_harmless() {
        assert_eq!(harmless("a\u{1b}[2Jb\r\n"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}");
        assert_eq!(harmless("a\u{202e}b"), "a\u{fffd}b");
        let long = harmless(&"ü".repeat(1000));
        assert!(
            long.len() <= LONGEST_TEXT && long.ends_with('…'),
            "{}",
            long.len()
        );
    }
}
