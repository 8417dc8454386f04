//! What a gateway asks before it spends, and says after it spent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::budget::tightest;
use model::budget::{Amount, Dimension, MicroUsd, Refused, Spending};
use model::ids::TaskId;

use super::Service;
use crate::budget::{Account, Key, Unpaid, is_name};
use crate::error::ServiceError;

/// Time between two words to pages that something was spent.
const PAGES: Duration = Duration::from_millis(500);

impl Service {
    /// Holds the worst case of one call under every cap above it. Waits up to `patience` while
    /// others' settlements could make room, and in the order of asking; refuses at once when not
    /// even those would. The number returned is settled with [`Service::settle`], always: a call
    /// that is not is charged at its worst.
    ///
    /// `account` is a task's id, or the name of an environment that a person made. A task that meets
    /// a cap is stopped with its work kept, and waits for the budget.
    ///
    /// # Errors
    /// The cap that leaves no room, or what stops the account; also when nothing can be asked.
    pub async fn reserve(
        self: &Arc<Self>,
        account: &str,
        model: Option<&str>,
        worst: Amount,
        patience: Duration,
    ) -> Result<u64, Refused> {
        let model = model.unwrap_or_default();
        if !model.is_empty() && !is_name(model) {
            return Err(Refused {
                scope: "model".to_owned(),
                sentence: "this is no name of a model".to_owned(),
            });
        }
        let payer = Account::read(account)?;
        let key = Key {
            account: account.to_owned(),
            model: model.to_owned(),
        };
        self.check_stopped(&payer, model).await?;
        let path = match self.budgets.known(&key) {
            Some(path) => path,
            None => {
                let levels = self
                    .levels_of(&payer)
                    .await
                    .map_err(|error| closed(&error))?;
                Self::with_model(levels, model)
            }
        };
        // A call that costs nothing still is one.
        let worst = Spending {
            tokens: worst.tokens.max(1),
            ..Spending::from(worst)
        };
        match self.budgets.reserve(&key, path, worst, patience).await {
            Ok(call) => Ok(call),
            Err(Unpaid::Store(error)) => Err(closed(&error)),
            Err(Unpaid::Cap { refused, used_up }) => {
                if let (Account::Task(task), true) = (&payer, used_up) {
                    self.halt_at_cap(*task, &refused).await;
                }
                Err(refused)
            }
        }
    }

    /// A task that meets a cap stops with its work kept.
    async fn halt_at_cap(self: &Arc<Self>, task: TaskId, refused: &Refused) {
        let (kind, reason) = crate::budget::halt(refused.clone(), false);
        if let Err(error) = self.halt(task, kind, reason).await {
            tracing::error!(%task, %error, "a task at a cap could not be halted");
        }
    }

    /// Whether the kill switch stops an account or a model.
    async fn check_stopped(&self, payer: &Account<'_>, model: &str) -> Result<(), Refused> {
        let stops = self.stops().await.map_err(|error| closed(&error))?;
        if stops.0.is_empty() {
            return Ok(());
        }
        let model = format!("model:{model}");
        let own = match payer {
            Account::Task(id) => {
                let task = self.task(*id).await.map_err(|error| closed(&error))?;
                self.stopped(&task).await.map_err(|error| closed(&error))?
            }
            Account::Environment(name) => {
                let environment = format!("environment:{name}");
                let scopes = [engine::budget::ORGANISATION, environment.as_str()];
                stops.first(scopes).cloned()
            }
        };
        match own.or_else(|| stops.first([model.as_str()]).cloned()) {
            Some(stopped) => Err(Refused {
                sentence: stopped.sentence(),
                scope: stopped.scope,
            }),
            None => Ok(()),
        }
    }

    /// Says what a call did cost; more than was held is recorded all the same. A call that is not
    /// known was charged already.
    pub async fn settle(&self, call: u64, spent: Amount) {
        self.budgets.settle(call, Spending::from(spent)).await;
        self.tell_pages();
    }

    /// Tells pages that something was spent, not more often than they can look again.
    fn tell_pages(&self) {
        let Ok(mut told) = self.budget_news.lock() else {
            return;
        };
        if told.is_none_or(|told| told.elapsed() > PAGES) {
            *told = Some(Instant::now());
            drop(told);
            self.publish(super::Update::Budget {
                scope: engine::budget::ORGANISATION.to_owned(),
            });
        }
    }

    /// Charges all unsettled calls of an account at their worst: for a gateway that is gone.
    pub async fn abandon(&self, account: &str) {
        self.budgets.abandon(account).await;
    }

    /// How many callers wait for others' settlements.
    #[must_use]
    pub fn waiting_for_budget(&self) -> usize {
        self.budgets.waiting()
    }

    /// How much room the tightest caps leave an account, and how large they are; nothing where
    /// neither money nor tokens are capped. What is not capped shows as the greatest number.
    pub async fn room(&self, account: &str) -> Option<(Amount, Amount)> {
        let payer = Account::read(account).ok()?;
        let levels = self.levels_of(&payer).await.ok()?;
        let mut accounts = Vec::with_capacity(levels.len());
        for level in &levels {
            let found = self.store.budget_account(&level.scope).await.ok()?;
            accounts.push(found.unwrap_or_default());
        }
        let money = tightest(&accounts, &levels, Dimension::Money);
        let tokens = tightest(&accounts, &levels, Dimension::Tokens);
        if money.is_none() && tokens.is_none() {
            return None;
        }
        let (money_left, money_cap) = money.unwrap_or((u64::MAX, u64::MAX));
        let (tokens_left, tokens_cap) = tokens.unwrap_or((u64::MAX, u64::MAX));
        let amount = |money, tokens| Amount {
            money: MicroUsd(money),
            tokens,
        };
        Some((
            amount(money_left, tokens_left),
            amount(money_cap, tokens_cap),
        ))
    }
}

/// Nobody knows whether there is room: there is none.
fn closed(error: &(impl std::error::Error + ?Sized)) -> Refused {
    tracing::error!(%error, "the budget cannot be asked");
    Refused {
        scope: "budget".to_owned(),
        sentence: "the budget cannot be asked just now, so nothing may be spent; try again"
            .to_owned(),
    }
}

impl From<Unpaid> for ServiceError {
    fn from(unpaid: Unpaid) -> Self {
        match unpaid {
            Unpaid::Store(error) => error.into(),
            Unpaid::Cap { refused, .. } => Self::Invalid(refused.sentence),
        }
    }
}
