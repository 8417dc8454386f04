//! What a task's facts mean for accounts: written in the transaction of the facts.
//!
//! An environment is in use while the task is leased, an open change from its submission to the
//! task's end; wall time is spent as steps end. Money and tokens are not here: calls pay for them.
//!
//! Where no cap of the way asks for any of these, nothing is counted: most claims touch no account.

use model::budget::{
    BudgetAnswer, BudgetAsk, BudgetMove, BudgetSettle, Dimension, Level, Refused, Reserving,
    Spending, TASK_HOLDER,
};
use model::reason::{Reason, ReasonCode};
use model::task::{Task, TaskStatus, WaitKind};

use crate::error::ServiceError;
use crate::service::Service;

/// What a leased task uses.
const ENVIRONMENT: Spending = Spending {
    environments: 1,
    ..Spending::ZERO
};
/// What a submission uses.
const SUBMISSION: Spending = Spending {
    forge_writes: 1,
    open_changes: 1,
    ..Spending::ZERO
};
/// What of it is used up.
const WRITE: Spending = Spending {
    forge_writes: 1,
    ..Spending::ZERO
};

fn environment(task: &Task) -> String {
    format!("environment:{}", task.id)
}

fn change(task: &Task) -> String {
    format!("change:{}", task.id)
}

/// Whether some cap is about what facts use.
fn matters(levels: &[Level]) -> bool {
    use Dimension::{Environments, ForgeWrites, OpenChanges, Wall};
    let dimensions = [Wall, ForgeWrites, OpenChanges, Environments];
    levels.iter().any(|level| {
        dimensions
            .iter()
            .any(|dimension| level.caps.get(*dimension).is_some())
    })
}

fn ask(task: &Task, id: String, path: Vec<Level>, worst: Spending) -> BudgetAsk {
    BudgetAsk {
        id,
        holder: format!("{TASK_HOLDER}{}", task.id),
        path,
        worst,
        wish: worst,
        reserving: Reserving::AtLeast,
    }
}

impl Service {
    /// What the facts between two states of a task mean for accounts.
    pub(crate) async fn budget_moves(
        &self,
        before: &Task,
        after: &Task,
    ) -> Result<Vec<BudgetMove>, ServiceError> {
        let (was, is) = (before.status.is_leased(), after.status.is_leased());
        let spent = after.spent_ms.saturating_sub(before.spent_ms);
        let submitted = after.change.is_some() && before.status == TaskStatus::Ready && !is;
        let ended = after.status.is_final() && !before.status.is_final();
        if was == is && spent == 0 && !submitted && !ended {
            return Ok(Vec::new());
        }
        let levels = self.levels_of_task(after).await?;
        if !matters(&levels) {
            return Ok(Vec::new());
        }
        let mut moves = Vec::new();
        if is && !was {
            // A moment of wall time, so that a cap that is used up says no.
            let worst = Spending {
                wall: 1,
                ..ENVIRONMENT
            };
            moves.push(BudgetMove::Reserve(ask(
                after,
                environment(after),
                levels,
                worst,
            )));
        }
        if was {
            let wall = Spending {
                wall: spent,
                ..Spending::ZERO
            };
            let settle = if is {
                BudgetSettle {
                    id: environment(after),
                    spent: wall,
                    release: Spending::ZERO,
                }
            } else {
                BudgetSettle {
                    spent: wall,
                    ..BudgetSettle::give_back(environment(after))
                }
            };
            if !is || spent > 0 {
                moves.push(BudgetMove::Settle(settle));
            }
        }
        if submitted {
            moves.push(BudgetMove::Settle(BudgetSettle {
                id: change(after),
                spent: WRITE,
                release: Spending::ZERO,
            }));
        }
        if ended {
            moves.push(BudgetMove::Settle(BudgetSettle::give_back(change(after))));
        }
        Ok(moves)
    }

    /// Holds what a submission uses, before the forge is asked; asking again holds no more.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn hold_submission(
        &self,
        task: &Task,
    ) -> Result<Option<(WaitKind, Reason)>, ServiceError> {
        let levels = self.levels_of_task(task).await?;
        if !matters(&levels) {
            return Ok(None);
        }
        let ask = ask(task, change(task), levels, SUBMISSION);
        Ok(match self.store.reserve_budget(ask).await? {
            BudgetAnswer::Granted(_) => None,
            BudgetAnswer::Wait(refused) => Some(halt(refused, true)),
            BudgetAnswer::Refused(refused) => Some(halt(refused, false)),
            BudgetAnswer::HolderGone => {
                return Err(ServiceError::Damaged(
                    "a task was taken for a process".to_owned(),
                ));
            }
        })
    }

    /// The cap of money or tokens that leaves a task nothing to spend, if there is one: asked before
    /// an environment is made for it.
    pub(crate) async fn spent_out(&self, task: &Task) -> Result<Option<Refused>, ServiceError> {
        let levels = self.levels_of_task(task).await?;
        let dimensions = [Dimension::Money, Dimension::Tokens];
        let capped = levels.iter().any(|level| {
            dimensions
                .iter()
                .any(|dimension| level.caps.get(*dimension).is_some())
        });
        if !capped {
            return Ok(None);
        }
        let mut accounts = Vec::with_capacity(levels.len());
        for level in &levels {
            let found = self.store.budget_account(&level.scope).await?;
            accounts.push(found.unwrap_or_default());
        }
        Ok(engine::budget::exhausted(&accounts, &levels, &dimensions))
    }

    /// Whether a task that waits for a place would find one now.
    pub(crate) async fn finds_place(&self, task: &Task) -> Result<bool, ServiceError> {
        let levels = self.levels_of_task(task).await?;
        let worst = if task.proposal.is_some() {
            SUBMISSION
        } else {
            ENVIRONMENT
        };
        let mut accounts = Vec::with_capacity(levels.len());
        for level in &levels {
            let found = self.store.budget_account(&level.scope).await?;
            accounts.push(found.unwrap_or_default());
        }
        let ask = ask(task, String::new(), levels, worst);
        let answer = engine::budget::reserve(&mut accounts, &Spending::ZERO, &ask);
        Ok(matches!(answer, BudgetAnswer::Granted(_)))
    }

    /// At the start: changes that are open count, whatever the caps were when they were opened.
    pub(crate) async fn count_open_changes(&self) -> Result<(), ServiceError> {
        let filter = store::TaskFilter {
            statuses: vec![
                TaskStatus::Submitted,
                TaskStatus::InReview,
                TaskStatus::Waiting,
            ],
            ..store::TaskFilter::default()
        };
        let rows = self
            .store
            .tasks(
                filter,
                store::TaskOrder::Target,
                store::Page::first(u32::MAX),
            )
            .await?;
        let mut moves = Vec::new();
        for row in rows.iter().filter(|row| row.change.is_some()) {
            let task = self.task(row.id).await?;
            let levels = self.levels_of_task(&task).await?;
            if matters(&levels) {
                let open = Spending {
                    open_changes: 1,
                    ..Spending::ZERO
                };
                moves.push(BudgetMove::Count(ask(&task, change(&task), levels, open)));
            }
        }
        if !moves.is_empty() {
            let commit = store::Commit {
                budget: moves,
                ..store::Commit::default()
            };
            self.store.commit(commit).await?;
        }
        Ok(())
    }
}

/// A refusal as the halt of a task: what is only in use comes back by itself.
pub(crate) fn halt(refused: Refused, waits: bool) -> (WaitKind, Reason) {
    let kind = if waits {
        WaitKind::Quota
    } else {
        WaitKind::Budget
    };
    (
        kind,
        Reason::new(ReasonCode::BudgetExhausted, refused.sentence),
    )
}
