//! Caps in memory, which all who spend share.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use model::budget::{Amount, MicroUsd, Refused};
use tokio::sync::oneshot;

use super::{BudgetPort, Reservation, Spender};

/// A hard cap.
#[derive(Debug, Clone)]
pub struct Cap {
    /// Whose it is, as people call it: `task`, `campaign NAME`.
    pub scope: String,
    /// The most that may be spent. `u64::MAX` of a kind is no cap of that kind.
    pub limit: Amount,
    /// The accounts under it; all when empty.
    pub accounts: BTreeSet<String>,
}

impl Cap {
    /// A cap of money over every account.
    #[must_use]
    pub fn money(scope: &str, dollars: u64) -> Self {
        Self {
            scope: scope.to_owned(),
            limit: Amount {
                money: MicroUsd(dollars.saturating_mul(1_000_000)),
                tokens: u64::MAX,
            },
            accounts: BTreeSet::new(),
        }
    }
}

/// Caps in memory. Whoever finds no room waits in order for others' settlements.
#[derive(Debug)]
pub struct Capped(Mutex<State>);

#[derive(Debug)]
struct State {
    caps: Vec<Held>,
    open: BTreeMap<u64, (Spender, Amount)>,
    waiting: VecDeque<Waiting>,
    last: u64,
}

#[derive(Debug)]
struct Held {
    cap: Cap,
    spent: Amount,
    reserved: Amount,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    spender: Spender,
    worst: Amount,
    answer: oneshot::Sender<Result<Reservation, Refused>>,
}

impl Held {
    fn covers(&self, spender: &Spender) -> bool {
        self.cap.accounts.is_empty() || self.cap.accounts.contains(&spender.account)
    }

    fn fits(&self, taken: Amount, worst: Amount) -> bool {
        let all = taken.plus(worst);
        all.money <= self.cap.limit.money && all.tokens <= self.cap.limit.tokens
    }
}

impl State {
    /// The caps of a spender by their numbers.
    fn over(&self, spender: &Spender) -> Vec<usize> {
        let caps = self.caps.iter().enumerate();
        caps.filter(|(_, held)| held.covers(spender))
            .map(|(at, _)| at)
            .collect()
    }

    /// Why it would not fit even if everything that is reserved came back.
    fn hopeless(&self, spender: &Spender, worst: Amount) -> Option<Refused> {
        let mut caps = self.caps.iter().filter(|held| held.covers(spender));
        let held = caps.find(|held| !held.fits(held.spent, worst))?;
        let scope = held.cap.scope.clone();
        Some(Refused {
            sentence: format!(
                "the cap of the {scope} ({}) leaves no room for this call, which may cost up to {}: \
                 ask for it to be raised, or ask for less",
                shown(held.cap.limit),
                shown(worst)
            ),
            scope,
        })
    }

    fn take(&mut self, spender: &Spender, worst: Amount) -> Option<Reservation> {
        let mut caps = self.caps.iter().filter(|held| held.covers(spender));
        if !caps.all(|held| held.fits(held.spent.plus(held.reserved), worst)) {
            return None;
        }
        for held in self.caps.iter_mut().filter(|held| held.covers(spender)) {
            held.reserved = held.reserved.plus(worst);
        }
        self.last += 1;
        self.open.insert(self.last, (spender.clone(), worst));
        Some(Reservation(self.last))
    }

    fn give_back(&mut self, reservation: Reservation, spent: Amount) {
        let Some((spender, worst)) = self.open.remove(&reservation.0) else {
            return;
        };
        for held in self.caps.iter_mut().filter(|held| held.covers(&spender)) {
            held.reserved = held.reserved.minus(worst);
            held.spent = held.spent.plus(spent);
        }
        self.serve();
    }

    /// Gives room to those who wait, in order: nobody is overtaken under a cap that keeps them.
    fn serve(&mut self) {
        let mut kept = BTreeSet::new();
        for waiting in std::mem::take(&mut self.waiting) {
            let over = self.over(&waiting.spender);
            let free = !over.iter().any(|cap| kept.contains(cap));
            if let Some(refused) = self.hopeless(&waiting.spender, waiting.worst) {
                let _ = waiting.answer.send(Err(refused));
            } else if let Some(reservation) = free
                .then(|| self.take(&waiting.spender, waiting.worst))
                .flatten()
            {
                // Whoever went away in the meantime spends nothing.
                if waiting.answer.send(Ok(reservation)).is_err() {
                    self.give_back_quietly(reservation);
                }
            } else {
                kept.extend(over);
                self.waiting.push_back(waiting);
            }
        }
    }

    fn give_back_quietly(&mut self, reservation: Reservation) {
        if let Some((spender, worst)) = self.open.remove(&reservation.0) {
            for held in self.caps.iter_mut().filter(|held| held.covers(&spender)) {
                held.reserved = held.reserved.minus(worst);
            }
        }
    }
}

fn shown(amount: Amount) -> String {
    match (amount.money.0, amount.tokens) {
        (u64::MAX, tokens) => format!("{tokens} tokens"),
        (_, u64::MAX) => amount.money.to_string(),
        (_, tokens) => format!("{}, {tokens} tokens", amount.money),
    }
}

impl Capped {
    /// Caps that all hold.
    #[must_use]
    pub fn new(caps: Vec<Cap>) -> Self {
        let held = |cap| Held {
            cap,
            spent: Amount::default(),
            reserved: Amount::default(),
        };
        Self(Mutex::new(State {
            caps: caps.into_iter().map(held).collect(),
            open: BTreeMap::new(),
            waiting: VecDeque::new(),
            last: 0,
        }))
    }

    /// Spent and reserved under the cap of this scope.
    #[must_use]
    pub fn used(&self, scope: &str) -> (Amount, Amount) {
        let state = self.state();
        let held = state.caps.iter().find(|held| held.cap.scope == scope);
        held.map_or_else(Default::default, |held| (held.spent, held.reserved))
    }

    /// Changes a cap; those who wait are looked at again.
    pub fn raise(&self, scope: &str, limit: Amount) {
        let mut state = self.state();
        for held in &mut state.caps {
            if held.cap.scope == scope {
                held.cap.limit = limit;
            }
        }
        state.serve();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever waits and goes away leaves no place behind.
struct Leave<'a> {
    capped: &'a Capped,
    ticket: u64,
    answer: oneshot::Receiver<Result<Reservation, Refused>>,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let mut state = self.capped.state();
        state
            .waiting
            .retain(|waiting| waiting.ticket != self.ticket);
        if let Ok(Ok(reservation)) = self.answer.try_recv() {
            state.give_back_quietly(reservation);
        }
        state.serve();
    }
}

#[async_trait]
impl BudgetPort for Capped {
    async fn reserve(
        &self,
        spender: &Spender,
        worst: Amount,
        patience: Duration,
    ) -> Result<Reservation, Refused> {
        let mut leave = {
            let mut state = self.state();
            if let Some(refused) = state.hopeless(spender, worst) {
                return Err(refused);
            }
            let over = state.over(spender);
            let queue = state.waiting.iter().any(|waiting| {
                let theirs = state.over(&waiting.spender);
                over.iter().any(|cap| theirs.contains(cap))
            });
            if !queue && let Some(reservation) = state.take(spender, worst) {
                return Ok(reservation);
            }
            state.last += 1;
            let ticket = state.last;
            let (sender, answer) = oneshot::channel();
            state.waiting.push_back(Waiting {
                ticket,
                spender: spender.clone(),
                worst,
                answer: sender,
            });
            Leave {
                capped: self,
                ticket,
                answer,
            }
        };
        let late = Refused {
            scope: "others".to_owned(),
            sentence: "other calls hold what is left under the caps; try again when they ended"
                .to_owned(),
        };
        match tokio::time::timeout(patience, &mut leave.answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(late),
        }
    }

    async fn settle(&self, _: &Spender, reservation: Reservation, spent: Amount) {
        self.state().give_back(reservation, spent);
    }

    async fn room(&self, spender: &Spender) -> Option<(Amount, Amount)> {
        let state = self.state();
        let caps = state.caps.iter().filter(|held| held.covers(spender));
        let room = caps.map(|held| {
            let left = held.cap.limit.minus(held.spent.plus(held.reserved));
            (left, held.cap.limit)
        });
        room.min_by(|one, other| share(*one).total_cmp(&share(*other)))
    }
}

/// The part of a cap that is left, of the kind of which less is.
#[expect(clippy::cast_precision_loss, reason = "only compared")]
fn share((left, limit): (Amount, Amount)) -> f64 {
    let part = |left: u64, limit: u64| left as f64 / (limit as f64).max(1.0);
    part(left.money.0, limit.money.0).min(part(left.tokens, limit.tokens))
}

#[cfg(test)]
mod tests;
