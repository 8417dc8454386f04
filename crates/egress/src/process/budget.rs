//! The budget as the broker's process has it: only its parent knows, and is asked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use model::budget::{Amount, Refused};
use tokio::sync::{mpsc, oneshot};

use crate::budget::{BudgetPort, Reservation, Spender};
use crate::process::message::{Decided, Question, Report};

/// Asks the parent.
pub(super) struct Remote {
    reports: mpsc::Sender<Report>,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Decided>>>,
}

impl Remote {
    pub(super) fn new(reports: mpsc::Sender<Report>) -> Self {
        Self {
            reports,
            next: AtomicU64::new(0),
            waiting: Mutex::default(),
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Decided>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands an answer to whoever asked.
    pub(super) fn decided(&self, number: u64, decided: Decided) {
        if let Some(asker) = self.waiting().remove(&number) {
            let _ = asker.send(decided);
        }
    }

    async fn ask(&self, spender: &Spender, question: Question) -> Option<Decided> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.waiting().insert(number, sender);
        let report = Report::Budget {
            number,
            environment: spender.environment.clone(),
            account: spender.account.clone(),
            question,
        };
        if self.reports.send(report).await.is_err() {
            self.waiting().remove(&number);
            return None;
        }
        answer.await.ok()
    }
}

#[async_trait]
impl BudgetPort for Remote {
    async fn reserve(
        &self,
        spender: &Spender,
        worst: Amount,
        patience: Duration,
    ) -> Result<Reservation, Refused> {
        let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let question = Question::Reserve { worst, patience_ms };
        match self.ask(spender, question).await {
            Some(Decided::Reserved(reserved)) => reserved.map(Reservation),
            // Who cannot ask does not spend.
            _ => Err(Refused {
                scope: spender.account.clone(),
                sentence: String::from("the budget could not be asked"),
            }),
        }
    }

    async fn settle(&self, spender: &Spender, reservation: Reservation, spent: Amount) {
        let question = Question::Settle {
            reservation: reservation.0,
            spent,
        };
        self.ask(spender, question).await;
    }

    async fn room(&self, spender: &Spender) -> Option<(Amount, Amount)> {
        match self.ask(spender, Question::Room).await {
            Some(Decided::Room(room)) => room,
            _ => None,
        }
    }
}
