//! The one thread that writes: whatever is queued for it goes into one transaction, and is answered once that is
//! durable. So the cost of a sync to disk is shared by all who wait for it.

use super::{failure::Failure, transaction_counter::TransactionCounter};
use rusqlite::Connection;
use std::{
    sync::mpsc::{Receiver, TryRecvError},
    vec::IntoIter,
};
use tidemill_services::error::Result;
use tokio::sync::oneshot;

/// The most tasks of one transaction, so that the first of them does not wait for ever more of them.
const MAX_TASKS: usize = 512;

/// What a task wants done with its writes.
#[derive(Debug)]
pub enum TaskOutcome<T> {
    /// Keep them.
    Keep(T),
    /// Take them back; those of the others in the transaction stay.
    Undo(T),
}

/// Something to do inside a transaction, and somebody who waits for its outcome.
pub struct Task<T, F> {
    /// Named in errors.
    pub doing: &'static str,
    /// The writes.
    pub work: F,
    /// Who waits.
    pub reply: oneshot::Sender<Result<T>>,
}

/// A task of any type.
pub trait ErasedTask: Send {
    /// Makes the writes.
    fn run(self: Box<Self>, conn: &Connection) -> CompletedTask;
    /// Answers that there was no transaction to make them in.
    fn refuse(self: Box<Self>, failure: &Failure);
}

/// Answers a task that ran: with its own outcome, or with why the transaction as a whole failed.
type TaskReply = Box<dyn FnOnce(Option<&Failure>)>;

/// A task that ran and is to be answered.
pub struct CompletedTask {
    keep: bool,
    failure: Option<Failure>,
    answer: TaskReply,
}

impl<T, F> ErasedTask for Task<T, F>
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> rusqlite::Result<TaskOutcome<T>> + Send,
{
    fn run(self: Box<Self>, conn: &Connection) -> CompletedTask {
        let Self { doing, work, reply } = *self;
        let (keep, outcome) = match work(conn) {
            Ok(TaskOutcome::Keep(value)) => (true, Ok(value)),
            Ok(TaskOutcome::Undo(value)) => (false, Ok(value)),
            Err(error) => (false, Err(Failure::new(&error))),
        };
        let failure = outcome.as_ref().err().cloned();
        let answer = move |broken: Option<&Failure>| {
            // What a task found, even a conflict, may rest on another's writes in the same transaction; without
            // that it means nothing.
            let outcome = match broken {
                Some(failure) => Err(failure.error(doing)),
                None => outcome.map_err(|failure| failure.error(doing)),
            };
            // Who asked may have gone away; what was written stays.
            drop(reply.send(outcome));
        };
        CompletedTask { keep, failure, answer: Box::new(answer) }
    }

    fn refuse(self: Box<Self>, failure: &Failure) {
        drop(self.reply.send(Err(failure.error(self.doing))));
    }
}

/// What the writer does beside writing.
pub struct WriterThread {
    /// Where it is kept how much was acknowledged.
    pub acknowledged: TransactionCounter,
    /// Called when there was no space to write in.
    pub on_full: Box<dyn Fn() + Send>,
}

/// Writes until nobody is left who could queue a task.
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
        // A transaction that breaks off leaves the tasks that it did not reach to the next one.
        while batch.len() > 0 {
            transact(conn, &mut batch, writer);
        }
    }
}

/// One transaction over `tasks`; answers each that it took from them.
fn transact(conn: &Connection, tasks: &mut IntoIter<Box<dyn ErasedTask>>, writer: &WriterThread) {
    if let Err(failure) = statement(conn, "BEGIN IMMEDIATE") {
        if failure.is_full() {
            make_room(conn, writer);
        }
        tasks.for_each(|task| task.refuse(&failure));
        return;
    }
    let changes = conn.total_changes();
    let mut ran = Vec::with_capacity(tasks.len());
    let outcome = fill(conn, tasks, &mut ran).and_then(|()| {
        // What changes nothing costs no sync, and need not be counted.
        let changed = conn.total_changes() != changes && ran.iter().any(|one| one.keep);
        let number = if changed { Some(count(conn)?) } else { None };
        statement(conn, "COMMIT").map(|()| number)
    });
    if outcome.is_err() && !conn.is_autocommit() {
        // Should this fail too, then the next BEGIN fails and says why.
        drop(statement(conn, "ROLLBACK"));
    }
    let failure = match outcome {
        Ok(number) => {
            if let Some(number) = number {
                writer.acknowledged.note(number);
            }
            None
        }
        Err(failure) => Some(failure),
    };
    // Before anybody hears of it, so that who tries again finds the space.
    if failure.as_ref().is_some_and(Failure::is_full) {
        make_room(conn, writer);
    }
    for one in ran {
        (one.answer)(failure.as_ref());
    }
}

/// Counts this transaction; its number.
fn count(conn: &Connection) -> Result<u64, Failure> {
    conn.prepare_cached("UPDATE commits SET number = number + 1 RETURNING number")
        .and_then(|mut prepared| prepared.query_row([], |row| row.get::<_, i64>(0)))
        .map(i64::unsigned_abs)
        .map_err(|error| Failure::new(&error))
}

/// Frees what is kept for this, and then what the log of transactions takes beyond what it needs.
fn make_room(conn: &Connection, writer: &WriterThread) {
    (writer.on_full)();
    let truncated = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    if let Err(error) = truncated {
        tracing::debug!(%error, "the log of transactions keeps its space");
    }
}

/// Runs the tasks, each within a savepoint of its own; an error concerns all of them.
fn fill(
    conn: &Connection,
    tasks: &mut IntoIter<Box<dyn ErasedTask>>,
    ran: &mut Vec<CompletedTask>,
) -> Result<(), Failure> {
    for task in tasks {
        if let Err(failure) = statement(conn, "SAVEPOINT task") {
            task.refuse(&failure);
            return Err(failure);
        }
        let mut one = task.run(conn);
        let (keep, failure) = (one.keep, one.failure.take());
        ran.push(one);
        if conn.is_autocommit() {
            // After some errors (no space, I/O) SQLite takes the whole transaction back by itself.
            return Err(failure.unwrap_or_else(Failure::taken_back));
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
