//! The connection to one broker's process.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::budget::{BudgetPort, Reservation, Spender};
use crate::process::client::Listener;
use crate::process::message::{Decided, Done, Question, Report, Request, Wish};
use crate::process::{ProcessError, wire};

/// How long the broker may take to carry out a wish.
const PATIENCE: Duration = Duration::from_secs(10);

type Waiting = HashMap<u64, oneshot::Sender<Result<Done, String>>>;

/// A connection to one process.
pub(super) struct Link {
    pub(super) process: u32,
    writing: Mutex<UnixStream>,
    next: AtomicU64,
    /// Nobody waits any more once the process is gone.
    waiting: Mutex<Option<Waiting>>,
    environments: Mutex<BTreeSet<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    pub(super) fn new(process: u32, writing: UnixStream) -> Self {
        Self {
            process,
            writing: Mutex::new(writing),
            next: AtomicU64::new(0),
            waiting: Mutex::new(Some(HashMap::new())),
            environments: Mutex::default(),
        }
    }

    pub(super) fn serves(&self, environment: String) {
        lock(&self.environments).insert(environment);
    }

    pub(super) fn serves_no_more(&self, environment: &str) {
        lock(&self.environments).remove(environment);
    }

    pub(super) fn is_gone(&self) -> bool {
        lock(&self.waiting).is_none()
    }

    pub(super) fn hang_up(&self) {
        let _ = lock(&self.writing).shutdown(std::net::Shutdown::Both);
    }

    /// Tells a wish, with descriptors, and waits for what becomes of it.
    pub(super) async fn ask(
        &self,
        wish: Wish,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Done, ProcessError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        match lock(&self.waiting).as_mut() {
            Some(waiting) => waiting.insert(number, sender),
            None => return Err(ProcessError::Gone),
        };
        self.write(&Request { number, wish }, descriptors)?;
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        let answer = answer.map_err(|_| ProcessError::Silent)?;
        answer
            .map_err(|_| ProcessError::Gone)?
            .map_err(ProcessError::Refused)
    }

    fn write(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> Result<(), ProcessError> {
        wire::write(&lock(&self.writing), request, descriptors).map_err(|error| {
            match error.kind() {
                std::io::ErrorKind::BrokenPipe => ProcessError::Gone,
                _ => ProcessError::Talk(error),
            }
        })
    }

    fn answered(&self, number: u64, result: Result<Done, String>) {
        let asker = lock(&self.waiting)
            .as_mut()
            .and_then(|waiting| waiting.remove(&number));
        if let Some(asker) = asker {
            let _ = asker.send(result);
        }
    }
}

/// Takes reports until the process is gone.
pub(super) fn listen(
    reading: &UnixStream,
    mut child: Child,
    link: &Weak<Link>,
    listener: &dyn Listener,
    budget: &Arc<dyn BudgetPort>,
    runtime: &Handle,
) {
    while let Ok(Some(report)) = wire::read::<Report>(reading) {
        match report {
            Report::Answer { number, result } => {
                let Some(link) = link.upgrade() else { break };
                link.answered(number, result);
            }
            Report::Events { environment, batch } => listener.events(&environment, batch),
            Report::Budget {
                number,
                environment,
                account,
                question,
            } => {
                let spender = Spender {
                    environment,
                    account,
                };
                let (budget, link) = (Arc::clone(budget), link.clone());
                runtime.spawn(async move {
                    let decided = decide(&*budget, &spender, question).await;
                    if let Some(link) = link.upgrade() {
                        let wish = Wish::Budget(number, decided);
                        let _ = link.write(&Request { number: 0, wish }, &[]);
                    }
                });
            }
        }
    }
    let environments = link.upgrade().map(|link| {
        link.hang_up();
        *lock(&link.waiting) = None;
        std::mem::take(&mut *lock(&link.environments))
    });
    // It has nothing more to do, whatever state it is in.
    let _ = child.kill();
    let _ = child.wait();
    let environments: Vec<_> = environments.into_iter().flatten().collect();
    if !environments.is_empty() {
        listener.lost(environments);
    }
}

async fn decide(budget: &dyn BudgetPort, spender: &Spender, question: Question) -> Decided {
    match question {
        Question::Reserve { worst, patience_ms } => {
            let patience = Duration::from_millis(patience_ms);
            let reserved = budget.reserve(spender, worst, patience).await;
            Decided::Reserved(reserved.map(|reservation| reservation.0))
        }
        Question::Settle { reservation, spent } => {
            let reservation = Reservation(reservation);
            budget.settle(spender, reservation, spent).await;
            Decided::Settled
        }
        Question::Room => Decided::Room(budget.room(spender).await),
    }
}
