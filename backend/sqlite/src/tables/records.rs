//! The records in SQLite.

use super::{record_reads as reads, record_writes, rows::RowWrite};
use crate::{blocking::blocking, files::DiskReserve, sqlite::Database};
use async_trait::async_trait;
use rusqlite::Connection;
use std::{sync::Arc, time::Duration};
use tidemill_core::execution::cost::Usage;
use tidemill_core::{
    ids::{ArtifactId, ExecutionId, JobId},
    time::Timestamp,
};
use tidemill_services::error::Result;
use tidemill_services::ports::{
    ArtifactRecord, Commit, DeadLetter, DueNode, ExecutionRecord, ExecutionSnapshot, ExecutionState,
    KeyRecord, ListFilter, Node, Records, Write, list_cursor,
};
use tokio::{sync::watch, time::timeout};

/// Maximum time that `changed` waits, so that writes of other processes are noticed.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Maximum number of nodes that are read on the calling thread.
const MAX_INLINE_READ: usize = 100;
/// Default page size of a list.
const DEFAULT_PAGE_SIZE: u32 = 50;
/// Maximum page size of a list.
const MAX_PAGE_SIZE: u32 = 200;

const WRITE_OPERATION: &str = "writing records";
const READ_OPERATION: &str = "reading records";

/// Records in an SQLite file.
#[derive(Debug)]
pub struct SqliteRecords {
    database: Arc<Database>,
    /// Rejects new executions while there is too little space.
    reserve: Option<Arc<DiskReserve>>,
    /// Changes with every commit of this process.
    commits: watch::Sender<u64>,
}

impl SqliteRecords {
    /// Creates the store over a database.
    pub fn new(database: Arc<Database>) -> Self {
        Self { database, reserve: None, commits: watch::Sender::new(1) }
    }

    /// Rejects new executions while `reserve` has too little space.
    #[must_use]
    pub(crate) fn with_reserve(self, reserve: Arc<DiskReserve>) -> Self {
        Self { reserve: Some(reserve), ..self }
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        self.database.read(READ_OPERATION, work)
    }

    /// Reads on a blocking thread, for queries that may return many rows.
    async fn read_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let database = Arc::clone(&self.database);
        blocking(READ_OPERATION, move || database.read(READ_OPERATION, work)).await
    }
}

fn encode(writes: Vec<Write>) -> Result<Vec<RowWrite>> {
    writes.into_iter().map(RowWrite::new).collect()
}

#[async_trait]
impl Records for SqliteRecords {
    async fn commit(&self, writes: Vec<Write>) -> Result<Commit> {
        // Only writes that create nodes can be large.
        let rows =
            if writes.iter().any(|write| matches!(write, Write::Create { .. } | Write::AddNodes { .. })) {
                if let Some(reserve) = &self.reserve {
                    reserve.check_new("starting an execution")?;
                }
                blocking(WRITE_OPERATION, move || encode(writes)).await?
            } else {
                encode(writes)?
            };
        let commit =
            self.database.write(WRITE_OPERATION, move |conn| record_writes::apply(conn, &rows)).await?;
        if commit != Commit::Conflict {
            self.commits.send_modify(|count| *count = count.wrapping_add(1));
        }
        Ok(commit)
    }

    async fn execution(&self, id: ExecutionId) -> Result<Option<ExecutionRecord>> {
        self.read(|conn| reads::execution(conn, id))
    }

    async fn execution_state(&self, id: ExecutionId) -> Result<Option<(ExecutionState, u64)>> {
        self.read(|conn| reads::execution_state(conn, id))
    }

    async fn revision(&self, id: ExecutionId) -> Result<Option<u64>> {
        self.read(|conn| reads::revision(conn, id))
    }

    async fn snapshot(&self, id: ExecutionId, known: Option<u64>) -> Result<Option<ExecutionSnapshot>> {
        let revision = self.revision(id).await?;
        if revision.is_none() || revision == known {
            return Ok(revision.map(|revision| ExecutionSnapshot { revision, content: None }));
        }
        self.read_blocking(move |conn| reads::snapshot(conn, id)).await
    }

    async fn executions(&self, filter: &ListFilter) -> Result<(Vec<ExecutionRecord>, bool)> {
        let before = list_cursor(filter)?;
        let limit = filter.limit.unwrap_or(DEFAULT_PAGE_SIZE).clamp(1, MAX_PAGE_SIZE) as usize;
        let filter = filter.clone();
        self.read_blocking(move |conn| reads::executions(conn, &filter, before, limit)).await
    }

    async fn live_executions(&self, after: Option<ExecutionId>, limit: usize) -> Result<Vec<ExecutionId>> {
        self.read(|conn| reads::live(conn, after, limit))
    }

    async fn nodes(&self, execution: ExecutionId, ixs: &[u32]) -> Result<Vec<Node>> {
        if ixs.len() <= MAX_INLINE_READ {
            return self.read(|conn| reads::nodes(conn, execution, ixs));
        }
        let ixs = ixs.to_vec();
        self.read_blocking(move |conn| reads::nodes(conn, execution, &ixs)).await
    }

    async fn all_nodes(&self, execution: ExecutionId) -> Result<Vec<Node>> {
        self.read_blocking(move |conn| reads::all_nodes(conn, execution)).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Node>> {
        self.read(|conn| reads::job(conn, id))
    }

    async fn upcoming(&self, execution: ExecutionId, from: u32, limit: usize) -> Result<Vec<u32>> {
        self.read(|conn| reads::upcoming(conn, execution, from, limit))
    }

    async fn key(&self, key: &str) -> Result<Option<KeyRecord>> {
        self.read(|conn| reads::key(conn, key))
    }

    async fn due_nodes(&self, now: Timestamp, limit: usize) -> Result<Vec<DueNode>> {
        self.read(|conn| reads::due_nodes(conn, now, limit))
    }

    async fn postpone(&self, late: DueNode, until: Timestamp) -> Result<bool> {
        let postponed =
            self.database.write(WRITE_OPERATION, move |conn| record_writes::postpone(conn, late, until));
        postponed.await
    }

    async fn artifact(&self, id: ArtifactId) -> Result<Option<ArtifactRecord>> {
        self.read(|conn| reads::artifact(conn, id))
    }

    async fn artifacts(&self, execution: ExecutionId) -> Result<Vec<ArtifactRecord>> {
        self.read_blocking(move |conn| reads::artifacts(conn, execution)).await
    }

    async fn artifacts_of(&self, job: JobId) -> Result<Vec<ArtifactRecord>> {
        self.read(|conn| reads::artifacts_of_job(conn, job))
    }

    async fn expired_artifacts(&self, now: Timestamp, limit: usize) -> Result<Vec<ArtifactRecord>> {
        self.read_blocking(move |conn| reads::expired_artifacts(conn, now, limit)).await
    }

    async fn dead_letters(
        &self,
        before: Option<DeadLetter>,
        limit: usize,
    ) -> Result<(Vec<DeadLetter>, bool)> {
        self.read(|conn| reads::dead_letters(conn, before, limit))
    }

    async fn remove_execution(&self, id: ExecutionId) -> Result<()> {
        let removed =
            self.database.write("removing an execution", move |conn| record_writes::remove(conn, id));
        removed.await
    }

    async fn wait_for_change(&self, last_seen: u64) -> u64 {
        let mut commits = self.commits.subscribe();
        let count = *commits.borrow_and_update();
        if count == last_seen {
            // After a timeout the caller checks again, as if there had been a change.
            drop(timeout(POLL_INTERVAL, commits.changed()).await);
        }
        *commits.borrow()
    }

    async fn usage(&self, _: ExecutionId) -> Result<Usage> {
        Ok(Usage::default())
    }
}
