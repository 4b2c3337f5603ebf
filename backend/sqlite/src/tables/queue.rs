//! The job queue in SQLite.

use crate::sqlite::{Database, TaskOutcome};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tidemill_core::pipeline::labels::{Labels, matches, parse, queue_name};
use tidemill_core::scheduler::FairOrder;
use tidemill_core::{ids::ExecutionId, time::Timestamp};
use tidemill_services::error::Result;
use tidemill_services::ports::{Clock, JobQueue, Message, MessageContext, NodeKey, QueuedJob};
use tokio::{sync::watch, time};
use uuid::Uuid;

/// Interval at which a receiver checks for messages that another process sent or that became visible again.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

const QUEUE_OPERATION: &str = "accessing the job queue";

/// A durable queue with visibility timeouts.
pub struct SqliteQueue(Arc<QueueState>);

struct QueueState {
    database: Arc<Database>,
    clock: Arc<dyn Clock>,
    /// Changes whenever a message is sent or given back.
    sent: watch::Sender<u64>,
    /// The order in which groups of messages take turns. A new process begins anew.
    order: Mutex<FairOrder>,
}

impl SqliteQueue {
    /// Creates the queue over a database; `clock` determines which messages are visible.
    pub fn new(database: Arc<Database>, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(QueueState { database, clock, sent: watch::Sender::new(0), order: Mutex::default() }))
    }
}

impl fmt::Debug for SqliteQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SqliteQueue").field(&self.0.database).finish()
    }
}

/// A message on its way to the receiver. If the receiver is gone when it arrives, the message is given back immediately
/// instead of at its visibility timeout.
struct PendingReceive {
    message: Option<Message>,
    queue: Arc<QueueState>,
}

impl PendingReceive {
    fn accept(mut self) -> Option<Message> {
        self.message.take()
    }
}

impl Drop for PendingReceive {
    fn drop(&mut self) {
        if let Some(message) = self.message.take() {
            drop(self.queue.give_back(&message));
        }
    }
}

impl QueueState {
    /// Returns the message to deliver, of any execution: groups take turns.
    fn first_of_any(
        &self,
        conn: &Connection,
        labels: &Labels,
        now: Timestamp,
    ) -> rusqlite::Result<Option<i64>> {
        let heads = group_heads(conn, labels, now)?;
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let chosen = order.choose(heads, |head| head.group.as_str(), |head| (head.visible_at, head.seq));
        let Some(head) = chosen else { return Ok(None) };
        order.record(&head.group);
        Ok(Some(head.seq))
    }

    fn notify_receivers(&self) {
        self.sent.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn give_back(&self, message: &Message) -> impl Future<Output = Result<()>> + Send + use<> {
        let (key, now) = (message.node, self.clock.now());
        let receipt = Uuid::parse_str(&message.receipt).ok();
        self.database.write(QUEUE_OPERATION, move |conn| {
            conn.prepare_cached(
                "UPDATE queue SET visible_at = min(visible_at, ?4), receipt = NULL
                 WHERE execution = ?1 AND ix = ?2 AND receipt = ?3",
            )?
            .execute(params![key.execution.0, key.ix, receipt, now.0])?;
            Ok(TaskOutcome::Commit(()))
        })
    }

    /// Receives a message, if one is visible. Reads first, so that idle receivers do not load the writer.
    async fn receive_visible(
        self: &Arc<Self>,
        execution: Option<ExecutionId>,
        labels: &Labels,
        hide_ms: u64,
    ) -> Result<Option<Message>> {
        let now = self.clock.now();
        let labels = labels.clone();
        if !self.database.read(QUEUE_OPERATION, |conn| any_visible(conn, execution, &labels, now))? {
            return Ok(None);
        }
        let hidden_until = now.plus_ms(i64::try_from(hide_ms).unwrap_or(i64::MAX));
        let queue = Arc::clone(self);
        let delivery = self.database.write(QUEUE_OPERATION, move |conn| {
            let first = match execution {
                Some(execution) => first_of_execution(conn, execution, &labels, now)?,
                None => queue.first_of_any(conn, &labels, now)?,
            };
            let Some(seq) = first else { return Ok(TaskOutcome::Commit(None)) };
            let receipt = Uuid::now_v7();
            let node = conn
                .prepare_cached(
                    "UPDATE queue SET visible_at = ?2, receipt = ?3 WHERE seq = ?1 RETURNING execution, ix",
                )?
                .query_row(params![seq, hidden_until.0, receipt], |row| {
                    Ok(NodeKey { execution: ExecutionId(row.get(0)?), ix: row.get(1)? })
                })?;
            let message = Some(Message { node, receipt: receipt.to_string() });
            Ok(TaskOutcome::Commit(Some(PendingReceive { message, queue })))
        });
        Ok(delivery.await?.and_then(PendingReceive::accept))
    }
}

/// The first visible message of a group.
struct GroupHead {
    group: String,
    seq: i64,
    visible_at: i64,
}

/// Returns the message of an execution that became visible first, of those whose labels are all among `labels`.
fn first_of_execution(
    conn: &Connection,
    execution: ExecutionId,
    labels: &Labels,
    now: Timestamp,
) -> rusqlite::Result<Option<i64>> {
    let label_sets = matching_label_sets(conn, labels)?;
    conn.prepare_cached(
        "SELECT seq FROM queue INDEXED BY queue_execution_visible
         WHERE execution = ?1 AND visible_at <= ?2 AND labels IN (SELECT value FROM json_each(?3))
         ORDER BY visible_at, seq LIMIT 1",
    )?
    .query_row(params![execution.0, now.0, label_sets], |row| row.get(0))
    .optional()
}

/// Returns the message of each group that became visible first, of those whose labels are all among `labels`. The cost depends on
/// the number of groups, not on that of their messages.
fn group_heads(conn: &Connection, labels: &Labels, now: Timestamp) -> rusqlite::Result<Vec<GroupHead>> {
    let label_sets = matching_label_sets(conn, labels)?;
    let mut statement = conn.prepare_cached(
        "WITH RECURSIVE message_groups(name) AS (
             SELECT min(message_group) FROM queue
             UNION ALL
             SELECT (SELECT min(message_group) FROM queue WHERE message_group > name)
             FROM message_groups WHERE name IS NOT NULL
         )
         SELECT name, head.seq, head.visible_at FROM message_groups JOIN queue AS head ON head.seq = (
             SELECT seq FROM queue INDEXED BY queue_group_visible
             WHERE message_group = name AND visible_at <= ?1 AND labels IN (SELECT value FROM json_each(?2))
             ORDER BY visible_at, seq LIMIT 1
         ) WHERE name IS NOT NULL",
    )?;
    let heads = statement.query_map(params![now.0, label_sets], |row| {
        Ok(GroupHead { group: row.get(0)?, seq: row.get(1)?, visible_at: row.get(2)? })
    })?;
    heads.collect()
}

/// Whether a message is visible whose labels are all among `labels`.
fn any_visible(
    conn: &Connection,
    execution: Option<ExecutionId>,
    labels: &Labels,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    Ok(match execution {
        Some(execution) => first_of_execution(conn, execution, labels, now)?.is_some(),
        None => !group_heads(conn, labels, now)?.is_empty(),
    })
}

/// Returns the label sets of queued messages that are all among `labels`, as a JSON array of their names. The cost depends
/// on the number of messages with labels.
fn matching_label_sets(conn: &Connection, labels: &Labels) -> rusqlite::Result<String> {
    let mut statement = conn.prepare_cached("SELECT DISTINCT labels FROM queue WHERE labels <> ''")?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut matching = Vec::new();
    // A worker that runs jobs as plain processes takes none without labels.
    if matches(&Labels::new(), labels) {
        matching.push(String::new());
    }
    for name in names {
        let name = name?;
        if parse(&name).is_ok_and(|demands| matches(&demands, labels)) {
            matching.push(name);
        }
    }
    Ok(serde_json::json!(matching).to_string())
}

#[async_trait]
impl JobQueue for SqliteQueue {
    async fn send(&self, messages: &[QueuedJob], context: MessageContext<'_>) -> Result<()> {
        if messages.is_empty() {
            return Ok(());
        }
        let (messages, now) = (messages.to_vec(), self.0.clock.now());
        let group = context.group.to_owned();
        let written = self.0.database.write(QUEUE_OPERATION, move |conn| {
            // A visible message keeps its position. A hidden one loses its receipt, so that its receiver cannot delete
            // the message that was sent after it.
            let mut insert = conn.prepare_cached(
                "INSERT INTO queue (execution, ix, visible_at, labels, message_group) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (execution, ix)
                 DO UPDATE SET visible_at = min(visible_at, excluded.visible_at), receipt = NULL",
            )?;
            for QueuedJob { node, delay_ms, labels } in messages {
                let visible_at = now.plus_ms(i64::try_from(delay_ms).unwrap_or(i64::MAX));
                let labels = queue_name(&labels);
                insert.execute(params![node.execution.0, node.ix, visible_at.0, labels, group])?;
            }
            Ok(TaskOutcome::Commit(()))
        });
        written.await?;
        self.0.notify_receivers();
        Ok(())
    }

    fn route(&self, labels: &Labels) -> Option<Labels> {
        Some(labels.clone())
    }

    async fn receive(
        &self,
        execution: Option<ExecutionId>,
        labels: &Labels,
        hide_ms: u64,
        wait: Duration,
    ) -> Result<Option<Message>> {
        let deadline = time::Instant::now() + wait;
        let mut sent = self.0.sent.subscribe();
        loop {
            sent.mark_unchanged();
            if let Some(message) = self.0.receive_visible(execution, labels, hide_ms).await? {
                return Ok(Some(message));
            }
            let now = time::Instant::now();
            if now >= deadline {
                return Ok(None);
            }
            // It checks again in either case. The sender outlives this call, so an error is impossible.
            drop(time::timeout_at(deadline.min(now + POLL_INTERVAL), sent.changed()).await);
        }
    }

    async fn delete(&self, message: &Message) -> Result<()> {
        let key = message.node;
        let receipt = Uuid::parse_str(&message.receipt).ok();
        let written = self.0.database.write(QUEUE_OPERATION, move |conn| {
            conn.prepare_cached("DELETE FROM queue WHERE execution = ?1 AND ix = ?2 AND receipt = ?3")?
                .execute(params![key.execution.0, key.ix, receipt])?;
            Ok(TaskOutcome::Commit(()))
        });
        written.await
    }

    async fn give_back(&self, message: &Message) -> Result<()> {
        self.0.give_back(message).await?;
        self.0.notify_receivers();
        Ok(())
    }
}
