//! A whole tree of accounts with its reservations, in memory: what a store does with rows.

use std::collections::BTreeMap;

use model::budget::{Account, BudgetAnswer, BudgetAsk, BudgetSettle, Caps, Reservation, Spending};

/// Accounts and reservations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// Accounts by scope.
    pub accounts: BTreeMap<String, Account>,
    /// Reservations by id.
    pub reservations: BTreeMap<String, Reservation>,
}

impl Tree {
    /// Holds something, see [`super::reserve`].
    pub fn reserve(&mut self, ask: &BudgetAsk) -> BudgetAnswer {
        let reservation = self.reservations.get(&ask.id);
        let ask = BudgetAsk {
            path: super::way(reservation, &ask.path),
            ..ask.clone()
        };
        let had = reservation.map_or(Spending::ZERO, |reservation| reservation.amount);
        let scopes: Vec<String> = ask.path.iter().map(|level| level.scope.clone()).collect();
        let mut accounts = self.take(&scopes);
        let answer = super::reserve(&mut accounts, &had, &ask);
        if let BudgetAnswer::Granted(more) = &answer {
            self.put(accounts);
            let reservation =
                self.reservations
                    .entry(ask.id.clone())
                    .or_insert_with(|| Reservation {
                        id: ask.id.clone(),
                        holder: ask.holder.clone(),
                        scopes,
                        amount: Spending::ZERO,
                    });
            reservation.amount = reservation.amount.plus(*more);
        }
        answer
    }

    /// Settles something; what is not there was charged already.
    pub fn settle(&mut self, settle: &BudgetSettle) {
        let Some(mut reservation) = self.reservations.remove(&settle.id) else {
            return;
        };
        let mut accounts = self.take(&reservation.scopes);
        reservation.amount = super::settle(&mut accounts, &reservation.amount, settle);
        self.put(accounts);
        if !reservation.amount.is_zero() {
            self.reservations
                .insert(reservation.id.clone(), reservation);
        }
    }

    /// Charges the worst case of all that a holder holds.
    pub fn expire(&mut self, holder: &str) {
        let ids: Vec<String> = self
            .reservations
            .values()
            .filter(|reservation| reservation.holder == holder)
            .map(|reservation| reservation.id.clone())
            .collect();
        for id in ids {
            if let Some(reservation) = self.reservations.remove(&id) {
                let mut accounts = self.take(&reservation.scopes);
                super::expire(&mut accounts, &reservation.amount);
                self.put(accounts);
            }
        }
    }

    /// Raises caps of an account that is there.
    pub fn raise(&mut self, scope: &str, to: &Caps) {
        if let Some(account) = self.accounts.get_mut(scope) {
            account.raised = account.raised.or(to);
        }
    }

    fn take(&mut self, scopes: &[String]) -> Vec<Account> {
        let take = |scope: &String| self.accounts.get(scope).cloned().unwrap_or_default();
        scopes.iter().map(take).collect()
    }

    fn put(&mut self, accounts: Vec<Account>) {
        for account in accounts {
            self.accounts.insert(account.scope.clone(), account);
        }
    }
}
