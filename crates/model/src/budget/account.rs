//! Accounts: what caps there are, what was spent of them, and what is held for what may yet be.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Amount, MicroUsd, Refused};

/// Beginning of the name of a holder that is a task: what it holds ends with the task's own facts,
/// never by a clock.
pub const TASK_HOLDER: &str = "task:";

/// What can be capped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// Money, in millionths of a US dollar.
    Money,
    /// Tokens of models.
    Tokens,
    /// Wall time of steps, in milliseconds.
    Wall,
    /// Writes to a forge.
    ForgeWrites,
    /// Changes open at once.
    OpenChanges,
    /// Environments at once.
    Environments,
}

impl Dimension {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::Money,
        Self::Tokens,
        Self::Wall,
        Self::ForgeWrites,
        Self::OpenChanges,
        Self::Environments,
    ];

    /// The key in files, and the option of the command line that raises it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Money => "usd",
            Self::Tokens => "tokens",
            Self::Wall => "wall",
            Self::ForgeWrites => "forge_writes",
            Self::OpenChanges => "open_changes",
            Self::Environments => "environments",
        }
    }

    /// Whether it is in use and given back, rather than used up.
    #[must_use]
    pub const fn is_stock(self) -> bool {
        matches!(self, Self::OpenChanges | Self::Environments)
    }

    /// An amount of it for people.
    #[must_use]
    pub fn show(self, amount: u64) -> String {
        match self {
            Self::Money => MicroUsd(amount).to_string(),
            Self::Tokens => format!("{} tokens", super::Tokens(amount)),
            Self::Wall => {
                let length = std::time::Duration::from_millis(amount);
                format!("{} of wall time", crate::duration::Length(length))
            }
            Self::ForgeWrites => format!("{amount} writes to the forge"),
            Self::OpenChanges => format!("{amount} open changes"),
            Self::Environments => format!("{amount} environments"),
        }
    }
}

/// An amount of everything that can be capped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spending {
    /// Millionths of a US dollar.
    #[serde(skip_serializing_if = "is_zero")]
    pub money: u64,
    /// Tokens.
    #[serde(skip_serializing_if = "is_zero")]
    pub tokens: u64,
    /// Milliseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub wall: u64,
    /// Writes.
    #[serde(skip_serializing_if = "is_zero")]
    pub forge_writes: u64,
    /// Changes.
    #[serde(skip_serializing_if = "is_zero")]
    pub open_changes: u64,
    /// Environments.
    #[serde(skip_serializing_if = "is_zero")]
    pub environments: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Spending {
    /// Nothing.
    pub const ZERO: Self = Self {
        money: 0,
        tokens: 0,
        wall: 0,
        forge_writes: 0,
        open_changes: 0,
        environments: 0,
    };

    /// One dimension of it.
    #[must_use]
    pub const fn get(&self, dimension: Dimension) -> u64 {
        match dimension {
            Dimension::Money => self.money,
            Dimension::Tokens => self.tokens,
            Dimension::Wall => self.wall,
            Dimension::ForgeWrites => self.forge_writes,
            Dimension::OpenChanges => self.open_changes,
            Dimension::Environments => self.environments,
        }
    }

    /// One dimension of it, to be changed.
    pub const fn at(&mut self, dimension: Dimension) -> &mut u64 {
        match dimension {
            Dimension::Money => &mut self.money,
            Dimension::Tokens => &mut self.tokens,
            Dimension::Wall => &mut self.wall,
            Dimension::ForgeWrites => &mut self.forge_writes,
            Dimension::OpenChanges => &mut self.open_changes,
            Dimension::Environments => &mut self.environments,
        }
    }

    /// Dimension by dimension.
    #[must_use]
    pub fn zip(self, other: Self, join: impl Fn(u64, u64) -> u64) -> Self {
        let mut joined = Self::ZERO;
        for dimension in Dimension::ALL {
            *joined.at(dimension) = join(self.get(dimension), other.get(dimension));
        }
        joined
    }

    /// Both together; saturates.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    /// What is left after `other`; zero where nothing is.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_sub)
    }

    /// The smaller of both, dimension by dimension.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        self.zip(other, u64::min)
    }

    /// The larger of both, dimension by dimension.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        self.zip(other, u64::max)
    }

    /// Nothing in any dimension.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// What of it is used up rather than given back.
    #[must_use]
    pub const fn flow(self) -> Self {
        Self {
            open_changes: 0,
            environments: 0,
            ..self
        }
    }

    /// Money and tokens of it.
    #[must_use]
    pub const fn amount(&self) -> Amount {
        Amount {
            money: MicroUsd(self.money),
            tokens: self.tokens,
        }
    }

    /// Whether `other` fits into it in every dimension.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        Dimension::ALL
            .iter()
            .all(|dimension| self.get(*dimension) >= other.get(*dimension))
    }
}

impl From<Amount> for Spending {
    fn from(amount: Amount) -> Self {
        Self {
            money: amount.money.0,
            tokens: amount.tokens,
            ..Self::ZERO
        }
    }
}

impl fmt::Display for Spending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = Dimension::ALL
            .into_iter()
            .filter(|dimension| self.get(*dimension) > 0)
            .map(|dimension| dimension.show(self.get(dimension)))
            .collect();
        if parts.is_empty() {
            return f.write_str("nothing");
        }
        f.write_str(&parts.join(", "))
    }
}

/// Caps; absent ones do not bind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Caps {
    /// Millionths of a US dollar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub money: Option<u64>,
    /// Tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall: Option<u64>,
    /// Writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forge_writes: Option<u64>,
    /// Changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_changes: Option<u64>,
    /// Environments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environments: Option<u64>,
}

impl Caps {
    /// One of them.
    #[must_use]
    pub const fn get(&self, dimension: Dimension) -> Option<u64> {
        match dimension {
            Dimension::Money => self.money,
            Dimension::Tokens => self.tokens,
            Dimension::Wall => self.wall,
            Dimension::ForgeWrites => self.forge_writes,
            Dimension::OpenChanges => self.open_changes,
            Dimension::Environments => self.environments,
        }
    }

    /// One of them, to be changed.
    pub const fn at(&mut self, dimension: Dimension) -> &mut Option<u64> {
        match dimension {
            Dimension::Money => &mut self.money,
            Dimension::Tokens => &mut self.tokens,
            Dimension::Wall => &mut self.wall,
            Dimension::ForgeWrites => &mut self.forge_writes,
            Dimension::OpenChanges => &mut self.open_changes,
            Dimension::Environments => &mut self.environments,
        }
    }

    /// Nothing is capped.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// These caps, each no lower than the one in `raised`; where there is none, none is made.
    #[must_use]
    pub fn raised_to(mut self, raised: &Self) -> Self {
        for dimension in Dimension::ALL {
            if let (Some(cap), Some(raised)) = (self.get(dimension), raised.get(dimension)) {
                *self.at(dimension) = Some(cap.max(raised));
            }
        }
        self
    }

    /// The caps in both, the newer ones of `other` where both have one.
    #[must_use]
    pub fn or(mut self, other: &Self) -> Self {
        for dimension in Dimension::ALL {
            if let Some(cap) = other.get(dimension) {
                *self.at(dimension) = Some(cap);
            }
        }
        self
    }
}

/// One level of a way through the tree of caps, as whoever asks knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// The account: `organisation`, `team:NAME`, `campaign:ID`, `run:ID`, `task:ID`, `model:NAME`.
    pub scope: String,
    /// Its name for people, such as `the campaign travis-to-actions`.
    pub title: String,
    /// Caps as files and configuration have them, before raises.
    #[serde(default, skip_serializing_if = "Caps::is_none")]
    pub caps: Caps,
}

/// An account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Which.
    pub scope: String,
    /// Its name for people.
    #[serde(default)]
    pub title: String,
    /// The account above it, as last seen; none for the topmost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Caps as last seen in files and configuration.
    #[serde(default, skip_serializing_if = "Caps::is_none")]
    pub caps: Caps,
    /// What persons raised caps to.
    #[serde(default, skip_serializing_if = "Caps::is_none")]
    pub raised: Caps,
    /// What was spent.
    #[serde(default)]
    pub spent: Spending,
    /// What is held for what may yet be spent, and what is in use.
    #[serde(default)]
    pub held: Spending,
}

impl Account {
    /// The caps that hold.
    #[must_use]
    pub fn effective(&self) -> Caps {
        self.caps.raised_to(&self.raised)
    }
}

/// How an ask joins what its reservation holds already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reserving {
    /// On top of it.
    #[default]
    More,
    /// It holds at least so much afterwards: asking again is no second one.
    AtLeast,
}

/// A wish to hold something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetAsk {
    /// The reservation; made when it is not there.
    pub id: String,
    /// Who holds it: a process under a lease, or `task:ID`.
    pub holder: String,
    /// The way through the tree, from the top.
    pub path: Vec<Level>,
    /// What it may cost at worst.
    pub worst: Spending,
    /// What would be welcome where there is plenty, so as not to ask again soon; not below `worst`.
    pub wish: Spending,
    /// How it joins what is held already.
    pub reserving: Reserving,
}

/// The answer to a [`BudgetAsk`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BudgetAnswer {
    /// So much more is held: at least what was asked for.
    Granted(Spending),
    /// There is no room now; what others hold could make some.
    Wait(Refused),
    /// There is no room, and none will come by itself.
    Refused(Refused),
    /// The holder's lease has run out: what it held was charged.
    HolderGone,
}

/// What became of something held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetSettle {
    /// The reservation. One that is not there was charged already.
    pub id: String,
    /// What was spent of it; more than is held is recorded all the same.
    pub spent: Spending,
    /// What is not needed any more.
    pub release: Spending,
}

impl BudgetSettle {
    /// Gives everything back.
    #[must_use]
    pub const fn give_back(id: String) -> Self {
        let all = Spending {
            money: u64::MAX,
            tokens: u64::MAX,
            wall: u64::MAX,
            forge_writes: u64::MAX,
            open_changes: u64::MAX,
            environments: u64::MAX,
        };
        Self {
            id,
            spent: Spending::ZERO,
            release: all,
        }
    }
}

/// Something held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// Its name.
    pub id: String,
    /// Who holds it.
    pub holder: String,
    /// Accounts it counts in, from the top.
    pub scopes: Vec<String>,
    /// How much.
    pub amount: Spending,
}

/// A change to accounts that belongs to other writes of one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BudgetMove {
    /// Hold something, or nothing of the transaction happens.
    Reserve(BudgetAsk),
    /// Hold something whatever the caps say: it is in use already.
    Count(BudgetAsk),
    /// Settle something.
    Settle(BudgetSettle),
    /// Raise caps of an account that is there.
    Raise {
        /// Which account.
        scope: String,
        /// To what.
        to: Caps,
    },
}
