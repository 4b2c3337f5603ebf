//! Serves logs of attempts.

use super::service::JobExecutionService;
use crate::{
    context::service_context::job_of,
    error::{Error, Result},
};
use bytes::Bytes;
use tidemill_core::ids::JobId;

/// Part of an attempt's log.
#[derive(Debug, Clone)]
pub struct LogPart {
    /// The bytes.
    pub bytes: Bytes,
    /// Offset after the bytes.
    pub next: u64,
    /// Whether the log is complete.
    pub end: bool,
}

impl JobExecutionService {
    /// Returns at most `limit` log bytes of an attempt (`None`: the current one) from `offset`. Waits for at most `wait_ms` until there are
    /// some or the log is complete.
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
            let item = job_of(&node)?;
            let current = item.job.attempt;
            let requested = attempt.unwrap_or(current);
            if requested > current {
                return Err(Error::NotFound(format!("job {job} has no attempt {requested} yet")));
            }
            let has_ended = item.job.status.is_terminal() || requested < current;
            let (owner, attempt) = match item.carried_from {
                Some(from) => (from, item.carried_attempt),
                None => (job, requested),
            };
            let (bytes, stored) = self.context.stores.logs.read(owner, attempt, offset, limit).await?;
            let next = offset + bytes.len() as u64;
            let part = LogPart { end: has_ended && next >= stored, next, bytes };
            if part.end || !part.bytes.is_empty() || !hold.changed().await {
                return Ok(part);
            }
        }
    }
}
