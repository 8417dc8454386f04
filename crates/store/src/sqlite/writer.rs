//! The thread that writes: it takes whatever waits, applies all of it in one transaction, each
//! piece in a savepoint of its own, pays for one fsync, and then answers everybody.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::fault::Fault;
use super::lock::Lock;
use crate::error::StoreError;

/// Pieces of work in one transaction, at most.
const GROUP: usize = 512;
/// Pieces of work that wait, at most; further callers wait to be let in.
const QUEUE: usize = 1_024;

/// A handle on the thread. Dropping it lets the thread finish what waits and closes the database.
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

/// A piece of work with the one who waits for its result.
trait Job: Send {
    /// Does the work; an error is one that fails the whole transaction.
    fn run(&mut self, connection: &Connection) -> Result<Outcome, rusqlite::Error>;
    /// Answers: with its own result, or with the error that kept the transaction from ending.
    fn answer(self: Box<Self>, broken: Option<StoreError>);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Keep,
    Undo,
}

struct Request<T, W> {
    work: Option<W>,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, W> Job for Request<T, W>
where
    T: Send,
    W: FnOnce(&Connection) -> Result<T, Fault> + Send,
{
    fn run(&mut self, connection: &Connection) -> Result<Outcome, rusqlite::Error> {
        let Some(work) = self.work.take() else {
            return Ok(Outcome::Undo);
        };
        match work(connection) {
            Ok(value) => {
                self.result = Some(Ok(value));
                Ok(Outcome::Keep)
            }
            Err(Fault::Refused(error)) => {
                self.result = Some(Err(error));
                Ok(Outcome::Undo)
            }
            Err(Fault::Broken(error)) => Err(error),
        }
    }

    fn answer(self: Box<Self>, broken: Option<StoreError>) {
        let result = match (broken, self.result) {
            // What was refused was refused for its own sake, whatever became of the rest.
            (_, Some(Err(error))) => Err(error),
            (Some(error), _) => Err(error),
            (None, Some(value)) => value,
            (None, None) => Err(StoreError::Closed),
        };
        // Nobody may be waiting any more; the work is done all the same.
        let _ = self.reply.send(result);
    }
}

impl Writer {
    /// Starts the thread; it keeps the lock until the connection is closed.
    pub(super) fn start(
        connection: Connection,
        lock: Lock,
        path: PathBuf,
    ) -> Result<Self, StoreError> {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let failed = path.clone();
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                serve(&connection, waiting, &path);
                drop(connection);
                drop(lock);
            })
            .map_err(|cause| StoreError::Io {
                path: failed,
                cause,
            })?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Has work done in the next transaction; returns when it is durable.
    pub(super) async fn run<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        let job = Box::new(Request {
            work: Some(work),
            result: None,
            reply,
        });
        let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        result.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn serve(connection: &Connection, mut waiting: mpsc::Receiver<Box<dyn Job>>, path: &Path) {
    while let Some(first) = waiting.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP {
            match waiting.try_recv() {
                Ok(job) => group.push(job),
                Err(_) => break,
            }
        }
        let broken = apply(connection, &mut group).err();
        if let Some(error) = &broken {
            tracing::warn!(%error, pieces = group.len(), "a transaction failed");
            roll_back(connection);
        }
        for job in group {
            job.answer(
                broken
                    .as_ref()
                    .map(|error| super::fault::translate(error, path)),
            );
        }
    }
}

fn apply(connection: &Connection, group: &mut [Box<dyn Job>]) -> Result<(), rusqlite::Error> {
    control(connection, "BEGIN IMMEDIATE")?;
    for job in group {
        control(connection, "SAVEPOINT piece")?;
        if job.run(connection)? == Outcome::Undo {
            control(connection, "ROLLBACK TO piece")?;
        }
        control(connection, "RELEASE piece")?;
    }
    control(connection, "COMMIT")
}

fn control(connection: &Connection, sql: &str) -> Result<(), rusqlite::Error> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

/// Leaves the connection usable: SQLite has rolled back by itself after some errors only.
fn roll_back(connection: &Connection) {
    if !connection.is_autocommit()
        && let Err(error) = connection.execute_batch("ROLLBACK")
    {
        tracing::error!(%error, "a failed transaction could not be rolled back");
    }
}
