//! What both databases do with accounts: rows are read and locked, the engine decides over them,
//! and what changed is written, all in one transaction.
//!
//! Whoever works on several accounts locks the topmost first, which all ways share: so two
//! transactions never wait for each other.

use model::budget::{
    Account, BudgetAnswer, BudgetAsk, BudgetSettle, Reservation, Spending, TASK_HOLDER,
};

use crate::error::StoreError;

/// Longest scope, id or name of a holder, in bytes.
const LONGEST_NAME: usize = 400;

/// Rows after a decision, to be written.
pub(crate) struct Decided {
    pub(crate) answer: BudgetAnswer,
    /// Absent when nothing changed.
    pub(crate) write: Option<(Vec<Account>, Reservation)>,
}

/// Whether caps bind an ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binding {
    Bound,
    /// It is in use already.
    Free,
}

/// Refuses what a database should not see.
pub(crate) fn check(ask: &BudgetAsk) -> Result<(), StoreError> {
    let too_long = |text: &String| text.len() > LONGEST_NAME;
    let scopes = ask.path.iter().map(|level| &level.scope);
    if ask.path.is_empty() || ask.path.len() > engine::budget::MOST_LEVELS {
        return Err(StoreError::Malformed(format!(
            "a way through the budget has {} levels",
            ask.path.len()
        )));
    }
    if scopes.chain([&ask.id, &ask.holder]).any(too_long) {
        return Err(StoreError::Malformed(
            "a name in the budget is too long".to_owned(),
        ));
    }
    Ok(())
}

/// The ask on the way that its reservation takes.
pub(crate) fn on_its_way(ask: &BudgetAsk, reservation: Option<&Reservation>) -> BudgetAsk {
    BudgetAsk {
        path: engine::budget::way(reservation, &ask.path),
        ..ask.clone()
    }
}

/// Decides an ask over its accounts, in the order of its path.
pub(crate) fn reserve(
    mut accounts: Vec<Account>,
    reservation: Option<Reservation>,
    ask: &BudgetAsk,
    binding: Binding,
) -> Decided {
    let had = reservation
        .as_ref()
        .map_or(Spending::ZERO, |reservation| reservation.amount);
    let answer = match binding {
        Binding::Bound => engine::budget::reserve(&mut accounts, &had, ask),
        Binding::Free => BudgetAnswer::Granted(engine::budget::force(&mut accounts, &had, ask)),
    };
    let BudgetAnswer::Granted(more) = &answer else {
        return Decided {
            answer,
            write: None,
        };
    };
    let mut reservation = reservation.unwrap_or_else(|| Reservation {
        id: ask.id.clone(),
        holder: ask.holder.clone(),
        scopes: ask.path.iter().map(|level| level.scope.clone()).collect(),
        amount: Spending::ZERO,
    });
    reservation.amount = reservation.amount.plus(*more);
    Decided {
        answer,
        write: Some((accounts, reservation)),
    }
}

/// Settles over the accounts of a reservation; what is left of it.
pub(crate) fn settle(
    accounts: &mut [Account],
    mut reservation: Reservation,
    settle: &BudgetSettle,
) -> Option<Reservation> {
    reservation.amount = engine::budget::settle(accounts, &reservation.amount, settle);
    (!reservation.amount.is_zero()).then_some(reservation)
}

/// Whether a holder lives by a lease rather than by facts.
pub(crate) fn is_leased(holder: &str) -> bool {
    !holder.starts_with(TASK_HOLDER)
}

/// What a refusal inside a commit means for the whole of it.
pub(crate) fn refused(answer: BudgetAnswer) -> Result<(), StoreError> {
    match answer {
        BudgetAnswer::Granted(_) => Ok(()),
        BudgetAnswer::Wait(refused) => Err(StoreError::Cap {
            refused,
            waits: true,
        }),
        BudgetAnswer::Refused(refused) => Err(StoreError::Cap {
            refused,
            waits: false,
        }),
        BudgetAnswer::HolderGone => Err(StoreError::Malformed(
            "a commit holds something for a process without a lease".to_owned(),
        )),
    }
}

/// An account that nobody used yet.
pub(crate) fn blank(scope: &str) -> Account {
    Account {
        scope: scope.to_owned(),
        ..Account::default()
    }
}
