//! Messages between a parent and its broker.

use std::collections::BTreeSet;

use model::budget::{Amount, Refused};
use model::network::{CredentialUse, NetworkDefinition};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::broker::Scope;
use crate::broker::batches::Batch;
use crate::broker::limits::Limits;
use crate::broker::outside::OutsideSettings;
use crate::broker::volume::Used;

/// What the broker is told first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Start {
    /// What the operator says about the outside.
    pub outside: OutsideSettings,
    /// The user and group that it becomes; it stays who it is when absent.
    pub identity: Option<(u32, u32)>,
}

/// A secret on its way to the broker.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct Secret {
    /// Where it is put.
    #[zeroize(skip)]
    pub used: CredentialUse,
    /// The value.
    pub value: String,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret")
            .field("used", &self.used)
            .finish_non_exhaustive()
    }
}

/// Models that an environment may call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Models {
    /// By the names that users give them.
    pub models: BTreeSet<String>,
    /// Who pays.
    pub account: String,
}

/// An environment that the broker shall serve. Its sockets come behind the message: those of TCP,
/// those for names, and the packet socket.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attach {
    /// Its id.
    pub environment: String,
    /// What it may reach.
    pub network: NetworkDefinition,
    /// Credentials.
    pub secrets: Vec<Secret>,
    /// Models; none when absent.
    pub models: Option<Models>,
    /// Bounds.
    pub limits: Limits,
    /// What was used of them before.
    pub used: Used,
    /// Ports of the TCP sockets.
    pub tcp: Vec<u16>,
    /// How many sockets for names.
    pub dns: usize,
    /// Whether there is a packet socket.
    pub packets: bool,
}

impl Attach {
    /// How many descriptors come behind it.
    #[must_use]
    pub const fn descriptors(&self) -> usize {
        self.tcp
            .len()
            .saturating_add(self.dns)
            .saturating_add(self.packets as usize)
    }
}

/// What a parent wants.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// The first of all.
    Start(Box<Start>),
    /// The certificate of an environment that is about to be made.
    Prepare(String),
    /// One more environment.
    Attach(Box<Attach>),
    /// One fewer.
    Detach(String),
    /// Something else for one.
    Update {
        /// Which.
        environment: String,
        /// What it may reach; as before when absent.
        network: Option<NetworkDefinition>,
        /// Credentials; as before when absent.
        secrets: Option<Vec<Secret>>,
    },
    /// The kill switch.
    Stop(Scope),
    /// The kill switch, taken back.
    Release(Scope),
    /// What an environment used.
    Used(String),
    /// The answer to a question about the budget.
    Budget(u64, Decided),
}

/// A wish with its number.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// By which the answer is known.
    pub number: u64,
    /// What is wanted.
    pub wish: Wish,
}

/// A credential as an environment sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placeholder {
    /// Name of the secret.
    pub secret: String,
    /// The variable that holds it inside, where there is one.
    pub variable: Option<String>,
    /// What stands in the secret's place.
    pub placeholder: String,
}

/// What an environment needs to be given so that it can use its network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The certificate that it trusts, as PEM.
    pub certificate: String,
    /// Its credentials' placeholders.
    pub placeholders: Vec<Placeholder>,
}

/// What became of a wish.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// An environment may be made that trusts this certificate, as PEM.
    Prepared(String),
    /// An environment is served.
    Attached(Attached),
    /// What it used.
    Used(Option<Used>),
    /// Placeholders after a change of credentials.
    Updated(Vec<Placeholder>),
    /// Nothing to say.
    Done,
}

/// What is asked about the budget.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// To hold the worst case.
    Reserve {
        /// The most that it can cost.
        worst: Amount,
        /// How long to wait for room.
        patience_ms: u64,
    },
    /// To settle.
    Settle {
        /// Which reservation.
        reservation: u64,
        /// What it did cost.
        spent: Amount,
    },
    /// How much room there is.
    Room,
}

/// What was decided about the budget.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decided {
    /// A place is held, or a cap leaves none.
    Reserved(Result<u64, Refused>),
    /// It is settled.
    Settled,
    /// The room, and the size of the cap.
    Room(Option<(Amount, Amount)>),
}

/// What a broker says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// What became of a wish.
    Answer {
        /// Of which.
        number: u64,
        /// What, or why not.
        result: Result<Done, String>,
    },
    /// What happened in an environment.
    Events {
        /// Its id.
        environment: String,
        /// What.
        batch: Batch,
    },
    /// A question about the budget.
    Budget {
        /// By which the answer is known.
        number: u64,
        /// The environment that spends.
        environment: String,
        /// The account that is charged.
        account: String,
        /// What is asked.
        question: Question,
    },
}
