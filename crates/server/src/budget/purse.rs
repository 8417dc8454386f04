//! Purses in memory: what of the store's holdings is free, held for calls, or spent and not yet
//! settled. Pure but for lengths of time.
//!
//! Of each purse the store holds `free + held + spent` (and nothing less): every change that the
//! store is told is one of the sums, so that changes may be told in any order.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use model::budget::{BudgetSettle, Level, Spending};

/// A purse that is filled again within this time is busy: it asks for more at once.
const BUSY: Duration = Duration::from_millis(100);
/// Worst cases that a busy purse asks for at once, at most.
const MOST_AT_ONCE: u64 = 64;

/// Whose purse.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The account that pays.
    pub(crate) account: String,
    /// The model that is paid; empty where none is known.
    pub(crate) model: String,
}

/// One purse.
#[derive(Debug)]
pub(crate) struct Purse {
    /// The way through the tree.
    pub(crate) path: Vec<Level>,
    free: Spending,
    held: Spending,
    spent: Spending,
    /// Worst cases to ask for at once.
    at_once: u64,
    filled: Option<Instant>,
}

#[derive(Debug)]
struct Call {
    key: Key,
    worst: Spending,
    since: Instant,
}

/// All purses of a process, and the calls that are paid from them.
#[derive(Debug, Default)]
pub(crate) struct Purses {
    purses: HashMap<Key, Purse>,
    calls: HashMap<u64, Call>,
    next: u64,
}

impl Purses {
    /// The way of a purse, if there is one.
    pub(crate) fn path(&self, key: &Key) -> Option<Vec<Level>> {
        self.purses.get(key).map(|purse| purse.path.clone())
    }

    /// Makes a purse, unless it is there.
    pub(crate) fn open(&mut self, key: &Key, path: &[Level]) {
        self.purses.entry(key.clone()).or_insert_with(|| Purse {
            path: path.to_vec(),
            free: Spending::ZERO,
            held: Spending::ZERO,
            spent: Spending::ZERO,
            at_once: 1,
            filled: None,
        });
    }

    /// Pays a call from what is free.
    pub(crate) fn take(&mut self, key: &Key, worst: Spending) -> Option<u64> {
        let purse = self.purses.get_mut(key)?;
        if !purse.free.covers(&worst) {
            return None;
        }
        purse.free = purse.free.minus(worst);
        purse.held = purse.held.plus(worst);
        self.next = self.next.wrapping_add(1);
        let call = Call {
            key: key.clone(),
            worst,
            since: Instant::now(),
        };
        self.calls.insert(self.next, call);
        Some(self.next)
    }

    /// What to ask the store for, so that a call of this worst case finds room.
    pub(crate) fn wish(&mut self, key: &Key, worst: Spending, plenty: bool) -> Spending {
        let Some(purse) = self.purses.get_mut(key) else {
            return worst;
        };
        let busy = purse.filled.is_some_and(|filled| filled.elapsed() < BUSY);
        purse.at_once = match (busy, plenty) {
            (true, true) => (purse.at_once * 2).min(MOST_AT_ONCE),
            _ => 1,
        };
        purse.filled = Some(Instant::now());
        let times = purse.at_once;
        worst.zip(Spending::ZERO, |one, _| one.saturating_mul(times))
    }

    /// The store holds so much more.
    pub(crate) fn fill(&mut self, key: &Key, path: &[Level], more: Spending) {
        // It may have been forgotten, with nothing in it, while the store was asked.
        self.open(key, path);
        if let Some(purse) = self.purses.get_mut(key) {
            purse.free = purse.free.plus(more);
        }
    }

    /// A call is over. The purse, unless the call is not known (any more).
    pub(crate) fn settle(&mut self, call: u64, spent: Spending) -> Option<Key> {
        let call = self.calls.remove(&call)?;
        let purse = self.purses.get_mut(&call.key)?;
        purse.held = purse.held.minus(call.worst);
        purse.spent = purse.spent.plus(spent);
        // What is beyond the worst case is taken from what is free, as the store will do.
        purse.free = purse
            .free
            .plus(call.worst.minus(spent))
            .minus(spent.minus(call.worst));
        Some(call.key)
    }

    /// Calls of an account, with their worst cases.
    pub(crate) fn calls_of(&self, account: &str) -> Vec<(u64, Spending)> {
        self.calls
            .iter()
            .filter(|(_, call)| call.key.account == account)
            .map(|(number, call)| (*number, call.worst))
            .collect()
    }

    /// Calls that are older than this, with their worst cases.
    pub(crate) fn calls_older_than(&self, age: Duration) -> Vec<(u64, Spending)> {
        self.calls
            .iter()
            .filter(|(_, call)| call.since.elapsed() > age)
            .map(|(number, call)| (*number, call.worst))
            .collect()
    }

    /// What the store is to be told of a purse: what was spent, and with `give_back`, or when the
    /// purse is not busy, what is free.
    pub(crate) fn told(&mut self, key: &Key, give_back: bool) -> Option<Told> {
        let purse = self.purses.get_mut(key)?;
        let busy = purse.at_once > 1 && purse.filled.is_some_and(|filled| filled.elapsed() < BUSY);
        let release = if give_back || !busy {
            std::mem::take(&mut purse.free)
        } else {
            Spending::ZERO
        };
        let spent = std::mem::take(&mut purse.spent);
        (!spent.is_zero() || !release.is_zero()).then(|| Told {
            key: key.clone(),
            spent,
            release,
        })
    }

    /// As [`Purses::told`], of all purses.
    pub(crate) fn told_all(&mut self, give_back: bool) -> Vec<Told> {
        let keys: Vec<Key> = self.purses.keys().cloned().collect();
        keys.iter()
            .filter_map(|key| self.told(key, give_back))
            .collect()
    }

    /// The store could not be told.
    pub(crate) fn untold(&mut self, told: &Told) {
        if let Some(purse) = self.purses.get_mut(&told.key) {
            purse.spent = purse.spent.plus(told.spent);
            purse.free = purse.free.plus(told.release);
        }
    }

    /// Whether a purse is busy, so that telling the store may wait a little.
    pub(crate) fn is_busy(&self, key: &Key) -> bool {
        self.purses.get(key).is_some_and(|purse| {
            purse.at_once > 1 && purse.filled.is_some_and(|filled| filled.elapsed() < BUSY)
        })
    }

    /// Forgets purses that hold nothing.
    pub(crate) fn tidy(&mut self) {
        self.purses.retain(|_, purse| {
            !purse.free.is_zero()
                || !purse.held.is_zero()
                || !purse.spent.is_zero()
                || purse.filled.is_some_and(|filled| filled.elapsed() < BUSY)
        });
    }

    /// Everything was charged: nothing is held any more.
    pub(crate) fn lose(&mut self) {
        self.purses.clear();
        self.calls.clear();
    }
}

/// Something to tell the store.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    key: Key,
    spent: Spending,
    release: Spending,
}

impl Told {
    /// As a settlement of what `holder` holds.
    pub(crate) fn settle(&self, holder: &str) -> BudgetSettle {
        BudgetSettle {
            id: reservation(holder, &self.key),
            spent: self.spent,
            release: self.release,
        }
    }
}

/// The reservation behind a purse.
pub(crate) fn reservation(holder: &str, key: &Key) -> String {
    format!("{holder}/{}/{}", key.account, key.model)
}
