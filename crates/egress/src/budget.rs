//! What the gateway asks before it spends, and says after it spent.

use std::time::Duration;

use async_trait::async_trait;
use model::budget::{Amount, Refused};

mod capped;

pub use capped::{Cap, Capped};

/// Who spends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Spender {
    /// The environment that calls.
    pub environment: String,
    /// The account that is charged: a task's id, as the budget knows it.
    pub account: String,
}

/// A place in the budget that is held for one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reservation(pub u64);

/// Hard caps. What is reserved is as good as spent until it is settled.
#[async_trait]
pub trait BudgetPort: Send + Sync + 'static {
    /// Holds the worst case of one call. Waits up to `patience` while others' reservations, once
    /// settled, could make room; refuses at once when not even that would.
    ///
    /// # Errors
    /// [`Refused`] with the cap that leaves no room.
    async fn reserve(
        &self,
        spender: &Spender,
        worst: Amount,
        patience: Duration,
    ) -> Result<Reservation, Refused>;

    /// Says what the call did cost; never more than was reserved, or the more is recorded all the
    /// same and the cap is over.
    async fn settle(&self, spender: &Spender, reservation: Reservation, spent: Amount);

    /// How much room is left under the tightest cap, and how large that cap is.
    async fn room(&self, spender: &Spender) -> Option<(Amount, Amount)>;
}

/// Refuses everything: for where no budget was given.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoBudget;

#[async_trait]
impl BudgetPort for NoBudget {
    async fn reserve(&self, _: &Spender, _: Amount, _: Duration) -> Result<Reservation, Refused> {
        Err(Refused {
            scope: "none".to_owned(),
            sentence: "there is no budget for models here".to_owned(),
        })
    }

    async fn settle(&self, _: &Spender, _: Reservation, _: Amount) {}

    async fn room(&self, _: &Spender) -> Option<(Amount, Amount)> {
        None
    }
}
