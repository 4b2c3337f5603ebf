//! The writer thread. It commits all queued tasks in one transaction (group commit) and replies to each when the
//! transaction is durable, so that they share the cost of one sync to disk.

use super::{failure::Failure, transaction_counter::TransactionCounter};
use rusqlite::Connection;
use std::{
    sync::mpsc::{Receiver, TryRecvError},
    vec::IntoIter,
};
use tidemill_services::error::Result;
use tokio::sync::oneshot;

/// Maximum number of tasks per transaction, which bounds the wait of the first one.
const MAX_TASKS: usize = 512;

/// The outcome of a task, and whether its writes are committed.
#[derive(Debug)]
pub enum TaskOutcome<T> {
    /// Commit the writes.
    Commit(T),
    /// Roll the writes back. Other tasks of the transaction are not affected.
    Rollback(T),
}

/// Work to do in a transaction, with the channel for its outcome.
pub struct Task<T, F> {
    /// The operation, for error messages.
    pub operation: &'static str,
    /// Does the writes.
    pub work: F,
    /// Receives the outcome.
    pub reply: oneshot::Sender<Result<T>>,
}

/// A task with its types erased.
pub trait ErasedTask: Send {
    /// Does the writes.
    fn run(self: Box<Self>, conn: &Connection) -> CompletedTask;
    /// Replies that no transaction could be started.
    fn reject(self: Box<Self>, failure: &Failure);
}

/// Replies to a completed task: with its own outcome, or with the failure of the transaction.
type TaskReply = Box<dyn FnOnce(Option<&Failure>)>;

/// A task that has run and waits for the commit.
pub struct CompletedTask {
    keep: bool,
    failure: Option<Failure>,
    reply: TaskReply,
}

impl<T, F> ErasedTask for Task<T, F>
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> rusqlite::Result<TaskOutcome<T>> + Send,
{
    fn run(self: Box<Self>, conn: &Connection) -> CompletedTask {
        let Self { operation, work, reply } = *self;
        let (keep, outcome) = match work(conn) {
            Ok(TaskOutcome::Commit(value)) => (true, Ok(value)),
            Ok(TaskOutcome::Rollback(value)) => (false, Ok(value)),
            Err(error) => (false, Err(Failure::new(&error))),
        };
        let failure = outcome.as_ref().err().cloned();
        let send_reply = move |transaction_failure: Option<&Failure>| {
            // The outcome of a task, even a conflict, may depend on writes of other tasks in the transaction. If
            // that fails, the outcome is void.
            let outcome = match transaction_failure {
                Some(failure) => Err(failure.to_error(operation)),
                None => outcome.map_err(|failure| failure.to_error(operation)),
            };
            // The caller may have gone; the writes stay.
            drop(reply.send(outcome));
        };
        CompletedTask { keep, failure, reply: Box::new(send_reply) }
    }

    fn reject(self: Box<Self>, failure: &Failure) {
        drop(self.reply.send(Err(failure.to_error(self.operation))));
    }
}

/// What the writer thread uses apart from the connection.
pub struct WriterThread {
    /// Stores the number of acknowledged transactions.
    pub acknowledged: TransactionCounter,
    /// Called when the disk is full.
    pub on_full: Box<dyn Fn() + Send>,
}

/// Runs tasks until all senders are dropped.
pub fn run(conn: &Connection, tasks: &Receiver<Box<dyn ErasedTask>>, writer: &WriterThread) {
    while let Ok(first) = tasks.recv() {
        let mut batch = vec![first];
        while batch.len() < MAX_TASKS {
            match tasks.try_recv() {
                Ok(task) => batch.push(task),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        let mut batch = batch.into_iter();
        // Tasks that a failed transaction did not reach run in the next one.
        while batch.len() > 0 {
            transact(conn, &mut batch, writer);
        }
    }
}

/// Runs `tasks` in one transaction and replies to each task that it took.
fn transact(conn: &Connection, tasks: &mut IntoIter<Box<dyn ErasedTask>>, writer: &WriterThread) {
    if let Err(failure) = statement(conn, "BEGIN IMMEDIATE") {
        if failure.is_full() {
            free_space(conn, writer);
        }
        tasks.for_each(|task| task.reject(&failure));
        return;
    }
    let changes = conn.total_changes();
    let mut completed = Vec::with_capacity(tasks.len());
    let outcome = run_tasks(conn, tasks, &mut completed).and_then(|()| {
        // A transaction without changes needs no sync and is not counted.
        let changed = conn.total_changes() != changes && completed.iter().any(|task| task.keep);
        let number = if changed { Some(count_transaction(conn)?) } else { None };
        statement(conn, "COMMIT").map(|()| number)
    });
    if outcome.is_err() && !conn.is_autocommit() {
        // If this fails too, the next BEGIN fails with the reason.
        drop(statement(conn, "ROLLBACK"));
    }
    let failure = match outcome {
        Ok(number) => {
            if let Some(number) = number {
                writer.acknowledged.store(number);
            }
            None
        }
        Err(failure) => Some(failure),
    };
    // Before the replies, so that a retry finds the space.
    if failure.as_ref().is_some_and(Failure::is_full) {
        free_space(conn, writer);
    }
    for task in completed {
        (task.reply)(failure.as_ref());
    }
}

/// Counts this transaction and returns its number.
fn count_transaction(conn: &Connection) -> Result<u64, Failure> {
    conn.prepare_cached("UPDATE commits SET number = number + 1 RETURNING number")
        .and_then(|mut prepared| prepared.query_row([], |row| row.get::<_, i64>(0)))
        .map(i64::unsigned_abs)
        .map_err(|error| Failure::new(&error))
}

/// Frees the reserved space, then the space that the write-ahead log does not need.
fn free_space(conn: &Connection, writer: &WriterThread) {
    (writer.on_full)();
    let truncated = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    if let Err(error) = truncated {
        tracing::debug!(%error, "cannot truncate the write-ahead log");
    }
}

/// Runs the tasks, each in a savepoint of its own. An error fails the whole transaction.
fn run_tasks(
    conn: &Connection,
    tasks: &mut IntoIter<Box<dyn ErasedTask>>,
    completed: &mut Vec<CompletedTask>,
) -> Result<(), Failure> {
    for task in tasks {
        if let Err(failure) = statement(conn, "SAVEPOINT task") {
            task.reject(&failure);
            return Err(failure);
        }
        let mut task = task.run(conn);
        let (keep, failure) = (task.keep, task.failure.take());
        completed.push(task);
        if conn.is_autocommit() {
            // After some errors (disk full, I/O) SQLite rolls back the whole transaction by itself.
            return Err(failure.unwrap_or_else(Failure::rolled_back));
        }
        if !keep {
            statement(conn, "ROLLBACK TO task")?;
        }
        statement(conn, "RELEASE task")?;
    }
    Ok(())
}

fn statement(conn: &Connection, sql: &str) -> Result<(), Failure> {
    conn.prepare_cached(sql)
        .and_then(|mut prepared| prepared.execute([]))
        .map(drop)
        .map_err(|error| Failure::new(&error))
}
