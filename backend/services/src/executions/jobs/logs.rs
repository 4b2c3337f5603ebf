//! Shows the logs of attempts.

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
    /// The offset after them.
    pub next: u64,
    /// Whether no more will come.
    pub end: bool,
}

impl JobExecutionService {
    /// Log bytes of an attempt (`None`: the current one) from `offset`, at most `limit`; held up to `wait_ms` until
    /// there are some, or no more will come.
    pub async fn logs(
        &self,
        job: JobId,
        attempt: Option<u32>,
        offset: u64,
        limit: usize,
        wait_ms: u64,
    ) -> Result<LogPart> {
        let found = self.context.job(job).await?;
        let key = found.key;
        let mut found = Some(found);
        let limit = limit.clamp(1, self.context.settings.most_log_reply);
        let mut hold = self.context.hold(wait_ms);
        loop {
            // The state first: what is over then has all its bytes stored before.
            let node = match found.take() {
                Some(node) => node,
                None => self.context.node(key).await?,
            };
            let item = job_of(&node)?;
            let current = item.job.attempt;
            let wanted = attempt.unwrap_or(current);
            if wanted > current {
                return Err(Error::NotFound(format!("job {job} has no attempt {wanted} yet")));
            }
            let over = item.job.status.is_terminal() || wanted < current;
            let (owner, wanted) = match item.carried_from {
                Some(from) => (from, item.carried_attempt),
                None => (job, wanted),
            };
            let (bytes, stored) = self.context.stores.logs.read(owner, wanted, offset, limit).await?;
            let next = offset + bytes.len() as u64;
            let part = LogPart { end: over && next >= stored, next, bytes };
            if part.end || !part.bytes.is_empty() || !hold.changed().await {
                return Ok(part);
            }
        }
    }
}
