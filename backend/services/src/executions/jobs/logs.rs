//! Serves logs of attempts.

use super::service::JobExecutionService;
use crate::{
    context::service_context::job_of,
    error::{Error, Result},
    ports::{JobRecord, Node, NodeBody, NodeState, Write},
};
use bytes::Bytes;
use tidemill_core::{
    execution::status::JobStatus,
    ids::{ExecutionId, JobId},
};

/// Part of an attempt's log.
#[derive(Debug, Clone)]
pub struct LogPart {
    /// The bytes.
    pub bytes: Bytes,
    /// Offset after the bytes.
    pub next: u64,
    /// Whether the log is complete and ends there.
    pub end: bool,
    /// Number of stored bytes of the log.
    pub size: u64,
    /// Whether no more bytes will follow.
    pub complete: bool,
    /// Milliseconds after which there may be more; `None`: the reply would be held until then, or no more will follow.
    pub poll_ms: Option<u64>,
}

/// Where the log of an attempt is.
pub(super) struct LogLocation {
    /// The job that has it: of a carried-over job, the one of the retried execution.
    pub job: JobId,
    pub attempt: u32,
    pub has_ended: bool,
}

impl JobExecutionService {
    /// Returns where the log of a job's attempt (`None`: the current one) is.
    pub(super) fn locate_log(job: JobId, node: &Node, attempt: Option<u32>) -> Result<LogLocation> {
        let item = job_of(node)?;
        let current = item.job.attempt;
        let requested = attempt.unwrap_or(current);
        if requested > current {
            let yet = if item.job.status.is_terminal() { "" } else { " yet" };
            return Err(Error::NotFound(format!("job {job} has no attempt {requested}{yet}")));
        }
        let has_ended = item.job.status.is_terminal() || requested < current;
        let counted = item.counted_attempt(job);
        let (job, attempt) = if item.carried_from.is_some() { counted } else { (job, requested) };
        Ok(LogLocation { job, attempt, has_ended })
    }

    /// Returns at most `limit` log bytes of an attempt (`None`: the current one) from `offset`. Waits for at most `wait_ms` until there are
    /// some or the log is complete. The reader of a running job's log watches it, so that its worker reports more often.
    pub async fn logs(
        &self,
        job: JobId,
        attempt: Option<u32>,
        offset: u64,
        limit: usize,
        wait_ms: u64,
    ) -> Result<LogPart> {
        let prefetched = self.context.job(job).await?;
        let key = prefetched.key;
        let mut prefetched = Some(prefetched);
        let limit = limit.clamp(1, self.context.settings.max_log_reply_bytes);
        let mut hold = self.context.held_reply(wait_ms);
        loop {
            // Reads the state before the log: an ended attempt has stored all its bytes.
            let node = match prefetched.take() {
                Some(node) => node,
                None => self.context.node(key).await?,
            };
            let log = Self::locate_log(job, &node, attempt)?;
            if !log.has_ended {
                self.watch(&node).await;
            }
            let (bytes, size) = self.context.stores.logs.read(log.job, log.attempt, offset, limit).await?;
            if size == 0 && log.has_ended && self.is_log_removed(key.execution).await? {
                return Err(Error::NotFound(format!(
                    "the log of job {job} was removed, as its retention has ended"
                )));
            }
            let next = offset + bytes.len() as u64;
            let end = log.has_ended && next >= size;
            let pace = self.context.settings.report_pace;
            let poll_ms = (pace.is_batched() && !log.has_ended).then_some(pace.watched_interval_ms);
            let part = LogPart { end, next, bytes, size, complete: log.has_ended, poll_ms };
            if part.end || !part.bytes.is_empty() || !hold.changed().await {
                return Ok(part);
            }
        }
    }

    /// Whether the logs of an execution were removed before it.
    async fn is_log_removed(&self, id: ExecutionId) -> Result<bool> {
        let state = self.context.stores.records.execution_state(id).await?;
        Ok(state.is_some_and(|(state, _)| state.retention.logs_removed))
    }

    /// Notes that a user reads the log of a job, if it runs.
    async fn watch(&self, node: &Node) {
        let Ok(item) = job_of(node) else { return };
        if item.job.status != JobStatus::Running {
            return;
        }
        let pace = self.context.settings.report_pace;
        let Some(until) = pace.extended_watch(item.watched_until, self.context.now()) else { return };
        let watched = JobRecord { watched_until: Some(until), ..item.clone() };
        let state = NodeState { body: NodeBody::Job(Box::new(watched)), ..node.state.clone() };
        let put = Write::PutNode { key: node.key, if_version: node.version, state, due_at: node.due_at };
        // After a conflict, the next read notes it.
        if let Err(error) = self.context.stores.records.commit(vec![put]).await {
            tracing::debug!(execution = %node.key.execution, %error, "cannot note that a log is read");
        }
    }
}
