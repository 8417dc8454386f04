//! Paying for calls: hold the worst case, wait for a turn where there is no room, settle.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::budget::{BudgetAnswer, BudgetAsk, Level, Refused, Reserving, Spending};
use store::{Store, StoreError};
use tokio::sync::Notify;

use super::purse::{Key, Purses, Told, reservation};
use super::turns::Turns;

/// How long what this process holds is its own without a sign of life.
const LEASE: Duration = Duration::from_secs(60);
/// Longest patience of a caller.
const MOST_PATIENCE: Duration = Duration::from_mins(10);
/// Another process may settle without a word to this one: whoever waits asks again so often.
const SLOW: Duration = Duration::from_secs(1);
/// A call that nobody settled for so long is charged at its worst.
const LONGEST_CALL: Duration = Duration::from_hours(2);
/// Times a lost lease is begun anew for one call.
const MOST_LEASES: u32 = 3;

/// The purses of this process, and the way to the store behind them.
pub(crate) struct Budgets {
    store: Arc<dyn Store>,
    purses: Mutex<Purses>,
    turns: Arc<Turns>,
    /// Something was settled, released or raised.
    pub(crate) settled: Notify,
    /// Something is to be told to the store soon.
    pub(crate) dirty: Notify,
    /// Under which name this process holds; none before its first lease.
    holder: tokio::sync::RwLock<Option<String>>,
}

impl std::fmt::Debug for Budgets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budgets").finish_non_exhaustive()
    }
}

/// Why a call was not paid.
#[derive(Debug)]
pub(crate) enum Unpaid {
    /// A cap, or no room within the caller's patience.
    Cap {
        /// Which.
        refused: Refused,
        /// No room will come by itself.
        used_up: bool,
    },
    /// The store could not be asked.
    Store(StoreError),
}

impl From<StoreError> for Unpaid {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Budgets {
    pub(crate) fn new(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            store,
            purses: Mutex::default(),
            turns: Arc::default(),
            settled: Notify::new(),
            dirty: Notify::new(),
            holder: tokio::sync::RwLock::new(None),
        })
    }

    pub(crate) fn known(&self, key: &Key) -> Option<Vec<Level>> {
        self.purses().path(key)
    }

    /// Holds the worst case of a call; waits up to `patience` for others' settlements.
    pub(crate) async fn reserve(
        self: &Arc<Self>,
        key: &Key,
        path: Vec<Level>,
        worst: Spending,
        patience: Duration,
    ) -> Result<u64, Unpaid> {
        let until = tokio::time::Instant::now() + patience.min(MOST_PATIENCE);
        self.purses().open(key, &path);
        let mut turn = None;
        let mut leases = 0;
        if let Some(scope) = self.turns.crowded(&path) {
            turn = Some(self.turn(&scope, until, None).await?);
        } else if let Some(call) = self.purses().take(key, worst) {
            return Ok(call);
        }
        loop {
            // From here on a settlement is not missed.
            let mut settled = std::pin::pin!(self.settled.notified());
            settled.as_mut().enable();
            match self.fill(key, &path, worst).await? {
                BudgetAnswer::Granted(_) => {
                    if let Some(call) = self.purses().take(key, worst) {
                        return Ok(call);
                    }
                    // Somebody with the same purse was faster.
                    continue;
                }
                BudgetAnswer::Refused(refused) => {
                    return Err(Unpaid::Cap {
                        refused,
                        used_up: true,
                    });
                }
                BudgetAnswer::HolderGone => {
                    leases += 1;
                    if leases > MOST_LEASES {
                        return Err(StoreError::Closed.into());
                    }
                    self.begin().await?;
                    continue;
                }
                BudgetAnswer::Wait(refused) => {
                    let elsewhere = turn
                        .as_ref()
                        .is_none_or(|turn: &super::turns::Turn| turn.scope() != refused.scope);
                    if elsewhere {
                        drop(turn.take());
                        turn = Some(self.turn(&refused.scope, until, Some(&refused)).await?);
                        continue;
                    }
                    // What lies idle in purses goes back first, and what they spent is told.
                    if self.flush(None, true).await? > 0 {
                        continue;
                    }
                    let next = until.min(tokio::time::Instant::now() + SLOW);
                    let timely = tokio::time::timeout_at(next, settled).await;
                    if timely.is_err() && tokio::time::Instant::now() >= until {
                        return Err(impatient(refused));
                    }
                }
            }
        }
    }

    /// Waits for a turn, as long as there is patience.
    async fn turn(
        &self,
        scope: &str,
        until: tokio::time::Instant,
        refused: Option<&Refused>,
    ) -> Result<super::turns::Turn, Unpaid> {
        tokio::time::timeout_at(until, self.turns.wait(scope))
            .await
            .map_err(|_| {
                impatient(refused.cloned().unwrap_or_else(|| Refused {
                    scope: scope.to_owned(),
                    sentence: format!("others wait for room under the caps of {scope}"),
                }))
            })
    }

    /// Has the store hold more for a purse. It is done to its end whatever becomes of the caller.
    async fn fill(
        self: &Arc<Self>,
        key: &Key,
        path: &[Level],
        worst: Spending,
    ) -> Result<BudgetAnswer, StoreError> {
        let (budgets, key, path) = (Arc::clone(self), key.clone(), path.to_vec());
        let filling = tokio::spawn(async move {
            // Held to the end: nothing is put into a purse after its lease was given up.
            let holder = budgets.holder.read().await;
            let Some(holder) = holder.as_ref() else {
                return Ok(BudgetAnswer::HolderGone);
            };
            let plenty = !budgets.turns.any();
            let ask = BudgetAsk {
                id: reservation(holder, &key),
                holder: holder.clone(),
                path: path.clone(),
                worst,
                wish: budgets.purses().wish(&key, worst, plenty),
                reserving: Reserving::More,
            };
            let answer = budgets.store.reserve_budget(ask).await?;
            if let BudgetAnswer::Granted(more) = &answer {
                budgets.purses().fill(&key, &path, *more);
            }
            Ok(answer)
        });
        filling.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Says what a call did cost. A call that is not known was charged already.
    pub(crate) async fn settle(self: &Arc<Self>, call: u64, spent: Spending) {
        let Some(key) = self.purses().settle(call, spent) else {
            return;
        };
        if self.purses().is_busy(&key) && !self.turns.any() {
            self.dirty.notify_one();
            return;
        }
        if let Err(error) = self.flush(Some(key), self.turns.any()).await {
            tracing::warn!(%error, "what a call did cost is told later");
            self.dirty.notify_one();
        }
    }

    /// Tells the store about one purse or all; the number of purses there was something to tell of.
    pub(crate) async fn flush(
        self: &Arc<Self>,
        key: Option<Key>,
        give_back: bool,
    ) -> Result<usize, StoreError> {
        let budgets = Arc::clone(self);
        let flushing = tokio::spawn(async move {
            let holder = budgets.holder.read().await;
            let Some(holder) = holder.as_ref() else {
                return Ok(0);
            };
            let told: Vec<Told> = {
                let mut purses = budgets.purses();
                match key {
                    Some(key) => purses.told(&key, give_back).into_iter().collect(),
                    None => purses.told_all(give_back),
                }
            };
            if told.is_empty() {
                return Ok(0);
            }
            let settles = told.iter().map(|told| told.settle(holder)).collect();
            if let Err(error) = budgets.store.settle_budget(settles).await {
                let mut purses = budgets.purses();
                told.iter().for_each(|told| purses.untold(told));
                return Err(error);
            }
            budgets.settled.notify_waiters();
            Ok(told.len())
        });
        flushing.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Charges all calls of an account at their worst: whoever made them is gone.
    pub(crate) async fn abandon(self: &Arc<Self>, account: &str) {
        let calls = self.purses().calls_of(account);
        for (call, worst) in calls {
            self.settle(call, worst).await;
        }
    }

    /// Begins a lease under a new name. What was held under an old one is charged by whoever finds
    /// it expired.
    async fn begin(&self) -> Result<(), StoreError> {
        let mut holder = self.holder.write().await;
        if let Some(name) = holder.as_ref()
            && self.store.keep_budget(name, LEASE, false).await?
        {
            // Somebody else has begun meanwhile.
            return Ok(());
        }
        self.purses().lose();
        *holder = None;
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes)
            .map_err(|error| StoreError::Damaged(format!("no random bytes: {error}")))?;
        let name = format!("server:{}", hex::encode(bytes));
        if self.store.keep_budget(&name, LEASE, true).await? {
            *holder = Some(name);
        }
        Ok(())
    }

    /// At the start: charges what dead processes held. `sole` says that all others are.
    pub(crate) async fn recover(&self, sole: bool) -> Result<usize, StoreError> {
        self.begin().await?;
        let holder = self.holder.read().await;
        let sole = holder.as_deref().filter(|_| sole);
        let charged = self.store.expire_budget(sole).await?;
        for reservation in &charged {
            tracing::warn!(
                id = reservation.id,
                amount = %reservation.amount,
                "a process that held this is gone: it counts as spent"
            );
        }
        if !charged.is_empty() {
            self.settled.notify_waiters();
        }
        Ok(charged.len())
    }

    /// Every now and then: a sign of life, old calls charged, purses that hold nothing forgotten.
    pub(crate) async fn keep(self: &Arc<Self>) -> Result<(), StoreError> {
        let kept = match self.holder.read().await.as_ref() {
            Some(name) => self.store.keep_budget(name, LEASE, false).await?,
            None => true,
        };
        if !kept {
            tracing::warn!("the lease on parts of the budget ran out: what was held is charged");
            self.begin().await?;
        }
        let old = self.purses().calls_older_than(LONGEST_CALL);
        for (call, worst) in old {
            self.settle(call, worst).await;
        }
        self.flush(None, false).await?;
        self.purses().tidy();
        self.store.expire_budget(None).await?;
        Ok(())
    }

    /// How many callers wait.
    pub(crate) fn waiting(&self) -> usize {
        self.turns.waiting()
    }

    /// Waits until busy purses have something to tell.
    pub(crate) async fn told_later(&self) {
        self.dirty.notified().await;
    }

    fn purses(&self) -> std::sync::MutexGuard<'_, Purses> {
        self.purses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn impatient(refused: Refused) -> Unpaid {
    let sentence = format!("{}; it was not given back in time", refused.sentence);
    Unpaid::Cap {
        refused: Refused {
            sentence,
            ..refused
        },
        used_up: false,
    }
}
