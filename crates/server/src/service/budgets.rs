//! Accounts as people see them: listed, raised, added up.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::budget::{Account, BudgetMove, Caps, Dimension, Level, Spending};
use model::task::{TaskStatus, WaitKind};
use serde::{Deserialize, Serialize};
use store::{Commit, DocumentWrite, Page, TaskFilter, TaskOrder};

use super::commit::leaf;
use super::{Actor, Service, Update};
use crate::error::ServiceError;

/// Kind of the documents that keep raises.
const RAISE: &str = "budget_raise";
/// Accounts read at once.
const PAGE: u32 = 1000;
/// Longest reason, in bytes.
const LONGEST_REASON: usize = 500;

/// A raise, as its leaf in the ledger stands for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raise {
    /// Which account.
    pub scope: String,
    /// To what.
    pub to: Caps,
    /// From what.
    pub from: Caps,
    /// Who.
    pub by: String,
    /// Why, in words; empty when nobody said.
    #[serde(default)]
    pub because: String,
    /// When.
    pub at: Timestamp,
}

/// An account with what it means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The account.
    #[serde(flatten)]
    pub account: Account,
    /// Caps with raises.
    pub effective: Caps,
    /// Dimensions, by key, whose cap is used up.
    pub used_up: Vec<String>,
}

impl From<Account> for Shown {
    fn from(account: Account) -> Self {
        let effective = account.effective();
        let used_up = Dimension::ALL
            .into_iter()
            .filter(|dimension| {
                let used = account
                    .spent
                    .get(*dimension)
                    .saturating_add(account.held.get(*dimension));
                effective.get(*dimension).is_some_and(|cap| used >= cap)
            })
            .map(|dimension| dimension.key().to_owned())
            .collect();
        Self {
            account,
            effective,
            used_up,
        }
    }
}

/// By what spending is added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpendBy {
    /// By team.
    Team,
    /// By automation.
    Automation,
    /// By campaign.
    Campaign,
    /// By model.
    Model,
    /// By task.
    Task,
    /// By change that was merged: what each did cost with all its rounds.
    MergedChange,
}

/// A line of what was spent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpendRow {
    /// Of whom.
    pub name: String,
    /// The account, where it is one.
    pub scope: String,
    /// What was spent.
    pub spent: Spending,
    /// What is held.
    pub held: Spending,
    /// Number of the change, of merged changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<u64>,
}

impl Service {
    /// Every account whose scope begins so.
    pub(crate) async fn accounts(&self, prefix: &str) -> Result<Vec<Account>, ServiceError> {
        let mut all: Vec<Account> = Vec::new();
        loop {
            let after = all.last().map_or("", |account| account.scope.as_str());
            let page = self.store.budget_accounts(prefix, after, PAGE).await?;
            let last = page.len() < PAGE as usize;
            all.extend(page);
            if last {
                return Ok(all);
            }
        }
    }

    /// Accounts of the organisation, of teams and of campaigns; those of the configuration also
    /// when nothing was spent yet.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn budget_list(&self) -> Result<Vec<Shown>, ServiceError> {
        let mut configured = vec![engine::budget::organisation(&self.caps)];
        configured.extend(self.caps.teams.iter().map(|(name, team)| Level {
            scope: format!("team:{name}"),
            title: format!("the team {name}"),
            caps: team.caps(),
        }));
        let mut shown = Vec::new();
        for level in configured {
            shown.push(self.account_of(&level).await?.into());
        }
        for account in self.accounts("campaign:").await? {
            shown.push(account.into());
        }
        Ok(shown)
    }

    /// An account as the configuration and the store know it together.
    async fn account_of(&self, level: &Level) -> Result<Account, ServiceError> {
        let found = self.store.budget_account(&level.scope).await?;
        let mut account = found.unwrap_or_default();
        account.scope.clone_from(&level.scope);
        account.title.clone_from(&level.title);
        account.caps = level.caps;
        Ok(account)
    }

    /// One account, the accounts above it, and those directly below it that spent something.
    ///
    /// # Errors
    /// When there is none of this scope.
    pub async fn budget_show(
        &self,
        text: &str,
    ) -> Result<(Shown, Vec<Shown>, Vec<Shown>), ServiceError> {
        let scope = self.find_scope(text).await?;
        let account = self.known_account(&scope).await?;
        let mut above = Vec::new();
        let mut parent = account.parent.clone();
        while let Some(scope) = parent.filter(|_| above.len() < engine::budget::MOST_LEVELS) {
            let account = self.known_account(&scope).await?;
            parent = account.parent.clone();
            above.push(Shown::from(account));
        }
        let mut below = Vec::new();
        for account in self.accounts("").await? {
            if account.parent.as_deref() == Some(scope.as_str()) {
                below.push(Shown::from(account));
            }
        }
        Ok((account.into(), above, below))
    }

    /// An account that is used or configured, or a task's or campaign's before it spent anything.
    async fn known_account(&self, scope: &str) -> Result<Account, ServiceError> {
        if scope == engine::budget::ORGANISATION {
            return self
                .account_of(&engine::budget::organisation(&self.caps))
                .await;
        }
        if let Some(team) = scope.strip_prefix("team:")
            && let Some(found) = self.caps.teams.get(team)
        {
            let level = Level {
                scope: scope.to_owned(),
                title: format!("the team {team}"),
                caps: found.caps(),
            };
            return self.account_of(&level).await;
        }
        if let Some(account) = self.store.budget_account(scope).await? {
            return Ok(account);
        }
        if let Some(task) = Self::task_of(scope) {
            let task = self.task(task).await?;
            let levels = self.levels_of_task(&task).await?;
            if let Some(level) = levels.last() {
                return self.account_of(level).await;
            }
        }
        if let Some(id) = scope
            .strip_prefix("campaign:")
            .and_then(|id| id.parse().ok())
        {
            let campaign = self.campaign(id).await?;
            let automation = self
                .automation_version(&campaign.automation, campaign.version)
                .await?;
            let rules = automation.definition.budget.as_ref();
            let level = Level {
                scope: scope.to_owned(),
                title: format!("the campaign of {}", campaign.automation),
                caps: rules.map_or_else(Caps::default, model::automation::BudgetRules::caps),
            };
            return self.account_of(&level).await;
        }
        Err(ServiceError::not_found("account", scope))
    }

    /// Raises caps of an account to what is given, with a leaf that says who and why; what waits for
    /// it goes on.
    ///
    /// # Errors
    /// When a cap is not there, or not below what it is raised to.
    pub async fn raise_budget(
        &self,
        text: &str,
        to: Caps,
        because: &str,
        actor: &Actor,
    ) -> Result<Shown, ServiceError> {
        let scope = self.find_scope(text).await?;
        let account = self.known_account(&scope).await?;
        let from = account.effective();
        if to.is_none() {
            return Err(ServiceError::Invalid(
                "nothing is raised: say what to, such as `usd`".to_owned(),
            ));
        }
        if because.len() > LONGEST_REASON {
            return Err(ServiceError::Invalid(format!(
                "the reason is longer than {LONGEST_REASON} bytes"
            )));
        }
        for dimension in Dimension::ALL {
            let (Some(wanted), key) = (to.get(dimension), dimension.key()) else {
                continue;
            };
            match from.get(dimension) {
                None => {
                    return Err(ServiceError::Invalid(format!(
                        "{scope} has no cap of {key}, so there is nothing to raise"
                    )));
                }
                Some(cap) if wanted <= cap => {
                    return Err(ServiceError::Invalid(format!(
                        "{scope} may already have {}; a raise gives the new cap, and goes up",
                        dimension.show(cap)
                    )));
                }
                Some(_) => {}
            }
        }
        let now = self.now();
        let raise = Raise {
            scope: scope.clone(),
            to,
            from,
            by: actor.name.clone(),
            because: because.to_owned(),
            at: now,
        };
        let body = serde_json::to_string(&raise)?;
        let seq = u64::try_from(now.as_microsecond()).unwrap_or(0);
        let leaf = leaf(
            now,
            &actor.name,
            &scope,
            &scope,
            seq,
            "budget.raised",
            body.as_bytes(),
        )?;
        let commit = Commit {
            budget: vec![BudgetMove::Raise {
                scope: scope.clone(),
                to,
            }],
            documents: vec![DocumentWrite {
                kind: RAISE.to_owned(),
                key: format!("{scope}/{seq:020}"),
                body: Some(body),
            }],
            leaves: vec![leaf],
            ..Commit::default()
        };
        self.store.commit(commit).await?;
        self.leaves.notify_one();
        self.budgets.settled.notify_waiters();
        self.wake_below(&scope).await?;
        self.publish(Update::Budget {
            scope: scope.clone(),
        });
        Ok(self.known_account(&scope).await?.into())
    }

    /// Raises of an account, oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn raises(&self, scope: &str) -> Result<Vec<Raise>, ServiceError> {
        let prefix = format!("{scope}/");
        let mut raises = Vec::new();
        for document in self.store.documents(RAISE, &prefix, PAGE).await? {
            if !document.key.starts_with(&prefix) {
                break;
            }
            raises.push(serde_json::from_str(&document.body)?);
        }
        Ok(raises)
    }

    /// Wakes what waits for the budget, or a place, below a scope.
    async fn wake_below(&self, scope: &str) -> Result<(), ServiceError> {
        let mut rows = self.waiting_for(WaitKind::Budget).await?;
        rows.extend(self.waiting_for(WaitKind::Quota).await?);
        for row in rows {
            let task = self.task(row.id).await?;
            let levels = self.levels_of_task(&task).await?;
            if levels.iter().any(|level| level.scope == scope) {
                self.wake(row.id).await?;
            }
        }
        Ok(())
    }

    /// What was spent, added up; what cost most first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn spend(&self, by: SpendBy) -> Result<Vec<SpendRow>, ServiceError> {
        let mut rows = match by {
            SpendBy::Team => self.spend_of("team:").await?,
            SpendBy::Campaign => self.spend_of("campaign:").await?,
            SpendBy::Model => self.spend_of("model:").await?,
            SpendBy::Automation => self.spend_by_automation().await?,
            SpendBy::Task => self.spend_by_task(None).await?,
            SpendBy::MergedChange => self.spend_by_task(Some(TaskStatus::Merged)).await?,
        };
        rows.sort_by(|a, b| {
            (b.spent.money, b.spent.tokens)
                .cmp(&(a.spent.money, a.spent.tokens))
                .then_with(|| a.name.cmp(&b.name))
        });
        Ok(rows)
    }

    async fn spend_of(&self, prefix: &str) -> Result<Vec<SpendRow>, ServiceError> {
        let accounts = self.accounts(prefix).await?.into_iter();
        Ok(accounts
            .map(|account| SpendRow {
                name: account
                    .scope
                    .strip_prefix(prefix)
                    .unwrap_or_default()
                    .to_owned(),
                scope: account.scope,
                spent: account.spent,
                held: account.held,
                change: None,
            })
            .collect())
    }

    async fn spend_by_automation(&self) -> Result<Vec<SpendRow>, ServiceError> {
        let mut sums: BTreeMap<String, SpendRow> = BTreeMap::new();
        for account in self.accounts("campaign:").await? {
            let id = account.scope.strip_prefix("campaign:");
            let Some(id) = id.and_then(|id| id.parse().ok()) else {
                continue;
            };
            let name = match self.store.campaign(id).await? {
                Some(row) => row.automation,
                None => account.title.clone(),
            };
            let row = sums.entry(name.clone()).or_insert_with(|| SpendRow {
                scope: format!("automation:{name}"),
                name,
                spent: Spending::ZERO,
                held: Spending::ZERO,
                change: None,
            });
            row.spent = row.spent.plus(account.spent);
            row.held = row.held.plus(account.held);
        }
        Ok(sums.into_values().collect())
    }

    async fn spend_by_task(
        &self,
        status: Option<TaskStatus>,
    ) -> Result<Vec<SpendRow>, ServiceError> {
        let mut accounts: BTreeMap<String, Account> = self
            .accounts("task:")
            .await?
            .into_iter()
            .map(|account| (account.scope.clone(), account))
            .collect();
        let filter = TaskFilter {
            statuses: status.into_iter().collect(),
            ..TaskFilter::default()
        };
        let tasks = self
            .store
            .tasks(filter, TaskOrder::Target, Page::first(u32::MAX))
            .await?;
        let rows = tasks.into_iter().filter_map(|row| {
            let account = accounts.remove(&format!("task:{}", row.id))?;
            Some(SpendRow {
                name: row.target.to_string(),
                scope: account.scope,
                spent: account.spent,
                held: account.held,
                change: row.change,
            })
        });
        Ok(rows.collect())
    }
}
