//! Money and tokens: what a call costs and which cap it meets.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod account;
mod limits;
mod units;

pub use account::{
    Account, BudgetAnswer, BudgetAsk, BudgetMove, BudgetSettle, Caps, Dimension, Level,
    Reservation, Reserving, Spending, TASK_HOLDER,
};
pub use limits::{BudgetLimits, Team};
pub use units::{InvalidTokens, InvalidUsd, Tokens, Usd};

/// Money in millionths of a US dollar.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MicroUsd(pub u64);

impl fmt::Display for MicroUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let digits = format!("{part:06}");
        // Cents always; what is smaller only where there is something.
        let kept = digits.trim_end_matches('0').len().max(2);
        write!(f, "${whole}.{}", &digits[..kept])
    }
}

/// What something costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Money.
    pub money: MicroUsd,
    /// Tokens of all kinds.
    pub tokens: u64,
}

impl Amount {
    /// Both together; saturates.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            money: MicroUsd(self.money.0.saturating_add(other.money.0)),
            tokens: self.tokens.saturating_add(other.tokens),
        }
    }

    /// What is left after `other`; zero when nothing is.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            money: MicroUsd(self.money.0.saturating_sub(other.money.0)),
            tokens: self.tokens.saturating_sub(other.tokens),
        }
    }
}

/// What a call used, as the model's answer says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Usage {
    /// Tokens read at full price.
    pub input: u64,
    /// Tokens read from a cache.
    pub cache_read: u64,
    /// Tokens written to a cache.
    pub cache_write: u64,
    /// Tokens written, hidden reasoning among them.
    pub output: u64,
}

impl Usage {
    /// All of them; saturates.
    #[must_use]
    pub const fn tokens(self) -> u64 {
        self.input
            .saturating_add(self.cache_read)
            .saturating_add(self.cache_write)
            .saturating_add(self.output)
    }
}

/// A cap that leaves no room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Which: `task`, `campaign NAME`, `organisation` …
    pub scope: String,
    /// The sentence for people and agents, with the cure.
    pub sentence: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_shows_cents_and_what_is_smaller_only_where_there_is_something() {
        for (micro, text) in [
            (0, "$0.00"),
            (1_000_000, "$1.00"),
            (1_500_000, "$1.50"),
            (12_345, "$0.012345"),
            (u64::MAX, "$18446744073709.551615"),
        ] {
            assert_eq!(MicroUsd(micro).to_string(), text);
        }
    }
}
